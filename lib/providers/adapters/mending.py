"""Habits of litellm put right when it is loaded: requests nobody asked for, and others than were asked for.

Its `post` is replaced (see `exchange`). Before a chat with Ollama it asks the server about the model, without the
provider's headers and following redirects: the server says itself what a model can't do. It sends Ollama a
`frequency_penalty` as `repeat_penalty`, another scale (0.1 makes a model repeat itself); Ollama knows both names. And a
stream over OpenAI's responses, from a model it has not heard of, it asks for as a whole.
"""

import warnings
from typing import Any

from lib.providers.adapters.exchange import post

_PENALTIES = ("frequency_penalty", "presence_penalty")


def mend(litellm: Any, http_handler: Any, ollama_info: Any) -> None:
    """Change the classes of litellm's module, its AsyncHTTPHandler and its OllamaModelInfo in place."""
    warnings.filterwarnings("ignore", "Items? .*ReadOnly", UserWarning)  # its types of Cohere, built when first used
    http_handler.post = post
    _mend_penalties(litellm.OllamaChatConfig)
    ollama_info.get_runtime_model_info = _ask_nobody

    def should_fake_stream(config: Any, model: str | None, stream: bool | None, *rest: Any, **named: Any) -> bool:
        known = litellm.model_cost.get(model) or {}
        return stream is True and known.get("supports_native_streaming") is False

    litellm.OpenAIResponsesAPIConfig.should_fake_stream = should_fake_stream


def _mend_penalties(ollama_chat: Any) -> None:
    supported, mapped = ollama_chat.get_supported_openai_params, ollama_chat.map_openai_params

    def get_supported_openai_params(config: Any, model: str) -> list[str]:
        return [*supported(config, model), "presence_penalty"]

    def map_openai_params(config: Any, non_default_params: dict[str, Any], *rest: Any, **named: Any) -> dict[str, Any]:
        penalties = {name: non_default_params[name] for name in _PENALTIES if name in non_default_params}
        others = {name: value for name, value in non_default_params.items() if name not in penalties}
        result: dict[str, Any] = mapped(config, others, *rest, **named)
        return result | penalties

    ollama_chat.get_supported_openai_params = get_supported_openai_params
    ollama_chat.map_openai_params = map_openai_params


def _ask_nobody(info: Any, model: str, api_base: str | None = None, api_key: str | None = None) -> dict[str, Any]:
    unknown = dict.fromkeys(("max_tokens", "max_input_tokens", "max_output_tokens"))
    known = {"key": model, "litellm_provider": "ollama", "mode": "chat", "supports_function_calling": True}
    return {**known, **unknown, "input_cost_per_token": 0.0, "output_cost_per_token": 0.0}

"""Habits of litellm put right when it is loaded: requests nobody asked for, and others than were asked for.

Its `post` is replaced (see `exchange`), and every client it makes, for itself or for an SDK, connects by this product's
own (`httpx_transport`): judged addresses, bounded answers. Before a chat with Ollama it asks the server
about the model, without the provider's headers and following redirects: the server says itself what a model can't do.
It sends Ollama a `frequency_penalty` as `repeat_penalty`, another scale (0.1 makes a model repeat itself);
Ollama knows both names. And a stream over OpenAI's responses, from a model it has not heard of, it asks for as a whole.
"""

import warnings
from typing import Any

import httpx

from lib.providers.adapters.exchange import post
from lib.providers.adapters.httpx_transport import SyncTransport, Transport

_PENALTIES = ("frequency_penalty", "presence_penalty")


def mend(litellm: Any, http_handlers: Any, ollama_info: Any) -> None:
    """Change the classes of litellm's module, of its module of HTTP handlers, and its OllamaModelInfo in place."""
    warnings.filterwarnings("ignore", "Items? .*ReadOnly", UserWarning)  # its types of Cohere, built when first used
    _mend_clients(litellm, http_handlers)
    _mend_penalties(litellm.OllamaChatConfig)
    ollama_info.get_runtime_model_info = _ask_nobody

    def should_fake_stream(
        config: Any, model: str | None, stream: bool | None, *positional: Any, **keywords: Any
    ) -> bool:
        facts = litellm.model_cost.get(model) or {}
        return stream is True and facts.get("supports_native_streaming") is False

    litellm.OpenAIResponsesAPIConfig.should_fake_stream = should_fake_stream


def _mend_clients(litellm: Any, http_handlers: Any) -> None:
    transport = Transport()
    sync_transport = SyncTransport()

    def create_client(handler: Any, *_: Any, **keywords: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=transport, trust_env=False, cookies=http_handlers.blocked_cookie_jar())

    def create_sync_client(handler: Any) -> httpx.Client:
        return httpx.Client(transport=sync_transport, trust_env=False, cookies=http_handlers.blocked_cookie_jar())

    http_handlers.AsyncHTTPHandler.post = post
    http_handlers.AsyncHTTPHandler.create_client = create_client
    http_handlers.HTTPHandler.create_client = create_sync_client
    # What SDKs are given (OpenAI's, Azure's), and what litellm's module-level functions use:
    litellm.aclient_session = httpx.AsyncClient(transport=transport, trust_env=False)
    litellm.client_session = httpx.Client(transport=sync_transport, trust_env=False)
    for name in ("module_level_aclient", "module_level_client"):
        if (handler := getattr(litellm, name, None)) is not None:
            handler._client = handler.create_client()


def _mend_penalties(ollama_chat: Any) -> None:
    supported = ollama_chat.get_supported_openai_params
    mapped = ollama_chat.map_openai_params

    def get_supported_openai_params(config: Any, model: str) -> list[str]:
        return [*supported(config, model), "presence_penalty"]

    def map_openai_params(
        config: Any, non_default_params: dict[str, Any], *positional: Any, **keywords: Any
    ) -> dict[str, Any]:
        penalties = {name: non_default_params[name] for name in _PENALTIES if name in non_default_params}
        remaining_params = {name: value for name, value in non_default_params.items() if name not in penalties}
        result: dict[str, Any] = mapped(config, remaining_params, *positional, **keywords)
        return result | penalties

    ollama_chat.get_supported_openai_params = get_supported_openai_params
    ollama_chat.map_openai_params = map_openai_params


def _ask_nobody(info: Any, model: str, api_base: str | None = None, api_key: str | None = None) -> dict[str, Any]:
    unknown = dict.fromkeys(("max_tokens", "max_input_tokens", "max_output_tokens"))
    declared = {"key": model, "litellm_provider": "ollama", "mode": "chat", "supports_function_calling": True}
    return {**declared, **unknown, "input_cost_per_token": 0.0, "output_cost_per_token": 0.0}

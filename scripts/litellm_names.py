"""The names under which programs call the models of litellm's list; shared by the scripts that read that list.

The list files models under groups of its own (`vertex_ai-anthropic_models`, `bedrock_converse`): a program writes
`vertex_ai/…`, `bedrock/…`. Nobody can call classes of size (`together-ai-4.1b-8b`), Bedrock ids without their maker,
and providers that this litellm does not speak to.
"""

import re
from typing import Any

OWN_KINDS = {"openai", "anthropic", "gemini", "groq", "mistral", "deepseek", "openrouter"}
MODES = {"chat", "completion", "responses", "embedding"}
_WRITTEN = {
    "text-completion-openai": "openai",
    "bedrock_converse": "bedrock",
    "cohere_chat": "cohere",
    "azure_text": "azure",
    "fireworks_ai-embedding-models": "fireworks_ai",
}
_CLASS_OF_SIZE = re.compile(r"^(together|fireworks)-ai-")


def known_providers(litellm: Any) -> set[str]:
    """What may stand first in a model's name."""
    from litellm.llms.openai_like.json_loader import JSONProviderRegistry

    known = {str(getattr(provider, "value", provider)) for provider in litellm.provider_list}
    return known | set(JSONProviderRegistry.list_providers())


def key_of(name: str, entry: dict[str, Any], known: set[str]) -> tuple[str, str] | None:
    """Kind and name of an entry that chats, completes or embeds; None for others, and for what nobody can call."""
    listed = entry.get("litellm_provider", "")
    provider = "vertex_ai" if listed.startswith("vertex_ai") else _WRITTEN.get(listed, listed)
    if entry.get("mode") not in MODES or provider == "ollama" or provider not in known:
        return None
    model = _model_of(provider, name)
    if model is None:
        return None
    return (provider, model) if provider in OWN_KINDS else ("litellm", f"{provider}/{model}")


def _model_of(provider: str, name: str) -> str | None:
    model = name.removeprefix(f"{provider}/")
    if provider == "bedrock":
        model = model.removeprefix("invoke/").removeprefix("converse/")
        return model if "." in model.rpartition("/")[2].partition(":")[0] else None
    if provider == "amazon_nova":
        return model.removeprefix("amazon-nova/")
    return None if _CLASS_OF_SIZE.match(model) else model

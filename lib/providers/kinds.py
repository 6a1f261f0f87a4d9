"""The kinds of provider this product knows, and the facts of each: address, key, litellm's prefix, label.

A provider is registered once per account or server; its kind says how it is spoken to. `custom` is any server that
speaks OpenAI's protocol; `litellm` is any further provider litellm knows, whose name then stands first in the model
(`cohere/command-r`). `local` and `scripted` run inside this process: they need no address, no key and no network.
"""

from dataclasses import dataclass
from enum import StrEnum


class ProviderKind(StrEnum):
    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    OLLAMA = "ollama"
    OPENROUTER = "openrouter"
    GEMINI = "gemini"
    GROQ = "groq"
    MISTRAL = "mistral"
    DEEPSEEK = "deepseek"
    CUSTOM = "custom"
    LITELLM = "litellm"
    LOCAL = "local"
    SCRIPTED = "scripted"


class Protocol(StrEnum):
    """A way to put questions and answers on the wire that programs and providers share."""

    CHAT = "openai-chat"
    RESPONSES = "openai-responses"
    EMBEDDINGS = "openai-embeddings"
    MESSAGES = "anthropic-messages"


@dataclass(frozen=True)
class KindFacts:
    """What a kind brings along. `base_url` empty: litellm knows the address, or there is none."""

    label: str
    base_url: str
    needs_key: bool
    litellm_prefix: str
    in_process: bool = False
    is_free: bool = False
    needs_base_url: bool = False
    key_help: str = ""
    example_model: str = ""


_K = ProviderKind
FACTS: dict[ProviderKind, KindFacts] = {
    _K.OPENAI: KindFacts(
        "OpenAI", "https://api.openai.com/v1", True, "openai",
        key_help="platform.openai.com, API keys", example_model="gpt-4.1-mini",
    ),
    _K.ANTHROPIC: KindFacts(
        "Anthropic", "https://api.anthropic.com", True, "anthropic",
        key_help="console.anthropic.com, API keys", example_model="claude-sonnet-4-6",
    ),
    _K.OLLAMA: KindFacts(
        "Ollama", "http://localhost:11434", False, "ollama_chat", is_free=True, example_model="qwen3:4b"
    ),
    _K.OPENROUTER: KindFacts(
        "OpenRouter", "https://openrouter.ai/api/v1", True, "openrouter",
        key_help="openrouter.ai, Keys", example_model="openai/gpt-4.1-mini",
    ),
    _K.GEMINI: KindFacts(
        "Google Gemini", "https://generativelanguage.googleapis.com/v1beta", True, "gemini",
        key_help="aistudio.google.com, API keys", example_model="gemini-2.5-flash",
    ),
    _K.GROQ: KindFacts(
        "Groq", "https://api.groq.com/openai/v1", True, "groq",
        key_help="console.groq.com, API keys", example_model="llama-3.3-70b-versatile",
    ),
    _K.MISTRAL: KindFacts(
        "Mistral", "https://api.mistral.ai/v1", True, "mistral",
        key_help="console.mistral.ai, API keys", example_model="mistral-small-latest",
    ),
    _K.DEEPSEEK: KindFacts(
        "DeepSeek", "https://api.deepseek.com", True, "deepseek",
        key_help="platform.deepseek.com, API keys", example_model="deepseek-chat",
    ),
    _K.CUSTOM: KindFacts(
        "Custom (OpenAI-compatible)", "", False, "openai", needs_base_url=True, example_model="my-model"
    ),
    _K.LITELLM: KindFacts("Other, through litellm", "", True, "", example_model="cohere/command-r"),
    _K.LOCAL: KindFacts(
        "Local (bundled model)", "", False, "llm_manager_local",
        in_process=True, is_free=True, example_model="smollm2-135m-instruct",
    ),
    _K.SCRIPTED: KindFacts(
        "Scripted (tests and demos)", "", False, "", in_process=True, is_free=True, example_model="lorem"
    ),
}  # fmt: skip

_CHAT = frozenset({Protocol.CHAT})
_EMBEDS = frozenset({Protocol.EMBEDDINGS})
_SPOKEN: dict[ProviderKind, frozenset[Protocol]] = {
    _K.OPENAI: _CHAT | _EMBEDS | {Protocol.RESPONSES},
    _K.ANTHROPIC: frozenset({Protocol.MESSAGES}),
    **dict.fromkeys((_K.OPENROUTER, _K.MISTRAL, _K.CUSTOM), _CHAT | _EMBEDS),
    **dict.fromkeys((_K.GROQ, _K.DEEPSEEK), _CHAT),
}
LOCAL_MODEL = "smollm2-135m-instruct"
LOCAL_EMBEDDING_MODEL = "all-MiniLM-L6-v2"


def look_up_facts(kind: str) -> KindFacts:
    """The facts of a kind by its name; KeyError for a name that is none."""
    try:
        return FACTS[ProviderKind(kind)]
    except ValueError:
        raise KeyError(kind) from None


def can_speak(kind: str, protocol: str) -> bool:
    """Whether a program's bytes in a protocol can go to a provider of the kind as they are."""
    return protocol in _SPOKEN.get(ProviderKind(kind), ())


def is_free(kind: str) -> bool:
    """Whether calls of this kind cost nothing by nature (they run on the team's own machine)."""
    return look_up_facts(kind).is_free

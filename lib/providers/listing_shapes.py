"""The shapes in which providers list their models, read into `ModelFacts`: what is unexpected is left out.

OpenAI's shape (`{"data": [{"id"}]}`) with what Groq, Mistral, OpenRouter, vLLM and others add to it; Anthropic's,
Gemini's and Ollama's own. OpenRouter's prices are dollars per token as text, so they become integers exactly.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from lib.errors import ErrorKind, ProviderError
from lib.providers.kinds import ProviderKind
from lib.providers.models import ModelFacts, sort_capabilities

_CONTEXT = ("context_length", "context_window", "max_context_length", "max_model_len", "max_input_tokens")
_OUTPUT = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_FLAGS = {"function_calling": "tools", "tools": "tools", "vision": "vision", "reasoning": "reasoning"}
_FLAGS |= {"image_input": "vision", "structured_outputs": "json", "thinking": "reasoning"}
_OLLAMA = {"completion": "streaming", "tools": "tools", "vision": "vision", "thinking": "reasoning"}
_OLLAMA |= {"embedding": "embeddings"}
_PARAMETERS = {"tools": "tools", "response_format": "json", "structured_outputs": "json", "reasoning": "reasoning"}
_NANO_PER_MILLION = Decimal(10) ** 15
_LARGEST_NUMBER = 2**40
_DEAREST = 1000  # dollars a token: above it stands nonsense


def read(answer: Any, kind: str) -> list[ModelFacts]:
    """The models of a listing; ProviderError when it is none."""
    entries = answer if isinstance(answer, list) else None
    if isinstance(answer, dict):
        entries = answer.get("data", answer.get("models"))
    if not isinstance(entries, list):
        raise ProviderError(
            ErrorKind.NOT_A_MODEL_SERVER,
            "The provider did not answer with a list of models.",
            "",
            "Check the base URL; a model's name can always be typed.",
        )
    models = (_read_model(entry, kind) for entry in entries if isinstance(entry, dict))
    return [facts for facts in models if facts is not None]


def _read_model(entry: Mapping[str, Any], kind: str) -> ModelFacts | None:
    name = entry.get("name" if kind in (ProviderKind.GEMINI, ProviderKind.OLLAMA) else "id")
    if kind == ProviderKind.GEMINI and isinstance(name, str):
        name = name.removeprefix("models/")
    if not isinstance(name, str) or not 0 < len(name) <= 200 or not name.isprintable():
        return None
    if kind == ProviderKind.GEMINI:
        return _read_gemini_model(name, entry)
    return ModelFacts(
        name,
        _read_number(entry, _CONTEXT),
        _read_number(_read_mapping(entry, "top_provider"), _OUTPUT) or _read_number(entry, _OUTPUT),
        _read_capabilities(entry),
        _price(entry, "prompt"),
        _price(entry, "completion"),
        _list_words(entry.get("supported_parameters")) or None,
    )


def _read_gemini_model(name: str, entry: Mapping[str, Any]) -> ModelFacts:
    # Only a model that embeds is told apart by its methods; whether one sees or calls tools the listing leaves open.
    embeds = "embedContent" in _list_words(entry.get("supportedGenerationMethods"))
    limits = _read_number(entry, ("inputTokenLimit",)), _read_number(entry, ("outputTokenLimit",))
    return ModelFacts(name, *limits, ("embeddings",) if embeds else None)


def add_ollama_details(facts: ModelFacts, details: Any) -> ModelFacts:
    """The facts with what `/api/show` says: the window stands under the architecture's name."""
    if not isinstance(details, dict):
        return facts
    info = _read_mapping(details, "model_info")
    context = _read_number(info, [name for name in info if str(name).endswith(".context_length")])
    able = _list_words(details.get("capabilities"))
    capabilities = sort_capabilities(_OLLAMA[word] for word in able if word in _OLLAMA) if able else None
    return ModelFacts(facts.model, context, facts.output_tokens, capabilities)


def _read_capabilities(entry: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Capabilities by the entry's flags, or by its kinds of input and parameters; None where it states neither."""
    stated = entry.get("capabilities")
    if isinstance(stated, dict) and stated:
        able = {_FLAGS[name] for name, flag in stated.items() if name in _FLAGS and _is_on(flag)}
        return sort_capabilities(able | ({"streaming"} if stated.get("completion_chat", True) else set()))
    takes = _list_words(entry.get("supported_parameters"))
    architecture = _read_mapping(entry, "architecture")
    if not takes or not architecture:
        return None
    able = {"streaming"} | {_PARAMETERS[name] for name in takes if name in _PARAMETERS}
    return sort_capabilities(
        able | ({"vision"} if "image" in _list_words(architecture.get("input_modalities")) else set())
    )


def _is_on(flag: Any) -> bool:
    """Mistral says true; Anthropic says {"supported": true}."""
    return flag is True or (isinstance(flag, dict) and flag.get("supported") is True)


def _price(entry: Mapping[str, Any], name: str) -> int | None:
    """Nano-dollars per million tokens, exactly; None where no price is stated, or it varies (-1)."""
    text = _read_mapping(entry, "pricing").get(name)
    try:
        dollars = Decimal(text) if isinstance(text, str) and len(text) < 40 else None
    except InvalidOperation:
        return None
    if dollars is None or not dollars.is_finite() or not 0 <= dollars <= _DEAREST:
        return None
    return int(dollars * _NANO_PER_MILLION)


def _read_number(entry: Mapping[str, Any], names: Iterable[str]) -> int | None:
    for name in names:
        value = entry.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _LARGEST_NUMBER:
            return value
    return None


def _read_mapping(entry: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = entry.get(name)
    return value if isinstance(value, dict) else {}


def _list_words(value: Any) -> tuple[str, ...]:
    return tuple(word for word in value if isinstance(word, str)) if isinstance(value, list) else ()

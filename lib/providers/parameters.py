"""The parameters a model takes: names (OpenAI's chat parameters), ranges, and which kinds of provider offer them."""

from dataclasses import dataclass

from lib.providers.kinds import ProviderKind


@dataclass(frozen=True)
class Parameter:
    """A numeric parameter; `step` 1 means whole numbers."""

    name: str
    label: str
    low: float
    high: float
    step: float
    help: str


PARAMETERS = (
    Parameter("temperature", "Temperature", 0.0, 2.0, 0.05, "Higher is more varied. 0 is the most repeatable."),
    Parameter("max_tokens", "Max output tokens", 1, 200_000, 1, "The answer is cut at this many tokens."),
    Parameter("top_p", "Top p", 0.0, 1.0, 0.05, "Only the likeliest tokens that make up this share are considered."),
    Parameter("top_k", "Top k", 1, 500, 1, "Only this many of the likeliest tokens are considered."),
    Parameter("seed", "Seed", 0, 2**31 - 1, 1, "The same seed gives the same answer where the provider keeps to it."),
    Parameter("frequency_penalty", "Frequency penalty", -2.0, 2.0, 0.1, "Above 0, words already used come less often."),
    Parameter("presence_penalty", "Presence penalty", -2.0, 2.0, 0.1, "Above 0, new subjects come more often."),
)

_K = ProviderKind
_EVERYWHERE = frozenset({"temperature", "max_tokens", "top_p"})
_OPENAI = _EVERYWHERE | {"seed", "frequency_penalty", "presence_penalty"}
_BY_KIND: dict[ProviderKind, frozenset[str]] = {
    _K.OPENAI: _OPENAI,
    _K.OPENROUTER: _OPENAI | {"top_k"},
    _K.GROQ: _OPENAI,
    _K.MISTRAL: _OPENAI,
    _K.CUSTOM: _OPENAI,
    _K.OLLAMA: _OPENAI | {"top_k"},
    _K.ANTHROPIC: _EVERYWHERE | {"top_k"},
    _K.GEMINI: _OPENAI | {"top_k"},
    _K.DEEPSEEK: _EVERYWHERE | {"frequency_penalty", "presence_penalty"},
    _K.LITELLM: _EVERYWHERE,
    _K.LOCAL: _OPENAI,
    _K.SCRIPTED: frozenset({"temperature", "max_tokens"}),
}


def list_offered(kind: str) -> list[Parameter]:
    """The parameters that models of a kind take, in the order they are shown."""
    names = _BY_KIND[ProviderKind(kind)]
    return [parameter for parameter in PARAMETERS if parameter.name in names]


def list_not_offered(kind: str) -> list[Parameter]:
    """The parameters that models of a kind do not take."""
    names = _BY_KIND[ProviderKind(kind)]
    return [parameter for parameter in PARAMETERS if parameter.name not in names]

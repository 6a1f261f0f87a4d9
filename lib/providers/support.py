"""Which parameters a model does not take, as far as anybody knows: its provider's word, the shipped list, its kind.

A server of one's own (`custom`) and what litellm alone knows may take anything: there only stated facts count. A
program's own words for a provider of the same protocol are only judged where the facts are the provider's own; words of
another protocol are judged besides by what they mean elsewhere.
"""

from collections.abc import Iterable

from lib.providers.kinds import Protocol, ProviderKind
from lib.providers.models import ModelFacts
from lib.providers.parameters import PARAMETERS, list_offered

_K = ProviderKind
_NUMBERS = frozenset(parameter.name for parameter in PARAMETERS)
_LABELS = frozenset({"user", "service_tier"})  # they change no answer
_OWN_WORDS = {  # parameters that only some kinds know
    "num_ctx": {_K.OLLAMA},
    "keep_alive": {_K.OLLAMA},
    "think": {_K.OLLAMA},
    "min_p": {_K.OLLAMA, _K.OPENROUTER},
    "repetition_penalty": {_K.OLLAMA, _K.OPENROUTER},
}
# Names under which a provider may list what we call otherwise.
_ALSO_LISTED_AS = {
    "max_completion_tokens": {"max_tokens"},
    "max_tokens": {"max_completion_tokens"},
    "reasoning_effort": {"reasoning"},
    "thinking": {"reasoning"},
    "parallel_tool_calls": {"tools"},
    "response_format": {"structured_outputs"},
}


def list_not_taken(kind: str, facts: ModelFacts, names: Iterable[str]) -> list[str]:
    """Those of the parameters' names that the model is known not to take."""
    return [name for name in names if not _can_take(ProviderKind(kind), facts, name)]


def list_written_not_taken(kind: str, facts: ModelFacts, names: Iterable[str]) -> list[str]:
    """List the parameters a model is known not to take, of those a program wrote in the provider's own protocol.

    Empty unless the provider is OpenAI or lists the model's parameters itself.

    The shipped list comes from litellm, whose word on Groq, Mistral or DeepSeek is what it can translate itself; of
    OpenAI's models it repeats what OpenAI says. Others say themselves what they do not take.
    """
    is_known = kind == _K.OPENAI or facts.parameters is not None
    return list_not_taken(kind, facts, names) if is_known else []


def list_foreign(kind: str, protocol: str, names: Iterable[str]) -> list[str]:
    """Those of the names that mean something in a program's protocol and nothing at a provider of another one.

    Anthropic's `thinking` is no word of a server that speaks OpenAI's protocol, and a `service_tier` has other values
    in each of the two (`standard_only`, `flex`): a bill would depend on a misunderstanding.
    """
    is_anthropics = protocol == Protocol.MESSAGES
    words = {"service_tier"} if is_anthropics or kind == _K.ANTHROPIC else set[str]()
    if is_anthropics and kind == _K.CUSTOM:
        words.add("thinking")
    return [name for name in names if name in words]


def _can_take(kind: ProviderKind, facts: ModelFacts, name: str) -> bool:
    if name in _LABELS:
        return True
    if facts.parameters is not None:
        return bool({name, *_ALSO_LISTED_AS.get(name, ())}.intersection(facts.parameters))
    if name in facts.refuses:
        return False
    if kind in (_K.CUSTOM, _K.LITELLM):
        return True
    if name in _NUMBERS or name == "max_completion_tokens":
        parameter_name = "max_tokens" if name == "max_completion_tokens" else name
        return parameter_name in {parameter.name for parameter in list_offered(kind)}
    if kind is _K.LOCAL:
        return name == "stop"  # whatever else came would be ignored in silence
    return kind in _OWN_WORDS.get(name, {kind})

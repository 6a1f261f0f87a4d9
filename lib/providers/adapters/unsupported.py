"""What litellm can't send, and what Anthropic forbids beside thinking: left out by name, or refused in our words.

litellm raises `UnsupportedParamsError` before it sends anything, with advice for settings of its own. Its text is read
for the names of our parameters and goes no further.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from lib.errors import ErrorKind, ProviderError
from lib.providers.chunks import Endpoint
from lib.providers.kinds import ProviderKind
from lib.providers.own_words import fits_thinking, is_thinking

_LEAST_BUDGET = 1_024  # tokens of thinking, says Anthropic
_EFFORT, _THINKING = "reasoning_effort", "thinking"
_FORCES = frozenset({"required", "any"})
_LABELS = frozenset({"user"})  # they change neither answer nor bill


async def send_what_is_taken(
    send: Callable[[dict[str, Any]], Awaitable[Any]],
    unsupported: type[Exception],
    model: str,
    parameters: Mapping[str, Any],
    *,
    drops: bool,
) -> tuple[Any, tuple[str, ...]]:
    """What `send` gives, and the names of the parameters that had to be left out for it.

    `unsupported` is the exception that names parameters, raised before anything is sent. ProviderError (BAD_REQUEST)
    with the names unless `drops`; labels, which change no answer, never stop a call.
    """
    left, taken = list[str](), dict(parameters)
    while True:
        try:
            return await send(taken), tuple(left)
        except unsupported as error:
            names = _blamed(str(error), taken)
            if not names or not (drops or _LABELS.issuperset(names)):
                raise not_taken(model, names or sorted(taken)) from None
        left += names
        taken = {name: value for name, value in taken.items() if name not in names}


def not_taken(model: str, names: list[str]) -> ProviderError:
    """The refusal that names what a model does not take."""
    return ProviderError(
        ErrorKind.BAD_REQUEST,
        f"{model} does not take {', '.join(names)} here.",
        "Nothing was sent: the name, its value, or the two together are not known there.",
        "Remove it, or let the configuration leave out what its model does not take.",
    )


def _blamed(text: str, parameters: Mapping[str, Any]) -> list[str]:
    return [name for name in parameters if re.search(rf"(?<![A-Za-z_]){re.escape(name)}(?![A-Za-z_])", text)]


def fit_thinking(
    parameters: Mapping[str, Any], budget_of: Callable[[str], int | None], longest_answer: int
) -> tuple[dict[str, Any], list[str]]:
    """Parameters for a model of Anthropic's, and the names of those that can't stand beside its thinking.

    Thinking takes no forced tool, no temperature but 1, no top_k, and a budget of 1,024 tokens or more below the
    answer's ceiling (https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking). `budget_of` says how many
    tokens an effort stands for, None where the model divides its tokens itself; `longest_answer` is the ceiling that
    is sent when none is asked for.
    """
    fitted = dict(parameters)
    if not is_thinking(fitted.get(_THINKING)) and fitted.get(_EFFORT) in (None, "none"):
        return fitted, []
    budget = _budget(fitted, budget_of)
    ceiling = fitted.get("max_completion_tokens") or fitted.get("max_tokens") or longest_answer
    if budget is not None and isinstance(ceiling, int | float) and budget >= ceiling:
        budget = int(ceiling) - 1
        fitted[_THINKING] = {"type": "enabled", "budget_tokens": budget}
        fitted.pop(_EFFORT, None)
    if _is_forced(fitted.get("tool_choice")) or (budget is not None and budget < _LEAST_BUDGET):
        names = [name for name in (_EFFORT, _THINKING) if name in parameters]
        return {name: value for name, value in parameters.items() if name not in names}, names
    names = [name for name in ("temperature", "top_p", "top_k") if not fits_thinking(name, fitted.get(name))]
    return {name: value for name, value in fitted.items() if name not in names}, names


def _budget(parameters: Mapping[str, Any], budget_of: Callable[[str], int | None]) -> int | None:
    """Tokens that are asked for thinking; None where the model sees to that."""
    thinking = parameters.get(_THINKING)
    if isinstance(thinking, Mapping) and is_thinking(thinking):
        asked = thinking.get("budget_tokens")
        return asked if isinstance(asked, int) and thinking["type"] == "enabled" else None
    effort = parameters[_EFFORT]
    return budget_of(effort) if isinstance(effort, str) else None


def _is_forced(choice: Any) -> bool:
    kind = choice.get("type") if isinstance(choice, Mapping) else choice
    return kind in _FORCES or (isinstance(choice, Mapping) and kind not in ("auto", "none"))


def is_claude(endpoint: Endpoint, model: str) -> bool:
    """Whether the model has Anthropic's rules for thinking, wherever it runs."""
    return endpoint.kind == ProviderKind.ANTHROPIC or (endpoint.kind == ProviderKind.LITELLM and "claude" in model)


def fitted(
    litellm: Any, endpoint: Endpoint, model: str, parameters: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Parameters that a model of Anthropic's takes together, with litellm's numbers for an effort."""
    provider, _, name = model.rpartition("/")
    provider, rules = provider.partition("/")[0] or endpoint.kind, litellm.AnthropicConfig

    def budget_of(effort: str) -> int | None:
        try:
            thinking = rules._map_reasoning_effort(effort, name, provider)
        except Exception:  # an effort that it does not know: it says so itself when it is asked
            return None
        return (thinking or {}).get("budget_tokens")

    return fit_thinking(parameters, budget_of, rules.get_max_tokens_for_model(name))

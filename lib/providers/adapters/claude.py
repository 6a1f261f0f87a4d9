"""What a model of Anthropic's takes together, wherever it runs: its rules for thinking, and for calls of tools.

Thinking takes no forced tool, no temperature but 1, no top_k, and a budget of 1,024 tokens or more below the answer's
ceiling; in the middle of calls of tools the thoughts that led to them have to come back, which a program that speaks
another protocol never saw (https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking). And a conversation
that holds calls of tools needs these tools in the request, also where none may be called any more.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lib.providers.chunks import Endpoint
from lib.providers.kinds import ProviderKind
from lib.providers.own_words import can_join_thinking, is_thinking

THOUGHTS = "thinking_blocks"  # of an assistant's message: litellm's name for them
_LEAST_BUDGET = 1_024  # tokens of thinking
_EFFORT = "reasoning_effort"
_THINKING = "thinking"
_FORCES = frozenset({"required", "any"})


def fit_thinking(
    parameters: Mapping[str, Any],
    budget_of: Callable[[str], int | None],
    longest_answer: int,
    messages: Sequence[Mapping[str, Any]] = (),
) -> tuple[dict[str, Any], list[str]]:
    """Parameters for a model of Anthropic's, and the names of those that can't stand beside its thinking.

    `budget_of` says how many tokens an effort stands for, None where the model divides its tokens itself;
    `longest_answer` is the ceiling that is sent when none is asked for.
    """
    fitted = dict(parameters)
    if not is_thinking(fitted.get(_THINKING)) and fitted.get(_EFFORT) in (None, "none"):
        return fitted, []
    budget = _find_thinking_budget(fitted, budget_of)
    ceiling = fitted.get("max_completion_tokens") or fitted.get("max_tokens") or longest_answer
    if budget is not None and isinstance(ceiling, int | float) and budget >= ceiling:
        budget = int(ceiling) - 1
        fitted[_THINKING] = {"type": "enabled", "budget_tokens": budget}
        fitted.pop(_EFFORT, None)
    has_no_room = budget is not None and (budget < _LEAST_BUDGET or _has_lost_thoughts(messages))
    if has_no_room or _is_forced(fitted.get("tool_choice")):
        names = [name for name in (_EFFORT, _THINKING) if name in parameters]
        return {name: value for name, value in parameters.items() if name not in names}, names
    names = [name for name in ("temperature", "top_p", "top_k") if not can_join_thinking(name, fitted.get(name))]
    return {name: value for name, value in fitted.items() if name not in names}, names


def _find_thinking_budget(parameters: Mapping[str, Any], budget_of: Callable[[str], int | None]) -> int | None:
    """Tokens that are asked for thinking; None where the model sees to that."""
    thinking = parameters.get(_THINKING)
    if isinstance(thinking, Mapping) and is_thinking(thinking):
        budget_tokens = thinking.get("budget_tokens")
        return budget_tokens if isinstance(budget_tokens, int) and thinking["type"] == "enabled" else None
    effort = parameters[_EFFORT]
    return budget_of(effort) if isinstance(effort, str) else None


def _is_forced(choice: Any) -> bool:
    kind = choice.get("type") if isinstance(choice, Mapping) else choice
    return kind in _FORCES or (isinstance(choice, Mapping) and kind not in ("auto", "none"))


def _has_lost_thoughts(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the model is in the middle of calls of tools, and the thoughts before them did not come back.

    A model that divides its tokens itself does not mind.
    """
    for message in reversed(messages):
        if message.get("role") == "user":
            return False
        if message.get("role") == "assistant":
            return bool(message.get("tool_calls")) and not message.get(THOUGHTS)
    return False


def fit_thoughts(messages: list[Any], endpoint: Endpoint, model: str) -> list[Any]:
    """Messages for a model: blocks of thinking go to Claude alone, since others refuse what they don't know."""
    if is_claude(endpoint, model) or not any(THOUGHTS in message for message in messages):
        return messages
    return [{name: part for name, part in message.items() if name != THOUGHTS} for message in messages]


def add_called_tools(parameters: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The parameters; where they name no tools, with those that the conversation has called, of which none may be."""
    calls = [call for message in messages for call in message.get("tool_calls") or [] if isinstance(call, Mapping)]
    if not calls or parameters.get("tools"):
        return dict(parameters)
    functions = [call["function"] for call in calls if isinstance(call.get("function"), Mapping)]
    names = dict.fromkeys(str(function.get("name") or "") for function in functions)
    tools = [{"type": "function", "function": {"name": n, "parameters": {"type": "object"}}} for n in names if n]
    return {**parameters, "tools": tools, "tool_choice": "none"} if tools else dict(parameters)


def is_claude(endpoint: Endpoint, model: str) -> bool:
    """Whether the model has Anthropic's rules for thinking, wherever it runs."""
    return endpoint.kind == ProviderKind.ANTHROPIC or (endpoint.kind == ProviderKind.LITELLM and "claude" in model)


def fit_parameters(
    litellm: Any,
    endpoint: Endpoint,
    model: str,
    parameters: Mapping[str, Any],
    messages: Sequence[Mapping[str, Any]] = (),
) -> tuple[dict[str, Any], list[str]]:
    """Parameters that a model of Anthropic's takes together, with litellm's numbers for an effort."""
    provider, _, name = model.rpartition("/")
    provider = provider.partition("/")[0] or endpoint.kind
    rules = litellm.AnthropicConfig

    def budget_of(effort: str) -> int | None:
        try:
            thinking = rules._map_reasoning_effort(effort, name, provider)
        except Exception:  # an effort that it does not know: it says so itself when it is asked
            return None
        return (thinking or {}).get("budget_tokens")

    parameters = add_called_tools(parameters, messages)
    formless = list[str]()
    if _is_any_json(parameters.get("response_format")):  # it has schemas alone; litellm would say nothing
        formless = ["response_format"]
        del parameters["response_format"]
    fitting, names = fit_thinking(parameters, budget_of, rules.get_max_tokens_for_model(name), messages)
    return fitting, [*formless, *names]


def _is_any_json(form: Any) -> bool:
    return isinstance(form, Mapping) and form.get("type") == "json_object" and not form.get("response_schema")

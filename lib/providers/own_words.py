"""A configuration's parameters, which have the names of OpenAI's chat, in the words of the protocol that is relayed.

What a configuration adds to a program's request has to be said in that program's protocol. Where there is no word for
it the request can't be relayed. Ceilings of the answer (`max_tokens` and its kin) are no matter of this module: a
budget may set one, so the relay writes them itself.
"""

from collections.abc import Mapping
from typing import Any

from lib.patterns import compile_pattern
from lib.providers.kinds import Protocol, ProviderKind, look_up_facts

SIGNATURE = "bGxtLW1hbmFnZXI="  # of thoughts that a translated answer holds: clients keep none without a signature
_OWN_THOUGHT = compile_pattern(  # an item of a translated answer
    r"rs_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(_[0-9]+)?"
)
_CEILINGS = frozenset({"max_tokens", "max_completion_tokens"})
_SAMPLING = frozenset({"temperature", "top_p", "top_k"})
# Where a parameter stands in a body: a field, or a field of an object.
_PLACES: dict[str, dict[str, tuple[str, ...]]] = {
    Protocol.MESSAGES: {
        "temperature": ("temperature",),
        "top_p": ("top_p",),
        "top_k": ("top_k",),
        "thinking": ("thinking",),
        "stop": ("stop_sequences",),
    },
    Protocol.RESPONSES: {
        "temperature": ("temperature",),
        "top_p": ("top_p",),
        "top_logprobs": ("top_logprobs",),
        "parallel_tool_calls": ("parallel_tool_calls",),
        "service_tier": ("service_tier",),
        "user": ("user",),
        "reasoning_effort": ("reasoning", "effort"),
        "verbosity": ("text", "verbosity"),
    },
}


def can_say(protocol: str, parameters: Mapping[str, Any]) -> bool:
    """Whether the protocol has a word for each of the parameters."""
    return protocol not in _PLACES or all(name in _PLACES[protocol] or name in _CEILINGS for name in parameters)


def add(protocol: str, parameters: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """The body with the parameters in it, except where it says something of its own."""
    result = dict(body)
    for name, value in parameters.items():
        if name in _CEILINGS:
            continue
        *outer, field = _PLACES[protocol][name]
        translated = [value] if name == "stop" and isinstance(value, str) else value
        if not outer:
            result[field] = translated if result.get(field) is None else result[field]
        elif (inner := result.get(outer[0])) is None or isinstance(inner, dict):
            inner = inner or {}
            result[outer[0]] = {**inner, field: translated if inner.get(field) is None else inner[field]}
    return result


def list_conflicting_parameters(protocol: str, parameters: Mapping[str, Any]) -> frozenset[str]:
    """Parameters that the protocol forbids beside others of them.

    A model of Anthropic's that thinks takes no temperature or top_k, and top_p from 0.95 on
    (https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking).
    """
    if protocol != Protocol.MESSAGES or not is_thinking(parameters.get("thinking")):
        return frozenset()
    return _SAMPLING.difference(name for name in _SAMPLING if can_join_thinking(name, parameters.get(name)))


def is_thinking(thinking: Any) -> bool:
    """Whether Anthropic's field switches thinking on."""
    return isinstance(thinking, Mapping) and thinking.get("type") in ("enabled", "adaptive")


def can_join_thinking(name: str, value: Any) -> bool:
    """Whether a way of sampling may stand beside Anthropic's thinking."""
    if value is None:
        return True
    is_number = isinstance(value, int | float)
    return is_number and ((name == "temperature" and value == 1) or (name == "top_p" and 0.95 <= value <= 1))


def move_system_messages(body: dict[str, Any]) -> dict[str, Any]:
    """Anthropic's body with what its messages of the role `system` say at the end of the field `system`."""
    messages = body.get("messages")
    moved = [m for m in messages if _is_system(m)] if isinstance(messages, list) else []
    if not moved:
        return body
    blocks = _list_blocks(body.get("system"))
    for message in moved:
        blocks += _list_blocks(message.get("content"))
    return {**body, "system": blocks, "messages": [m for m in body["messages"] if not _is_system(m)]}


def strip_foreign_thoughts(protocol: str, turns: Any, base_url: str) -> Any:
    """Messages of Anthropic's or items of OpenAI's responses without thoughts that the provider would not know as its.

    Those of another model's translated answer come back with our signature or id, and a thought that is not the
    provider's own is an error there; at Anthropic itself, so is one without any signature.
    """
    if not isinstance(turns, list):
        return turns
    if protocol == Protocol.RESPONSES:
        remaining = [item for item in turns if not _is_unknown_item(item)]
    else:
        foreign = (SIGNATURE,) if is_system_role_unknown(base_url) else (SIGNATURE, "", None)
        remaining = [stripped for turn in turns if (stripped := _strip_thoughts(turn, foreign)) is not None]
    is_same = len(remaining) == len(turns) and all(new is old for new, old in zip(remaining, turns, strict=True))
    return turns if is_same else remaining


def _is_unknown_item(item: Any) -> bool:
    if not isinstance(item, Mapping) or item.get("type") != "reasoning" or item.get("encrypted_content"):
        return False
    return isinstance(identity := item.get("id"), str) and _OWN_THOUGHT.fullmatch(identity) is not None


def _strip_thoughts(turn: Any, foreign: tuple[str | None, ...]) -> Any:
    """A message without thoughts that have one of the signatures; None where nothing is left of it."""
    blocks = turn.get("content") if isinstance(turn, Mapping) else None
    if not isinstance(blocks, list):
        return turn
    remaining = [block for block in blocks if not (_is_thought(block) and block.get("signature") in foreign)]
    if len(remaining) == len(blocks):
        return turn
    return {**turn, "content": remaining} if remaining else None


def _is_thought(block: Any) -> bool:
    return isinstance(block, Mapping) and block.get("type") == "thinking"


def _is_system(message: Any) -> bool:
    return isinstance(message, Mapping) and message.get("role") == "system"


def _list_blocks(content: Any) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return list(content) if isinstance(content, list) else []


def is_system_role_unknown(base_url: str) -> bool:
    """Whether messages of the role `system` are unknown there: Anthropic has them, who followed it mostly not."""
    return base_url.rstrip("/").removesuffix("/v1") not in ("", look_up_facts(ProviderKind.ANTHROPIC).base_url)

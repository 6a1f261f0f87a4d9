"""Ids of tool calls in a conversation, each as the provider that reads it now accepts it.

A conversation may begin with one provider and go on with another, and each has rules of its own: OpenAI takes 40
characters (64 in its responses), Anthropic letters, digits, dashes and underscores, Mistral nine letters and digits.
Gemini's carry a thought's signature behind a mark, which it alone needs back. An id that does not fit is cut at the
mark, or else replaced by one that is made of it: the call and its result, and the same conversation a turn later, get
the same. Only what must change is copied.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from lib.patterns import compile_pattern
from lib.providers.kinds import Protocol, ProviderKind
from lib.providers.protocols.gemini import SIGNATURE_MARK

_CHAT = compile_pattern(r".{1,40}", re.DOTALL)
_RESPONSES = compile_pattern(r".{1,64}", re.DOTALL)
_WORD = compile_pattern(r"[A-Za-z0-9_-]{1,64}")
_NINE = compile_pattern(r"[A-Za-z0-9]{9}")
_FAMILIES = {  # by the kind, or the first word of a model that litellm calls
    "mistral": _NINE, "anthropic": _WORD, "bedrock": _WORD, "vertex_ai": None, "vertex_ai_beta": None, "gemini": None
}  # fmt: skip


def fit_ids(messages: Any, kind: str, model: str, protocol: Protocol = Protocol.CHAT) -> Any:
    """The messages or items of a request in a protocol, for a model of a provider of a kind."""
    family = model.partition("/")[0] if kind == ProviderKind.LITELLM else kind
    rule = _FAMILIES.get(family, _RESPONSES if protocol is Protocol.RESPONSES else _CHAT)
    if rule is None or not isinstance(messages, list):
        return messages
    ids = _Ids(rule)
    fitted = [_fit_item(item, ids, protocol) if isinstance(item, Mapping) else item for item in messages]
    return fitted if any(new is not old for new, old in zip(fitted, messages, strict=True)) else messages


class _Ids:
    """What the ids of one conversation become; no two become the same."""

    def __init__(self, rule: re.Pattern[str]) -> None:
        self._rule = rule
        self._fitting: dict[str, str] = {}
        self._taken: set[str] = set()

    def fit(self, identity: str) -> str:
        """The id as the provider takes it."""
        if identity not in self._fitting:
            plain = identity.partition(SIGNATURE_MARK)[0]
            if not self._rule.fullmatch(plain) or plain in self._taken:
                digest = hashlib.blake2s(identity.encode("utf-8", "replace"), digest_size=12).hexdigest()
                plain = digest[:9] if self._rule is _NINE else f"call_{digest}"
            self._fitting[identity] = plain
            self._taken.add(plain)
        return self._fitting[identity]


def _fit_item(item: Mapping[str, Any], ids: _Ids, protocol: Protocol) -> Any:
    """A message or an item; itself where nothing of it changes."""
    if protocol is Protocol.MESSAGES:
        blocks = item.get("content")
        return (
            _replace_field(item, "content", [_fit_block(b, ids) for b in blocks]) if isinstance(blocks, list) else item
        )
    if protocol is Protocol.RESPONSES:
        return _fit_field(item, "call_id", ids)
    calls = item.get("tool_calls")
    item = _fit_field(item, "tool_call_id", ids)
    return (
        _replace_field(item, "tool_calls", [_fit_field(call, "id", ids) for call in calls])
        if isinstance(calls, list)
        else item
    )


def _fit_block(block: Any, ids: _Ids) -> Any:
    names = {"tool_use": "id", "tool_result": "tool_use_id"}
    name = names.get(str(block.get("type"))) if isinstance(block, Mapping) else None
    return block if name is None else _fit_field(block, name, ids)


def _fit_field(item: Any, name: str, ids: _Ids) -> Any:
    identity = item.get(name) if isinstance(item, Mapping) else None
    if not isinstance(identity, str) or not identity or (fitting := ids.fit(identity)) == identity:
        return item
    return {**item, name: fitting}


def _replace_field(item: Mapping[str, Any], name: str, values: list[Any]) -> Mapping[str, Any]:
    is_same = all(new is old for new, old in zip(values, item[name], strict=True))
    return item if is_same else {**item, name: values}

"""The tool calls of one answer, put together from whatever pieces a provider sends.

OpenAI numbers the calls of a stream and names each once. Many who follow do not: all calls get one number, or none, or
another with every piece; ids are missing, late, empty, the same for all or new with every piece; pieces of several
calls alternate; arguments come as an object, begin with an empty one, are told again at the end, or come with every
piece from their beginning on. What is certain: a piece with another name is another call, and a JSON object that is
closed can't go on. So a piece belongs to the call
of its number where its id and name do not speak against it, else to that of its id, else to the one begun last.

What comes out: calls numbered in the order in which they begin, each with a name and an id of its own in its first
piece, and arguments that concatenate to JSON. A call that never gets a name can't be run, and is left out.
"""

import hashlib
import json
import secrets
from collections.abc import Hashable
from decimal import Decimal
from typing import Any

from lib.patterns import compile_pattern
from lib.providers.chunks import ToolCallDelta

_SIGNS = compile_pattern(r'["\\{}\[\]]')


class JsonEnd:
    """Finds the end of a JSON object that comes in pieces, by its brackets alone; each sign is looked at once."""

    def __init__(self) -> None:
        self.is_closed = False
        self._is_object: bool | None = None  # not known before the first sign
        self._depth = 0
        self._in_text = False
        self._harmless = -1  # the place in a piece of a sign that follows a backslash

    def feed(self, piece: str) -> None:
        """The next piece."""
        if self._is_object is None and (begin := piece.lstrip()):
            self._is_object = begin[0] == "{"
        if self.is_closed or not self._is_object:
            return
        for match in _SIGNS.finditer(piece):
            sign = match[0]
            position = match.start()
            if position == self._harmless:
                continue
            if sign == "\\":
                self._harmless = position + 1
            elif sign == '"':
                self._in_text = not self._in_text
            elif not self._in_text:
                self._depth += 1 if sign in "{[" else -1
                if self._depth == 0:
                    self.is_closed = True
                    return
        self._harmless = 0 if self._harmless == len(piece) else -1


class _Call:
    """One call. `pieces` of its arguments have gone out, `held` has not; `ids` are those that its pieces told."""

    def __init__(self, *, is_text: bool) -> None:
        self.name = self.held = ""
        self.ids: set[str] = set()
        self.index = -1  # its number in the answer, from its first piece that goes out
        self.pieces: list[str] = []
        self.is_text = is_text  # its arguments are no JSON
        self.is_doubtful = False  # perhaps only a name told again
        self._end = JsonEnd()
        self._canonical = ""
        self._length = 0  # of all that has come of the arguments
        self._last = ""  # the last piece, while it is not certain whether it repeats what came before

    @property
    def is_closed(self) -> bool:
        """Whether its arguments are a whole object, so that nothing can follow."""
        return self._end.is_closed and not self.is_text and not self._last

    @property
    def is_empty(self) -> bool:
        """Whether it has no arguments so far, or an empty object that may stand for that."""
        return not self.pieces and not self.is_text and self.held.strip() in ("", "{}", "null")

    @property
    def arguments(self) -> str:
        """All that has come of them."""
        return "".join(self.pieces) + self.held

    def add(self, text: str) -> None:
        """The next piece of its arguments; what could not follow is dropped."""
        if not text:
            return
        if self.is_empty and self.held.strip():
            if not text.strip():
                return
            self.held = ""  # the arguments began with an empty object
            self._end = JsonEnd()
            self._length = 0
        elif self.is_closed:
            return
        if self._last or self._may_repeat(text):
            self._last = text
        was_closed = self._end.is_closed
        self._end.feed(text)
        self.held += text
        self._length += len(text)
        if self._last and self._end.is_closed and not was_closed and _is_json(self.arguments):
            self._last = ""

    def _may_repeat(self, text: str) -> bool:
        """Whether a piece begins with all that came before: it repeats that, or holds an inner object alike."""
        is_long = 0 < self._length <= len(text)
        return is_long and text[0] == "{" and not self.is_text and text.startswith(self.arguments)

    def settle(self) -> None:
        """Make certain what the arguments are, where their last pieces may have repeated the others."""
        if not self._last:
            return
        sent = "".join(self.pieces)
        whole = self._last
        self._last = ""
        if not _is_json(sent + self.held) and _is_json(whole) and whole.startswith(sent):
            self.held = whole[len(sent) :]
            self._end = JsonEnd()
            self._end.feed(whole)

    def settle_before(self, name: str, text: str) -> None:
        """Settle the arguments (see `settle`) if the next piece shows that they are complete.

        The next piece shows it where it begins an object, which can't follow another one, or is a name alone.
        """
        is_next = text.lstrip()[:1] == "{" or (bool(name) and not text.strip())
        if self._last and is_next and _is_json(self._last):
            self.settle()

    def send(self) -> str:
        """Take the part of the arguments that may be passed on now; empty while there is none.

        An empty object waits for what may follow, and a piece that may repeat the others waits until that is certain.
        """
        if self.is_empty or self._last:
            return ""
        text = self.held
        self.held = ""
        if text:
            self.pieces.append(text)
        return text

    @property
    def canonical(self) -> str:
        """Its whole arguments, however they are spaced."""
        self._canonical = self._canonical or _standardise_arguments(self.arguments)
        return self._canonical

    def says(self, arguments: str) -> bool:
        """Whether its arguments are whole, and these."""
        if not self.is_closed or not arguments.strip():
            return False
        return _standardise_arguments(arguments) == (
            _standardise_arguments(self.held) if self.is_empty else self.canonical
        )


class ToolCalls:
    """The calls of one answer. `seed` makes the ids of calls that have none: the same for the same answer."""

    def __init__(self) -> None:
        self.seed = ""
        self._calls: list[_Call] = []
        self._at: dict[Hashable, _Call] = {}  # by the provider's number
        self._by_id: dict[str, _Call] = {}
        self._whole: dict[tuple[str, str], _Call] = {}  # by name and arguments, once these are whole
        self._issued: set[str] = set()

    @property
    def are_any(self) -> bool:
        """Whether a call has gone out."""
        return bool(self._issued)

    def take(
        self, key: Hashable, identity: str, name: str, arguments: str, *, is_text: bool = False
    ) -> list[ToolCallDelta]:
        """A piece of a protocol that does not say where a call begins; `key` is the provider's number for it."""
        call = self._find(key, identity, name, arguments)
        if call is None:
            is_doubtful = not identity and not arguments.strip() and key in self._at
            call = self._begin(key, is_text=is_text)
            call.is_doubtful = is_doubtful and any(other.name == name for other in self._calls[:-1])
        elif call.says(arguments):
            arguments = ""  # told again
        return self._extend(call, identity, name, arguments)

    def begin(
        self, key: Hashable, identity: str, name: str, arguments: str = "", *, is_text: bool = False
    ) -> list[ToolCallDelta]:
        """A call of which the protocol says that it begins here."""
        return self._extend(self._begin(key, is_text=is_text), identity, name, arguments)

    def add(self, key: Hashable, arguments: str) -> list[ToolCallDelta]:
        """A piece of the arguments of the call with this key, or of the last one where none has begun under it."""
        call = self._at.get(key) or (self._calls[-1] if self._calls else None)
        return [] if call is None else self._extend(call, "", "", arguments)

    def name(self, key: Hashable, identity: str, name: str) -> list[ToolCallDelta]:
        """The name of the call with this key, which may have begun without one."""
        call = self._at.get(key)
        return [] if call is None or call.name else self._extend(call, identity, name, "")

    def settle(self, key: Hashable, arguments: str) -> list[ToolCallDelta]:
        """The whole arguments of the call with this key, of which pieces may have come; it ends here."""
        if (call := self._at.get(key)) is None:
            return []
        streamed = "" if call.is_empty else call.arguments
        remaining = arguments[len(streamed) :] if arguments.startswith(streamed) else ""
        return [*self._extend(call, "", "", remaining), *self.close(key)]

    def close(self, key: Hashable) -> list[ToolCallDelta]:
        """The call with this key ends here."""
        call = self._at.get(key)
        return [] if call is None else _close(call)

    def end(self, *, is_whole: bool) -> list[ToolCallDelta]:
        """Release what the calls still hold when the answer has ended.

        In a whole answer (`is_whole`) a call without arguments gets an empty object for them.
        """
        pieces = list[ToolCallDelta]()
        for call in self._calls:
            pieces += _settle(call)
            if is_whole or call.held.strip() == "{}":
                pieces += _close(call)
        return pieces

    def make_id(self, name: str) -> str:
        """An id for the next call, of a name, that has none."""
        self.seed = self.seed or secrets.token_hex(8)
        return make_up_id(self.seed, len(self._issued), name)

    def _find(self, key: Hashable, identity: str, name: str, arguments: str) -> _Call | None:
        """The call that a piece belongs to; None when it begins another."""
        call = self._at.get(key)
        by_id = self._by_id.get(identity) if identity else None
        for candidate in (call, by_id):
            if candidate is not None:
                candidate.settle_before(name, arguments)
        if by_id is not None and (call is None or identity not in call.ids):
            call = by_id
        elif call is not None:
            call = None if identity and by_id is None and name and call.ids else call
        elif not identity and not name and self._calls and not self._calls[-1].is_closed:
            call = self._calls[-1]
        if call is not None and self._goes_on(call, key, identity, name, arguments):
            return call
        return self._find_repeated(key, identity, name, arguments)

    def _goes_on(self, call: _Call, key: Hashable, identity: str, name: str, arguments: str) -> bool:
        """Whether a piece that its number or id leads to a call is one of it, by its name."""
        if not name or not call.name:
            return True
        if name != call.name:
            return False
        if call.is_closed and not (call.is_empty and identity in call.ids):
            return call.says(arguments) and (key in self._at or identity in call.ids)
        if key in self._at:
            return True
        begin = arguments.lstrip()[:1]  # with another number the name, the id and no beginning: a number that drifts
        return begin not in ("", "{") and not call.is_empty

    def _find_repeated(self, key: Hashable, identity: str, name: str, arguments: str) -> _Call | None:
        """The call that a piece tells again as a whole, though its number is another's by now."""
        if not name or not arguments or not (identity or key in self._at):
            return None
        original = self._whole.get((name, _standardise_arguments(arguments)))
        return original if original is not None and (not identity or identity in original.ids) else None

    def _begin(self, key: Hashable, *, is_text: bool) -> _Call:
        call = _Call(is_text=is_text)
        self._calls.append(call)
        self._at[key] = call
        return call

    def _extend(self, call: _Call, identity: str, name: str, arguments: str) -> list[ToolCallDelta]:
        if identity:
            call.ids.add(identity)
            self._by_id[identity] = call
        call.name = call.name or name
        call.add(arguments)
        call.is_doubtful = call.is_doubtful and not call.held.strip()
        if not call.name or call.is_doubtful:
            return []
        text = call.send()
        if call.is_closed and text:
            self._whole.setdefault((call.name, call.canonical), call)
        if call.index >= 0:
            return [ToolCallDelta(call.index, arguments=text)] if text else []
        call.index = len(self._issued)
        if not identity or identity in self._issued:
            identity = self.make_id(call.name)
        self._issued.add(identity)
        return [ToolCallDelta(call.index, identity, call.name, text)]


def _settle(call: _Call) -> list[ToolCallDelta]:
    """Release the arguments that a call held back because they may have repeated what came before."""
    call.settle()
    text = call.send() if call.index >= 0 else ""
    return [ToolCallDelta(call.index, arguments=text)] if text else []


def _close(call: _Call) -> list[ToolCallDelta]:
    """The rest of a call's arguments; an empty object, for one that has none."""
    if deltas := _settle(call):
        return deltas
    if call.index < 0 or not call.is_empty:
        return []
    call.pieces = ["{}"]
    call.held = ""
    return [ToolCallDelta(call.index, arguments="{}")]


def make_up_id(*parts: object) -> str:
    """An id made of what it stands for: the same for the same, another for any other; letters and digits alone."""
    text = "\x1f".join(map(str, parts))
    return "call_" + hashlib.blake2s(text.encode("utf-8", "replace"), digest_size=12).hexdigest()


def encode_arguments(value: Any) -> str:
    """A tool's arguments as the JSON text a program expects: as it is, or of an object; nothing for none."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False, default=_convert_number)


def _convert_number(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else str(value)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _standardise_arguments(arguments: str) -> str:
    """Write JSON arguments in one standard form, so that spacing and the order of keys make no difference.

    Text that is no JSON is only stripped.
    """
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except (ValueError, RecursionError):
        return arguments.strip()

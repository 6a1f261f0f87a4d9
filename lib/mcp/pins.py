"""What a server's tool is when it is approved, and whether it still is: fingerprints, drift, names, and hidden text.

A fingerprint is the SHA-256 of canonical JSON of all that a model or a person sees of a tool: name, title, description,
both schemas and annotations. A tool is offered while its fingerprint is the approved one and its server is the approved
command in the approved version. Everything else is drift: changed, new and vanished tools (a renamed one is both) wait
for an administrator, who sees a diff. Descriptions are text of strangers: invisible characters and comments are shown
to the administrator and taken out for the model.
"""

import difflib
import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from lib.limited.difference import compute_unified_at_once
from lib.patterns import compile_pattern

LONGEST_NAME = 64
_MOST_COMPARED = 400  # lines of both, one by one
_MOST_LINES = 2_000  # of a definition, in a diff
_LONGEST_LINE = 20_000  # characters
_FIELDS = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")
_STRANGE = compile_pattern(r"[^a-zA-Z0-9_-]+")
_COMMENT = compile_pattern(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_WORD = compile_pattern(r"[\w-]+")
_PLAIN_CONTROL = "\n\t"
_VARIATION = tuple([range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0), range(0x180B, 0x180E)])
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f")  # letters that are drawn as nothing


class Drift(StrEnum):
    """The state of a tool against what was approved. Only `approved` is offered to models."""

    APPROVED = "approved"
    NEW = "new"
    CHANGED = "changed"
    VANISHED = "vanished"
    SERVER_CHANGED = "server changed"
    COLLISION = "name taken"


@dataclass(frozen=True)
class Pin:
    """A tool as it was approved; `definition` is its listing in the protocol's own form."""

    tool: str
    fingerprint: str
    definition: Mapping[str, Any]


@dataclass(frozen=True)
class PinnedTool:
    """A tool of a server beside its pin. `diff` is lines of a unified diff; `warnings` are sentences."""

    tool: str
    name: str  # as models call it
    drift: Drift
    definition: Mapping[str, Any]
    diff: Sequence[str] = ()
    warnings: Sequence[str] = ()

    @property
    def is_offered(self) -> bool:
        """Whether models may call it."""
        return self.drift is Drift.APPROVED


def write_canonical(value: Any) -> str:
    """Write JSON in one form: keys sorted, no blanks."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def compute_fingerprint(definition: Mapping[str, Any]) -> str:
    """The SHA-256, in hexadecimal, of what is seen of a tool."""
    visible_fields = {name: definition.get(name) for name in _FIELDS}
    return hashlib.sha256(write_canonical(visible_fields).encode("utf-8", "surrogatepass")).hexdigest()


def hash_command(command: Sequence[str], url: str, names: Sequence[str]) -> str:
    """The SHA-256 of what an administrator approves of a server: its command or address, and variables it is given."""
    approved_fields = {"command": list(command), "url": url, "names": sorted(names)}
    return hashlib.sha256(write_canonical(approved_fields).encode("utf-8", "surrogatepass")).hexdigest()


def join_names(server: str, tool: str) -> str:
    """The name by which models call a tool: `server__tool`, 64 letters, digits, dashes and underscores at most.

    A name that had to be changed ends with eight digits of its hash, so that two names stay two.
    """
    plain = f"{_STRANGE.sub('_', server)}__{_STRANGE.sub('_', tool)}"
    if plain == f"{server}__{tool}" and len(plain) <= LONGEST_NAME:
        return plain
    tail = hashlib.sha256(f"{server}\0{tool}".encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain[: LONGEST_NAME - 9]}_{tail}"


def is_invisible(sign: str) -> bool:
    """Whether a character is drawn as nothing or steers what is drawn: controls, marks, tags, fillers, selectors."""
    category = unicodedata.category(sign)
    if category in ("Cf", "Cc", "Co", "Cs", "Cn") and sign not in _PLAIN_CONTROL:
        return True
    return sign in _FILLERS or any(ord(sign) in span for span in _VARIATION)


def strip_invisible(text: str) -> str:
    """Take out what people don't see: invisible characters and HTML comments."""
    return _COMMENT.sub("", "".join(sign for sign in text if not is_invisible(sign)))


def show_invisible(text: str) -> str:
    """Write invisible characters as their code point, ⟨U+200B⟩; comments stay as they are."""
    return "".join(f"⟨U+{ord(sign):04X}⟩" if is_invisible(sign) else sign for sign in text)


def clean(value: Any) -> Any:
    """A JSON value whose texts and keys hold nothing invisible, for a model."""
    match value:
        case str():
            return strip_invisible(value)
        case dict():
            return {strip_invisible(str(key)): clean(inner) for key, inner in value.items()}
        case list():
            return [clean(inner) for inner in value]
        case _:
            return value


def compare(
    server: str,
    pins: Iterable[Pin],
    listing: Sequence[Mapping[str, Any]],
    *,
    is_same_server: bool,
    foreign_names: Mapping[str, str],
) -> list[PinnedTool]:
    """Hold a server's last list against its pins, in order of the tools' names.

    `foreign_names` are the tools of other servers, by the name that models call them by, each with its server.
    """
    approved = {pin.tool: pin for pin in pins}
    listed = {str(definition.get("name", "")): definition for definition in listing}
    names = dict[str, str]()
    tools = list[PinnedTool]()
    for tool in sorted({*approved, *listed}):
        name = join_names(server, tool)
        owner = foreign_names.get(name) or names.get(name)
        drift = _find_drift(approved.get(tool), listed.get(tool), is_same_server)
        names.setdefault(name, f"{server}'s {tool}")
        definition = listed.get(tool) or approved[tool].definition
        warnings = find_warnings(definition, foreign_names)
        if owner is not None:
            drift = Drift.COLLISION
            warnings = [f"Another tool is called {name} already: {owner}.", *warnings]
        tools.append(PinnedTool(tool, name, drift, definition, _diff(approved.get(tool), listed.get(tool)), warnings))
    return tools


def find_warnings(definition: Mapping[str, Any], foreign_names: Mapping[str, str]) -> list[str]:
    """Sentences on what a definition hides, and on other servers' tools that it names."""
    text = "\n".join(_list_texts({name: definition.get(name) for name in _FIELDS}))
    warnings = list[str]()
    if hidden := sorted({f"U+{ord(sign):04X}" for sign in text if is_invisible(sign)}):
        warnings.append(f"It holds invisible characters: {', '.join(hidden[:8])}.")
    if _COMMENT.search(text):
        warnings.append("It holds a comment that a page would not show.")
    words = set(_WORD.findall(text))
    own = {name.partition("__")[2] for name in foreign_names}
    if shadowed := sorted((words & set(foreign_names)) | {word for word in words & own if "_" in word or "-" in word}):
        warnings.append(f"It names tools of other servers: {', '.join(shadowed[:8])}.")
    return warnings


def _find_drift(pin: Pin | None, definition: Mapping[str, Any] | None, is_same_server: bool) -> Drift:
    if pin is None:
        return Drift.NEW
    if definition is None:
        return Drift.VANISHED
    if compute_fingerprint(definition) != pin.fingerprint:
        return Drift.CHANGED
    return Drift.APPROVED if is_same_server else Drift.SERVER_CHANGED


def _diff(pin: Pin | None, definition: Mapping[str, Any] | None) -> list[str]:
    """List the lines that changed since the approval, with invisible characters shown; empty when none did."""
    if pin is None:
        return []
    return [*_compute_diff(_write_lines(pin.definition), _write_lines(definition) if definition else ())]


@lru_cache(1_000)
def _compute_diff(old: tuple[str, ...], new: tuple[str, ...]) -> tuple[str, ...]:
    """Compute a diff; one of many lines in linear time, since it is made anew whenever servers are listed."""
    names = ("approved", "now")
    if len(old) + len(new) > _MOST_COMPARED:
        return tuple(compute_unified_at_once(old, new, names))
    return tuple(difflib.unified_diff(old, new, *names, lineterm="", n=2))


def _write_lines(definition: Mapping[str, Any]) -> tuple[str, ...]:
    visible_fields = {name: definition[name] for name in _FIELDS if definition.get(name) is not None}
    lines = show_invisible(json.dumps(visible_fields, indent=1, ensure_ascii=False)).splitlines()
    return tuple(line[:_LONGEST_LINE] for line in lines[:_MOST_LINES])


def _list_texts(value: Any) -> list[str]:
    match value:
        case str():
            return [value]
        case dict():
            return [text for key, inner in value.items() for text in (str(key), *_list_texts(inner))]
        case list() | tuple():
            return [text for inner in value for text in _list_texts(inner)]
        case _:
            return []

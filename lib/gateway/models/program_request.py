"""A program's request, whichever protocol it came in, and the checks that all protocols share."""

from collections.abc import Collection, Mapping
from typing import Any

from msgspec import Struct

from lib.errors import InvalidInput
from lib.fast_json import decode, encode_text

_DEEPEST = 200
_FAR_TOO_MANY = 5
MOST_PARTS = 20_000  # objects and lists of a body: messages, parts, tools
MOST_VALUES = 1_000_000  # that these hold


class ProgramRequest(Struct, frozen=True):
    """A program's request in the one shape inside: OpenAI's chat messages and parameters.

    `model` is a configuration's slug or `provider/model`. `body` is the request as it came, for the lane that passes
    it on unread. `native` names what of it can be said in its own protocol alone, so that it can't be translated;
    `unsaid` names parts of messages and tools without which it can be, by their place (`messages.cache_control`).
    """

    model: str
    messages: list[dict[str, Any]]
    parameters: dict[str, Any] = {}
    stream: bool = False
    include_usage: bool = False
    body: dict[str, Any] = {}
    texts: tuple[str, ...] | None = None  # to be turned into vectors
    native: str = ""
    unsaid: tuple[str, ...] = ()


class Losses:
    """Parts of a request that a translation can't say: noted while it is read, each once."""

    def __init__(self) -> None:
        self.native = dict[str, None]()
        self.unsaid = dict[str, None]()

    def leave_out(self, name: str) -> None:
        """Note a part that the request is understood without."""
        self.unsaid[name] = None

    def leave_out_others(self, path: str, source: Mapping[str, Any], translated: Collection[str]) -> None:
        """The fields of an object that are not among those known; null and false say nothing."""
        for name, value in source.items():
            if name not in translated and value is not None and value is not False:
                self.unsaid[f"{path}.{name}"] = None

    def refuse(self, description: str) -> None:
        """Note a part without which the request would ask for something else: it can't be translated."""
        self.native[description] = None


def make_request(
    body: dict[str, Any], messages: list[dict[str, Any]], parameters: dict[str, Any], losses: Losses
) -> ProgramRequest:
    """The question of a body whose protocol always has counts in its answer; the first of what is native names it."""
    native = next(iter(losses.native), "")
    model = require_model_field(body)
    streams = read_flag(body, "stream")
    return ProgramRequest(
        model, messages, parameters, streams, True, body, native=native, unsaid=tuple(sorted(losses.unsaid))
    )


def read_json(raw: bytes) -> dict[str, Any]:
    """The body as an object; InvalidInput when it is none."""
    if raw.count(b'{"') > _FAR_TOO_MANY * MOST_PARTS:  # inside a text it would be {\\": they are counted unread
        raise _make_too_many_error()
    try:
        body = decode(raw)
    except (ValueError, RecursionError):
        raise InvalidInput("The body is not JSON.", "", "Send a JSON object.") from None
    if not isinstance(body, dict):
        raise InvalidInput("The body is not a JSON object.", "", "Send an object with model and messages.")
    check_amount(body)
    if raw.count(b"[") + raw.count(b"{") > _DEEPEST and _is_deeper(body, _DEEPEST):
        raise InvalidInput("The body is nested too deep.", f"{_DEEPEST} levels are the most.", "Make it flatter.")
    return body


def check_amount(body: dict[str, Any]) -> None:
    """InvalidInput when a body is made of more pieces than any model takes: others would wait while they are walked."""
    parts = 0
    values = 0
    waiting = list[Any]([body])
    while waiting:
        value_part = waiting.pop()
        parts += 1
        values += len(value_part)
        if parts + len(waiting) > MOST_PARTS or values > MOST_VALUES:
            raise _make_too_many_error()
        waiting += [
            inner
            for inner in (value_part.values() if isinstance(value_part, dict) else value_part)
            if isinstance(inner, dict | list)
        ]


def _make_too_many_error() -> InvalidInput:
    why = f"It may have {MOST_PARTS:,} messages, parts, tools and other objects, and {MOST_VALUES:,} values."
    return InvalidInput("The body has too many parts.", why, "Send fewer.")


def _is_deeper(value: Any, most: int) -> bool:
    """Whether objects and lists stand in each other more than `most` times: what keeps and sends them recurses."""
    level = [value]
    for _ in range(most):
        inside = [inner_value.values() if isinstance(inner_value, dict) else inner_value for inner_value in level]
        level = [inner for inner_value in inside for inner in inner_value if isinstance(inner, dict | list)]
        if not level:
            return False
    return True


def require_text_field(body: dict[str, Any], name: str) -> str:
    """A text that must be there."""
    value = body.get(name)
    if isinstance(value, str) and value.strip():
        return value
    raise InvalidInput(f"{name} is missing.", "It must be a text.", f"Add {name} to the body.", field=name)


def require_model_field(body: dict[str, Any]) -> str:
    """The name of what is asked; nothing has a name that can't be printed."""
    name = require_text_field(body, "model")
    if name.isprintable():
        return name
    raise InvalidInput("model can't be used.", "It holds signs that no name has.", "Correct model.", field="model")


def read_list_field(body: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of objects that must be there and hold something."""
    value = body.get(name)
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return value
    raise InvalidInput(
        f"{name} can't be read.", "It must be a list of objects, and not empty.", f"Correct {name}.", field=name
    )


def read_object_field(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object; absent and null are empty."""
    value = body.get(name)
    if value is None or isinstance(value, dict):
        return value or {}
    raise InvalidInput(f"{name} must be an object.", "", f"Correct {name}.", field=name)


def read_tools_field(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tools; absent and null are none."""
    value = body.get("tools") or []
    if isinstance(value, list) and all(isinstance(tool, dict) for tool in value):
        return value
    raise InvalidInput("tools can't be read.", "It must be a list of objects.", "Correct tools.", field="tools")


def read_flag(body: dict[str, Any], name: str) -> bool:
    """A truth value; absent and null are false."""
    value = body.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise InvalidInput(f"{name} must be true or false.", "", f"Correct {name}.", field=name)


def encode_event(data: Any, name: str | None = None) -> bytes:
    """A server-sent event holding JSON."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {encode_text(data)}\n\n".encode("utf-8", "replace")

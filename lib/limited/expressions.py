"""Running a compiled expression in CEL: its functions beside CEL's own, and what it returns as JSON's values.

Used in this process and in the child of `rules`, which has a limit of processor time.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lib.fast_json import decode, encode_text
from lib.patterns import compile_pattern

_NUMBER = compile_pattern(r"[+-]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?")
_FENCE = "```"


class ExpressionError(Exception):
    """An expression or a text that can't be computed; its words say why."""


def convert_to_number(value: Any) -> float | int:
    """Read a number, also from text; what is no number is an ExpressionError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    text = str(value).strip()
    if isinstance(value, str) and _NUMBER.fullmatch(text):
        return float(text)
    raise ExpressionError(f"{text[:60]!r} is no number")


def convert_to_text(value: Any) -> str:
    """Write a value as a text shows it: texts as they are, nothing for null, an answer's words, else JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, Mapping) and isinstance(value.get("text"), str):
        return str(value["text"])
    return encode_text(value)


def parse_json(value: Any) -> Any:
    """Decode JSON from a text, also where a model put it between other words or in a fence."""
    if not isinstance(value, str):
        return value
    for candidate in _list_json_candidates(value):
        try:
            return decode(candidate)
        except (ValueError, RecursionError):
            continue
    raise ExpressionError(f"{value[:60]!r} holds no JSON")


def _list_fences(text: str) -> Iterator[str]:
    """List the texts of fenced blocks whose language is JSON or not named."""
    start = text.find(_FENCE)
    while start >= 0 and (line_end := text.find("\n", start)) >= 0:
        end = text.find(_FENCE, line_end)
        if end < 0:
            return
        if text[start + len(_FENCE) : line_end].strip() in ("", "json"):
            yield text[line_end:end].strip()
        start = text.find(_FENCE, end + len(_FENCE))


def _list_json_candidates(text: str) -> Iterator[str]:
    yield text.strip()
    yield from _list_fences(text)
    for opening, closing in ("{}", "[]"):
        start = text.find(opening)
        end = text.rfind(closing)
        if 0 <= start < end:
            yield text[start : end + 1]


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "number": convert_to_number,
    "text": convert_to_text,
    "lower": lambda value: convert_to_text(value).lower(),
    "upper": lambda value: convert_to_text(value).upper(),
    "trim": lambda value: convert_to_text(value).strip(),
    "split": lambda value, by: convert_to_text(value).split(by) if by else [*convert_to_text(value)],
    "join": lambda members, by="": by.join(convert_to_text(member) for member in members),
    "words": lambda value: convert_to_text(value).split(),
    "lines": lambda value: convert_to_text(value).splitlines(),
    "parse": parse_json,
    "encode": encode_text,
}


def run_program(program: Any, values: Mapping[str, Any]) -> Any:
    """Run a compiled expression in this process; raises ExpressionError."""
    import cel

    try:
        result = program.execute(cel.Context(dict(values), FUNCTIONS))
    except KeyError as error:
        raise ExpressionError(f"there is no {error.args[0]!r}") from None
    except ZeroDivisionError:
        raise ExpressionError("it divides by zero") from None
    except (TypeError, RuntimeError, ValueError, OverflowError, RecursionError, IndexError) as error:
        raise ExpressionError(shorten_message(str(error))) from None
    return convert_to_plain(result)


def convert_to_plain(value: Any, depth: int = 0) -> Any:
    """Turn what the engine returns into JSON's values."""
    if depth > 100:
        raise ExpressionError("its value is nested too deeply")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {convert_to_text(key): convert_to_plain(member, depth + 1) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [convert_to_plain(member, depth + 1) for member in value]
    return convert_to_text(value) if isinstance(value, bytes) else str(value)


def shorten_message(message: str) -> str:
    """The engine's message without its drawing of the place."""
    first = message.split("\n", 1)[0].replace("ERROR: <input>:", "place ")
    return " ".join(first.split())[:300]


def compute(source: str, values: Mapping[str, Any]) -> Any:
    """Compile and run an expression; raises ExpressionError."""
    import cel

    return run_program(cel.compile(source), values)

"""Expressions in CEL, Google's Common Expression Language (https://cel.dev), and `{{node.field}}` in texts.

An expression can't loop without end, call out or touch Python. Its length and its nesting are bounded before it is
compiled; patterns run on an engine without backtracking. Whoever repeats over lists (`map`, `filter`, `all`, `exists`)
does so in a child process with limits of processor time and memory, since repetitions within one another multiply; so
do `join`, and signs that put large values one behind another.
Beside CEL's own functions there are `number(x)`, `text(x)`, `lower(x)`, `upper(x)`, `trim(x)`, `split(x, by)`,
`join(list, by)`, `words(x)`, `lines(x)`, `parse(x)` (JSON) and `encode(x)` (JSON).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lib.limited.expressions import ExpressionError, convert_to_text, run_program, shorten_message
from lib.patterns import compile_pattern, read_whole_number
from lib.workflows.definition import LONGEST_EXPRESSION

DEEPEST = 24  # brackets and members within one another
_MOST_REPETITIONS = 3  # within one another
_LONGEST_TEXT = 5_000_000  # characters of a filled text, or of all within one value
_MOST_BUILT = 1_000_000  # characters that an expression may put together in this process
REPEATS = compile_pattern(r"\.\s*+(?:map|filter|all|exists|exists_one|existsOne)\s*+\(")
_BOUND_NAME = compile_pattern(
    r"(?:map|filter|all|exists|exists_one|existsOne)\s*+\(\s*+([A-Za-z_]\w*+)\s*+,",
)
# One that is left open ends with the text, or every quote in it would be tried as a beginning.
_STRING = compile_pattern(
    r"""("(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|'(?:[^'\\]++|\\.)*+(?:'|\\?\Z))""",
    re.DOTALL,
)
_JOINS = compile_pattern(r"\bjoin\s*+\(")
PLACEHOLDER = compile_pattern(r"\{\{\s*+([A-Za-z_]\w*+(?:\.[A-Za-z0-9_-]++)*+)\s*+\}\}")


@dataclass(frozen=True)
class Expression:
    """A compiled expression; `names` are the variables that it reads from outside.

    `repeats`: what it does may be many times what it is given. Else it names its values `copies` times at most.
    """

    source: str
    program: Any
    names: tuple[str, ...]
    repeats: bool
    copies: int


@lru_cache(maxsize=2_000)
def compile_expression(source: str) -> Expression:
    """Compile an expression; raises ExpressionError with why it can't be."""
    if not source.strip():
        raise ExpressionError("it is empty")
    if len(source) > LONGEST_EXPRESSION:
        raise ExpressionError(f"it has {len(source):,} characters; the limit is {LONGEST_EXPRESSION:,}")
    bare = _STRING.sub("''", source)
    if _measure_depth(bare) > DEEPEST:
        raise ExpressionError(f"it is nested more than {DEEPEST} deep")
    if _measure_repetitions(bare) > _MOST_REPETITIONS:
        raise ExpressionError(f"more than {_MOST_REPETITIONS} repetitions stand within one another")
    import cel

    try:
        program = cel.compile(source)
        names = program.variables()
    except (ValueError, RuntimeError, TypeError) as error:
        raise ExpressionError(shorten_message(str(error))) from None
    bound = set(_BOUND_NAME.findall(bare))
    read = tuple(name for name in names if name not in bound and name not in _TYPES and not name.startswith("@"))
    repeats = REPEATS.search(bare) is not None or _JOINS.search(bare) is not None
    return Expression(source, program, read, repeats, 1 + bare.count("+") + bare.count(","))


_TYPES = {"int", "uint", "double", "bool", "string", "bytes", "list", "map", "type", "null_type", "dyn"}


def _measure_depth(bare: str) -> int:
    depth = deepest = 0
    for letter in bare:
        if letter in "([{?":
            depth += 1
            deepest = max(deepest, depth)
        elif letter in ")]}":
            depth = max(depth - 1, 0)
    return deepest


def _measure_repetitions(bare: str) -> int:
    """How deep repetitions stand within one another."""
    starts = {match.end() - 1 for match in REPEATS.finditer(bare)}
    stack: list[bool] = []
    deepest = 0
    for position, letter in enumerate(bare):
        if letter == "(":
            stack.append(position in starts)
            deepest = max(deepest, sum(stack))
        elif letter == ")" and stack:
            stack.pop()
    return deepest


def evaluate(source: str, scope: Mapping[str, Any]) -> Any:
    """Compute an expression over named values; raises ExpressionError with why it can't be."""
    expression = compile_expression(source)
    missing = [name for name in expression.names if name not in scope]
    if missing:
        raise ExpressionError(f"{', '.join(missing)} has no value here")
    values = {name: scope[name] for name in expression.names}
    if _is_heavy(expression, values):
        return _evaluate_limited(source, values)
    return run_program(expression.program, values)


def waits_for_child(source: str, scope: Mapping[str, Any]) -> bool:
    """Whether computing an expression may take seconds, in the limited child: not to be waited for on an event loop."""
    expression = compile_expression(source)
    return _is_heavy(expression, {name: scope[name] for name in expression.names if name in scope})


def _is_heavy(expression: Expression, values: Mapping[str, Any]) -> bool:
    most = _MOST_BUILT // expression.copies
    return expression.repeats or measure_size(values, most) > most


def _evaluate_limited(source: str, values: Mapping[str, Any]) -> Any:
    from lib.limited.child import NotComputed
    from lib.limited.rules import compute_expression

    try:
        return compute_expression(source, values)
    except NotComputed as error:
        raise ExpressionError(error.why.rstrip(".")) from None


def require_condition(value: Any) -> bool:
    """Return an expression's value as a condition; raises ExpressionError when it is neither true nor false."""
    if isinstance(value, bool):
        return value
    raise ExpressionError(f"it is {convert_to_text(value)[:60]!r}, neither true nor false")


def evaluate_condition(source: str, scope: Mapping[str, Any]) -> bool:
    """Compute a condition; raises ExpressionError when its value is neither true nor false."""
    return require_condition(evaluate(source, scope))


def list_paths(text: str) -> list[tuple[str, ...]]:
    """List the paths that a text's places name, each once: `{{a.b}}` is ("a", "b")."""
    return list(dict.fromkeys(tuple(path.split(".")) for path in PLACEHOLDER.findall(text)))


def find_value(path: Sequence[str], scope: Mapping[str, Any]) -> Any:
    """Follow a path into named values; raises ExpressionError that says where it ends."""
    value: Any = scope
    for number, name in enumerate(path):
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif isinstance(value, list) and (index := read_whole_number(name)) is not None and index < len(value):
            value = value[index]
        elif value is None and number:
            return None  # of a step that was not taken
        else:
            raise ExpressionError(f"{'.'.join(path)} has no value: there is no {name!r}")
    return value


def fill_text(text: str, scope: Mapping[str, Any]) -> str:
    """Replace each place of a text by its value, once; raises ExpressionError for a value that is missing."""
    return _Filling(scope).fill_text(text)


def fill_value(value: Any, scope: Mapping[str, Any]) -> Any:
    """Fill every text within a value; a text that is one place alone becomes the value itself, whatever its type."""
    return _Filling(scope).fill_value(value)


class _Filling:
    """Fills the places of one value, and counts what that comes to before it is built."""

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self._scope = scope
        self._size = 0

    def fill_text(self, text: str) -> str:
        self._count(len(text))
        return PLACEHOLDER.sub(self._write, text)

    def fill_value(self, value: Any) -> Any:
        if isinstance(value, str):
            alone = PLACEHOLDER.fullmatch(value.strip())
            return self._find(alone[1]) if alone else self.fill_text(value)
        if isinstance(value, Mapping):
            return {str(name): self.fill_value(member) for name, member in value.items()}
        if isinstance(value, list | tuple):
            return [self.fill_value(member) for member in value]
        return value

    def _find(self, path: str) -> Any:
        value = find_value(path.split("."), self._scope)
        self._count(measure_size(value, _LONGEST_TEXT - self._size))
        return value

    def _write(self, match: re.Match[str]) -> str:
        text = convert_to_text(find_value(match[1].split("."), self._scope))
        self._count(len(text))
        return text

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > _LONGEST_TEXT:
            raise ExpressionError(f"the text has more than {_LONGEST_TEXT:,} characters")


def measure_size(value: Any, most: int) -> int:
    """The characters of a value's texts and one for each of its members; past `most` no further is counted."""
    size = 0
    waiting = [value]
    while waiting and size <= most:
        part = waiting.pop()
        size += 1
        if isinstance(part, str):
            size += len(part)
        elif isinstance(part, Mapping):
            waiting += [*part, *part.values()]
        elif isinstance(part, list | tuple):
            waiting += part
    return size


def list_value_paths(value: Any) -> list[tuple[str, ...]]:
    """List the paths in every text within a value."""
    if isinstance(value, str):
        return list_paths(value)
    if isinstance(value, Mapping):
        return [path for member in value.values() for path in list_value_paths(member)]
    if isinstance(value, list | tuple):
        return [path for member in value for path in list_value_paths(member)]
    return []

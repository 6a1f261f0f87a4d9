"""Arithmetic on a text, without running it: numbers, operators and a few functions, within bounds.

The text is read by Python's own parser, and only the nodes listed here are computed; there are no names but the
constants, no attributes, no calls but of the functions. Whole numbers are exact up to a thousand digits.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from lib.errors import InvalidInput

LONGEST = 1_000  # characters
_LARGEST = 10**1_000
_MOST_NODES = 300
_LARGEST_POWER = 4_000
_MOST_DIGITS = 1_000
_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_UNARY: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_CONSTANTS = {"pi": math.pi, "e": math.e, "tau": math.tau}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "ceil": math.ceil,
    "cos": math.cos,
    "degrees": math.degrees,
    "exp": math.exp,
    "floor": math.floor,
    "gcd": math.gcd,
    "log": math.log,
    "log10": math.log10,
    "log2": math.log2,
    "max": max,
    "min": min,
    "radians": math.radians,
    "round": lambda number, digits=0: _round(number, digits),
    "sin": math.sin,
    "sqrt": math.sqrt,
    "sum": lambda *numbers: sum(numbers),
    "tan": math.tan,
}


def compute(expression: str) -> int | float:
    """Compute an arithmetic expression such as `2 * (3 + sqrt(16)) ** 2`; raises InvalidInput with the reason."""
    if len(expression) > LONGEST:
        raise _make_error(f"It has {len(expression):,} characters; the limit is {LONGEST:,}.")
    try:
        tree = ast.parse(expression.strip().replace("^", "**"), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise _make_error("It is no arithmetic expression.") from None
    if sum(1 for _ in ast.walk(tree)) > _MOST_NODES:
        raise _make_error("It has too many parts.")
    try:
        number: int | float = _bound(_compute(tree.body))
    except ZeroDivisionError:
        raise _make_error("It divides by zero.") from None
    except (ArithmeticError, TypeError, ValueError, RecursionError) as error:
        raise _make_error(f"{error}.") from None
    return number


def _compute(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return _bound(number)
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in _UNARY:
            return _UNARY[type(sign)](_compute(operand))
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _raise_to_power(_compute(left), _compute(right))
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _BINARY:
            return _bound(_BINARY[type(sign)](_compute(left), _compute(right)))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return _bound(_FUNCTIONS[name](*map(_compute, arguments)))
    names = ", ".join(sorted({*_FUNCTIONS, *_CONSTANTS}))
    raise _make_error(f"Only numbers, + - * / // % ** and {names} are understood.")


def _raise_to_power(base: Any, exponent: Any) -> Any:
    if abs(exponent) > _LARGEST_POWER:
        raise _make_error(f"An exponent may be {_LARGEST_POWER:,} at most.")
    if isinstance(base, int) and isinstance(exponent, int) and abs(exponent) * base.bit_length() > 4 * _LARGEST_POWER:
        raise _make_error("A power in it is too large.")
    return _bound(base**exponent)


def _round(number: Any, digits: Any) -> Any:
    if abs(digits) > _MOST_DIGITS:  # Python would write ten to that power
        raise _make_error(f"A number is rounded to {_MOST_DIGITS:,} digits at most.")
    return round(number, digits) if digits else round(number)


def _bound(number: Any) -> Any:
    if isinstance(number, complex):
        raise _make_error("It has no real value.")
    if isinstance(number, int) and abs(number) > _LARGEST:
        raise _make_error("A number in it has more than a thousand digits.")
    if isinstance(number, float) and not math.isfinite(number):
        raise _make_error("A number in it is too large.")
    return number


def _make_error(why: str) -> InvalidInput:
    return InvalidInput("The expression can't be computed.", why, "Write it like 2 * (3 + 4).", field="expression")

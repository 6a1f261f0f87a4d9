"""Rules that people write and answers are held against: patterns, JSON Schemas, likeness and differences of texts.

Expressions, Python sources and YAML of strangers are read here as well.

Each runs in a warm child (`rule_program`) with a limit of processor time and memory: a pattern may try for ever, a
schema may point to itself. NotComputed says why nothing came of one. Nothing a schema points to outside itself is
fetched or read.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib.limited.child import NotComputed
from lib.limited.difference import compute_unified_at_once
from lib.limited.worker import Workers

# Seconds of processor time.
PATTERN_S = 1.0
SCHEMA_S = 2.0
LIKENESS_S = 5.0
DIFFERENCE_S = 1.0
PYTHON_S = 2.0
EXPRESSION_S = 1.0
YAML_S = 3.0
_workers = Workers(Path(__file__).with_name("rule_program.py"))


def check_pattern(pattern: str) -> None:
    """Check a pattern of the module `regex`; raises NotComputed with why it can't be used."""
    _workers.ask({"rule": "pattern", "pattern": pattern}, PATTERN_S)


def find_pattern(pattern: str, text: str) -> bool:
    """Say whether the pattern is found somewhere in the text."""
    return bool(_workers.ask({"rule": "find", "pattern": pattern, "text": text}, PATTERN_S))


def check_schema(schema: Mapping[str, Any]) -> None:
    """Check a schema by its own draft; raises NotComputed with the place that breaks it."""
    _workers.ask({"rule": "schema", "schema": schema}, SCHEMA_S)


def list_schema_errors(schema: Mapping[str, Any], answer: str) -> list[str]:
    """List where an answer does not fit the schema, at most twenty; empty when it fits.

    Raises NotComputed when the schema can't tell: it takes too long, or points to what is not in it.
    """
    return list(_workers.ask({"rule": "fit", "schema": schema, "answer": answer}, SCHEMA_S))


def compute_likeness(first: list[str], second: list[str]) -> float:
    """Compute twice the words in common order over all words of both (difflib's ratio)."""
    return float(_workers.ask({"rule": "likeness", "first": first, "second": second}, LIKENESS_S))


def compute_unified_difference(first: list[str], second: list[str], names: tuple[str, str]) -> list[str]:
    """Compute the lines of a unified diff of two lists of lines; where that takes too long, as one change."""
    try:
        return list(_workers.ask({"rule": "unified", "first": first, "second": second, "names": names}, DIFFERENCE_S))
    except NotComputed:
        return compute_unified_at_once(first, second, names)


def compute_differences(first: str, second: str) -> list[list[Any]]:
    """Compare two texts line by line, as rows of `lib.limited.difference`; NotComputed when it takes too long."""
    return list(_workers.ask({"rule": "difference", "first": first, "second": second}, DIFFERENCE_S))


def analyse_python(source: str) -> dict[str, Any]:
    """Describe a Python source by its syntax tree; raises NotComputed for what is no Python, or takes too long."""
    return dict(_workers.ask({"rule": "python", "source": source}, PYTHON_S))


def compute_expression(source: str, values: Mapping[str, Any]) -> Any:
    """Compute an expression in CEL over named values; raises NotComputed with why it can't be, or takes too long."""
    return _workers.ask({"rule": "expression", "source": source, "values": dict(values)}, EXPRESSION_S)


def read_yaml(text: str) -> Any:
    """Read YAML, without aliases and tags, as JSON's values; NotComputed says why it can't be, or takes too long."""
    return _workers.ask({"rule": "yaml", "text": text}, YAML_S)

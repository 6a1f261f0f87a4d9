"""No text stops the process in an expression of ours: all are registered, and the work of each is linear."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.counts import FULL

PROJECT = Path(__file__).resolve().parents[2]
OF_PATTERNS = ("compile_pattern", "import re", "from re", "import regex", "from regex")  # what a module with one says
RUNS = {"compile", "search", "match", "fullmatch", "split", "findall", "finditer", "sub", "subn", "template"}
OF_CHILDREN = ("rule_program.py", "difference.py")  # processes with little time, that expressions of strangers run in
MOST_GROWTH = 2.5  # of the work where a text is twice as long
pytestmark = pytest.mark.feature("OPS-4")


@cache
def read_sources() -> dict[Path, str]:
    """Every module's text."""
    paths = [*(PROJECT / "lib").rglob("*.py"), *(PROJECT / "pages").rglob("*.py"), PROJECT / "app.py"]
    return {path: path.read_text() for path in paths}


@cache
def read_trees() -> dict[Path, ast.Module]:
    """The syntax trees of the modules that have patterns."""
    sources = sorted(read_sources().items())
    return {path: ast.parse(text) for path, text in sources if any(word in text for word in OF_PATTERNS)}


def registrations() -> Iterator[tuple[Path, str]]:
    """File and constant of every pattern that is one."""
    for path, tree in read_trees().items():
        for node in tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("compile_pattern("):
                yield path, ast.unparse(node.targets[0])


def uses_of(path: Path, constant: str) -> set[str]:
    """What is called on a constant of a module; `anything` where it is handed on."""
    found, attributes = set[str](), set[int]()
    for node in ast.walk(read_trees()[path]):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == constant:
            found.add(node.attr)
            attributes.add(id(node.value))
    for node in ast.walk(read_trees()[path]):
        if isinstance(node, ast.Name) and node.id == constant and isinstance(node.ctx, ast.Load):
            found |= set() if id(node) in attributes else {"anything"}
    return found


def names_of_constants() -> dict[str, bool]:
    """`module:CONSTANT` → whether nothing but `match` and `fullmatch` is used of it."""
    names = dict[str, bool]()
    for path, constant in registrations():
        module = ".".join(path.relative_to(PROJECT).with_suffix("").parts)
        names[f"{module}:{constant}"] = constant.startswith("_") and uses_of(path, constant) <= {"match", "fullmatch"}
    return names


def test_every_pattern_is_registered() -> None:
    stray = [
        f"{path.relative_to(PROJECT)}:{node.lineno} {ast.unparse(node)[:60]}"
        for path, tree in read_trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in RUNS
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in ("re", "regex")
        and path.name not in ("patterns.py", *OF_CHILDREN)
    ]
    stray += [
        f"{path.relative_to(PROJECT)}:{node.lineno}"
        for path, tree in read_trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in ("re", "regex")
    ]
    assert stray == [], "register it with lib.patterns.compile_pattern"


def test_patterns_are_made_when_a_module_is_imported() -> None:
    in_functions = [
        f"{path.relative_to(PROJECT)}:{call.lineno}"
        for path, tree in read_trees().items()
        if "compile_pattern(" in read_sources()[path]
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("compile_pattern")
    ]
    assert in_functions == [], "make it a constant, which is measured"
    assert {path.relative_to(PROJECT).parts[0] for path, _ in registrations()} == {"lib"}


@pytest.fixture(scope="module")
def growths() -> dict[str, Any]:
    """Name → growth, length, seconds and the text that was worst, measured in a process of its own."""
    asked = ["0.05", "5", "thorough"] if FULL else ["0.03", "3"]  # every pattern at length, least of five
    done = subprocess.run(
        [sys.executable, "-m", "tests.security.pattern_meter", *asked],
        input=json.dumps(names_of_constants()),
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_twice_the_text_is_at_most_two_and_a_half_times_the_work(growths: dict[str, Any]) -> None:
    ours = {name: measured for name, measured in growths.items() if not name.startswith("control.")}
    assert set(ours) >= set(names_of_constants())
    steep = {name: measured for name, measured in ours.items() if measured is None or measured[0] > MOST_GROWTH}
    assert steep == {}


def test_the_measurement_finds_what_is_not_linear(growths: dict[str, Any]) -> None:
    controls = {name: measured for name, measured in growths.items() if name.startswith("control.")}
    assert len(controls) == 4
    assert [name for name, measured in controls.items() if measured is not None and measured[0] <= MOST_GROWTH] == []

"""docs/security.md lists every promise with its test, in the words of the test."""

import ast
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
FOLDERS = ("tests/security", "tests/faults", "tests/fuzz")
pytestmark = pytest.mark.feature("CFG-6")


def promises() -> list[str]:
    """A line for each test file: its path, and the first paragraph of its docstring."""
    lines = []
    for folder in FOLDERS:
        for path in sorted((PROJECT / folder).glob("test_*.py")):
            docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
            promise = " ".join(docstring.partition("\n\n")[0].split())
            lines.append(f"- `{path.relative_to(PROJECT)}`: {promise}")
    return lines


def test_the_document_lists_every_promise_in_the_words_of_its_test() -> None:
    document = (PROJECT / "docs" / "security.md").read_text().splitlines()
    listed = [line for line in document if line.startswith(tuple(f"- `{folder}/" for folder in FOLDERS))]
    assert listed == promises()

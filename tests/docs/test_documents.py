"""The documents tell the truth: what they name is compared with the code."""

import ast
import inspect
import re
import shlex
from functools import cached_property
from pathlib import Path

import pytest

from lib.access.permissions import ROLE_PERMISSIONS, Permission, Role
from lib.cli.main import build_parser
from lib.db.tables import metadata, usage_logs
from lib.providers.kinds import ProviderKind

PROJECT = Path(__file__).resolve().parent.parent.parent
DOCS = PROJECT / "docs"
SEVEN = ("installation", "configuration", "usage-guide", "api-reference", "examples", "faq", "contributing")
PAGES = [PROJECT / "README.md", PROJECT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
pytestmark = pytest.mark.feature("SET-7")


def text(name: str) -> str:
    """A document by its name."""
    return (DOCS / f"{name}.md").read_text()


def table(document: str, heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without its head."""
    below = document.split(f"{heading}\n", 1)[1]
    lines = [line for line in below.splitlines() if line.startswith("|")]
    first = below[below.index("|") :].split("\n\n", 1)[0].splitlines()
    assert lines[: len(first)] == first
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in first[2:]]


def code_names(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def blocks(document: str, language: str) -> list[str]:
    """Fenced code of a language."""
    return re.findall(rf"```{language}\n(.*?)```", document, flags=re.DOTALL)


def commands_of(parser: object, path: str = "") -> dict[str, object]:
    """Command path → its parser, from argparse's tree."""
    found: dict[str, object] = {}
    for action in parser._actions:  # type: ignore[attr-defined]
        if hasattr(action, "_name_parser_map"):
            for name, child in action._name_parser_map.items():
                found |= commands_of(child, f"{path} {name}".strip())
    runs = not found or parser.get_default("run") is not None  # type: ignore[attr-defined]
    return found | ({path: parser} if runs else {})


def test_the_seven_documents_are_there() -> None:
    for name in SEVEN:
        assert len(text(name)) > 500


def test_every_setting_is_documented_and_nothing_else() -> None:
    source = (PROJECT / "lib" / "settings.py").read_text()
    read = set(re.findall(r'environment\.get\("([A-Z_]+)"', source))
    for document in (text("configuration"), (PROJECT / "README.md").read_text()):
        rows = table(document, "## Settings")
        assert {name for row in rows for name in code_names(row[0])} == read
    assert set(re.findall(r"^# ([A-Z_]+)=", (PROJECT / ".env.example").read_text(), flags=re.MULTILINE)) == read


def test_the_permission_table_is_the_one_the_library_enforces() -> None:
    rows = table(text("configuration"), "## Roles and permissions")
    assert [code_names(row[0])[0] for row in rows] == [permission.value for permission in Permission]
    for row in rows:
        permission = Permission(code_names(row[0])[0])
        for role, cell in zip(Role, row[1:], strict=True):
            assert (cell == "yes") is (permission in ROLE_PERMISSIONS[role]), (permission, role)


def test_every_kind_of_provider_is_documented() -> None:
    rows = table(text("configuration"), "## Providers")
    assert [code_names(row[0])[0] for row in rows] == [
        kind.value for kind in sorted(ProviderKind, key=[code_names(r[0])[0] for r in rows].index)
    ]
    assert len(rows) == len(ProviderKind)


def test_every_route_is_documented_and_nothing_else() -> None:
    from lib.gateway.serve.routes import routes

    rows = table(text("api-reference"), "## Routes")
    documented = {code_names(row[0])[0]: set(row[1].split(", ")) for row in rows}
    assert documented == {route.path: set(route.methods) - {"HEAD"} for route in routes}  # type: ignore[attr-defined]


def test_every_table_is_documented_and_nothing_else() -> None:
    rows = table(text("api-reference"), "## Tables")
    assert sorted(code_names(row[0])[0] for row in rows) == sorted(metadata.tables)


def test_every_column_of_the_ledger_is_documented_and_nothing_else() -> None:
    rows = table(text("api-reference"), "### usage_logs")
    assert sorted(name for row in rows for name in code_names(row[0])) == sorted(usage_logs.columns.keys())


def test_every_command_and_its_options_are_documented_and_nothing_else() -> None:
    documented = {}
    for row in table(text("api-reference"), "## Command line"):
        usage = code_names(row[0])[0]
        path = " ".join(word for word in re.match(r"[a-z\- ]+", usage)[0].split() if not word.startswith("-"))  # type: ignore[index]
        documented[path] = set(re.findall(r"--[a-z0-9-]+", usage))
    real = {
        path: {option for action in parser._actions for option in action.option_strings if option.startswith("--")}  # type: ignore[attr-defined]
        - {"--help"}
        for path, parser in commands_of(build_parser()).items()
    }
    assert documented == real


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_command_shown_can_be_run(path: Path) -> None:
    parser = build_parser()
    for block in blocks(path.read_text(), "sh"):
        for line in re.findall(r"python -m lib (.*)", block):
            words = shlex.split(re.split(r"\s[>|]\s", line)[0], comments=True)
            if words != ["--help"]:
                assert parser.parse_args(words).run


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    document = path.read_text()
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)|src=\"([^\"]+)\"", document):
        address = target[0] or target[1]
        if not address.startswith("http"):
            assert (path.parent / address).exists(), address


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_make_target_named_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)`|^make ([a-z]+)", path.read_text(), flags=re.MULTILINE)) <= {
        pair for target in targets for pair in ((target, ""), ("", target))
    }


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_python_example_compiles_and_imports_what_exists(path: Path) -> None:
    import importlib

    for block in blocks(path.read_text(), "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lib"):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name) or importlib.import_module(f"{node.module}.{alias.name}")


def test_every_service_named_exists() -> None:
    from lib.services import Services

    source = ast.parse((PROJECT / "lib" / "services.py").read_text())
    assigned = {
        node.attr
        for node in ast.walk(source)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and ast.unparse(node.value) == "self"
        and not node.attr.startswith("_")
    }
    lazy = {name for name, value in inspect.getmembers_static(Services) if isinstance(value, cached_property)}
    named = {name for row in table(text("api-reference").split("## Python\n", 1)[1], "") for name in code_names(row[0])}
    assert named == (assigned | lazy) - {"settings", "store"}

"""No library asks another machine, and no file of this one is read, because a stranger's schema or document says so."""

import ast
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.limited import rules
from lib.limited.child import NotComputed, ProcessLimits, run
from lib.playground.question import list_schema_errors

LIB = Path(__file__).resolve().parents[2] / "lib"
DRAFTS = [
    *(f"http://json-schema.org/draft-0{number}/schema#" for number in (3, 4, 6, 7)),
    *(f"https://json-schema.org/draft/{year}/schema" for year in ("2019-09", "2020-12")),
]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server of an inner network: whoever connects waits in its queue."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def pointing_to(address: str) -> list[dict[str, object]]:
    """Schemas that point to an address, directly, by a relative id, and from inside."""
    folder, _, name = address.rpartition("/")
    return [
        {"$ref": address},
        {"$dynamicRef": address},
        {"$recursiveRef": address},
        {"$id": f"{folder}/of-this-one", "$ref": name},
        {"id": f"{folder}/of-this-one", "$ref": name},
        {"$id": f"{folder}/of-this-one", "$dynamicRef": f"{name}#there"},
        {"allOf": [{"properties": {"a": {"items": {"$ref": address}}}}], "$ref": f"{address}#/definitions/a"},
        {"$schema": address, "$ref": address},
    ]


@pytest.mark.feature("OPS-4")
@pytest.mark.parametrize("scheme", ["http", "https", "file"])
def test_a_schema_reaches_neither_a_server_nor_a_file(scheme: str, listener: socket.socket, tmp_path: Path) -> None:
    (tmp_path / "inner.json").write_text('{"type": "string", "const": "a secret"}')
    host, port = listener.getsockname()
    address = f"file://{tmp_path}/inner.json" if scheme == "file" else f"{scheme}://{host}:{port}/inner.json"
    for draft in DRAFTS:
        for schema in pointing_to(address):
            errors = list_schema_errors({"$schema": draft, **schema}, '{"a": [1]}')
            assert "secret" not in str(errors)
            assert "is not of type 'string'" not in str(errors)
            with contextlib.suppress(NotComputed):
                rules.check_schema({"$schema": draft, **schema})
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.feature("OPS-4")
def test_schemas_that_point_into_themselves_and_to_the_drafts_are_followed() -> None:
    inside = {"$defs": {"n": {"type": "integer"}}, "items": {"$ref": "#/$defs/n"}}
    assert list_schema_errors(inside, '[1, "x"]') == ["$[1]: 'x' is not of type 'integer'"]
    assert list_schema_errors({"$ref": DRAFTS[3]}, '{"type": "objekt"}') != []
    assert list_schema_errors({"$ref": DRAFTS[3]}, '{"type": "object"}') == []


@pytest.mark.feature("OPS-4")
@pytest.mark.parametrize(
    "attempt",
    [
        "import socket; socket.create_connection({address!r}, 2)",
        "import urllib.request; urllib.request.urlopen('http://%s:%s/' % {address!r}, timeout=2)",
        "import subprocess; subprocess.run(['/bin/true'])",
        "import os; os.system('true')",
    ],
)
def test_a_limited_child_has_no_network_and_runs_nothing(attempt: str, listener: socket.socket, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(attempt.format(address=listener.getsockname()))
    with pytest.raises(NotComputed):
        run(program, (), b"", ProcessLimits(512 * 1024 * 1024, 20, 60))
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_one_module_alone_uses_the_schema_library() -> None:
    uses = set[str]()
    for path in LIB.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.partition(".")[0] in ("jsonschema", "referencing", "jsonschema_rs") for name in names):
                uses.add(str(path.relative_to(LIB)))
    assert uses == {"limited/schemas.py"}

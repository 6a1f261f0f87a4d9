"""The servers of operations and of code, and what an administrator allows the other two."""

import json
from pathlib import Path
from typing import Any

import pytest

from lib.access.permissions import Role, make_actor
from lib.errors import InvalidInput, NotFound, PermissionDenied
from lib.prompts.template import VersionDraft
from lib.settings import Settings
from tests.calls.rig import AMIRA, JONAS, Rig

pytestmark = pytest.mark.feature("TOOL-3")
VIEWER = make_actor("00000000-0000-7000-8000-00000000000c", "vera", Role.ADMINISTRATOR)


@pytest.fixture
def rig(settings: Settings) -> Any:
    rig = Rig(settings)
    yield rig
    rig.services.close()


def run(rig: Rig, server: str, tool: str, actor: Any = AMIRA, **arguments: Any) -> Any:
    found = rig.services.bundled_servers.find(actor, server).find(tool)
    assert found is not None
    return found.call(actor, arguments)


def test_cost_is_told_with_its_causes_and_only_as_far_as_the_person_may_see(rig: Rig) -> None:
    rig.run("say:Hello")
    rig.run("say:Hello", actor=JONAS)
    rig.services.calls.flush()
    answer = run(rig, "operations", "cost_explained", first_day="2025-01-01", last_day="2030-12-31", app="tests")
    assert (answer["period"]["calls"], answer["seen"]) == (2, "calls of everybody")
    assert answer["period_before"]["calls"] == 0
    assert [cause["model"] for cause in answer["causes"]["model"]] == ["say:Hello"]
    usage = run(rig, "operations", "usage", JONAS, first_day="2025-01-01", last_day="2030-12-31")
    assert usage["rows"][0]["calls"] == 2  # a developer may view statistics
    json.dumps(answer)


def test_functions_refuse_who_lacks_the_permission_of_the_page(rig: Rig) -> None:
    rig.services.budgets.create(AMIRA, scope="app", period="month", subject="tests", limit_nano=5_000_000_000)
    assert run(rig, "operations", "budgets", VIEWER)["budgets"][0]["state"] == "on track"
    assert run(rig, "operations", "health")["is_ready"] is True
    assert run(rig, "operations", "configurations", app="demo")["is_complete"] is True
    for change in (
        lambda: rig.services.bundled_servers.set_files(JONAS, ["/tmp"]),
        lambda: rig.services.bundled_servers.register_database(JONAS, "x", "sqlite:////x"),
        lambda: rig.services.bundled_servers.databases(VIEWER),
    ):
        with pytest.raises(PermissionDenied):
            change()


def test_folders_and_databases_count_when_an_administrator_allows_them(
    rig: Rig, tmp_path_factory: pytest.TempPathFactory
) -> None:
    import sqlite3

    tmp_path = tmp_path_factory.mktemp("shared")
    servers = rig.services.bundled_servers
    assert [bool(server.absence) for server in servers.list(AMIRA)] == [True, True, False, False]
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("alpha")
    servers.set_files(AMIRA, [str(tmp_path / "docs")])
    assert run(rig, "filesystem", "read_file", path="docs/a.md")["text"] == "alpha"
    sqlite3.connect(tmp_path / "shop.db").execute("CREATE TABLE orders (id INTEGER)").connection.close()
    servers.register_database(AMIRA, "shop", f"sqlite:///{tmp_path / 'shop.db'}")
    assert run(rig, "database", "describe_database", database="shop")["tables"] == {"orders": ["id INTEGER"]}
    rig.services.vault.reencrypt()
    assert list(servers.databases(AMIRA)) == ["shop"]
    servers.remove_database(AMIRA, "shop")
    with pytest.raises(NotFound):
        servers.remove_database(AMIRA, "shop")
    with pytest.raises(InvalidInput):
        servers.set_files(AMIRA, ["relative"])


def test_templates_are_rendered_and_code_is_read_but_never_run(rig: Rig, tmp_path: Path) -> None:
    rig.services.prompts.create(AMIRA, "greet", VersionDraft("Hello {{name}}"))
    rig.services.prompts.move_label(AMIRA, "greet", "production", 1)
    assert run(rig, "code", "render_template", template="greet", variables={"name": "Ada"})["text"] == "Hello Ada"
    source = f"import os\ndef f(a, *, b):\n    if a: return b\nos.system('touch {tmp_path / 'ran'}')\n"
    analysis = run(rig, "code", "analyse_python", source=source)
    assert analysis["functions"] == [
        {"name": "f", "line": 2, "arguments": ["a", "b"], "is_async": False, "complexity": 2, "docstring": None}
    ]
    assert analysis["risky_calls"] == [{"call": "os.system", "line": 4}]
    assert not (tmp_path / "ran").exists()
    for broken in ("def", "(" * 50_000, "\0"):
        with pytest.raises(InvalidInput):
            run(rig, "code", "analyse_python", source=broken)


@pytest.mark.parametrize(
    ("schema", "document", "is_valid"),
    [
        ({"type": "object", "required": ["a"]}, '{"a": 1}', True),
        ({"type": "object", "required": ["a"]}, "{}", False),
        ({"$ref": "#"}, "1", None),
        ({"$ref": "https://example.com/schema"}, "1", None),
    ],
)
def test_schemas_are_bounded_and_lead_nowhere(rig: Rig, schema: Any, document: str, is_valid: bool | None) -> None:
    if is_valid is None:
        with pytest.raises(InvalidInput):
            run(rig, "code", "validate_schema", schema=schema, document=document)
    else:
        answer = run(rig, "code", "validate_schema", schema=schema, document=document)
        assert answer["document_is_valid"] is is_valid


@pytest.mark.parametrize("kind", ["mcp_server", "python_tool", "http_tool", "prompt_template"])
def test_a_scaffold_is_text_that_can_be_read(rig: Rig, kind: str) -> None:
    file = run(rig, "code", "scaffold", kind=kind, name="weather", description='Says "rain"')["files"][0]
    if file["path"].endswith(".py"):
        compile(file["text"], file["path"], "exec")
    else:
        json.loads(file["text"])
    with pytest.raises(InvalidInput):
        run(rig, "code", "scaffold", kind=kind, name="../x")


def test_every_tool_has_a_schema_of_one_piece_and_a_description(rig: Rig) -> None:
    for server in rig.services.bundled_servers.list(AMIRA):
        for tool in server.tools:
            assert tool.parameters["type"] == "object"
            assert tool.description
            assert "additionalProperties" in tool.parameters

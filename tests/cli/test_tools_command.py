"""`tools` as it is used."""

import json
from pathlib import Path

import pytest

from tests.cli.commands import Run, refused, succeeded

pytestmark = pytest.mark.feature("TOOL-1")


def test_tools_are_listed_run_and_moved(run: Run, tmp_path: Path) -> None:
    listed = {tool["name"]: tool for tool in json.loads(succeeded(run("tools", "list", "--json")))}
    assert (listed["calculate"]["effects"], listed["calculate"]["approval"]) == ("reads", "auto")
    assert json.loads(succeeded(run("tools", "run", "calculate", '{"expression": "6 * 7"}'))) == {
        "text": "42",
        "value": 42,
    }
    assert "ended as failed" in refused(run("tools", "run", "calculate", '{"expression": "1 / 0"}'))
    assert "There is no tool 'nothing'" in refused(run("tools", "run", "nothing"))
    (row,) = json.loads(succeeded(run("tools", "executions", "--status", "ok", "--json")))
    assert (row["tool"], row["app"]) == ("calculate", "general")
    request = {"url": "https://api.example.com/{{city}}"}
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    definition = {"description": "Of a city.", "request": request, "parameters": parameters}
    entry = {"name": "weather", "source": "http", "definition": definition, "secret_headers": ["Authorization"]}
    settings = {"name": "calculate", "source": "native", "settings": {"price_nano_usd": 1000}}
    file = tmp_path / "tools.json"
    file.write_text(json.dumps({"format": "llm-manager/tools", "version": 1, "tools": [entry, settings]}))
    assert "Imported 1 tools; 0 were there already. Enter the secret headers of weather." in succeeded(
        run("tools", "import", str(file))
    )
    exported = json.loads(succeeded(run("tools", "export")))
    names = {tool["name"]: tool for tool in exported["tools"]}
    assert names["weather"]["definition"]["request"]["url"] == request["url"]
    assert names["calculate"]["settings"]["price_nano_usd"] == 1000
    file.write_text(json.dumps(exported))
    assert "Imported 0 tools; 2 were there" in succeeded(run("tools", "import", str(file)))
    file.write_text("{}")
    assert "not an export of tools" in refused(run("tools", "import", str(file)))

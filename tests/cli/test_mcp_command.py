"""`mcp …`: servers are added, approved, tried and listed from the command line; bundled ones are served over pipes."""

import asyncio
import sys
from pathlib import Path

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters

from lib import services as service_root
from lib.cli.main import main
from lib.settings import PROJECT, Settings

pytestmark = [pytest.mark.feature("TOOL-4"), pytest.mark.filterwarnings("default")]
ODD = str(PROJECT / "tests" / "mcp" / "odd_server.py")


@pytest.fixture
def installation(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("LLM_MANAGER_DATA", str(settings.data_dir))
    monkeypatch.setattr(service_root, "current", lambda: service_root.build(settings))
    return settings


def test_a_server_is_added_approved_tried_and_listed(
    installation: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["mcp", "add", "odd", "--secret", "KEY=value-of-key", "--command", sys.executable, ODD, "more"]) == 0
    assert main(["mcp", "start", "odd"]) == 1
    assert "not approved" in capsys.readouterr().err
    assert main(["mcp", "approve", "odd"]) == 0
    assert f"  {ODD}\n  more\n" in capsys.readouterr().out
    assert main(["mcp", "test", "odd"]) == 0
    assert "odd 1.0 speaks 2024-11-05 and offers 6 tools" in capsys.readouterr().out
    assert main(["mcp", "list"]) == 0
    assert "value-of-key" not in capsys.readouterr().out
    assert main(["mcp", "remove", "odd"]) == 0


def test_a_server_that_does_not_start_says_why(installation: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    main(["mcp", "add", "odd", "--command", sys.executable, ODD, "crash"])
    main(["mcp", "approve", "odd"])
    assert main(["mcp", "test", "odd"]) == 1
    assert "no licence" in capsys.readouterr().err


@pytest.mark.feature("TOOL-3")
def test_a_bundled_server_is_served_over_pipes(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("alpha")
    command = ["-m", "lib", "mcp", "serve", "filesystem", "--root", str(tmp_path)]

    async def work() -> tuple[list[str], str]:
        parameters = StdioServerParameters(command=sys.executable, args=command, cwd=PROJECT)
        async with Client(parameters) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            result = await client.call_tool("read_file", {"path": f"{tmp_path.name}/a.md"})
            return names, result.content[0].text  # type: ignore[union-attr]

    names, text = asyncio.run(work())
    assert names == ["list_folder", "read_file", "find_files"]
    assert "alpha" in text

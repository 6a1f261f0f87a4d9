"""`teams`: made, filled, ruled, billed and emptied from the command line."""

import csv
import io
import json
from typing import Any

import pytest

from tests.cli.commands import Run, refused, succeeded

pytestmark = pytest.mark.feature("ACC-5")
PASSWORD = {"LLM_MANAGER_NEW_PASSWORD": "correct horse battery"}


def test_a_team_is_ruled_from_the_command_line(run: Run) -> None:
    def teams(*words: str) -> str:
        return succeeded(run("teams", *words))

    def listed(*words: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(teams(*words, "--json"))
        return rows

    assert "research" in teams("add", "Research")
    succeeded(run("users", "add", "jonas", "--role", "developer", **PASSWORD))
    teams("join", "research", "jonas", "--role", "administrator")
    teams("rename", "research", "Labs")
    teams("role", "research", "Jonas", "--role", "team-administrator")
    assert [(row["name"], row["role"], row["from"]) for row in listed("members", "research")] == [
        ("jonas", "team-administrator", "team")
    ]
    teams("limit", "research", "--requests-per-minute", "9")
    assert [(row["name"], row["requests_per_minute"]) for row in listed("list")][1] == ("Labs", 9)
    succeeded(run("mcp", "add", "farm", "--team", "research", "--command", "true"))
    assert [row["team"] for row in json.loads(succeeded(run("mcp", "list", "--json")))] == ["Labs"]
    assert "all teams" in teams("move", "server", "farm", "all")
    assert "has members" in refused(run("teams", "remove", "research"))
    teams("share", "server", "--monthly", "100", "--by", "equally", "--from", "2026-01")
    teams("share", "desk", "--monthly", "1.5", "--by", "equally", "--from", "2026-01", "--until", "2026-02")
    assert [(row["name"], row["monthly_usd"]) for row in listed("shared")] == [("desk", "1.5"), ("server", "100")]
    for words, part in (((), "50"), (("--shared", "30", "--shared-by", "equally"), "15")):
        rows = list(csv.DictReader(io.StringIO(teams("statement", "--month", "2026-03", *words))))
        assert [(row["team"], row["shared_cost_usd"]) for row in rows] == [("first-team", part), ("research", part)]
    teams("unshare", "desk")
    teams("leave", "research", "jonas")
    teams("remove", "research")

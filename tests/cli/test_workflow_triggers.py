"""`workflow schedule`, `webhook`, `rows` and `compare` as they are used."""

import json
from pathlib import Path

import pytest

from tests.cli.commands import Run, refused, succeeded

pytestmark = pytest.mark.feature("FLOW-9")


def test_schedules_and_webhooks_are_made_listed_and_ended(run: Run) -> None:
    succeeded(run("workflow", "import", "--template", "bug-analysis"))
    assert "No schedules yet" in succeeded(run("workflow", "schedules", "bug-analysis"))
    words = ("bug-analysis", "30 2 * * 1-5", "--zone", "Europe/Berlin", "--set", "title=Night", "--json")
    made = json.loads(succeeded(run("workflow", "schedule", *words)))
    (listed,) = json.loads(succeeded(run("workflow", "schedules", "bug-analysis", "--json")))
    assert (listed["id"], listed["zone"], listed["overlap"]) == (made["id"], "Europe/Berlin", "skip")
    assert "can't be used" in refused(run("workflow", "schedule", "bug-analysis", "61 * * * *"))
    succeeded(run("workflow", "unschedule", made["id"]))
    hook = json.loads(succeeded(run("workflow", "webhook", "add", "bug-analysis", "--json")))
    assert hook["path"] == f"/hooks/{hook['id']}"
    renewed = succeeded(run("workflow", "webhook", "renew", hook["id"])).strip()
    assert renewed.startswith("whsec_")
    assert renewed != hook["secret"]
    succeeded(run("workflow", "webhook", "off", hook["id"]))
    listing = succeeded(run("workflow", "webhooks", "bug-analysis", "--json"))
    assert json.loads(listing)[0]["active"] is False
    assert "whsec_" not in listing
    succeeded(run("workflow", "webhook", "on", hook["id"]))
    succeeded(run("workflow", "webhook", "remove", hook["id"]))
    assert "No webhooks yet" in succeeded(run("workflow", "webhooks", "bug-analysis"))


@pytest.mark.feature("FLOW-3")
def test_a_table_is_run_and_two_of_its_runs_are_compared(run: Run, tmp_path: Path) -> None:
    definition = {
        "nodes": [
            {"kind": "input", "id": "start", "fields": [{"name": "text"}]},
            {"kind": "output", "id": "finish", "text": "{{start.text}}!"},
        ],
        "edges": [{"from": "start", "to": "finish"}],
    }
    file = tmp_path / "shout.json"
    file.write_text(json.dumps(definition))
    succeeded(run("workflow", "import", str(file), "--slug", "shout"))
    table = tmp_path / "rows.csv"
    table.write_text("text\na\nb\n")
    assert "rows" in succeeded(run("workflow", "rows", "shout", str(table), "--quote"))
    out = tmp_path / "out.csv"
    assert "2 runs of batch" in succeeded(run("workflow", "rows", "shout", str(table), "--out", str(out)))
    assert [line.split(",")[3] for line in out.read_text().splitlines()] == ["output", "a!", "b!"]
    (batch,) = json.loads(succeeded(run("workflow", "batches", "shout", "--json")))
    assert (batch["rows"], batch["states"]) == (2, "2 done")
    assert succeeded(run("workflow", "results", batch["id"])).splitlines()[1:] == out.read_text().splitlines()[1:]
    first, second = (row["id"] for row in json.loads(succeeded(run("workflow", "runs", "shout", "--json"))))
    compared = json.loads(succeeded(run("workflow", "compare", first, second, "--json")))
    assert [row["step"] for row in compared] == ["start", "finish"]
    assert all("output" in row["differs_in"] for row in compared)
    assert "No run has lost its process" in succeeded(run("workflow", "recover"))

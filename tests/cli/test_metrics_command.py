"""`metrics` as it is used: note something about a call, read it, add it up."""

import json
from pathlib import Path

import pytest

from lib.db.engine import Store
from tests.activity.activity_rig import log
from tests.cli.commands import Run, refused, succeeded


@pytest.mark.feature("CALL-7")
def test_metrics_are_recorded_listed_and_added_up(run: Run, tmp_path: Path) -> None:
    succeeded(run("migrate"))
    store = Store(f"sqlite:///{tmp_path / 'data' / 'llm_manager.db'}")
    call, other = log(store), log(store, app="bot")
    store.dispose()
    assert succeeded(run("metrics", "record", call, "rating", "4")) == "Recorded rating as integer.\n"
    succeeded(run("metrics", "record", other, "rating", "5", "--type", "float", "--metadata", '{"by": "judge"}'))
    succeeded(run("metrics", "record", call, "verdict", "helped"))
    listed = json.loads(succeeded(run("metrics", "list", call, "--json")))
    assert [(one["key"], one["type"], one["value"]) for one in listed] == [
        ("rating", "integer", 4),
        ("verdict", "string", "helped"),
    ]
    rating, verdict = json.loads(succeeded(run("metrics", "stats", "--json")))
    assert (rating["key"], rating["calls"], rating["mean"], rating["max"]) == ("rating", 2, 4.5, 5.0)
    assert (verdict["values"], verdict["mean"]) == ([["helped", 1]], None)
    (of_app,) = json.loads(succeeded(run("metrics", "stats", "--app", "bot", "--key", "rating", "--json")))
    assert of_app["mean"] == 5.0
    assert "helped (1)" in succeeded(run("metrics", "stats"))
    assert "no such call" in refused(run("metrics", "record", "nothing", "rating", "4"))
    assert "key can't be used" in refused(run("metrics", "record", call, "two words", "4"))

"""`usage import`, `usage imports`, `usage undo` and `import KIND FILE`."""

import json
from pathlib import Path

import pytest

from lib.cli.main import main

pytestmark = pytest.mark.feature("COST-10")
DATA = Path(__file__).resolve().parents[1] / "imports" / "data"


@pytest.fixture(autouse=True)
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lib import services

    monkeypatch.setenv("LLM_MANAGER_DATA", str(tmp_path))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    services.use(None)


def run(*words: str) -> int:
    from lib import services

    try:
        status = main(list(words))
    except SystemExit as left:
        status = int(left.code or 0)
    services.use(None)
    return status


def test_looked_at_imported_listed_and_undone(capsys: pytest.CaptureFixture[str]) -> None:
    file = str(DATA / "litellm.csv")
    assert run("usage", "import", file, "--preview") == 1, "a row of the file can't be read"
    shown = capsys.readouterr().out
    assert "LiteLLM SpendLogs: 4 new rows of 4 calls." in shown
    assert "Left out: 1 row, no moment." in shown
    assert run("usage", "imports") == 0
    assert "Nothing was imported." in capsys.readouterr().out
    assert run("import", "litellm", file) == 1
    told = capsys.readouterr()
    assert "Imported 4 rows of 4 calls." in told.out
    assert "Not all of the file is taken: 1 row: no moment." in told.err
    assert run("usage", "import", file) == 1
    assert "nothing new" in capsys.readouterr().err
    assert run("usage", "imports", "--json") == 0
    (batch,) = json.loads(capsys.readouterr().out)
    assert (batch["rows"], batch["cost_usd"], batch["unpriced_rows"]) == (4, "0.0003125", 1)
    assert run("stats", "--by", "user") == 0
    assert "customer-7@example.com" in capsys.readouterr().out
    assert run("usage", "undo", batch["id"][:20]) == 0
    assert "Removed 4 imported rows." in capsys.readouterr().out
    assert run("usage", "undo", batch["id"]) == 1


def test_columns_are_given(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("when,what\n2026-10-01 12:00,gpt-4o-mini\n")
    assert run("usage", "import", str(file)) == 1
    assert "--map started_at=COLUMN" in capsys.readouterr().err
    mapped = ("--map", "started_at=when", "--map", "model=what", "--zone", "Asia/Tokyo", "--app", "old")
    assert run("usage", "import", str(file), *mapped) == 0
    capsys.readouterr()
    assert run("stats", "--by", "app,hour") == 0
    assert "old,2026-10-01T03:00Z,1" in capsys.readouterr().out
    assert run("usage", "import", str(file), "--map", "nothing") == 1
    assert run("usage", "import", str(file), "--zone", "Mars/Base") == 1
    assert run("usage", "import", str(tmp_path / "no such file")) == 1

"""`stats whatif` and `stats reconcile` as they are used: files in, CSV and JSON out."""

import csv
import io
import json
from decimal import Decimal
from pathlib import Path

import pytest

from lib.db.engine import Store
from tests.cli.commands import Run, refused, succeeded
from tests.statistics.ledger_rows import call, write


@pytest.fixture
def filled(run: Run, tmp_path: Path) -> Run:
    succeeded(run("migrate"))
    store = Store(f"sqlite:///{tmp_path / 'data' / 'llm_manager.db'}")
    write(store, call(app="bot", prompt_tokens=1_000_000, completion_tokens=0, cost_nano_usd=10**9), call(app="shop"))
    store.dispose()
    return run


@pytest.mark.feature("COST-8")
def test_traffic_on_other_models(filled: Run) -> None:
    rows = json.loads(
        succeeded(filled("stats", "whatif", "--model", "openai/gpt-4.1-mini", "--format", "json")), parse_float=Decimal
    )
    assert [row["app"] for row in rows] == ["bot", "shop"]
    assert (rows[0]["cost_usd"], rows[0]["low_usd"], rows[0]["saved_most_usd"]) == (1, Decimal("0.4"), Decimal("0.6"))
    printed = succeeded(filled("stats", "whatif", "--move", "shop=openai/gpt-4.1-mini", "--from", "2026-10-01"))
    [row] = csv.DictReader(io.StringIO(printed))
    assert (row["app"], row["other_model"], row["calls"]) == ("shop", "openai/gpt-4.1-mini", "1")
    assert "no price" in refused(filled("stats", "whatif", "--model", "openai/nobody-sells-this"))
    assert "Which model" in refused(filled("stats", "whatif"))


@pytest.mark.feature("COST-9")
def test_an_invoice_beside_the_ledger(filled: Run, tmp_path: Path) -> None:
    invoice = tmp_path / "invoice.csv"
    invoice.write_text("when,what,paid\n2026-10-22,gpt-5.1,1.25\n")
    mapping = ("--map", "date=when", "--map", "model=what", "--map", "cost_usd=paid")
    done = filled("stats", "reconcile", str(invoice), *mapping, "--provider", "openai", "--format", "json")
    words = "They charge $0.249 (24.9 %) more.\nAll of it on 22 Oct: gpt-5.1 $0.249.\n"
    assert (done.returncode, done.stderr) == (0, words + "Not explained; calls past the gateway?\n")
    printed = done.stdout
    [gap] = json.loads(printed, parse_float=Decimal)
    assert (gap["day"], gap["model"], gap["our_calls"]) == ("2026-10-22", "gpt-5.1", 2)
    assert gap["gap_usd"] == Decimal("0.249")
    assert "no export of OpenAI or Anthropic" in refused(filled("stats", "reconcile", str(invoice)))
    assert "can't be read" in refused(filled("stats", "reconcile", str(tmp_path / "none.csv")))


@pytest.mark.feature("COST-3")
def test_stats_alone_needs_dimensions(filled: Run) -> None:
    answer = filled("stats")
    assert answer.returncode == 2
    assert "--by" in answer.stderr

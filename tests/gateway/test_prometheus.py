"""The day's figures equal the ledger, and read as Prometheus reads them."""

import re
from datetime import timedelta

import pytest

from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.gateway.api.prometheus import format_metrics
from lib.statistics.counters import BOUNDS_S, Counters
from tests.statistics.ledger_rows import call, write

LINE = re.compile(r'^llm_manager_\w+(\{(\w+="([^"\\\n]|\\.)*",?)+\})? -?[0-9.]+$')


@pytest.fixture
def ledger(store: Store) -> Store:
    now = utc_now()
    same = make_id()
    write(
        store,
        call(started_at=now, cost_nano_usd=1, execution_time_ms=100, first_token_ms=90),
        call(started_at=now, cost_nano_usd=10**9, execution_time_ms=101, first_token_ms=None),
        call(started_at=now, cost_nano_usd=None, model='odd "name"\\\nx', execution_time_ms=500_000),
        call(started_at=now, call_id=same, is_final=False, status="error", cost_nano_usd=5),
        call(started_at=now, call_id=same, attempt=2, status="refused", error_kind="budget", cost_nano_usd=0),
        call(started_at=now - timedelta(days=2), cost_nano_usd=7),
        call(started_at=now, batch_id="demo"),
    )
    return store


@pytest.mark.feature("GATE-5")
def test_today_is_counted_and_nothing_else(ledger: Store) -> None:
    found = {(m.model, m.status): m for m in Counters(ledger).snapshot().models}
    ok = found["gpt-5.1", "ok"]
    assert (ok.calls, ok.attempts, ok.cost_nano_usd, ok.unpriced) == (2, 2, 10**9 + 1, 0)
    assert (ok.duration.at_most[0], ok.duration.at_most[1], ok.duration.count, ok.duration.sum_ms) == (1, 2, 2, 201)
    assert (ok.first_token.count, ok.first_token.sum_ms) == (1, 90)
    assert (found["gpt-5.1", "error"].calls, found["gpt-5.1", "error"].attempts) == (0, 1)
    assert Counters(ledger).snapshot().refusals == {"budget": 1}


@pytest.mark.feature("GATE-5")
def test_the_text_is_what_prometheus_reads(ledger: Store) -> None:
    body = format_metrics(Counters(ledger).snapshot())
    assert body.endswith("\n")
    for line in body.splitlines():
        assert line.startswith(("# HELP ", "# TYPE ")) or LINE.match(line), line
    assert 'llm_manager_cost_usd_total{provider="openai",model="gpt-5.1",status="ok"} 1.000000001' in body
    assert 'model="odd \\"name\\"\\\\\\nx"' in body
    assert body.count('le="+Inf"') * len(BOUNDS_S) == body.count('le="') - body.count('le="+Inf"')
    assert "llm_manager_calls_in_flight 0" in body


@pytest.mark.feature("GATE-5")
def test_figures_are_read_at_most_every_ten_seconds(ledger: Store) -> None:
    counters = Counters(ledger)
    first = counters.snapshot()
    write(ledger, call(started_at=utc_now()))
    assert counters.snapshot() is first

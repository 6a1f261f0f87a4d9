"""The gap between a provider's figures and the ledger's: exact per day and model, each cause with its evidence."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from lib.db.engine import Store
from lib.statistics.filters import StatisticsFilter
from lib.statistics.invoices import gap_words, reconcile
from lib.statistics.invoices.gap_causes import CauseKind, has_gap
from lib.statistics.invoices.invoice_lines import Invoice, InvoiceLine
from lib.statistics.invoices.reconcile import Reconcile, Reconciliation
from lib.statistics.queries import Statistics
from tests.statistics.ledger_rows import AMIRA, NOON, call, write

pytestmark = pytest.mark.feature("COST-9")
DAY = NOON.date()
NEW_YORK = ZoneInfo("America/New_York")


@pytest.fixture
def service(store: Store) -> Iterator[Reconcile]:
    statistics = Statistics(store)
    yield Reconcile(store, statistics)
    statistics.close()


def invoice(*lines: InvoiceLine, kind: str | None = "openai", quantum_nano: int = 1) -> Invoice:
    return Invoice("test", kind, lines, quantum_nano=quantum_nano)


def only_cause(found: Reconciliation) -> CauseKind:
    [gap] = found.gaps
    [cause] = gap.causes
    return cause.kind


@pytest.mark.parametrize("seed", range(3))
def test_gaps_are_what_plain_python_says_and_add_up(store: Store, service: Reconcile, seed: int) -> None:
    dice = random.Random(seed)
    rows = [
        call(
            NOON + timedelta(minutes=dice.randrange(5 * 1440)), model=dice.choice(["gpt-5.1", "gpt-4o"]),
            served_model=dice.choice([None, "gpt-4o-2024-08-06"]), provider=dice.choice(["openai", "mistral"]),
            prompt_tokens=dice.choice([None, dice.randrange(10**6)]), completion_tokens=dice.randrange(10**5),
            cost_nano_usd=dice.choice([None, dice.randrange(10**12)]),
        )
        for _ in range(200)
    ]  # fmt: skip
    write(store, *rows)
    lines = [
        InvoiceLine(
            DAY + timedelta(days=n), model, dice.randrange(10**7), dice.randrange(10**6), 0, dice.randrange(10**12)
        )
        for n in range(6) for model in ("gpt-5.1", "gpt-4o-2024-11-20", "gpt-4o")
    ]  # fmt: skip
    found = service.compare(AMIRA, invoice(*lines))
    tokens, money = Counter[Any](), Counter[Any]()
    for line in lines:
        key = (line.day, (line.model or "").removesuffix("-2024-11-20"))
        tokens[key] += (line.prompt_tokens or 0) + (line.completion_tokens or 0)
        money[key] += line.cost_nano or 0
    for row in rows:
        if row["provider"] == "openai":
            key = (row["started_at"].date(), (row["served_model"] or row["model"]).removesuffix("-2024-08-06"))
            tokens[key] -= (row["prompt_tokens"] or 0) + row["completion_tokens"]
            money[key] -= row["cost_nano_usd"] or 0
    assert {(gap.day, gap.model): gap.tokens for gap in found.gaps} == tokens
    assert found.total.tokens == sum(tokens.values())
    assert (found.total.theirs.cost_nano or 0) - (found.total.ours.cost_nano or 0) == sum(money.values())
    for parts in (found.by_model, found.by_day):
        assert sum(gap.tokens or 0 for gap in parts) == found.total.tokens
        assert sum(gap.ours.calls for gap in parts) == sum(row["provider"] == "openai" for row in rows)


def test_what_agrees_has_no_cause(store: Store, service: Reconcile) -> None:
    write(store, call(cost_nano_usd=1_000_000))
    found = service.compare(AMIRA, invoice(InvoiceLine(DAY, "gpt-5.1-2025-11-13", 100, 20, 0, 1_000_000)))
    assert (found.total.tokens, found.total.cost_nano, found.total.causes) == (0, 0, ())


def test_days_cut_elsewhere_are_told_by_their_gaps(store: Store, service: Reconcile) -> None:
    evenings = [NOON.replace(hour=1) + timedelta(days=n) for n in range(5)]  # the day before, in New York
    write(store, *(call(moment, prompt_tokens=1000 * (n + 1)) for n, moment in enumerate(evenings)))
    lines = [
        InvoiceLine(moment.astimezone(NEW_YORK).date(), "gpt-5.1", 1000 * (n + 1), 20)
        for n, moment in enumerate(evenings)
    ]
    found = service.compare(AMIRA, invoice(*lines), other_zones=[NEW_YORK])
    cause = found.gaps[0].causes[0]
    assert cause.kind is CauseKind.TIME_ZONE
    assert "America/New_York" in cause.text
    assert "to 0 tokens" in cause.text
    there = service.compare(AMIRA, invoice(*lines), zone=NEW_YORK)
    assert not any(gap.causes or gap.tokens for gap in there.gaps)


def test_calls_outside_and_calls_here_alone(store: Store, service: Reconcile) -> None:
    write(store, call(model="gpt-5.1"), call(model="only-here"))
    found = service.compare(AMIRA, invoice(InvoiceLine(DAY, "gpt-5.1", 600, 20), InvoiceLine(DAY, "gpt-9", 7, 0)))
    by_model = {gap.model: gap for gap in found.gaps}
    assert [by_model[model].tokens for model in ("gpt-5.1", "gpt-9", "only-here")] == [500, 7, -120]
    kinds = {model: gap.causes[0].kind for model, gap in by_model.items()}
    assert kinds == {"gpt-5.1": CauseKind.OUTSIDE, "gpt-9": CauseKind.OUTSIDE, "only-here": CauseKind.ONLY_HERE}
    assert "500 tokens" in by_model["gpt-5.1"].causes[0].text


def test_days_that_cancel_out_do_not_agree(store: Store, service: Reconcile) -> None:
    write(store, call(), call(NOON + timedelta(days=1)))
    lines = InvoiceLine(DAY, "gpt-5.1", 90, 20), InvoiceLine(DAY + timedelta(days=1), "gpt-5.1", 110, 20)
    found = service.compare(AMIRA, invoice(*lines))
    [whole] = found.by_model
    assert whole.tokens == 0
    assert {cause.kind for cause in whole.causes} == {CauseKind.OUTSIDE, CauseKind.ONLY_HERE}
    assert [gap.tokens for gap in found.by_day] == [-10, 10]
    assert found.by_day[0].causes[0].text.startswith("gpt-5.1: 10 tokens are here alone")
    assert found.total.causes


def test_unpriced_calls_are_named(store: Store, service: Reconcile) -> None:
    write(store, call(cost_nano_usd=None), call(cost_nano_usd=5))
    found = service.compare(AMIRA, invoice(InvoiceLine(DAY, "gpt-5.1", 200, 40, 0, 10)))
    assert only_cause(found) is CauseKind.UNPRICED


def test_prices_that_differ_and_tokens_that_were_cached(store: Store, service: Reconcile) -> None:
    write(store, call(cost_nano_usd=1_000_000, cache_read_tokens=0))
    dearer = service.compare(AMIRA, invoice(InvoiceLine(DAY, "gpt-5.1", 100, 20, 0, 1_100_000)))
    assert only_cause(dearer) is CauseKind.PRICE
    assert "+10.0%" in dearer.gaps[0].causes[0].text
    cached = service.compare(AMIRA, invoice(InvoiceLine(DAY, "gpt-5.1", 100, 20, 60, 900_000)))
    assert only_cause(cached) is CauseKind.CACHED


def test_what_rounding_can_hide_and_no_more(store: Store, service: Reconcile) -> None:
    write(store, call(cost_nano_usd=1_234_000_000))
    for cost, kind in ((1_230_000_000, CauseKind.ROUNDING), (1_220_000_000, CauseKind.PRICE)):
        line = InvoiceLine(DAY, "gpt-5.1", 100, 20, 0, cost)
        assert only_cause(service.compare(AMIRA, invoice(line, quantum_nano=10_000_000))) is kind


def test_costs_alone_compare_money_alone_and_charges_for_no_model_stand_apart(store: Store, service: Reconcile) -> None:
    write(store, call(cost_nano_usd=5))
    lines = InvoiceLine(DAY, "gpt-5.1", cost_nano=5), InvoiceLine(DAY, None, cost_nano=100)
    apart, same = sorted(service.compare(AMIRA, invoice(*lines)).gaps, key=lambda gap: gap.model or "")
    assert (same.tokens, same.cost_nano, same.causes) == (None, 0, ())
    assert apart.causes[0].kind is CauseKind.NO_MODEL
    by_day = service.compare(AMIRA, invoice(InvoiceLine(DAY, None, cost_nano=5)))  # not by model at all: whole days
    assert [(gap.model, gap.cost_nano) for gap in by_day.gaps] == [(None, 0)]


def test_costs_that_no_model_is_told_of_are_compared_by_day(store: Store, service: Reconcile) -> None:
    write(store, call(cost_nano_usd=5), call(model="gpt-4o", cost_nano_usd=7))
    lines = (
        InvoiceLine(DAY, "gpt-5.1", 100, 20),
        InvoiceLine(DAY, "gpt-4o", 100, 20),
        InvoiceLine(DAY, None, cost_nano=12),
    )
    found = service.compare(AMIRA, invoice(*lines))
    assert (found.total.theirs.cost_nano, found.total.ours.cost_nano, found.total.cost_nano) == (12, 12, 0)
    assert (found.total.tokens, found.total.causes) == (0, ())
    assert not any(has_gap(gap) for gap in found.gaps)
    more = invoice(*lines[:2], InvoiceLine(DAY, None, cost_nano=2_000_000_012))
    assert [cause.kind for cause in service.compare(AMIRA, more).total.causes] == [CauseKind.UNEXPLAINED]


def test_a_usage_report_without_costs_compares_no_costs(store: Store, service: Reconcile) -> None:
    write(store, call(cost_nano_usd=5))
    (gap,) = service.compare(AMIRA, invoice(InvoiceLine(DAY, "gpt-5.1", 100, 20))).gaps
    assert (gap.model, gap.tokens, gap.cost_nano) == ("gpt-5.1", 0, None)


def test_the_gap_in_words(store: Store, service: Reconcile) -> None:
    days = [NOON + timedelta(days=n) for n in range(3)]
    write(
        store,
        *(call(day, model=model, cost_nano_usd=40 * 10**9) for day in days for model in ("gpt-5.1", "gpt-5-mini")),
    )
    dearer = {(1, "gpt-5.1"): 480_000_000, (1, "gpt-5-mini"): 142_000_000, (2, "gpt-5.1"): 1}
    lines = [
        InvoiceLine(day.date(), model, cost_nano=40 * 10**9 + dearer.get((n, model), 0))
        for n, day in enumerate(days) for model in ("gpt-5.1", "gpt-5-mini")
    ]  # fmt: skip
    found = service.compare(AMIRA, invoice(*lines))
    assert gap_words.write_sentences(found) == [
        "They charge $0.622 (0.3 %) more.",
        f"All of it on {days[1].day} {days[1]:%b}: gpt-5.1 $0.480, gpt-5-mini $0.142.",
        "Not explained; calls past the gateway?",
        "Rounding: <$0.0001.",
    ]
    assert [gap.model for gap in found.gaps if has_gap(gap)] == ["gpt-5-mini", "gpt-5.1"]
    alike = service.compare(AMIRA, invoice(*lines[:2], *lines[4:]))
    assert gap_words.write_sentences(alike)[0].startswith("They charge $80.00")
    assert gap_words.write_sentences(service.compare(AMIRA, invoice(*lines[:2])))[0] == "They agree."


def test_only_the_invoices_providers_and_days_and_ones_own_calls_count(store: Store, service: Reconcile) -> None:
    write(
        store, call(), call(provider="mistral"), call(NOON - timedelta(days=1)),
        call(datetime(2026, 10, 23, tzinfo=UTC)), call(user_id="somebody-else"),
    )  # fmt: skip
    line = invoice(InvoiceLine(DAY, "gpt-5.1", 100, 20))
    assert service.compare(AMIRA, line).total.ours.calls == 2
    assert service.compare(AMIRA, line, StatisticsFilter(providers=("mistral",))).total.ours.calls == 1
    assert service.compare(replace(AMIRA, permissions=frozenset()), line).total.ours.calls == 1
    assert service.compare(AMIRA, replace(line, kind=None)).total.ours.calls == 3


def test_the_consoles_names_are_the_models(store: Store, service: Reconcile) -> None:
    write(store, call(provider="anthropic", model="claude-haiku-4-5-20251001"))
    found = service.compare(AMIRA, invoice(InvoiceLine(DAY, "Claude Haiku 4.5", cost_nano=1_000_000), kind="anthropic"))
    assert [(gap.model, gap.cost_nano) for gap in found.gaps] == [("claude-haiku-4-5", 0)]


def test_the_table_keeps_every_digit_and_what_is_unknown(store: Store, service: Reconcile) -> None:
    write(store, call(cost_nano_usd=None))
    found = service.compare(AMIRA, invoice(InvoiceLine(date(2026, 10, 22), "gpt-5.1", cost_nano=1_000_000_001)))
    row = reconcile.build_table(found.gaps).iloc[0]
    assert (row.their_cost_usd, row.our_cost_usd, row.gap_usd) == (Decimal("1.000000001"), None, None)
    assert row.our_prompt_tokens == 100
    assert row.isna().their_prompt_tokens
    assert list(reconcile.build_table([])) == list(reconcile.build_table(found.gaps))

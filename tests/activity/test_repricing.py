"""Re-pricing: a preview changes nothing, an application is exact, audited, seen by copies, and can be repeated."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from lib.access.permissions import OPERATOR, Role, make_actor
from lib.activity.repricing import Repricing, RepricingScope
from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.tables import audit_log, providers, usage_logs
from lib.errors import PermissionDenied
from lib.providers.prices.price_book import PriceBook
from lib.providers.prices.price_entries import Prices
from lib.providers.prices.rates import Rates, build_plain_price
from tests.statistics.ledger_rows import call, write

DAY = datetime(2026, 10, 1, tzinfo=UTC)
RATES = Rates(2_000_000_000, 8_000_000_000, 500_000_000, 2_500_000_000, 4_000_000_000)


def row(**more: Any) -> dict[str, Any]:
    parts: dict[str, Any] = {"cache_read_tokens": 0, "cache_write_tokens": 0, "reasoning_tokens": 0, "price_id": "old"}
    return call(**(parts | {"reported_nano_usd": None, "started_at": DAY, "provider": "work"} | more))


def book(rates: Rates = RATES) -> PriceBook:
    return PriceBook([build_plain_price("openai", "gpt-5.1", DAY - timedelta(days=1), rates)])


@pytest.fixture
def ledger(store: Store) -> Store:
    now = utc_now()
    account = {"id": make_id(), "name": "work", "kind": "openai", "created_at": now, "updated_at": now}
    with store.write() as connection:
        connection.execute(insert(providers).values(**account))
    write(
        store,
        row(cost_nano_usd=1),
        row(cost_nano_usd=None, cost_status="unpriced", price_id=None),
        row(model="unheard-of", cost_nano_usd=None, cost_status="unpriced", price_id=None),
        row(cost_nano_usd=77, price_id="provider", reported_nano_usd=77),
        row(prompt_tokens=None, completion_tokens=None, total_tokens=None, cost_nano_usd=0, cost_status="free"),
        row(usage_source="estimated", cost_nano_usd=5, cost_status="estimated"),
        row(started_at=DAY + timedelta(days=5), cost_nano_usd=1),
    )
    return store


def costs(store: Store) -> list[tuple[int | None, str]]:
    with store.read() as connection:
        query = select(usage_logs.c.cost_nano_usd, usage_logs.c.cost_status).order_by(usage_logs.c.id)
        return [tuple(found) for found in connection.execute(query)]


NEW = 100 * 2000 + 20 * 8000  # 100 prompt and 20 completion tokens


@pytest.mark.feature("COST-1")
def test_a_preview_says_the_difference_and_changes_nothing(ledger: Store) -> None:
    before = costs(ledger)
    found = Repricing(ledger, book()).preview(OPERATOR, RepricingScope(DAY, DAY + timedelta(days=1)))
    assert costs(ledger) == before
    assert (found.looked_at, found.total.changed, found.total.was_unpriced, found.total.stays_unpriced) == (4, 3, 1, 1)
    assert (found.total.before_nano, found.total.after_nano) == (6, 3 * NEW)
    assert found.models["work", "unheard-of"].stays_unpriced == 1


@pytest.mark.feature("COST-1")
def test_an_application_writes_exactly_that_and_a_second_one_nothing(ledger: Store) -> None:
    service, range_ = Repricing(ledger, book(), batch=2), RepricingScope()
    expected = service.preview(OPERATOR, range_)
    with ledger.read() as connection:
        newest = max(connection.scalars(select(usage_logs.c.change_seq)))
    done = service.apply(OPERATOR, range_)
    assert (done.total, done.models) == (expected.total, expected.models)
    assert costs(ledger) == [
        (NEW, "priced"),
        (NEW, "priced"),
        (None, "unpriced"),
        (77, "priced"),
        (0, "free"),
        (NEW, "estimated"),
        (NEW, "priced"),
    ]
    with ledger.read() as connection:
        changed = [seq for seq in connection.scalars(select(usage_logs.c.change_seq)) if seq > newest]
        begun, done_ = connection.execute(select(audit_log).order_by(audit_log.c.id)).all()
    assert len(changed) == len(set(changed)) == 4
    assert (begun.action, done_.action, done_.detail["changed"]) == ("prices.reprice", "prices.repriced", "4")
    assert service.apply(OPERATOR, range_).total.changed == 0


@pytest.mark.feature("COST-1")
def test_the_first_call_without_a_cost_is_known(ledger: Store) -> None:
    service = Repricing(ledger, book())
    assert service.oldest_unpriced(OPERATOR, "work", "unheard-of") == DAY
    assert service.oldest_unpriced(OPERATOR, "work", "other") is None


@pytest.mark.feature("COST-1")
def test_a_range_narrows(ledger: Store) -> None:
    service = Repricing(ledger, book())
    assert service.preview(OPERATOR, RepricingScope(only_unpriced=True)).looked_at == 2
    assert service.preview(OPERATOR, RepricingScope(model="unheard-of")).looked_at == 1
    assert service.preview(OPERATOR, RepricingScope(model="unheard*")).looked_at == 1
    assert service.preview(OPERATOR, RepricingScope(model="unh%*")).looked_at == 0
    assert service.preview(OPERATOR, RepricingScope(provider="other")).looked_at == 0
    assert service.preview(OPERATOR, RepricingScope(reported_too=True)).looked_at == 6


@pytest.mark.feature("COST-1")
def test_only_who_manages_providers_may(ledger: Store) -> None:
    for act in (Repricing(ledger, book()).preview, Repricing(ledger, book()).apply):
        with pytest.raises(PermissionDenied):
            act(make_actor("u1", "dev", Role.DEVELOPER), RepricingScope())


@pytest.mark.feature("COST-1")
def test_an_interrupted_run_leaves_right_rows_and_is_finished_by_the_next(ledger: Store) -> None:
    service = Repricing(ledger, book(), batch=2)
    expected = service.preview(OPERATOR, RepricingScope()).total

    def stop(looked_at: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        service.apply(OPERATOR, RepricingScope(), stop)
    with ledger.read() as connection:
        assert connection.scalar(select(audit_log.c.action)) == "prices.reprice"
    rest = service.apply(OPERATOR, RepricingScope()).total
    assert 0 < rest.changed < expected.changed
    assert service.preview(OPERATOR, RepricingScope()).total.changed == 0


@pytest.mark.feature("COST-1")
def test_a_removed_provider_and_answers_from_the_cache_keep_their_cost(store: Store) -> None:
    gone = row(provider="sold", cost_nano_usd=5)
    cached = row(provider="openai", cost_nano_usd=0, cost_status="free", cache="exact", saved_nano_usd=7)
    write(store, gone, cached)
    found = Repricing(store, book()).apply(OPERATOR, RepricingScope())
    assert (found.looked_at, found.total.changed) == (1, 0)
    assert costs(store) == [(5, "priced"), (0, "free")]


@pytest.mark.feature("COST-1")
def test_a_new_price_rewrites_no_row(ledger: Store) -> None:
    before, prices = costs(ledger), PriceBook([], ledger)
    Prices(ledger, prices).set(OPERATOR, build_plain_price("openai", "gpt-5.1", DAY - timedelta(days=1), RATES))
    assert costs(ledger) == before
    assert Repricing(ledger, prices).preview(OPERATOR, RepricingScope()).total.changed == 4
    assert costs(ledger) == before


@pytest.mark.feature("ACC-5")
def test_who_acts_in_a_team_sees_and_changes_the_costs_of_its_calls_alone(ledger: Store) -> None:
    service = Repricing(ledger, book())
    write(ledger, row(team_id=2, model="their-own", cost_nano_usd=1), row(team_id=2, cost_nano_usd=1))
    before = service.preview(OPERATOR, RepricingScope())
    ours, theirs = (make_actor("u", "ben", Role.MASTER_DEVELOPER, {team: None}, team) for team in (1, 2))
    assert service.preview(theirs, RepricingScope()).looked_at == 2
    assert set(service.preview(ours, RepricingScope()).models) == {("work", "gpt-5.1"), ("work", "unheard-of")}
    assert service.oldest_unpriced(theirs, "work", "unheard-of") is None
    changed = service.apply(ours, RepricingScope())
    assert changed.looked_at == before.looked_at - 2
    assert service.preview(theirs, RepricingScope()).total.before_nano == 2, "theirs are as they were"

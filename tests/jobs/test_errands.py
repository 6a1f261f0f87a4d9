"""What runs every few seconds in every process, and which jobs an installation has."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import func, insert, select

from lib.access.permissions import OPERATOR
from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.tables import budget_holds, budget_windows, webhook_outbox
from lib.jobs.scheduler import Scheduler
from lib.services import Services, build
from lib.settings import Settings
from tests.waiting import CEILING_S


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    made = build(settings)
    yield made
    made.close()


def test_an_errand_runs_again_and_again_and_a_failing_one_stops_nobody(store: Store) -> None:
    ran, enough = list[bool](), threading.Event()

    def fails() -> None:
        raise RuntimeError("as expected")

    def counts() -> None:
        ran.append(True)
        if len(ran) >= 3:
            enough.set()

    scheduler = Scheduler(store, {}, errands={"bad": fails, "good": counts}, errands_every_s=0.01)
    scheduler.start()
    assert enough.wait(CEILING_S)
    scheduler.stop()
    assert not any(thread.is_alive() for thread in scheduler._threads)


@pytest.mark.feature("OPS-4")
def test_an_errand_that_hangs_holds_up_neither_the_others_nor_a_job(store: Store) -> None:
    hangs, released = threading.Event(), threading.Event()
    others = {name: threading.Event() for name in ("errand", "job")}

    def hang() -> None:
        hangs.set()
        released.wait(CEILING_S)

    scheduler = Scheduler(
        store,
        {"job": lambda go_on: others["job"].set()},
        look_every_s=0.01,
        errands={"hangs": hang, "good": others["errand"].set},
        errands_every_s=0.01,
    )
    scheduler.start()
    assert hangs.wait(CEILING_S)
    others["errand"].clear()
    assert others["errand"].wait(CEILING_S)
    assert others["job"].wait(CEILING_S)
    released.set()
    scheduler.stop()


@pytest.mark.feature("COST-2")
def test_a_hold_whose_call_never_was_is_given_back(services: Services) -> None:
    budget = services.budgets.create(OPERATOR, scope="global", period="day", limit_nano=1_000)
    with services.store.write() as connection:
        window = connection.execute(select(budget_windows)).one()
        connection.execute(budget_windows.update().values(held_nano_usd=700))
        hold = {"log_id": make_id(), "budget_id": budget.budget.id, "starts_at": window.starts_at}
        hold |= {"amount_nano_usd": 700, "expires_at": utc_now() - timedelta(seconds=1)}
        connection.execute(insert(budget_holds), hold)
    assert "holds" in services.jobs().look()
    assert services.budgets.get(OPERATOR, budget.budget.id).now.held_nano == 0
    with services.store.read() as connection:
        assert connection.scalar(select(func.count()).select_from(budget_holds)) == 0


@pytest.mark.feature("COST-2")
def test_what_waits_for_the_webhook_is_sent_by_an_errand(services: Services) -> None:
    services.webhook.set(
        OPERATOR, url="http://127.0.0.1:9/hook", secret="a secret of enough letters", allow_private=True
    )
    with services.store.write() as connection:
        message = {"id": make_id(), "event": "budget.threshold", "body": {}, "created_at": utc_now()}
        connection.execute(insert(webhook_outbox), message | {"attempts": 0, "due_at": utc_now()})
    services.jobs().run_errands()
    with services.store.read() as connection:
        tried = connection.execute(select(webhook_outbox)).one()
    assert tried.attempts == 1  # nobody listens there, so it was tried and will be again
    assert tried.error
    assert tried.due_at > utc_now()

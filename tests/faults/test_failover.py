"""Several deployments, fallback chains and circuits when providers fail: who serves, who is spared, what is written."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from lib.access.permissions import OPERATOR
from lib.calls.connection_test import check_connection
from lib.clock import utc_now
from lib.db.tables import audit_log, circuits
from lib.errors import NotFound
from lib.services import build
from lib.settings import Settings
from tests.calls.rig import AMIRA, within
from tests.faults.misbehaving import WHOLE, WORDS, Faults, answers, faults, goes_silent_after, in_turn, refuses
from tests.waiting import CEILING_S, until

pytestmark = [pytest.mark.feature("CFG-7"), pytest.mark.filterwarnings("default")]  # litellm's deprecations
ANSWER = "".join(WORDS)


@pytest.fixture
def rig(tmp_path: Path, database_url: str) -> Iterator[Faults]:
    with faults(Settings(data_dir=tmp_path, database_url=database_url)) as made:
        made.services.calls.jitter = lambda: 0.0
        made.services.circuits.fresh_s = 0.0  # what is expired here is read again at once
        yield made


def expire(rig: Faults) -> None:
    """Let the pause of every open circuit be over."""
    with rig.services.store.write() as connection:
        connection.execute(update(circuits).values(open_until=utc_now() - timedelta(seconds=1)))


def test_the_next_deployment_then_the_fallbacks_serve_and_each_attempt_names_its_target(rig: Faults) -> None:
    first, one = rig.serve(refuses(503), "first")
    second, two = rig.serve(refuses(401), "second")
    spare, three = rig.serve(answers(*WHOLE), "spare")
    routing = {
        "weight": 1000,
        "deployments": [{"provider_id": second, "model": "m2", "weight": 1}],
        "fallbacks": [{"provider_id": spare, "model": "m3"}],
        "max_attempts": 2,
    }
    view = rig.ask(first, routing, model="m1")
    rows = rig.rows(view.call_id)
    assert (view.status, view.text, view.provider, view.model) == ("ok", ANSWER, "spare", "m3")
    by_target = [(row["provider"], row["model"]) for row in rows]
    assert sorted(by_target[:-1]) == [("first", "m1")] * 2 + [("second", "m2")]
    assert by_target[-1] == ("spare", "m3")
    assert [row["is_final"] for row in rows] == [False, False, False, True]
    assert (len(one.requests), len(two.requests), len(three.requests)) == (2, 1, 1)
    assert three.requests[0]["body"]["model"] == "m3"


def test_a_call_ends_at_its_number_of_attempts_in_all(rig: Faults) -> None:
    first, one = rig.serve(refuses(500))
    spare, two = rig.serve(refuses(500))
    view = rig.ask(first, {"fallbacks": [{"provider_id": spare, "model": "m"}], "total_attempts": 4})
    assert (len(one.requests), len(two.requests), len(rig.rows(view.call_id))) == (3, 1, 4)
    assert view.status == "error"


@pytest.mark.parametrize("status", [400, 422])
def test_what_is_wrong_with_the_request_is_asked_of_nobody_else(rig: Faults, status: int) -> None:
    first, one = rig.serve(refuses(status))
    spare, two = rig.serve(answers(*WHOLE))
    view = rig.ask(first, {"fallbacks": [{"provider_id": spare, "model": "m"}]})
    assert (view.error_kind, len(one.requests), len(two.requests)) == ("bad_request", 1, 0)


def test_silence_moves_on_and_a_provider_that_is_off_is_passed_over(rig: Faults) -> None:
    silent, one = rig.serve(goes_silent_after(0))
    off, two = rig.serve(answers(*WHOLE))
    spare, _ = rig.serve(answers(*WHOLE), "spare")
    rig.services.providers.set_active(OPERATOR, off, False)
    routing = {"fallbacks": [{"provider_id": off, "model": "m"}, {"provider_id": spare, "model": "m"}]}
    view = rig.ask(silent, routing, deadlines=within(first_token_s=2))
    assert (view.status, view.provider, view.attempt) == ("ok", "spare", 2)
    assert (len(one.requests), len(two.requests)) == (1, 0)
    assert rig.rows(view.call_id)[0]["status"] == "timeout"


@pytest.mark.feature("CALL-4")
def test_a_circuit_opens_refuses_at_once_probes_and_closes(rig: Faults) -> None:
    provider, server = rig.serve(in_turn(*[refuses(500)] * 6, answers(*WHOLE)), "flaky")
    slugs = [rig.ask(provider, {"max_attempts": 3}).configuration_id or "" for _ in range(2)]
    assert len(server.requests) == 5, "the circuit opens at the fifth failure, in the second call"
    refused = rig.again(slugs[0])
    [row] = rig.rows(refused.call_id)
    assert (row["status"], row["error_kind"], row["cost_nano_usd"]) == ("refused", "circuit_open", 0)
    assert (row["is_final"], row["usage_source"], len(server.requests)) == (True, "none", 5)
    [circuit] = rig.services.circuits.list(OPERATOR)
    assert (circuit.provider, circuit.model, circuit.failures) == ("flaky", "m", 5)
    assert f"{circuit.open_until:%H:%M:%S} UTC" in row["error_message"]
    expire(rig)
    probe = rig.again(slugs[0])  # fails: open again, for longer
    assert ([r["status"] for r in rig.rows(probe.call_id)], len(server.requests)) == (["error"], 6)
    [longer] = rig.services.circuits.list(OPERATOR)
    assert longer.open_until - utc_now() > timedelta(seconds=45)
    assert rig.again(slugs[0]).status == "refused"
    expire(rig)
    assert rig.again(slugs[0]).status == "ok"
    assert rig.services.circuits.list(OPERATOR) == []
    assert rig.again(slugs[0]).status == "ok"


def test_an_open_circuit_is_passed_over_for_another_target(rig: Faults) -> None:
    broken, one = rig.serve(refuses(500))
    spare, two = rig.serve(answers(*WHOLE))
    routing = {"fallbacks": [{"provider_id": spare, "model": "m"}], "max_attempts": 5}
    view = rig.ask(broken, routing)
    assert (view.status, len(one.requests)) == ("ok", 5)
    again = rig.again(view.configuration_id or "")
    assert (again.status, again.attempt, len(one.requests), len(two.requests)) == ("ok", 1, 5, 2)


def test_only_one_call_probes(rig: Faults) -> None:
    hold = threading.Event()

    def slow(wire: object) -> None:
        hold.wait(CEILING_S)
        answers(*WHOLE)(wire)  # type: ignore[arg-type]

    provider, server = rig.serve(in_turn(*[refuses(500)] * 5, slow))
    slug = rig.ask(provider, {"max_attempts": 5}).configuration_id or ""
    expire(rig)
    calls = rig.services.calls
    ids = [calls.start(rig.request_for(slug)) for _ in range(8)]
    until(lambda: sum(calls.view(AMIRA, call_id).running for call_id in ids) == 1)
    others = [calls.view(AMIRA, call_id) for call_id in ids]
    assert sorted(view.status for view in others) == ["refused"] * 7 + ["running"]
    hold.set()
    assert {calls.wait(AMIRA, call_id, CEILING_S).status for call_id in ids} == {"ok", "refused"}
    assert len(server.requests) == 6


def test_a_stopped_probe_leaves_the_circuit_to_the_next_call(rig: Faults) -> None:
    provider, server = rig.serve(in_turn(*[refuses(500)] * 5, goes_silent_after(0), answers(*WHOLE)))
    slug = rig.ask(provider, {"max_attempts": 5}).configuration_id or ""
    expire(rig)
    call_id = rig.services.calls.start(rig.request_for(slug))
    until(lambda: len(server.requests) == 6)
    rig.services.calls.stop(AMIRA, call_id)
    assert rig.services.calls.wait(AMIRA, call_id, CEILING_S).status == "cancelled"
    assert rig.again(slug).status == "ok"


def test_a_rate_limit_or_a_refused_key_opens_no_circuit(rig: Faults) -> None:
    for status in (429, 401, 400):
        provider, server = rig.serve(refuses(status))
        slug = rig.ask(provider, {"max_attempts": 1}).configuration_id or ""
        for _ in range(6):
            rig.again(slug)
        assert len(server.requests) == 7
    assert rig.services.circuits.list(OPERATOR) == []


def test_closing_by_hand_is_written_down_and_another_process_sees_both(rig: Faults) -> None:
    provider, server = rig.serve(in_turn(*[refuses(500)] * 5, answers(*WHOLE)), "flaky")
    slug = rig.ask(provider, {"max_attempts": 5}).configuration_id or ""
    other = build(rig.services.settings)
    try:
        rig.services, mine = other, rig.services
        assert rig.again(slug).status == "refused"
        rig.services = mine
        rig.services.circuits.close(AMIRA, provider, "m")
        with pytest.raises(NotFound):
            rig.services.circuits.close(AMIRA, provider, "m")
        with rig.services.store.read() as connection:
            [entry] = connection.execute(select(audit_log).where(audit_log.c.action == "circuit.close")).mappings()
        assert (entry["user_name"], entry["subject"]) == ("amira", "flaky · m")
        assert rig.again(slug).status == "ok"
    finally:
        rig.services = mine
        other.close()
    assert len(server.requests) == 6


@pytest.mark.feature("CFG-3")
def test_a_connection_test_passes_an_open_circuit_and_closes_it(rig: Faults) -> None:
    provider, _ = rig.serve(in_turn(*[refuses(500)] * 5, answers(*WHOLE)))
    slug = rig.ask(provider, {"max_attempts": 5}).configuration_id or ""
    services = rig.services
    assert rig.again(slug).status == "refused"
    configuration = services.configurations.get(OPERATOR, slug)
    assert check_connection(AMIRA, configuration, services.calls, services.providers).ok
    assert services.circuits.list(OPERATOR) == []

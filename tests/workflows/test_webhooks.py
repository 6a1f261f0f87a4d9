"""Webhooks: taken from who knows the secret alone, once for each delivery, for the person who made them."""

import base64
import hashlib
import hmac
from collections.abc import Callable

import pytest
from sqlalchemy import func, select, update

from lib.clock import utc_now
from lib.db.tables import (
    ALL_TEAMS,
    webhook_outbox,
    workflow_deliveries,
    workflow_runs,
    workflow_schedules,
    workflow_steps,
    workflow_webhooks,
)
from lib.errors import InvalidInput, NotFound, PermissionDenied, Throttled
from lib.workflows.definition import Field
from lib.workflows.owner_notices import STUCK_AFTER
from lib.workflows.run import Trigger
from lib.workflows.triggers import webhooks
from lib.workflows.triggers.deliveries import TOLERANCE_S, read_delivery
from lib.workflows.triggers.webhooks import read_inputs
from tests.waiting import until
from tests.workflows.rig import AMIRA, FlowRig, draw, finish, node, start

pytestmark = pytest.mark.feature("FLOW-9")
KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
NOW = 1_764_500_000
BODY = b'{"text": "night"}'
Headers = dict[str, str]


def sign_standard(secret: str, seconds: int, body: bytes = BODY, message_id: str = "msg_1") -> Headers:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = hmac.new(key, f"{message_id}.{seconds}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1a,x v1,{base64.b64encode(signed).decode()}"
    return {"webhook-id": message_id, "webhook-timestamp": str(seconds), "webhook-signature": signature}


def sign_ours(secret: str, seconds: int, body: bytes = BODY) -> Headers:
    signed = hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return {"x-llm-manager-signature": f"t={seconds},v1={signed}"}


def sign_hub(secret: str, seconds: int, body: bytes = BODY) -> Headers:
    return {"x-hub-signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


def show_secret(secret: str, seconds: int, body: bytes = BODY) -> Headers:
    return {"authorization": f"Bearer {secret}", "idempotency-key": "k1"}


WAYS: list[Callable[[str, int], Headers]] = [sign_standard, sign_ours, sign_hub, show_secret]


@pytest.mark.parametrize("way", WAYS)
def test_a_delivery_is_known_by_its_secret_and_again_by_its_key(way: Callable[[str, int], Headers]) -> None:
    taken = read_delivery(SECRET, way(SECRET, NOW), BODY, NOW)
    assert taken is not None
    assert len(taken.key) == 64
    assert read_delivery(SECRET, way(SECRET, NOW), BODY, NOW + 5) == taken
    other = "whsec_" + base64.b64encode(KEY[::-1]).decode()
    assert read_delivery(other, way(SECRET, NOW), BODY, NOW) is None
    if way is not show_secret:
        assert read_delivery(SECRET, way(SECRET, NOW), BODY + b" ", NOW) is None
    for name, value in way(SECRET, NOW).items():
        for spoilt in ("", "ü", value[:-3], "x" * 10_000):
            headers = {**way(SECRET, NOW), name: spoilt}
            again = read_delivery(SECRET, headers, BODY, NOW)
            assert again is None or name == "idempotency-key"


@pytest.mark.parametrize("way", [sign_standard, sign_ours])
@pytest.mark.parametrize("off_by", [-TOLERANCE_S - 1, TOLERANCE_S + 1])
def test_a_moment_that_is_too_far_off_is_not_taken(way: Callable[[str, int], Headers], off_by: int) -> None:
    assert read_delivery(SECRET, way(SECRET, NOW + off_by), BODY, NOW) is None


def test_a_retry_under_another_moment_is_the_same_delivery_and_no_header_is_none() -> None:
    first = read_delivery(SECRET, sign_standard(SECRET, NOW), BODY, NOW)
    assert first == read_delivery(SECRET, sign_standard(SECRET, NOW + 60), BODY, NOW + 60)
    assert read_delivery(SECRET, {}, BODY, NOW) is None


@pytest.mark.parametrize(
    ("fields", "body", "inputs"),
    [
        (["text"], b'{"text": "a", "other": 1}', {"text": "a"}),
        (["text", "payload"], b'{"text": "a"}', {"text": "a", "payload": {"text": "a"}}),
        (["payload"], b"[1]", {"payload": [1]}),
        (["text"], b"", {}),
    ],
)
def test_a_body_gives_the_form_its_members_and_itself(fields: list[str], body: bytes, inputs: object) -> None:
    assert read_inputs([Field(name=name, type="json") for name in fields], body) == inputs


def count_deliveries(rig: FlowRig) -> int:
    with rig.services.store.read() as connection:
        return connection.scalar(select(func.count()).select_from(workflow_deliveries)) or 0


def test_a_delivery_begins_one_run_however_often_it_comes(rig: FlowRig) -> None:
    hooks = rig.services.workflows.webhooks
    workflow = rig.make(draw(start("text"), finish("{{start.text}}!")))
    made, secret = hooks.add(AMIRA, workflow, "nightly")
    assert made.path == f"/hooks/{made.id}"
    now = int(utc_now().timestamp())
    run, was_begun = hooks.receive(made.id, sign_ours(secret, now), BODY)
    assert not was_begun
    ended = rig.wait(run)
    assert (ended.trigger, ended.user_id, ended.output) == (Trigger.WEBHOOK, AMIRA.user_id, "night!")
    again, was_begun = hooks.receive(made.id, sign_ours(secret, now), BODY)
    assert (again.id, was_begun) == (run.id, True)
    assert hooks.list(AMIRA, workflow)[0].used_at is not None
    with pytest.raises(InvalidInput, match="no JSON"):
        hooks.receive(made.id, sign_ours(secret, now, b"{"), b"{")
    assert count_deliveries(rig) == 1  # what began nothing may come again
    hooks.most_at_work = 0
    with pytest.raises(Throttled):
        hooks.receive(made.id, sign_ours(secret, now + 1), BODY)
    with rig.services.store.write() as connection:
        connection.execute(update(workflow_deliveries).values(received_at=utc_now() - webhooks.KEPT * 2))
    assert (hooks.forget_old(), count_deliveries(rig)) == (1, 0)


def test_a_delivery_whose_process_died_before_the_run_begins_the_run_that_was_noted(rig: FlowRig) -> None:
    hooks = rig.services.workflows.webhooks
    workflow = rig.make(draw(start("text"), finish("x")))
    made, secret = hooks.add(AMIRA, workflow)
    headers = {"authorization": f"Bearer {secret}", "idempotency-key": "7"}
    run, _ = hooks.receive(made.id, headers, BODY)
    rig.wait(run)
    with rig.services.store.write() as connection:
        connection.execute(workflow_runs.delete())
    again, was_begun = hooks.receive(made.id, headers, BODY)
    assert (again.id, was_begun) == (run.id, False)
    rig.wait(again)
    without_key = {"authorization": f"Bearer {secret}"}
    ids = {rig.wait(hooks.receive(made.id, without_key, BODY)[0]).id for _ in range(2)}
    assert len(ids) == 2


def test_a_webhook_that_is_off_renewed_or_deleted_takes_nothing(rig: FlowRig) -> None:
    hooks = rig.services.workflows.webhooks
    workflow = rig.make(draw(start("text"), finish("x")))
    made, secret = hooks.add(AMIRA, workflow)
    headers = {"authorization": f"Bearer {secret}"}
    hooks.switch(AMIRA, made.id, is_active=False)
    with pytest.raises(PermissionDenied, match="no such webhook"):
        hooks.receive(made.id, headers, BODY)
    hooks.switch(AMIRA, made.id, is_active=True)
    renewed = hooks.renew(AMIRA, made.id)
    with pytest.raises(PermissionDenied, match="no such webhook"):
        hooks.receive(made.id, headers, BODY)
    rig.wait(hooks.receive(made.id, {"authorization": f"Bearer {renewed}"}, BODY)[0])
    hooks.remove(AMIRA, made.id)
    with pytest.raises(PermissionDenied, match="no such webhook"):
        hooks.receive(made.id, {"authorization": f"Bearer {renewed}"}, BODY)
    with pytest.raises(NotFound):
        hooks.remove(AMIRA, made.id)


def test_a_run_that_nobody_watches_tells_when_it_fails_or_its_cap_holds_it(rig: FlowRig) -> None:
    rig.services.webhook.set(AMIRA, url="https://example.com/told", secret="a secret of more than sixteen")
    slug = rig.configure("echo+usage:1000,100+priced")
    ask = node("prompt", "p", configuration=slug, prompt="{{start.text}}", parameters={"max_tokens": 100})
    broken = draw(start("text"), node("transform", "t", value="1 / 0"), finish("x"))
    capped = draw(start("text"), ask, finish("x"), cost_cap_usd=0.000001)
    for document in (broken, capped):
        made, secret = rig.services.workflows.webhooks.add(AMIRA, rig.make(document))
        headers = {"authorization": f"Bearer {secret}"}
        rig.wait(rig.services.workflows.webhooks.receive(made.id, headers, BODY)[0])
    query = select(webhook_outbox.c.event, webhook_outbox.c.body).order_by(webhook_outbox.c.id)

    def read() -> list[tuple[str, str]]:
        with rig.services.store.read() as connection:
            return [(event, body["step"]) for event, body in connection.execute(query)]

    until(lambda: len(read()) == 2)
    assert read() == [("workflow.failed", "t"), ("workflow.paused", "")]


def test_a_run_that_nobody_watches_and_that_is_stuck_is_told_once(rig: FlowRig) -> None:
    asks = draw(start("text"), node("wait", "hold", signal="go"), finish("{{hold.data}}"))
    made, secret = rig.services.workflows.webhooks.add(AMIRA, rig.make(asks))
    headers = {"authorization": f"Bearer {secret}", "idempotency-key": "1"}
    run = rig.wait(rig.services.workflows.webhooks.receive(made.id, headers, BODY)[0])
    watched = rig.wait(rig.start(asks, text="somebody looks"))
    stuck_runs = rig.services.workflows.stuck_runs
    long_ago = update(workflow_steps).values(started_at=utc_now() - STUCK_AFTER * 2)
    assert stuck_runs.tell() == 0
    with rig.services.store.write() as connection:
        connection.execute(long_ago.where(workflow_steps.c.run_id.in_([run.id, watched.id])))
    assert stuck_runs.tell() == 0, "nobody listens"
    rig.services.webhook.set(AMIRA, url="https://example.com/told", secret="a secret of more than sixteen")
    assert [stuck_runs.tell(), stuck_runs.tell()] == [1, 0]
    with rig.services.store.read() as connection:
        event, body = connection.execute(select(webhook_outbox.c.event, webhook_outbox.c.body)).one()
    assert (event, body["run_id"], body["step"]) == ("workflow.stuck", run.id, "hold")
    assert (body["owner"], body["address"]) == ("amira", f"/workflows?run={run.id}")
    assert body["reason"] == "hold waits for the signal go."


@pytest.mark.feature("FLOW-9")
def test_what_begins_runs_of_a_workflow_of_all_teams_acts_in_its_makers_team(rig: FlowRig) -> None:
    slug = rig.make(draw(start("text"), finish("{{start.text}}")))
    rig.services.teams.move(AMIRA, "workflow", slug, ALL_TEAMS)
    rig.services.workflows.webhooks.add(AMIRA, slug)
    rig.services.workflows.schedules.add(AMIRA, slug, "0 6 * * *", "UTC")
    with rig.services.store.read() as connection:
        for table in (workflow_webhooks, workflow_schedules):
            assert connection.scalars(select(table.c.team_id)).all() == [AMIRA.team_id]

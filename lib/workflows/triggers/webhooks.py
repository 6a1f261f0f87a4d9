"""Webhooks: addresses that begin a workflow's run when a program outside sends something, each with its own secret.

A run that one begins is that of who made the webhook. The secret is shown once and kept encrypted. A delivery that
comes again (a sender's retry, or somebody's replay) begins nothing: the run of the first one is answered. Which run
that is, is written down before it begins, so a process that dies in between leaves nothing that a retry would double.
"""

import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from lib.access import audit
from lib.access.permissions import Actor
from lib.clock import make_id, utc_now
from lib.db.data_key import DataKey
from lib.db.engine import Store
from lib.db.tables import workflow_deliveries, workflow_runs, workflow_webhooks
from lib.errors import InvalidInput, LLMManagerError, PermissionDenied, Throttled
from lib.fast_json import decode
from lib.workflows.acting import load_actor
from lib.workflows.definition import Field
from lib.workflows.run import Run, Trigger
from lib.workflows.runs import WorkflowRuns
from lib.workflows.triggers import owned
from lib.workflows.triggers.deliveries import LONGEST_BODY, SECRET_PREFIX, Headers, read_delivery
from lib.workflows.workflow import load_version, load_workflow

PATH = "/hooks/"
PAYLOAD = "payload"  # the form's field that gets the whole body
_MOST = 20  # of a workflow
KEPT = timedelta(days=30)
_D = workflow_deliveries.c
_W = workflow_webhooks.c


@dataclass(frozen=True)
class WorkflowWebhook:
    """An address that begins runs; `user_id` is for whom they are."""

    id: str
    workflow_id: str
    name: str
    is_active: bool
    user_id: str | None
    created_at: datetime
    used_at: datetime | None

    @property
    def path(self) -> str:
        """Where deliveries are sent, within the installation's address."""
        return PATH + self.id


class WorkflowWebhooks:
    """Makes, lists and hears webhooks."""

    def __init__(self, store: Store, data_key: DataKey, runs: WorkflowRuns, most_at_work: int = 200) -> None:
        """`most_at_work`: runs of a webhook's workflow that webhooks began and that are not over."""
        self.most_at_work = most_at_work
        self._store = store
        self._data_key = data_key
        self._runs = runs

    def add(self, actor: Actor, slug: str, name: str = "") -> tuple[WorkflowWebhook, str]:
        """Make a webhook; returns it with its secret, which is told this once."""
        secret = _make_secret()
        with self._store.write() as connection:
            workflow = owned.load_to_change(connection, actor, slug)
            row = owned.make_row(connection, actor, workflow_webhooks, workflow, name.strip() or "webhook", _MOST)
            row |= {"sealed": self._data_key.encrypt(secret, connection), "used_at": None}
            connection.execute(insert(workflow_webhooks), row)
            audit.record(connection, actor, "workflow.add_webhook", workflow.slug, webhook=row["id"], name=row["name"])
        return _build(row), secret

    def list(self, actor: Actor, slug: str) -> Sequence[WorkflowWebhook]:
        """List a workflow's webhooks in the order in which they were made."""
        with self._store.read() as connection:
            workflow = owned.load_to_change(connection, actor, slug)
            return [_build(row) for row in owned.read_rows(connection, workflow_webhooks, workflow.id)]

    def switch(self, actor: Actor, webhook_id: str, *, is_active: bool) -> None:
        """Switch a webhook on or off; runs that have begun go on."""
        with self._store.write() as connection:
            _, workflow = owned.find_row(connection, actor, workflow_webhooks, webhook_id)
            connection.execute(update(workflow_webhooks).where(_W.id == webhook_id).values(is_active=is_active))
            audit.record(
                connection, actor, "workflow.switch_webhook", workflow.slug, webhook=webhook_id, is_active=is_active
            )

    def renew(self, actor: Actor, webhook_id: str) -> str:
        """Give a webhook another secret and return it; the old one ends at once."""
        secret = _make_secret()
        with self._store.write() as connection:
            _, workflow = owned.find_row(connection, actor, workflow_webhooks, webhook_id)
            sealed = self._data_key.encrypt(secret, connection)
            connection.execute(update(workflow_webhooks).where(_W.id == webhook_id).values(sealed=sealed))
            audit.record(connection, actor, "workflow.renew_webhook", workflow.slug, webhook=webhook_id)
        return secret

    def remove(self, actor: Actor, webhook_id: str) -> None:
        """Delete a webhook; runs that have begun go on."""
        with self._store.write() as connection:
            _, workflow = owned.find_row(connection, actor, workflow_webhooks, webhook_id)
            connection.execute(delete(workflow_webhooks).where(_W.id == webhook_id))
            connection.execute(delete(workflow_deliveries).where(_D.webhook_id == webhook_id))
            audit.record(connection, actor, "workflow.remove_webhook", workflow.slug, webhook=webhook_id)

    def receive(self, webhook_id: str, headers: Headers, body: bytes) -> tuple[Run, bool]:
        """Begin the run that a delivery asks for; returns it and whether it was begun before, by the same delivery.

        Raises PermissionDenied for whoever doesn't know the secret, without saying whether there is such a webhook;
        InvalidInput for a body that doesn't fit the form, Throttled while too many runs of webhooks go.
        """
        row = self._find_active(webhook_id)
        delivery = None
        if row is not None and len(body) <= LONGEST_BODY:
            secret = self._data_key.decrypt(row["sealed"])
            delivery = read_delivery(secret, headers, body, int(utc_now().timestamp()))
        if row is None or delivery is None:
            raise PermissionDenied(
                "The delivery is not taken.",
                "There is no such webhook, or the signature or secret is not its own or too old.",
                "Sign it with the webhook's secret.",
            )
        actor = load_actor(self._store, row["user_id"], None, row["team_id"], "webhook")
        run_id = make_id()
        if delivery.key:
            run_id = self._note_delivery(row["id"], delivery.key, run_id)
            if self._has_begun(run_id):
                return self._runs.get(actor, run_id), True
        try:
            self._check_load(row["workflow_id"])
            run = self._begin(actor, row, body, run_id)
        except LLMManagerError:
            self._forget_delivery(row["id"], delivery.key)  # so that it can be sent again when the cause is mended
            raise
        with self._store.write() as connection:
            connection.execute(update(workflow_webhooks).where(_W.id == row["id"]).values(used_at=utc_now()))
        return run, False

    def _begin(self, actor: Actor, row: RowMapping, body: bytes, run_id: str) -> Run:
        with self._store.read() as connection:
            workflow = load_workflow(connection, row["workflow_id"])
            fields = load_version(connection, workflow).definition.input_fields
        inputs = read_inputs(fields, body)
        return self._runs.start(actor, workflow.id, inputs, trigger=Trigger.WEBHOOK, run_id=run_id)

    def _find_active(self, webhook_id: str) -> RowMapping | None:
        query = select(workflow_webhooks).where(_W.id == webhook_id, _W.is_active)
        with self._store.read() as connection:
            return connection.execute(query).mappings().first()

    def _note_delivery(self, webhook_id: str, key: str, run_id: str) -> str:
        """Write a delivery down with the run that it is to begin; return the run of its first time."""
        dialect = sqlite if self._store.is_sqlite else postgresql
        row = {"webhook_id": webhook_id, "signature": key, "run_id": run_id, "received_at": utc_now()}
        query = select(_D.run_id).where(_D.webhook_id == webhook_id, _D.signature == key)
        with self._store.write() as connection:
            connection.execute(dialect.insert(workflow_deliveries).values(**row).on_conflict_do_nothing())
            return str(connection.scalar(query))

    def _forget_delivery(self, webhook_id: str, key: str) -> None:
        with self._store.write() as connection:
            connection.execute(delete(workflow_deliveries).where(_D.webhook_id == webhook_id, _D.signature == key))

    def _has_begun(self, run_id: str) -> bool:
        with self._store.read() as connection:
            return connection.scalar(select(workflow_runs.c.id).where(workflow_runs.c.id == run_id)) is not None

    def _check_load(self, workflow_id: str) -> None:
        """Raise Throttled while too many runs that webhooks began are at work or queued."""
        R = workflow_runs.c
        going = (R.workflow_id == workflow_id, R.trigger == Trigger.WEBHOOK, R.state.in_(["queued", "running"]))
        with self._store.read() as connection:
            count = connection.scalar(select(func.count()).select_from(workflow_runs).where(*going)) or 0
        if count >= self.most_at_work:
            why = f"{count} runs that webhooks began are not over."
            raise Throttled("The workflow is busy.", why, "Send it again in a minute.", retry_after=60)

    def forget_old(self) -> int:
        """Forget deliveries of more than thirty days ago; how many those were."""
        with self._store.write() as connection:
            old = delete(workflow_deliveries).where(_D.received_at < utc_now() - KEPT)
            return connection.execute(old).rowcount


def read_inputs(fields: Sequence[Field], body: bytes) -> dict[str, Any]:
    """Read a form's values from a body of JSON: members by the fields' names, and all of it for a field `payload`.

    Members that are no fields are left out, since senders outside add some. Raises InvalidInput for what is no JSON.
    """
    try:
        document = decode(body) if body.strip() else {}
    except (ValueError, RecursionError):
        raise InvalidInput("The body is no JSON.", "", "Send a JSON object.", field="body") from None
    members = document if isinstance(document, Mapping) else {}
    inputs = {field.name: members[field.name] for field in fields if field.name in members}
    if any(field.name == PAYLOAD for field in fields):
        inputs.setdefault(PAYLOAD, document)
    return inputs


def _make_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def _build(row: Mapping[Any, Any]) -> WorkflowWebhook:
    return WorkflowWebhook(**{name: row[name] for name in WorkflowWebhook.__dataclass_fields__})

"""The functions of workflows for the tables of permissions and of the audit log in `tests.security`."""

import asyncio
from collections.abc import Callable
from typing import Any

from sqlalchemy import update

from lib.access.permissions import OPERATOR, Actor, Permission
from lib.calls.request import CallRequest
from lib.clock import make_id, utc_now
from lib.db.tables import workflow_runs
from lib.services import Services
from tests.workflows.rig import draw, finish, start

P = Permission
Deed = Callable[[Services, Actor], Any]
NOBODY = "0190a000-0000-7000-8000-000000000000"
_TINY = draw(start("x"), finish("{{start.x}}"))


def _slug(services: Services) -> str:
    return services.workflows.definitions.create(OPERATOR, f"w-{make_id()[-12:]}", _TINY).slug


def _failed_run(services: Services, actor: Actor) -> str:
    broken = draw(start("x"), {"kind": "transform", "id": "t", "value": "1/0"}, finish("{{t}}"))
    slug = services.workflows.definitions.create(OPERATOR, f"w-{make_id()[-12:]}", broken).slug
    return services.workflows.runs.wait(actor, services.workflows.runs.start(actor, slug, {"x": "1"}).id).id


def _schedule(services: Services, actor: Actor) -> str:
    return services.workflows.schedules.add(actor, _slug(services), "0 3 * * *", "UTC").id


def _webhook(services: Services, actor: Actor) -> str:
    return services.workflows.webhooks.add(actor, _slug(services))[0].id


def _recover(services: Services, actor: Actor) -> Any:
    run_id = _failed_run(services, actor)
    with services.store.write() as connection:
        lost = update(workflow_runs).where(workflow_runs.c.id == run_id)
        connection.execute(lost.values(state="running", wake_at=utc_now()))
    return services.workflows.runs.recover(actor)


def _batch(services: Services, actor: Actor) -> str:
    return services.workflows.batches.start(actor, _slug(services), [{"x": "1"}], launches=False).id


def _question(actor: Actor) -> CallRequest:
    return CallRequest(actor, [{"role": "user", "content": "hi"}], "no such configuration")


NEEDS: dict[str, tuple[Permission, Deed]] = {
    "Calls.answer_elsewhere": (P.TEST_CONFIGS, lambda s, a: asyncio.run(s.calls.answer_elsewhere(_question(a)))),
    "Bench.test": (P.TEST_CONFIGS, lambda s, a: s.workflows.bench.test(a, NOBODY)),
    "Workflows.list": (P.TEST_CONFIGS, lambda s, a: s.workflows.definitions.list(a)),
    "Workflows.get": (P.TEST_CONFIGS, lambda s, a: s.workflows.definitions.get(a, NOBODY)),
    "Workflows.version": (P.TEST_CONFIGS, lambda s, a: s.workflows.definitions.version(a, NOBODY)),
    "Workflows.versions": (P.TEST_CONFIGS, lambda s, a: s.workflows.definitions.versions(a, NOBODY)),
    "Workflows.diff": (P.TEST_CONFIGS, lambda s, a: s.workflows.definitions.diff(a, NOBODY, 1, 2)),
    "Workflows.check": (P.TEST_CONFIGS, lambda s, a: s.workflows.definitions.check(a, _TINY)),
    "Workflows.export_json": (P.TEST_CONFIGS, lambda s, a: s.workflows.definitions.export_json(a)),
    "Workflows.create": (P.MANAGE_WORKFLOWS, lambda s, a: s.workflows.definitions.create(a, "no slug!", _TINY)),
    "Workflows.save": (P.MANAGE_WORKFLOWS, lambda s, a: s.workflows.definitions.save(a, NOBODY, _TINY, 1)),
    "Workflows.describe": (P.MANAGE_WORKFLOWS, lambda s, a: s.workflows.definitions.describe(a, NOBODY)),
    "Workflows.move_label": (P.MANAGE_WORKFLOWS, lambda s, a: s.workflows.definitions.move_label(a, NOBODY, "x", 1)),
    "Workflows.delete": (P.MANAGE_WORKFLOWS, lambda s, a: s.workflows.definitions.delete(a, NOBODY)),
    "Workflows.import_document": (P.MANAGE_WORKFLOWS, lambda s, a: s.workflows.definitions.import_document(a, "[")),
    "WorkflowSchedules.add": (
        P.MANAGE_WORKFLOWS,
        lambda s, a: s.workflows.schedules.add(a, NOBODY, "* * * * *", "UTC"),
    ),
    "WorkflowSchedules.list": (P.MANAGE_WORKFLOWS, lambda s, a: s.workflows.schedules.list(a, NOBODY)),
    "WorkflowSchedules.remove": (P.MANAGE_WORKFLOWS, lambda s, a: s.workflows.schedules.remove(a, NOBODY)),
    "WorkflowWebhooks.add": (P.MANAGE_WORKFLOWS, lambda s, a: s.workflows.webhooks.add(a, NOBODY)),
    "WorkflowWebhooks.list": (P.MANAGE_WORKFLOWS, lambda s, a: s.workflows.webhooks.list(a, NOBODY)),
    "WorkflowWebhooks.renew": (P.MANAGE_WORKFLOWS, lambda s, a: s.workflows.webhooks.renew(a, NOBODY)),
    "WorkflowWebhooks.remove": (P.MANAGE_WORKFLOWS, lambda s, a: s.workflows.webhooks.remove(a, NOBODY)),
    "WorkflowWebhooks.switch": (
        P.MANAGE_WORKFLOWS,
        lambda s, a: s.workflows.webhooks.switch(a, NOBODY, is_active=False),
    ),
    "ConversationRuns.start": (P.TEST_CONFIGS, lambda s, a: s.workflows.conversation_runs.start(a, NOBODY, NOBODY)),
    "WorkflowBatches.read_rows": (P.TEST_CONFIGS, lambda s, a: s.workflows.batches.read_rows(a, NOBODY, b"x")),
    "WorkflowBatches.quote": (P.TEST_CONFIGS, lambda s, a: s.workflows.batches.quote(a, NOBODY, [{}])),
    "WorkflowBatches.start": (P.TEST_CONFIGS, lambda s, a: s.workflows.batches.start(a, NOBODY, [{}])),
    "WorkflowBatches.get": (P.TEST_CONFIGS, lambda s, a: s.workflows.batches.get(a, NOBODY)),
    "WorkflowBatches.list": (P.TEST_CONFIGS, lambda s, a: s.workflows.batches.list(a, NOBODY)),
    "WorkflowBatches.runs": (P.TEST_CONFIGS, lambda s, a: s.workflows.batches.runs(a, NOBODY)),
    "WorkflowBatches.cancel": (P.TEST_CONFIGS, lambda s, a: s.workflows.batches.cancel(a, NOBODY)),
    "WorkflowBatches.export_csv": (P.TEST_CONFIGS, lambda s, a: s.workflows.batches.export_csv(a, NOBODY)),
    "WorkflowRuns.list_batch": (P.TEST_CONFIGS, lambda s, a: s.workflows.runs.list_batch(a, NOBODY)),
    "WorkflowRuns.start": (P.TEST_CONFIGS, lambda s, a: s.workflows.runs.start(a, NOBODY, {})),
    "WorkflowRuns.quote": (P.TEST_CONFIGS, lambda s, a: s.workflows.runs.quote(a, NOBODY)),
    "WorkflowRuns.quote_rerun": (P.TEST_CONFIGS, lambda s, a: s.workflows.runs.quote_rerun(a, NOBODY, "x")),
    "WorkflowRuns.rerun": (P.TEST_CONFIGS, lambda s, a: s.workflows.runs.rerun(a, NOBODY)),
    "WorkflowRuns.list": (P.TEST_CONFIGS, lambda s, a: s.workflows.runs.list(a)),
    "WorkflowRuns.get": (P.TEST_CONFIGS, lambda s, a: s.workflows.runs.get(a, NOBODY)),
    "WorkflowRuns.steps": (P.TEST_CONFIGS, lambda s, a: s.workflows.runs.steps(a, NOBODY)),
    "WorkflowRuns.outline": (P.TEST_CONFIGS, lambda s, a: s.workflows.runs.outline(a, NOBODY)),
    "WorkflowRuns.step": (P.TEST_CONFIGS, lambda s, a: s.workflows.runs.step(a, NOBODY, "x")),
    "WorkflowRuns.definition": (P.TEST_CONFIGS, lambda s, a: s.workflows.runs.definition(a, NOBODY)),
    "WorkflowRuns.cancel": (P.TEST_CONFIGS, lambda s, a: s.workflows.runs.cancel(a, NOBODY)),
    "WorkflowRuns.pause": (P.TEST_CONFIGS, lambda s, a: s.workflows.runs.pause(a, NOBODY)),
    "WorkflowRuns.resume": (P.TEST_CONFIGS, lambda s, a: s.workflows.runs.resume(a, NOBODY)),
    "WorkflowRuns.recover": (P.MANAGE_WORKFLOWS, lambda s, a: s.workflows.runs.recover(a)),
    "WorkflowRuns.signal": (P.TEST_CONFIGS, lambda s, a: s.workflows.runs.signal(a, NOBODY, "x")),
    "WorkflowRuns.wait": (P.TEST_CONFIGS, lambda s, a: s.workflows.runs.wait(a, NOBODY, 0)),
    "WorkflowRuns.figures": (P.TEST_CONFIGS, lambda s, a: s.workflows.runs.figures(a, utc_now())),
    "WorkflowRuns.count_by_state": (P.TEST_CONFIGS, lambda s, a: s.workflows.runs.count_by_state(a)),
}
NOT_CHANGES = {
    "Calls.answer_elsewhere": "a call is a row of the ledger",
    "Bench.test": "its runs are rows of their own",
    "Workflows.check": "a question",
    "ConversationRuns.start": "a run is a row of its own, and its question a message",
    "WorkflowBatches.read_rows": "a question",
    "WorkflowBatches.quote": "a question",
    "WorkflowBatches.start": "runs are rows of their own",
    "WorkflowBatches.runs": "a question",
    "WorkflowRuns.list_batch": "a question",
    "WorkflowRuns.start": "a run is a row of its own",
    "WorkflowRuns.quote": "a question",
    "WorkflowRuns.quote_rerun": "a question",
    "WorkflowRuns.steps": "a question",
    "WorkflowRuns.outline": "a question",
    "WorkflowRuns.step": "a question",
    "WorkflowRuns.definition": "a question",
    "WorkflowRuns.signal": "stands in the run's own rows",
    "WorkflowRuns.figures": "a question",
    "WorkflowRuns.count_by_state": "a question",
}
DEEDS: dict[str, tuple[str, Deed]] = {
    "Workflows.create": (
        "workflow.create",
        lambda s, a: s.workflows.definitions.create(a, f"w-{make_id()[-12:]}", _TINY),
    ),
    "Workflows.save": (
        "workflow.save",
        lambda s, a: s.workflows.definitions.save(a, _slug(s), draw(start("x"), finish("!")), 1),
    ),
    "Workflows.describe": ("workflow.edit", lambda s, a: s.workflows.definitions.describe(a, _slug(s), name="Other")),
    "Workflows.move_label": (
        "workflow.label",
        lambda s, a: s.workflows.definitions.move_label(a, _slug(s), "production", 1),
    ),
    "Workflows.delete": ("workflow.delete", lambda s, a: s.workflows.definitions.delete(a, _slug(s))),
    "Workflows.export_json": ("workflow.export", lambda s, a: s.workflows.definitions.export_json(a)),
    "Workflows.import_document": (
        "workflow.import",
        lambda s, a: s.workflows.definitions.import_document(a, s.workflows.definitions.export_json(OPERATOR)),
    ),
    "WorkflowSchedules.add": ("workflow.schedule", _schedule),
    "WorkflowSchedules.remove": ("workflow.unschedule", lambda s, a: s.workflows.schedules.remove(a, _schedule(s, a))),
    "WorkflowWebhooks.add": ("workflow.add_webhook", _webhook),
    "WorkflowWebhooks.renew": ("workflow.renew_webhook", lambda s, a: s.workflows.webhooks.renew(a, _webhook(s, a))),
    "WorkflowWebhooks.remove": ("workflow.remove_webhook", lambda s, a: s.workflows.webhooks.remove(a, _webhook(s, a))),
    "WorkflowWebhooks.switch": (
        "workflow.switch_webhook",
        lambda s, a: s.workflows.webhooks.switch(a, _webhook(s, a), is_active=False),
    ),
    "WorkflowBatches.cancel": ("workflow.cancel", lambda s, a: s.workflows.batches.cancel(a, _batch(s, a))),
    "WorkflowBatches.export_csv": ("workflow.export", lambda s, a: s.workflows.batches.export_csv(a, _batch(s, a))),
    "WorkflowRuns.cancel": ("workflow.cancel", lambda s, a: s.workflows.runs.cancel(a, _failed_run(s, a))),
    "WorkflowRuns.pause": ("workflow.pause", lambda s, a: s.workflows.runs.pause(a, _failed_run(s, a))),
    "WorkflowRuns.resume": ("workflow.resume", lambda s, a: s.workflows.runs.resume(a, _failed_run(s, a))),
    "WorkflowRuns.recover": ("workflow.recover", _recover),
    "WorkflowRuns.rerun": ("workflow.rerun", lambda s, a: s.workflows.runs.rerun(a, _failed_run(s, a))),
}

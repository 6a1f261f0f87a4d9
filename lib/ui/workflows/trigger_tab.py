"""What begins a workflow's runs without a person: its schedules and its webhooks, made and ended here."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor
from lib.services import Services
from lib.ui import blocks, format, grammar
from lib.ui.workflows.start_form import draw_fields
from lib.workflows.definition import Field
from lib.workflows.triggers.schedules import OVERLAPS, WorkflowSchedule
from lib.workflows.triggers.webhooks import WorkflowWebhook
from lib.workflows.workflow import Workflow

_OVERLAP_WORDS = {"skip": "leave the time out", "queue": "wait for it", "parallel": "run beside it"}


def draw_triggers(services: Services, actor: Actor, workflow: Workflow, *, may_edit: bool) -> None:
    """Schedules and webhooks of a workflow; for who may change it."""
    if not may_edit:
        st.caption("Schedules and webhooks are for who manages workflows.")
        return
    zone = services.preferences.report_zone(actor)
    with blocks.show_errors():
        _draw_needs(services, actor, workflow)
        _draw_schedules(services, actor, workflow, zone)
        _draw_webhooks(services, actor, workflow, zone)
    st.caption(f"Times in {zone.key}, but for a schedule's own")


def _draw_needs(services: Services, actor: Actor, workflow: Workflow) -> None:
    """Show what the workflow's tools need of the person before runs can begin by themselves."""
    for need in services.workflows.explain_unattended(actor, workflow.slug):
        st.warning(blocks.escape_markdown(need), icon=":material/login:")


def _draw_schedules(services: Services, actor: Actor, workflow: Workflow, zone: ZoneInfo) -> None:
    st.subheader("Schedules", anchor=False)
    schedules = services.workflows.schedules.list(actor, workflow.slug)
    if not schedules:
        st.caption("It does not run by itself.")
    for schedule in schedules:
        with st.container(border=True):
            with blocks.start_row():
                st.markdown(f"**{blocks.escape_markdown(schedule.name)}**", width="stretch")
                if st.button(
                    ":red[Delete]", icon=":material/delete:", type="tertiary", key=f"unschedule-{schedule.id}"
                ):
                    _confirm_schedule(services, actor, schedule)
            _draw_schedule(schedule, zone)
    if st.button("Add schedule", icon=":material/schedule:"):
        fields = services.workflows.definitions.version(actor, workflow.slug).definition.input_fields
        st.dialog("Add schedule", width="medium")(_schedule_dialog)(services, actor, workflow, fields, zone.key)


def _confirm_schedule(services: Services, actor: Actor, schedule: WorkflowSchedule) -> None:
    grammar.confirm(
        f"Delete the schedule {grammar.escape_markdown(schedule.name)}?",
        "No run begins by it any more. Its runs stay, and one that goes on ends as it would.",
        keep="Keep schedule",
        act="Delete schedule",
        action=lambda: services.workflows.schedules.remove(actor, schedule.id),
    )


def _draw_schedule(schedule: WorkflowSchedule, zone: ZoneInfo) -> None:
    blocks.show_facts(
        [
            ("At", blocks.escape_markdown(f"{schedule.cron} · {schedule.zone}")),
            ("Next", "—" if schedule.next_at is None else format.format_moment(schedule.next_at, zone)),
            ("While the last run goes", _OVERLAP_WORDS[schedule.overlap]),
        ],
        columns=3,
    )
    if schedule.last_note:
        st.caption(blocks.escape_markdown(schedule.last_note))
    if schedule.last_run_id is not None:
        st.markdown(f"[Last run](/workflows?run={schedule.last_run_id})")


def _schedule_dialog(
    services: Services, actor: Actor, workflow: Workflow, fields: Sequence[Field], zone_name: str
) -> None:
    _draw_needs(services, actor, workflow)
    cron = st.text_input("At", placeholder="30 2 * * 1-5", help="Minute, hour, day, month and weekday")
    zone = st.text_input("Time zone", zone_name)
    overlap = st.selectbox("While the last run still goes", OVERLAPS, format_func=lambda name: _OVERLAP_WORDS[name])
    name = st.text_input("Name", placeholder="nightly")
    values = draw_fields(fields, f"schedule-{workflow.slug}")
    with blocks.show_errors():
        if st.button("Add", type="primary", icon=":material/schedule:"):
            services.workflows.schedules.add(actor, workflow.slug, cron, zone, values, name=name, overlap=overlap)
            st.rerun()


def _draw_webhooks(services: Services, actor: Actor, workflow: Workflow, zone: ZoneInfo) -> None:
    st.subheader("Webhooks", anchor=False)
    webhooks = services.workflows.webhooks.list(actor, workflow.slug)
    if not webhooks:
        st.caption("No program outside begins it by a secret of its own.")
    for webhook in webhooks:
        with st.container(border=True):
            _draw_webhook(services, actor, webhook, zone)
    if st.button("Add webhook", icon=":material/webhook:"):
        st.dialog("Add webhook", width="medium")(_draw_webhook_dialog)(services, actor, workflow)


def _draw_webhook(services: Services, actor: Actor, webhook: WorkflowWebhook, zone: ZoneInfo) -> None:
    used = "never used" if webhook.used_at is None else f"used {format.format_moment(webhook.used_at, zone)}"
    with blocks.start_row():
        st.markdown(f"**{blocks.escape_markdown(webhook.name)}** · {used}", width="stretch")
        is_active = st.toggle("On", webhook.is_active, key=f"webhook-on-{webhook.id}")
        if is_active != webhook.is_active:
            services.workflows.webhooks.switch(actor, webhook.id, is_active=is_active)
            st.rerun()
        if st.button("New secret", icon=":material/key:", type="tertiary", key=f"webhook-renew-{webhook.id}"):
            st.dialog("New secret")(_renew_dialog)(services, actor, webhook)
        if st.button(":red[Delete]", icon=":material/delete:", type="tertiary", key=f"webhook-delete-{webhook.id}"):
            _confirm_webhook(services, actor, webhook)
    st.code(f"POST {webhook.path}", language=None, wrap_lines=True)


def _confirm_webhook(services: Services, actor: Actor, webhook: WorkflowWebhook) -> None:
    grammar.confirm(
        f"Delete the webhook {grammar.escape_markdown(webhook.name)}?",
        "Its address answers no longer, and its secret is forgotten. Its runs stay.",
        keep="Keep webhook",
        act="Delete webhook",
        action=lambda: services.workflows.webhooks.remove(actor, webhook.id),
    )


def _draw_webhook_dialog(services: Services, actor: Actor, workflow: Workflow) -> None:
    _draw_needs(services, actor, workflow)
    name = st.text_input("Name", placeholder="issue tracker")
    st.caption("A delivery's JSON fills the form's fields by their names; a field `payload` gets all of it.")
    with blocks.show_errors():
        if st.button("Add", type="primary", icon=":material/webhook:"):
            webhook, secret = services.workflows.webhooks.add(actor, workflow.slug, name)
            _show_secret(f"POST {webhook.path}", secret)


def _renew_dialog(services: Services, actor: Actor, webhook: WorkflowWebhook) -> None:
    st.markdown("The old secret ends at once.")
    with blocks.show_errors():
        if st.button("Make a new secret", type="primary", icon=":material/key:"):
            _show_secret(f"POST {webhook.path}", services.workflows.webhooks.renew(actor, webhook.id))


def _show_secret(address: str, secret: str) -> None:
    st.code(address, language=None)
    st.code(secret, language=None, wrap_lines=True)
    st.caption("Copy the secret now: it is shown this once.")

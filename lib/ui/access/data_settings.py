"""The Settings page's tabs on keys and on how long things are kept."""

from dataclasses import asdict
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor
from lib.errors import LLMManagerError
from lib.jobs.retention import LONGEST_DAYS, Days, Deleted
from lib.services import Services
from lib.ui import blocks, format

_CLASSES = {
    "words": ("Words", "Prompts and answers. The calls stay, with their tokens, cost and times."),
    "calls": ("Calls", "Rows of the ledger with their words. They leave Activity and every figure."),
    "metrics": ("Metrics", "Custom metrics of calls. Those of calls that leave go with them."),
    "audit": ("Audit log", "Who changed what. 30 days or more."),
    "sign_ins": ("Sign-ins", "Sessions that were last used before, and failed tries."),
}


def show_keys_tab(services: Services, actor: Actor, zone: ZoneInfo) -> None:
    """Which master key is in use, and the button that makes a new one."""
    state = services.master_key.state(actor)
    key_location = "the environment" if state.source == "environment" else "master.key in the data folder"
    with st.container(border=True):
        st.subheader("Master key", anchor=False)
        st.caption("It encrypts provider keys and headers in the database.")
        pairs = [
            ("Stands in", key_location),
            ("In use since", format.format_moment(state.since, zone)),
            ("Id", state.key_id),
        ]
        blocks.show_facts([(label, blocks.escape_markdown(value)) for label, value in pairs], columns=3)
        if st.button("Rotate the master key", icon=":material/autorenew:"):
            rotate_dialog(services, actor)


@st.dialog("Rotate the master key?")
def rotate_dialog(services: Services, actor: Actor) -> None:
    """Ask, rotate, and say how many secrets there were."""
    st.markdown(
        "A new key is made and every stored secret is encrypted under it. Providers keep their keys and nothing stops. "
        "Afterwards back up the key file: backups of the database made before need the old one."
    )
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Keep this key"):
            st.rerun()
        if st.button("Rotate key", icon=":material/autorenew:"):
            try:
                count = services.master_key.rotate(actor)
            except LLMManagerError as error:
                blocks.show_error(error)
                return
            st.toast(f"{count} {'secret is' if count == 1 else 'secrets are'} under a new key.")
            st.rerun()


def show_retention_tab(services: Services, actor: Actor, zone: ZoneInfo) -> None:
    """Days for each class, what a run would delete now, and what the last one deleted."""
    days = services.retention.days(actor)
    current = asdict(days)
    with st.form("retention"):
        st.subheader("How long things are kept", anchor=False)
        columns = st.columns(len(_CLASSES))
        typed_days = {
            name: column.number_input(
                f"{label}, days", 1, LONGEST_DAYS, current[name], placeholder="For good", help=about, key=f"days-{name}"
            )
            for column, (name, (label, about)) in zip(columns, _CLASSES.items(), strict=True)
        }
        st.caption("An empty field keeps all. What is older is deleted within the hour, and can't be brought back.")
        sent = st.form_submit_button("Save times")
    if sent:
        with blocks.show_errors():
            save_days(services, actor, Days(**{name: None if n is None else int(n) for name, n in typed_days.items()}))
    with blocks.start_row():
        if st.button("Show what would go now", icon=":material/search:"):
            st.caption(
                blocks.escape_markdown(
                    f"Now older than their time: {_describe_deleted(services.retention.preview(actor))}."
                )
            )
    last = services.retention.last_run(actor)
    last_run_text = "There was no run yet."
    if last is not None:
        deleted = _describe_deleted(last.deleted)
        last_run_text = f"Last run: {format.format_moment(last.at, zone)}, by {last.by}. Deleted: {deleted}."
    st.caption(blocks.escape_markdown(last_run_text))


def save_days(services: Services, actor: Actor, days: Days) -> None:
    """Keep the times; ask first when rows of the ledger would go."""
    going = services.retention.preview(actor, days).calls
    if going and days.calls != services.retention.days(actor).calls:
        confirm_dialog(services, actor, days, going)
        return
    services.retention.change(actor, days)
    st.toast("The times are saved.")
    st.rerun()


@st.dialog("Delete calls from the ledger?")
def confirm_dialog(services: Services, actor: Actor, days: Days, going: int) -> None:
    """Name how many rows go, and save only when that is confirmed."""
    st.markdown(
        f"**{going:,} rows** are older than {days.calls} days. They leave Activity and every figure, "
        "and can't be brought back. From then on rows leave when they reach that age."
    )
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Keep calls"):
            st.rerun()
        if st.button(f":red[Delete {going:,} rows]", icon=":material/delete:"):
            try:
                services.retention.change(actor, days, confirmed_calls=going)
            except LLMManagerError as error:
                blocks.show_error(error)
                return
            st.rerun()


def _describe_deleted(deleted: Deleted) -> str:
    parts = [f"{count:,} of {_CLASSES[name][0].lower()}" for name, count in asdict(deleted).items() if count]
    return ", ".join(parts) or "nothing"

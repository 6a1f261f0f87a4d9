"""The tab Audit of the Access page: who changed what, when and from where. Its filters stand in the address."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.audit import AuditCriteria, AuditEntry
from lib.access.permissions import Actor
from lib.clock import utc_now
from lib.money import format_money
from lib.services import Services
from lib.ui import blocks, format, grammar, session_keys
from lib.ui import names as ids

_MONEY = "_nano_usd"


def show_tab(services: Services, actor: Actor, zone: ZoneInfo) -> None:
    """Draw the tab Audit: filters, a page of entries, the selected entry in full, and a CSV of all that match."""
    criteria = _show_filters(services, actor, zone)
    page = services.audit.page(actor, criteria, st.session_state.get(session_keys.AUDIT_PAGE, 1))
    if not page.count:
        st.caption("Nothing was changed that matches.")
        return
    count = f"{page.count:,} {'entry' if page.count == 1 else 'entries'} · times in {zone.key}"
    st.caption(f"{count} · select one to see all of it")
    names = services.users.names(filter(None, (str(entry.detail.get("owner") or "") for entry in page.entries)))
    rows = [
        {
            "Time": format.format_moment(entry.at, zone),
            "Who": entry.user_name,
            "Action": format_action(entry.action),
            "What": entry.subject,
            "Detail": " · ".join(f"{name}: {value}" for name, value in list_details(entry, names)),
            "From where": entry.came_from,
        }
        for entry in page.entries
    ]
    few = ["Time", "Who", "Action"]
    position = grammar.choose_row(
        rows,
        placeholder="—",
        column_order=few if blocks.is_compact() else None,
        key=f"audit-table-{page.entries[0].id}-{page.entries[-1].id}",
        alt="Changes, newest first",
    )
    if page.pages > 1:
        with blocks.start_row(horizontal_alignment="right"):
            st.pagination(page.pages, default=page.page, max_visible_pages=5, width=320, key=session_keys.AUDIT_PAGE)
    if position is not None:
        _show_entry(page.entries[position], names, zone)


def format_action(action: str) -> str:
    """`api_key.revoke` as people read it."""
    return action.replace("api_key", "API key").replace(".", " · ").replace("_", " ")


def list_details(entry: AuditEntry, names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the details of an audit entry as texts (name, value); `names` maps user ids to names."""
    for name, value in entry.detail.items():
        if name == "owner":
            yield "owner", names.get(str(value), str(value)) if value else "a program"
        elif isinstance(value, dict):
            yield from (
                (_format_name(inner), _format_detail(inner, inner_value)) for inner, inner_value in value.items()
            )
        else:
            yield _format_name(name), _format_detail(name, value)


def _format_name(name: str) -> str:
    return name.removesuffix(_MONEY).removeprefix("is_").replace("_", " ")


def _format_detail(name: str, value: Any) -> str:
    if name.endswith(_MONEY) and isinstance(value, int):
        return format_money(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or ("every" if name == "models" else "none")
    return "—" if value in (None, "") else str(value)


def _show_filters(services: Services, actor: Actor, zone: ZoneInfo) -> AuditCriteria:
    options = services.audit.options(actor)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        users = st.multiselect(
            "Who", options.users, placeholder="Anybody", key="audit-users", width=150, bind="query-params"
        )
        actions = st.multiselect(
            "Action",
            options.actions,
            format_func=format_action,
            placeholder="Any",
            key="audit-actions",
            width=170,
            bind="query-params",
        )
        team_names = ids.name_teams(services, actor)
        chosen_teams: list[str] = []
        if team_names:
            chosen_teams = st.multiselect(
                "Team",
                list(team_names),
                format_func=team_names.__getitem__,
                placeholder="Any",
                key="audit-teams",
                width=130,
                bind="query-params",
            )
        words = st.text_input("What", placeholder="Any part of it", key="audit-text", width=140, bind="query-params")
        since = st.date_input("From", None, key="audit-from", width=134, bind="query-params")
        until = st.date_input("To", None, key="audit-to", width=134, bind="query-params")
        criteria = AuditCriteria(
            tuple(users),
            tuple(actions),
            tuple(int(team) for team in chosen_teams),
            since=datetime.combine(since, time(), zone) if since else None,
            until=datetime.combine(until + timedelta(days=1), time(), zone) if until else None,
            text=words,
        )
        st.download_button(
            "CSV",
            data=_prepare_csv(services, actor, criteria),
            file_name=f"audit-{utc_now():%Y-%m-%d}.csv",
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
        )
    return criteria


def _show_entry(entry: AuditEntry, names: Mapping[str, str], zone: ZoneInfo) -> None:
    with st.container(border=True):
        st.subheader(f"{format_action(entry.action)} · {blocks.escape_markdown(entry.subject)}", anchor=False)
        who = f"{format.format_moment(entry.at, zone)} · {entry.user_name} · {entry.came_from or 'place unknown'}"
        st.caption(blocks.escape_markdown(who))
        blocks.show_facts(
            [
                (blocks.escape_markdown(name), blocks.escape_markdown(value))
                for name, value in list_details(entry, names)
            ],
            columns=4,
        )


def _prepare_csv(services: Services, actor: Actor, criteria: AuditCriteria) -> Callable[[], bytes]:
    return lambda: b"".join(services.audit.export_csv(actor, criteria))

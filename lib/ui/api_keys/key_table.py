"""The pieces of the API keys page: the table with its panel, and the limits of apps."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.api_key import ApiKey
from lib.access.grants import NO_LIMITS, Limits
from lib.access.permissions import Actor, Role
from lib.activity.call_filter import ActivityFilter
from lib.clock import utc_now
from lib.errors import LLMManagerError
from lib.money import format_sum
from lib.services import Services
from lib.ui import blocks, format, grammar, session
from lib.ui.api_keys.key_forms import ask_limits, edit_dialog
from lib.ui.configurations.configuration_form import show_in_form

_STATES: dict[str, tuple[str, Any]] = {
    "active": ("✓ active", "green"),
    "expired": ("◷ expired", "orange"),
    "revoked": ("■ revoked", "gray"),
    "owner disabled": ("⊘ owner disabled", "orange"),
    "owner left the team": ("⊘ owner left the team", "orange"),
}
Use = dict[str, tuple[int, int | None, int]]


def load_recent_use(services: Services, actor: Actor) -> Use:
    """Calls, cost (nano-dollars, None unknown) and calls that are not wholly in it, of the last 30 days by key."""
    from lib.statistics.filters import Dimension, StatisticsFilter
    from lib.statistics.tables import convert_to_records

    start = (utc_now() - timedelta(days=30)).replace(minute=0, second=0, microsecond=0)
    frame = services.statistics.by(actor, StatisticsFilter(start=start), Dimension.API_KEY)
    names = ("calls", "cost_nano_usd", "unpriced_calls")
    return {row["api_key"]: tuple(row[name] for name in names) for row in convert_to_records(frame) if row["api_key"]}


def show_table(
    keys: Sequence[ApiKey],
    use: Use,
    zone: ZoneInfo,
    *,
    everybody: bool,
    compact: bool,
    teams: Mapping[str, str] = MappingProxyType({}),
) -> ApiKey | None:
    """Draw the table, with the teams of the keys where names are given; returns the key that is open."""
    rows = [_build_row(key, use, zone, teams) for key in keys]
    hidden = {name for name, is_shown in (("owner", everybody), ("team", bool(teams))) if not is_shown}
    if teams:  # the width of a page; the opened key tells it
        hidden.add("models")
    wide = [name for name in rows[0] if name not in hidden]
    opened = grammar.open_table(
        "keys",
        rows,
        [key.id for key in keys],
        _build_columns(rows),
        order=["name", "prefix", "state"] if compact or grammar.get_opened() else wide,
        alt="API keys",
    )
    return next((key for key in keys if key.id == opened), None)


def _build_row(key: ApiKey, use: Use, zone: ZoneInfo, teams: Mapping[str, str]) -> dict[str, Any]:
    calls, cost_nano_usd, unpriced_calls = use.get(key.id, (0, 0, 0))
    return {
        "name": key.name,
        "prefix": f"{key.prefix}…",
        "app": key.app,
        "owner": key.owner or None,
        "team": teams.get(str(key.team_id)),
        "models": ", ".join(key.grant.models) or "every model",
        "state": [_STATES[key.state()][0]],
        "expires": _format_expiry(key, zone).partition(",")[0],
        "used": format.format_moment(key.last_used_at, zone).partition(",")[0],
        "calls": calls,
        "cost": format_sum(cost_nano_usd, unpriced_calls),
    }


def _build_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    text = st.column_config.TextColumn
    return {
        "name": text("Name"),
        "prefix": text("Key", width=112),
        "app": text("App", width=92),
        "owner": text("Owner", width=64, help="— means a program of its own"),
        "team": text("Team", width=84),
        "models": text("Models", width=96),
        "state": grammar.make_state_column("State", _STATES.values(), 92),
        "expires": text("Expires", width=84),
        "used": text("Last used", width=84, help="— means never"),
        "calls": st.column_config.NumberColumn(
            "Calls, 30 d",
            width=format.compute_column_width([f"{row['calls']:,}" for row in rows], 74),
            format="localized",
        ),
        "cost": text(
            "Cost, 30 d",
            width=format.compute_column_width([row["cost"] for row in rows], 74),
            alignment="right",
            help="— means no call has a known price",
        ),
    }


def show_panel(services: Services, actor: Actor, key: ApiKey, zone: ZoneInfo) -> None:
    """One key: scope, limits, and what may be done with it."""
    label, colour = _STATES[key.state()]
    st.badge(label, color=colour)
    moments = {"made": key.created_at, "last used": key.last_used_at, "revoked": key.revoked_at}
    moment_texts = [
        f"{event} {format.format_moment(moment, zone)}" for event, moment in moments.items() if moment is not None
    ]
    st.caption(" · ".join([f"{blocks.escape_markdown(key.prefix)}…", *moment_texts]))
    limits = key.grant.limits
    blocks.show_facts(
        [
            ("App", blocks.escape_markdown(key.app)),
            ("Owner", blocks.escape_markdown(key.owner) or ":gray[— a program]"),
            ("Models", ", ".join(blocks.escape_markdown(pattern) for pattern in key.grant.models) or "every model"),
            ("Endpoints", ", ".join(endpoint.value for endpoint in key.grant.endpoints)),
            ("Requests a minute", _format_limit(limits.requests_per_minute)),
            ("Tokens a minute", _format_limit(limits.tokens_per_minute)),
            ("Calls at once", _format_limit(limits.concurrency)),
            ("Expires", _format_expiry(key, zone)),
        ],
    )
    if key.revoked_at is not None:
        return
    may_change = actor.rules_team or key.created_by == actor.user_id
    with blocks.start_row():
        if st.button("Edit", icon=":material/edit:", key=f"edit-{key.id}", disabled=not may_change):
            st.dialog("Edit API key")(edit_dialog)(services, actor, key)
        criteria = ActivityFilter(period="30d", api_keys=(key.id,))
        link = session.page("activity")
        st.page_link(link, label="Calls", icon=":material/receipt_long:", query_params=criteria.to_query())
        if key.state() == "active":
            st.page_link(
                session.page("connect"), label="Connect", icon=":material/cable:", query_params={"key": key.prefix}
            )
        if st.button(":red[Revoke]", icon=":material/block:", key=f"revoke-{key.id}"):
            ask_to_revoke(services, actor, key)
    if not may_change:
        st.caption("Somebody else made it for you: you can revoke it, they can change it.")


def _format_expiry(key: ApiKey, zone: ZoneInfo) -> str:
    """The last second in which it works, so that the end of a day carries that day's date."""
    return "never" if key.expires_at is None else format.format_moment(key.expires_at - timedelta(microseconds=1), zone)


def _format_limit(value: int | None) -> str:
    return ":gray[no limit]" if value is None else f"{value:,}"


def ask_to_revoke(services: Services, actor: Actor, key: ApiKey) -> None:
    """Ask before a key ends."""
    name = blocks.escape_markdown(key.name)
    grammar.confirm(
        f"Revoke the key {name}?",
        f"**{name}** ({blocks.escape_markdown(key.prefix)}…) stops working within five seconds, for good. "
        "Its calls and figures stay.",
        keep="Keep key",
        act="Revoke key",
        action=lambda: services.api_keys.revoke(actor, key.id),
        undo="It can't be undone: make a new key instead.",
        icon="block",
    )


def show_app_limits(services: Services, actor: Actor) -> None:
    """The limits of apps, and the button to set them for who may."""
    limits = services.limits.list_apps(actor)
    if limits:
        rows = [
            {
                "App": blocks.escape_markdown(app),
                "Requests a minute": _format_limit(limit.requests_per_minute),
                "Tokens a minute": _format_limit(limit.tokens_per_minute),
            }
            for app, limit in sorted(limits.items())
        ]
        st.table(rows, border="horizontal", hide_index=True)
    else:
        st.markdown("No app has a limit.")
    st.caption("A limit of an app counts every call made for it, over all keys and pages, in any 60 seconds.")
    if actor.role is Role.SUPER_ADMIN and st.button("Set limits", icon=":material/speed:"):
        st.dialog("Limits of an app")(edit_app_limits_dialog)(services, actor)


def edit_app_limits_dialog(services: Services, actor: Actor) -> None:
    """Choose an app and its two numbers; empty ones end its limits."""
    limits_by_app = services.limits.list_apps(actor)
    apps = sorted({*limits_by_app, *services.configurations.apps(actor)})
    spots: dict[str | None, Any] = {}
    app = st.selectbox("App", apps, index=None, placeholder="Choose or type one", accept_new_options=True)
    spots["app"] = st.empty()
    requests, tokens, _ = ask_limits(limits_by_app.get(app or "", NO_LIMITS), spots, f"app-{app}", concurrency=False)
    st.caption("Leave both empty to end the app's limits.")
    spots[None] = st.container()
    if st.button("Save limits", type="primary"):
        try:
            services.limits.set_app(actor, app or "", Limits(requests, tokens))
        except LLMManagerError as error:
            show_in_form(error, spots)
            return
        st.rerun()

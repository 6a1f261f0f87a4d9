"""The pieces of the Budgets page: a card per budget, past windows, and what was told."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor, Permission
from lib.activity.call_filter import ActivityFilter
from lib.budgets.budget import Budget, BudgetScope, format_window
from lib.budgets.forecast import HOW
from lib.budgets.notices import REFUSED, Notice
from lib.budgets.state import NEEDS_A_LOOK, BudgetState, Spending
from lib.errors import LLMManagerError
from lib.money import format_money, format_sum
from lib.services import Services
from lib.ui import blocks, format, session
from lib.ui.budgets import budget_forms

_BADGES: dict[str, tuple[str, Any]] = {
    "over": ("! over the limit", "red"),
    "used up": ("⊘ used up", "red"),
    "refusing": ("⊘ refused a call", "orange"),
    "near": ("△ near the limit", "orange"),
    "forecast over": ("△ forecast over", "orange"),
    "on track": ("✓ on track", "green"),
}
_LABELS: dict[str, str] = {BudgetScope.KEY: "API key"}
_FILTERS = {
    BudgetScope.PROVIDER: "providers",
    BudgetScope.CONFIGURATION: "configurations",
    BudgetScope.APP: "apps",
    BudgetScope.USER: "users",
    BudgetScope.KEY: "api_keys",
    BudgetScope.TEAM: "teams",
}


def format_scope(scope: str) -> str:
    """A scope as people read it; `All` of them stays as it is."""
    return _LABELS.get(scope, scope.capitalize())


def format_title(budget: Budget) -> str:
    """The subject of a budget as plain text."""
    return "Everything" if budget.scope is BudgetScope.GLOBAL else budget.label


def format_scope_line(states: Sequence[BudgetState], zone: ZoneInfo) -> str:
    """How many there are, how many need a look, and what is counted."""
    full = sum(state.state in NEEDS_A_LOOK for state in states)
    head = f"{len(states)} {'budget' if len(states) == 1 else 'budgets'}, {full} near the limit, past it or refusing"
    return f"{head} · windows begin at 00:00 UTC · times in {zone.key} · sample data and imports are not counted"


def show_badge(state: BudgetState) -> None:
    """The state as glyph, word and colour."""
    label, colour = _BADGES[state.state]
    st.badge(label, color=colour)


def show_card(services: Services, actor: Actor, state: BudgetState, zone: ZoneInfo) -> None:
    """One budget: spent of limit, bar, what happens, forecast, actions."""
    budget = state.budget
    now = state.now
    with st.container(border=True, height="stretch"):
        with blocks.start_row(gap="xsmall"):
            st.subheader(blocks.escape_markdown(format_title(budget)), anchor=False, width="content")
            st.caption(f"{format_scope(budget.scope)} · {budget.period}", width="stretch")
            show_badge(state)
        st.markdown(blocks.sanitise_markdown(f"**{_format_spent(now)}** of {format_money(now.limit_nano)}"))
        st.progress(min(1.0, now.percent / 100))
        st.caption("  \n".join(_describe_budget(state, zone)))
        _show_actions(services, actor, state)


def _describe_budget(state: BudgetState, zone: ZoneInfo) -> list[str]:
    """Lines of Markdown about a budget: what happens at the limit, the forecast, holds, unpriced calls."""
    budget = state.budget
    now = state.now
    end = now.window.end.astimezone(zone)
    verb = "Stops calls at the limit" if budget.is_hard else "Never stops a call"
    notice_text = f"tells at {', '.join(map(str, budget.thresholds))} %" if budget.thresholds else "tells nothing"
    lines = [f"{verb}, {notice_text}. Starts again on {end.day} {end:%b, %H:%M}."]
    if state.forecast is not None and state.forecast.high:
        low = format_sum(state.forecast.low, now.unpriced_calls)
        high = format_money(state.forecast.high)
        lines.append(f"Forecast for {format_window(budget.period, now.window.start)}: {_format_range(low, high)}.")
    if state.state == "refusing":
        lines.append("A call that might have cost more than what is left was refused; smaller ones pass.")
    if now.held_nano:
        lines.append(f"{format_money(now.held_nano)} more is held for calls under way.")
    if now.unpriced_calls:
        calls = "call" if now.unpriced_calls == 1 else "calls"
        lines.append(f"{format.format_count(now.unpriced_calls)} {calls} unpriced, not or not wholly in the sum.")
    if budget.block_unpriced:
        lines.append("Models without a price are stopped.")
    if not budget.exists:
        lines.append(f":orange[There is no such {budget.scope} any more: it counts nothing.]")
    return [line.replace("$", "\\$") for line in lines]


def _format_spent(window: Spending) -> str:
    return format_sum(window.spent_nano, window.unpriced_calls)


def _format_range(low: str, high: str) -> str:
    return low if low == high else f"{low} – {high}"


def _show_actions(services: Services, actor: Actor, state: BudgetState) -> None:
    budget = state.budget
    locked = not (actor.can(Permission.MANAGE_PROVIDERS) or actor.rules_team)
    with blocks.start_row():
        if st.button("Edit", icon=":material/edit:", type="tertiary", key=f"edit-{budget.id}", disabled=locked):
            st.dialog(f"Edit {format_title(budget)}")(budget_forms.edit_dialog)(services, actor, state)
        if actor.can(Permission.TEST_CONFIGS):
            criteria = _filter_calls(state)
            link = session.page("activity")
            st.page_link(link, label="Calls", icon=":material/receipt_long:", query_params=criteria.to_query())
        if st.button("History", icon=":material/history:", type="tertiary", key=f"history-{budget.id}"):
            st.dialog(f"{format_title(budget)} per {budget.period}", width="medium")(show_history)(
                services, actor, state
            )
        if st.button(
            ":red[Delete]", icon=":material/delete:", type="tertiary", key=f"delete-{budget.id}", disabled=locked
        ):
            st.dialog(f"Delete the budget {format_title(budget)}?")(delete_dialog)(services, actor, state)


def _filter_calls(state: BudgetState) -> ActivityFilter:
    """The calls of the window in the activity log."""
    budget = state.budget
    window = state.now.window
    every = ActivityFilter(start=window.start, end=window.end, batches=("live",))
    if budget.scope is BudgetScope.GLOBAL:
        return every
    return replace(every, **{_FILTERS[budget.scope]: (budget.subject,)})  # type: ignore[arg-type]


def show_history(services: Services, actor: Actor, state: BudgetState) -> None:
    """Past windows, and counting the current one again."""
    budget = state.budget
    rows = [
        {
            "Window": format_window(budget.period, past.window.start),
            "Spent": _format_spent(past),
            "Limit": format_money(past.limit_nano),
            "Share": f"{100 * past.spent_nano / past.limit_nano:.1f} %",
            "Unpriced": past.unpriced_calls,
        }
        for past in services.budgets.history(actor, budget.id)
    ]
    figures = {name: st.column_config.TextColumn(name, alignment="right") for name in ("Spent", "Limit", "Share")}
    st.dataframe(rows, hide_index=True, row_height=30, column_config=figures)
    st.caption("Windows in which calls were made, the newest first. A past window keeps the limit it had.")
    st.caption(f"Forecast: {HOW[0].lower()}{HOW[1:]}")
    if (actor.can(Permission.MANAGE_PROVIDERS) or actor.rules_team) and st.button(
        "Count again", icon=":material/calculate:", help="Add the current window up from the log of calls"
    ):
        with blocks.show_errors():
            counted = services.budgets.recount(actor, budget.id).now
            st.success(f"{_format_spent(counted)} is spent in this window.".replace("$", "\\$"))


def delete_dialog(services: Services, actor: Actor, state: BudgetState) -> None:
    """Ask before a budget is deleted; says what is deleted with it and what stays."""
    st.markdown(
        "Nothing limits these calls from then on, and the past windows of this budget are gone. "
        "The calls, their cost and the statistics stay."
    )
    spot = st.container()
    with blocks.start_row():
        if st.button("Keep budget"):
            st.rerun()
        if st.button(":red[Delete budget]"):
            try:
                services.budgets.delete(actor, state.budget.id)
            except LLMManagerError as error:
                with spot:
                    blocks.show_error(error)
                return
            st.rerun()


def show_notices(services: Services, actor: Actor, zone: ZoneInfo) -> None:
    """The newest notices; nothing while there is none."""
    notices = services.budgets.notices(actor)
    if not notices:
        return
    with st.container(border=True):
        st.subheader("Notices", anchor=False)
        for notice in notices[:10]:
            st.markdown(f"{describe_notice(notice)} :small[:gray[{format.format_moment(notice.at, zone)}]]")


def describe_notice(notice: Notice) -> str:
    """A notice as a sentence of Markdown: which threshold of which budget was reached, or that a call was refused."""
    about = "everything" if notice.scope == BudgetScope.GLOBAL else f"{notice.scope} {notice.label}"
    name = f"**{blocks.escape_markdown(about)}**, {format_window(notice.period, notice.starts_at)}"
    money = notice.spent_of_limit.replace("$", "\\$")
    if notice.threshold == REFUSED:
        return f"⊘ {name}: a call was refused for the first time in it, {money} was spent."
    return f"△ {name}: {notice.threshold} % reached, {money}."


def show_beyond_holds(services: Services, actor: Actor, zone: ZoneInfo) -> None:
    """Models whose providers count more than calls were held for, each with the way to its calls; often nothing."""
    overruns = services.calls.beyond_holds(actor)
    if not overruns:
        return
    with st.container(border=True):
        st.subheader("More was counted than was held for", anchor=False)
        for overrun in overruns[:10]:
            name = blocks.escape_markdown(f"{overrun.provider}/{overrun.model}")
            until = f"Until {format.format_moment(overrun.until, zone)} holds of it are for {overrun.words}."
            with blocks.start_row(gap="xsmall"):
                st.markdown(
                    f"△ **{name}**: its provider counted more than calls were bounded by. {until}", width="stretch"
                )
                if actor.can(Permission.TEST_CONFIGS):
                    criteria = ActivityFilter(period="7d", providers=(overrun.provider,), models=(overrun.model,))
                    link = session.page("activity")
                    st.page_link(link, label="Calls", icon=":material/receipt_long:", query_params=criteria.to_query())


def show_attention(services: Services, actor: Actor) -> None:
    """For the dashboard: the budgets near their limit or past it, a line each; nothing while there is none."""
    if not (states := services.budgets.attention(actor)):
        return
    with st.container(border=True):
        st.subheader("Budgets", anchor=False)
        for state in states[:5]:
            with blocks.start_row(gap="xsmall"):
                about = blocks.escape_markdown(format_title(state.budget))
                now = state.now
                money = now.spent_of_limit.replace("$", "\\$")
                st.markdown(f"**{about}** {money}", width="stretch")
                show_badge(state)
        st.page_link(session.page("budgets"), label="All budgets")

"""The dialogs of the Budgets page: set a budget, change one, and ask whether a call would pass."""

from decimal import Decimal
from typing import Any

import streamlit as st

from lib.access.permissions import Actor, Permission
from lib.budgets.budget import DEFAULT_THRESHOLDS, BudgetScope, Period
from lib.budgets.dry_run import ask_budgets
from lib.budgets.state import BudgetState
from lib.errors import InvalidInput, LLMManagerError
from lib.money import convert_nano_to_usd, convert_usd_to_nano, format_money
from lib.patterns import compile_pattern
from lib.services import Services
from lib.ui import blocks
from lib.ui.configurations.configuration_form import show_in_form

_THRESHOLDS = (25, 50, 75, 80, 90, 95, 100)
_SCOPES = {
    BudgetScope.GLOBAL: "Everything",
    BudgetScope.PROVIDER: "A provider",
    BudgetScope.CONFIGURATION: "A configuration",
    BudgetScope.APP: "An app",
    BudgetScope.USER: "A person",
    BudgetScope.KEY: "An API key",
    BudgetScope.TEAM: "A team",
}
_WHOSE = {
    BudgetScope.PROVIDER: "Provider",
    BudgetScope.CONFIGURATION: "Configuration",
    BudgetScope.APP: "App",
    BudgetScope.USER: "Person",
    BudgetScope.KEY: "API key",
    BudgetScope.TEAM: "Team",
}
_AMOUNT = compile_pattern(r"\$?\s*(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?")
_HARD = {True: "Stop calls that would pass it", False: "Only tell"}


def add_dialog(services: Services, actor: Actor) -> None:
    """The form of a new budget: its subject, period and limit, and what happens at the limit."""
    spots: dict[str | None, Any] = {}
    scopes = (
        list(BudgetScope)
        if actor.can(Permission.MANAGE_PROVIDERS)
        else [BudgetScope.TEAM, BudgetScope.KEY, BudgetScope.CONFIGURATION]
    )
    first = BudgetScope.APP if BudgetScope.APP in scopes else BudgetScope.TEAM
    scope = st.selectbox("About", scopes, scopes.index(first), format_func=_SCOPES.__getitem__) or first
    subject = _ask_subject(services, actor, scope)
    spots["subject"] = spots["app"] = st.empty()
    period = st.segmented_control("Per", list(Period), default=Period.MONTH, required=True)
    fields = _ask_fields(None, spots)
    if st.button("Set budget", type="primary"):
        try:
            if scope is not BudgetScope.GLOBAL and not subject:
                raise InvalidInput("Choose what the budget is about.", field="subject")
            services.budgets.create(actor, scope=scope, subject=subject, period=period, **_parse_limit(fields))
        except LLMManagerError as error:
            show_in_form(error, spots)
            return
        st.rerun()


def edit_dialog(services: Services, actor: Actor, state: BudgetState) -> None:
    """The form that changes a budget's limit and what happens at it; subject and period stay."""
    spots: dict[str | None, Any] = {}
    budget = state.budget
    st.caption(f"{_SCOPES[budget.scope]}, per {budget.period}. Past windows keep the limit they had.")
    fields = _ask_fields(state, spots)
    if st.button("Save budget", type="primary"):
        try:
            services.budgets.update(actor, budget.id, **_parse_limit(fields))
        except LLMManagerError as error:
            show_in_form(error, spots)
            return
        st.rerun()


def _ask_subject(services: Services, actor: Actor, scope: BudgetScope) -> str:
    """Draw the choice of a budget's subject; returns its id or name, empty for everything."""
    if scope is BudgetScope.GLOBAL:
        st.caption("Every call of every app, person and key counts.")
        return ""
    label = _WHOSE[scope]
    if scope is BudgetScope.APP:
        apps = services.configurations.apps(actor)
        return st.selectbox(label, apps, None, placeholder="Choose or type one", accept_new_options=True) or ""
    choices = services.budgets.choices(actor, scope)
    if not choices:
        st.caption("There is none yet.")
    return (
        st.selectbox(label, choices, None, format_func=choices.__getitem__, placeholder="Choose one", key=f"of-{scope}")
        or ""
    )


def _ask_fields(state: BudgetState | None, spots: dict[str | None, Any]) -> dict[str, Any]:
    """Limit, hard or soft, thresholds, and models without a price."""
    budget = state.budget if state else None
    start = format(convert_nano_to_usd(budget.limit_nano).normalize(), "f") if budget else ""
    fields: dict[str, Any] = {"limit": st.text_input("Limit, US dollars", start, placeholder="25", max_chars=20)}
    spots["limit"] = st.empty()
    hard = st.radio(
        "At the limit", [True, False], index=0 if not budget or budget.is_hard else 1, format_func=_HARD.get
    )
    fields["is_hard"] = bool(hard)
    thresholds = sorted({*_THRESHOLDS, *(budget.thresholds if budget else ())})
    default = budget.thresholds if budget else DEFAULT_THRESHOLDS
    chosen_thresholds = st.pills("Tell at, % of the limit", thresholds, default=default, selection_mode="multi")
    fields["thresholds"] = tuple(chosen_thresholds or ())
    spots["thresholds"] = st.empty()
    fields["block_unpriced"] = st.checkbox(
        "Stop models without a price too",
        bool(budget and budget.block_unpriced),
        help="What they cost is unknown. Otherwise they are let through until the budget is used up. "
        "Free and local models always pass.",
    )
    spots[None] = st.container()
    return fields


def _parse_limit(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with the limit in nano-dollars; InvalidInput when it is no amount."""
    text = str(fields["limit"]).strip()
    if not text:
        raise InvalidInput("The limit is missing.", "", "Write it like 25 or 12.50.", field="limit")
    amount = _AMOUNT.fullmatch(text) if text.isascii() else None
    if amount is None:
        how = "Write it like 25, 12.50 or 1,250: a point before the cents."
        raise InvalidInput("The limit is not an amount.", "", how, field="limit")
    other_fields = {name: value for name, value in fields.items() if name != "limit"}
    return other_fields | {"limit_nano": convert_usd_to_nano(Decimal(amount[1].replace(",", "") + (amount[2] or "")))}


def check_dialog(services: Services, actor: Actor) -> None:
    """The form of an imagined call, and whether every budget would let it pass."""
    configurations = {configuration.slug: configuration for configuration in services.configurations.list(actor)}
    slug = st.selectbox("Configuration", list(configurations), index=None, placeholder="Choose one")
    left_column, right_column = st.columns(2)
    app = left_column.text_input("App", placeholder="The configuration's", max_chars=80)
    user = right_column.text_input("User name", placeholder="Nobody in particular", max_chars=80)
    prompt = left_column.number_input("Prompt, tokens", 1, 10_000_000, 1000)
    answer = right_column.number_input("Longest answer, tokens", 1, 1_000_000, None, placeholder="The configuration's")
    if slug is None:
        st.caption("Nothing is sent and nothing is held.")
        return
    with blocks.show_errors():
        outcome = ask_budgets(
            actor,
            services.budgets,
            services.prices,
            services.providers,
            configurations[slug],
            prompt_tokens=int(prompt),
            max_tokens=int(answer) if answer else None,
            app=app.strip() or None,
            user=user.strip() or None,
        )
        zone = services.preferences.report_zone(actor)
        refusals = [verdict.refusal.in_zone(zone) for verdict in outcome.own.verdicts if verdict.refusal]
        cost_sentences = {None: "Nobody knows what it would cost", 0: "It is free"}
        most = cost_sentences.get(outcome.own.amount_nano, f"It may cost up to {format_money(outcome.own.amount_nano)}")
        count = len(outcome.own.verdicts)
        applying = f"{count} {'budget applies' if count == 1 else 'budgets apply'}" if count else "no budget applies"
        for refusal in refusals:
            why = blocks.escape_markdown(f"{refusal.why} {refusal.fix}")
            st.error(why, title=blocks.escape_markdown(refusal.title), icon=":material/block:")
        if (deployment := outcome.instead) is not None:
            st.info(
                blocks.escape_markdown(f"It would go to {deployment.model} of {deployment.provider} instead."),
                icon=":material/alt_route:",
            )
        if not refusals:
            st.success(blocks.escape_markdown(f"{most}; {applying}."), title="It would pass.", icon=":material/check:")

"""The dialogs of the Budgets page: set a budget, change one, and ask whether a call would pass."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import streamlit as st

from lib.access.permissions import Actor
from lib.budgets.budget import DEFAULT_THRESHOLDS, Period, Scope
from lib.budgets.dry_run import dry_run
from lib.budgets.state import BudgetState
from lib.errors import InvalidInput, LLMManagerError
from lib.money import format_money, nano_from_usd, usd_from_nano
from lib.services import Services
from lib.ui import blocks
from lib.ui.configuration_form import show_in_form

_THRESHOLDS = (25, 50, 75, 80, 90, 95, 100)
_SCOPES = {
    Scope.GLOBAL: "Everything",
    Scope.PROVIDER: "A provider",
    Scope.CONFIGURATION: "A configuration",
    Scope.APP: "An app",
    Scope.USER: "A person",
    Scope.KEY: "An API key",
}
_HARD = {True: "Stop calls that would pass it", False: "Only tell"}


def add_dialog(services: Services, actor: Actor) -> None:
    """What it is about, how much, and what happens then."""
    spots: dict[str | None, Any] = {}
    scopes = list(Scope)
    scope = st.selectbox("About", scopes, scopes.index(Scope.APP), format_func=_SCOPES.__getitem__) or Scope.APP
    subject = _subject(services, actor, scope)
    spots["subject"] = spots["app"] = st.empty()
    period = st.segmented_control("Per", list(Period), default=Period.MONTH, required=True)
    fields = _fields(None, spots)
    if st.button("Set budget", type="primary"):
        try:
            services.budgets.create(actor, scope=scope, subject=subject, period=period, **_with_limit(fields))
        except LLMManagerError as error:
            show_in_form(error, spots)
            return
        st.rerun()


def edit_dialog(services: Services, actor: Actor, state: BudgetState) -> None:
    """Change how much and what happens; what it is about stays."""
    spots: dict[str | None, Any] = {}
    budget = state.budget
    st.caption(f"{_SCOPES[budget.scope]}, per {budget.period}. Past windows keep the limit they had.")
    fields = _fields(state, spots)
    if st.button("Save budget", type="primary"):
        try:
            services.budgets.update(actor, budget.id, **_with_limit(fields))
        except LLMManagerError as error:
            show_in_form(error, spots)
            return
        st.rerun()


def _subject(services: Services, actor: Actor, scope: Scope) -> str:
    """Whom or what; empty for everything."""
    match scope:
        case Scope.GLOBAL:
            st.caption("Every call of every app, person and key counts.")
            return ""
        case Scope.PROVIDER:
            return _choice("Provider", [provider.name for provider in services.providers.list(actor)])
        case Scope.CONFIGURATION:
            return _choice("Configuration", [found.slug for found in services.configurations.list(actor)])
        case Scope.APP:
            return _choice("App", services.configurations.apps(actor), accept_new_options=True)
        case Scope.USER:
            return st.text_input("User name", max_chars=80, key="budget-user")
        case Scope.KEY:
            return st.text_input("Id of the key", max_chars=80, key="budget-key")


def _choice(label: str, names: Sequence[str], **options: Any) -> str:
    placeholder = "Choose one"
    return st.selectbox(label, list(names), index=None, placeholder=placeholder, key=f"budget-{label}", **options) or ""


def _fields(state: BudgetState | None, spots: dict[str | None, Any]) -> dict[str, Any]:
    """Limit, hard or soft, thresholds, and models without a price."""
    budget = state.budget if state else None
    start = format(usd_from_nano(budget.limit_nano).normalize(), "f") if budget else ""
    fields: dict[str, Any] = {"limit": st.text_input("Limit, US dollars", start, placeholder="25", max_chars=20)}
    spots["limit"] = st.empty()
    hard = st.radio(
        "At the limit", [True, False], index=0 if not budget or budget.is_hard else 1, format_func=_HARD.get
    )
    fields["is_hard"] = bool(hard)
    known = sorted({*_THRESHOLDS, *(budget.thresholds if budget else ())})
    default = budget.thresholds if budget else DEFAULT_THRESHOLDS
    chosen = st.pills("Tell at, % of the limit", known, default=default, selection_mode="multi")
    fields["thresholds"] = tuple(chosen or ())
    spots["thresholds"] = st.empty()
    fields["block_unpriced"] = st.checkbox(
        "Stop models without a price too",
        bool(budget and budget.block_unpriced),
        help="What they cost is unknown, so no limit can hold them. Free and local models always pass.",
    )
    spots[None] = st.container()
    return fields


def _with_limit(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with the limit in nano-dollars; InvalidInput when it is no amount."""
    text = str(fields["limit"]).strip().removeprefix("$").replace(",", "")
    if not (text.isascii() and text.replace(".", "", 1).isdigit()):
        raise InvalidInput("The limit is not an amount.", "", "Write it like 25 or 12.50.", field="limit")
    rest = {name: value for name, value in fields.items() if name != "limit"}
    return rest | {"limit_nano": nano_from_usd(Decimal(text))}


def check_dialog(services: Services, actor: Actor) -> None:
    """A call in words and figures, and what every budget would say to it."""
    configurations = {found.slug: found for found in services.configurations.list(actor)}
    slug = st.selectbox("Configuration", list(configurations), index=None, placeholder="Choose one")
    left, right = st.columns(2)
    app = left.text_input("App", placeholder="The configuration's", max_chars=80)
    user = right.text_input("User name", placeholder="Nobody in particular", max_chars=80)
    prompt = left.number_input("Prompt, tokens", 1, 10_000_000, 1000)
    answer = right.number_input("Longest answer, tokens", 1, 1_000_000, None, placeholder="The configuration's")
    if slug is None:
        st.caption("Nothing is sent and nothing is held.")
        return
    with blocks.errors_shown():
        asked = dry_run(
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
        refusals = [verdict.refusal.in_zone(zone) for verdict in asked.own.verdicts if verdict.refusal]
        known = {None: "Nobody knows what it would cost", 0: "It is free"}
        most = known.get(asked.own.amount_nano, f"It may cost up to {format_money(asked.own.amount_nano)}")
        count = len(asked.own.verdicts)
        applying = f"{count} {'budget applies' if count == 1 else 'budgets apply'}" if count else "no budget applies"
        for refusal in refusals:
            why = blocks.plain(f"{refusal.why} {refusal.fix}")
            st.error(why, title=blocks.plain(refusal.title), icon=":material/block:")
        if (place := asked.instead) is not None:
            st.info(
                blocks.plain(f"It would go to {place.model} of {place.provider} instead."), icon=":material/alt_route:"
            )
        if not refusals:
            st.success(blocks.plain(f"{most}; {applying}."), title="It would pass.", icon=":material/check:")

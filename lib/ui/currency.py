"""The report currency: what is said below figures, and the form that sets rates and the choice."""

from datetime import date, timedelta
from decimal import Decimal, InvalidOperation

import streamlit as st

from lib.access.permissions import Actor
from lib.errors import InvalidInput
from lib.files.text import decode_text
from lib.money import USD
from lib.services import Services
from lib.statistics.exchange import Rate
from lib.statistics.filters import StatisticsFilter
from lib.statistics.measures import Measure
from lib.statistics.periods import PeriodStep
from lib.ui import blocks


def show_note(services: Services, actor: Actor, statistics_filter: StatisticsFilter) -> None:
    """That figures are in the report currency, and what is not in them; nothing while that is the dollar."""
    if (book := statistics_filter.money) is not None:
        frame = services.statistics.pivot(
            actor, statistics_filter.in_dollars, [PeriodStep.DAY], [Measure.COST]
        ).dropna()
        costs = zip(frame.day, frame.cost, strict=True)
        without = sum(bool(cost) and book.on(date.fromisoformat(day)) is None for day, cost in costs)
        st.caption(describe_currency(book.currency, without))


def describe_currency(currency: str, days_without_rate: int) -> str:
    """`Cost is in EUR, each day at its rate.`, and what is not in it."""
    line = f"Cost is in {currency}, each day at its rate."
    match days_without_rate:
        case 0:
            return line
        case 1:
            return f"{line} 1 day has no rate and is not in it."
        case many:
            return f"{line} {many} days have no rate and are not in it."


def show_settings(services: Services, actor: Actor) -> None:
    """Choose the currency, add a rate, import a list."""
    rates = services.exchange_rates
    currencies = rates.choices(actor)
    report_currency = rates.currency(actor)
    with st.container(border=True):
        st.subheader("Report currency", anchor=False)
        st.caption(
            "Ledger and budgets stay in dollars. Figures are converted at each day's rate, or the newest before."
        )
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            names = [USD, *currencies]
            selected_currency = st.selectbox(
                "Report in", names, names.index(report_currency) if report_currency in names else 0, width=140
            )
            if st.button("Save currency"):
                with blocks.show_errors():
                    rates.choose(actor, selected_currency)
                    st.rerun()
        for name, (many, first, last) in currencies.items():
            st.caption(f"{name}: {many:,} {'rate' if many == 1 else 'rates'}, {first} to {last}")
    with st.form("exchange-rate", clear_on_submit=True):
        st.subheader("Add a rate", anchor=False)
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            currency = st.text_input("Currency", placeholder="EUR", max_chars=3, width=110)
            day = st.date_input("From", date.today() - timedelta(days=1), width=150)
            per_usd = st.text_input("For one dollar", placeholder="0.92", width=140)
            sent = st.form_submit_button("Add rate")
    if sent:
        with blocks.show_errors():
            rates.set(actor, Rate(day, currency, _parse_decimal(per_usd)))
            st.rerun()
    with st.container(border=True):
        st.subheader("Import rates", anchor=False)
        file = st.file_uploader("A CSV with day, currency, per_usd, or the ECB's history", type="csv")
        if file is not None and st.button("Import rates", icon=":material/upload:"):
            with blocks.show_errors():
                st.toast(f"{rates.import_csv(actor, decode_text(file.getvalue())):,} rates are in.")


def _parse_decimal(text: str) -> Decimal:
    try:
        return Decimal(text.strip())
    except InvalidOperation as error:
        raise InvalidInput("The rate is no number.", f"{text!r} can't be read.", "Use 0.92.", "per_usd") from error

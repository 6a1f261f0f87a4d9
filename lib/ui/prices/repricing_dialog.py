"""Pricing past calls again: choose a range, see the difference, then write it."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import streamlit as st

from lib.access.permissions import Actor
from lib.activity.repricing import Preview, Range
from lib.clock import utc_now
from lib.money import format_money
from lib.services import Services
from lib.ui import blocks

_DAYS = 30


def section(services: Services, actor: Actor) -> None:
    """The card; after a price was set it offers that model's calls."""
    model = st.session_state.pop("reprice-model", None)
    if model is not None:
        st.session_state["reprice-wanted"] = model
        st.session_state.pop("reprice-preview", None)
    wanted, first = st.session_state.get("reprice-wanted", ("", utc_now().date() - timedelta(days=_DAYS)))
    with st.expander("Price past calls again", icon=":material/history:", expanded=bool(wanted)):
        if wanted:
            st.caption(f"The price of {blocks.plain(wanted)} has changed. Its past calls keep their cost until you do.")
        range_ = _range(wanted, first)
        if range_ is None:
            return
        if st.button("Show the difference", icon=":material/difference:"):
            with blocks.errors_shown(), st.spinner("Pricing…"):
                st.session_state["reprice-preview"] = (range_, services.repricing.preview(actor, range_))
        kept = st.session_state.get("reprice-preview")
        if kept is not None and kept[0] == range_:
            _show(services, actor, *kept)


def _range(wanted: str, first: date) -> Range | None:
    today = utc_now().date()
    left, middle, right = st.columns(3)
    days = left.date_input("Days (UTC)", (min(first, today), today), key=f"reprice-days-{wanted}")
    provider = middle.text_input("Provider", placeholder="any", key="reprice-provider")
    model = right.text_input("Model", wanted, placeholder="any", key=f"reprice-model-{wanted}")
    only = st.checkbox("Only calls without a price", bool(wanted), key=f"reprice-only-{wanted}")
    if not isinstance(days, tuple) or len(days) != 2:
        st.caption("Choose the last day, too.")
        return None
    return Range(
        _midnight(days[0]),
        _midnight(days[1] + timedelta(days=1)),
        provider.strip() or None,
        model.strip() or None,
        only,
    )


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _show(services: Services, actor: Actor, range_: Range, found: Preview) -> None:
    total = found.total
    if not total.changed:
        rest = f" {total.stays_unpriced:,} still have no price, or not for all of it." if total.stays_unpriced else ""
        st.info(f"Of {found.looked_at:,} attempts none would change.{rest}")
        return
    st.markdown(
        f"**{total.changed:,} of {found.looked_at:,} attempts change**: "
        f"{_money(total.before_nano)} → {_money(total.after_nano)}"
        + (f", {total.was_unpriced:,} had no price" if total.was_unpriced else "")
        + (f", {total.stays_unpriced:,} still have none, or not for all of it" if total.stays_unpriced else "")
        + "."
    )
    st.dataframe(_rows(found), hide_index=True, row_height=30)
    if st.button(f"Write the new costs of {total.changed:,} attempts", type="primary"):
        bar = st.progress(0.0, "Writing…")

        def show(count: int) -> None:
            bar.progress(min(1.0, count / max(1, found.looked_at)), f"{count:,} of {found.looked_at:,}")

        with blocks.errors_shown():
            done = services.repricing.apply(actor, range_, show)
            st.session_state.pop("reprice-preview", None)
            st.session_state.pop("reprice-wanted", None)
            st.toast(f"{done.total.changed:,} attempts have their new cost.")
            st.rerun()


def _rows(found: Preview) -> list[dict[str, Any]]:
    return [
        {
            "Provider": provider,
            "Model": model,
            "Attempts": one.changed,
            "Cost before": format_money(one.before_nano),
            "Cost after": format_money(one.after_nano),
            "Had no price": one.was_unpriced,
        }
        for (provider, model), one in sorted(found.models.items())
        if one.changed
    ]


def _money(nano: int) -> str:
    return format_money(nano).replace("$", "\\$")

"""Pricing past calls again: choose a range, see the difference, then write it."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import streamlit as st

from lib.access.permissions import Actor
from lib.activity.repricing import RepricingPreview, RepricingScope
from lib.clock import utc_now
from lib.money import format_money
from lib.services import Services
from lib.ui import blocks, session_keys

_DAYS = 30


def show_section(services: Services, actor: Actor) -> None:
    """The card; after a price was set it offers that model's calls."""
    model = st.session_state.pop(session_keys.REPRICED_MODEL, None)
    if model is not None:
        st.session_state[session_keys.REPRICING_SUGGESTION] = model
        st.session_state.pop(session_keys.REPRICING_PREVIEW, None)
    suggested_model, first = st.session_state.get(
        session_keys.REPRICING_SUGGESTION, ("", utc_now().date() - timedelta(days=_DAYS))
    )
    with st.expander("Price past calls again", icon=":material/history:", expanded=bool(suggested_model)):
        if suggested_model:
            model_name = blocks.escape_markdown(suggested_model)
            st.caption(f"The price of {model_name} has changed. Its past calls keep their cost until you do.")
        range_ = _ask_range(suggested_model, first)
        if range_ is None:
            return
        if st.button("Show the difference", icon=":material/difference:"):
            with blocks.show_errors(), st.spinner("Pricing…"):
                st.session_state[session_keys.REPRICING_PREVIEW] = (range_, services.repricing.preview(actor, range_))
        stored_preview = st.session_state.get(session_keys.REPRICING_PREVIEW)
        if stored_preview is not None and stored_preview[0] == range_:
            _show_preview(services, actor, *stored_preview)


def _ask_range(suggested_model: str, first: date) -> RepricingScope | None:
    today = utc_now().date()
    left_column, middle_column, right_column = st.columns(3)
    days = left_column.date_input("Days (UTC)", (min(first, today), today), key=f"reprice-days-{suggested_model}")
    provider = middle_column.text_input("Provider", placeholder="any", key="reprice-provider")
    model = right_column.text_input("Model", suggested_model, placeholder="any", key=f"reprice-model-{suggested_model}")
    only = st.checkbox("Only calls without a price", bool(suggested_model), key=f"reprice-only-{suggested_model}")
    if not isinstance(days, tuple) or len(days) != 2:
        st.caption("Choose the last day, too.")
        return None
    return RepricingScope(
        _convert_to_midnight(days[0]),
        _convert_to_midnight(days[1] + timedelta(days=1)),
        provider.strip() or None,
        model.strip() or None,
        only,
    )


def _convert_to_midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _show_preview(services: Services, actor: Actor, range_: RepricingScope, preview: RepricingPreview) -> None:
    total = preview.total
    if not total.changed:
        unpriced_note = (
            f" {total.stays_unpriced:,} still have no price, or not for all of it." if total.stays_unpriced else ""
        )
        st.info(f"Of {preview.looked_at:,} attempts none would change.{unpriced_note}")
        return
    st.markdown(
        f"**{total.changed:,} of {preview.looked_at:,} attempts change**: "
        f"{_format_escaped_money(total.before_nano)} → {_format_escaped_money(total.after_nano)}"
        + (f", {total.was_unpriced:,} had no price" if total.was_unpriced else "")
        + (f", {total.stays_unpriced:,} still have none, or not for all of it" if total.stays_unpriced else "")
        + "."
    )
    st.dataframe(_format_rows(preview), hide_index=True, row_height=30)
    if st.button(f"Write the new costs of {total.changed:,} attempts", type="primary"):
        bar = st.progress(0.0, "Writing…")

        def show(count: int) -> None:
            bar.progress(min(1.0, count / max(1, preview.looked_at)), f"{count:,} of {preview.looked_at:,}")

        with blocks.show_errors():
            done = services.repricing.apply(actor, range_, show)
            st.session_state.pop(session_keys.REPRICING_PREVIEW, None)
            st.session_state.pop(session_keys.REPRICING_SUGGESTION, None)
            st.toast(f"{done.total.changed:,} attempts have their new cost.")
            st.rerun()


def _format_rows(preview: RepricingPreview) -> list[dict[str, Any]]:
    return [
        {
            "Provider": provider,
            "Model": model,
            "Attempts": difference.changed,
            "Cost before": format_money(difference.before_nano),
            "Cost after": format_money(difference.after_nano),
            "Had no price": difference.was_unpriced,
        }
        for (provider, model), difference in sorted(preview.models.items())
        if difference.changed
    ]


def _format_escaped_money(nano: int) -> str:
    return format_money(nano).replace("$", "\\$")

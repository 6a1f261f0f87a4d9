"""The tab What-if: the range's traffic on other models, one chosen for each app, and what that saves."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import streamlit as st

from lib.access.permissions import Actor
from lib.money import format_money
from lib.services import Services
from lib.statistics import traffic_moves
from lib.statistics.filters import StatisticsFilter
from lib.statistics.measures import Dimension
from lib.statistics.traffic_moves import Move, Stays
from lib.statistics.whatif import BY
from lib.ui import blocks, downloads, format
from lib.ui.statistics import statistics_filters
from lib.ui.statistics.statistics_view import StatisticsView

_MOST_MODELS = 5
_STAYS = "Stays as it is"
_WHY = {
    Stays.NO_PRICE: "before its first price",
    Stays.TOO_LONG: "too long for it",
    Stays.NO_IMAGES: "with images",
    Stays.NO_TOOLS: "with tools",
    Stays.NO_JSON: "with a JSON schema",
}


def show_tab(
    services: Services,
    actor: Actor,
    view: StatisticsView,
    criteria: StatisticsFilter,
    names: Mapping[str, str],
    days: tuple[Any, Any],
) -> None:
    """Draw the tab What-if: controls, the comparison with a choice per value, the sum of the choices, the export."""
    with blocks.start_row():
        offered = services.what_if.offered(actor)
        compared_models = tuple(name for name in view.other_models if name in offered)[:_MOST_MODELS]
        view = replace(view, other_models=compared_models, move=view.move if view.move in BY else Dimension.APP)
        by = st.segmented_control(
            "Split by", BY, format_func=lambda choice: choice.value.capitalize(), required=True,
            label_visibility="collapsed", **statistics_filters.bind_control(view, "move"),
        )  # fmt: skip
        chosen_models = st.multiselect(
            "Other models", offered, placeholder="Other models to compare with", label_visibility="collapsed",
            max_selections=_MOST_MODELS, **statistics_filters.bind_control(view, "other_models"),
        )  # fmt: skip
    if not chosen_models:
        sentence = "Choose up to five other models above: each call is priced as if it had run on them."
        with blocks.show_empty_state("swap_horiz", "No other model chosen", sentence):
            st.caption("The range and filters of this page hold here, too.", text_alignment="center")
        return
    with blocks.show_errors():
        moves = services.what_if.compare(actor, criteria, chosen_models, by)
        if not any(move.calls or move.stays for move in moves):
            st.caption(
                "Nothing in this range can be compared: no call has both a known cost and known tokens.",
                text_alignment="center",
            )
            return
        display_names = {**names, **_load_slugs(services, actor)} if by is Dimension.CONFIGURATION else names
        picked = _show_choices(moves, by, display_names)
        plan = [move for move in moves if picked.get(move.value) == move.model]
        _show_sums(moves, plan)
        _show_notes(moves, plan)
        note = partial(services.audit.note_export, actor, "statistics.whatif", by=by.value)
        downloads.show_row(traffic_moves.build_table(moves, by), f"what-if-{days[0]}-to-{days[1]}", note, key="whatif")


def _show_choices(moves: Sequence[Move], by: Dimension, names: Mapping[str, str]) -> dict[str | None, str]:
    """The table of values and models; each value's chosen model, by default the cheapest that surely saves."""
    import pandas as pd

    by_value: dict[str | None, dict[str, Move]] = {}
    for move in moves:
        by_value.setdefault(move.value, {})[move.model] = move
    rows = []
    for value, each in by_value.items():
        best = max(each.values(), key=lambda move: move.saved_nano[0])
        rows.append(
            {
                by.value: names.get(value or "", value or "none"),
                "cost": format_money(max(move.cost_nano + move.stays_nano for move in each.values())),
                "to": best.model if best.saved_nano[0] > 0 else _STAYS,
                **{model: _format_range(move.low_nano, move.high_nano, move) for model, move in each.items()},
            }
        )
    models = list(dict.fromkeys(move.model for move in moves))
    text = st.column_config.TextColumn
    table = st.data_editor(
        pd.DataFrame(rows),
        hide_index=True,
        disabled=[by.value, "cost", *models],
        column_config={
            by.value: text(by.value.capitalize(), pinned=True),
            "cost": text(
                "Cost", width=format.compute_column_width([row["cost"] for row in rows], 90), alignment="right"
            ),
            **{
                model: text(model, alignment="right", help="What the calls that could move would have cost")
                for model in models
            },
            "to": st.column_config.SelectboxColumn("Move to", options=[_STAYS, *models], required=True, width=210),
        },
        row_height=30,
        height="content" if len(rows) < 15 else 480,
        key=f"whatif-{by.value}-{'-'.join(models)}",
    )
    return dict(zip(by_value, table["to"], strict=True))


def _format_range(low: int, high: int, move: Move) -> str:
    """`$1.20 – $1.60`; — where no call could move."""
    if not move.calls:
        return "—"
    return format_money(low) if low == high else f"{format_money(low)} – {format_money(high)}"


def _show_sums(moves: Sequence[Move], plan: Sequence[Move]) -> None:
    """Draw three figures: the cost of all values, their cost with the chosen moves, and the saving."""
    each = {move.value: move for move in moves}
    cost = sum(move.cost_nano + move.stays_nano for move in each.values())
    least, most = traffic_moves.sum_moves(plan).saved_nano
    with st.grid(3, min_column_width=230, gap="small"):
        text = "Calls with a wholly known cost and known tokens."
        st.metric("Cost", format_money(cost), border=True, height="stretch", help=text)
        would = _format_span(cost - most, cost - least)
        st.metric("Would have cost", would, border=True, height="stretch", help="With the choices above.")
        share = f"{least / cost * 100:.1f} % at least" if cost and least > 0 else None
        saved = _format_span(least, most)
        st.metric("Saved", saved, share, delta_color="off", delta_arrow="off", border=True, height="stretch")


def _format_span(low: int, high: int) -> str:
    return format_money(low) if low == high else f"{format_money(low)} – {format_money(high)}"


def _show_notes(moves: Sequence[Move], plan: Sequence[Move]) -> None:
    """Write below the figures which calls stay or are left out, and why a saving is a range."""
    lines = []
    for move in plan:
        stays = ", ".join(f"{format.format_count(count)} {_WHY[why]}" for why, count in move.stays.items() if count)
        if stays:
            lines.append(f"{move.value or 'none'} on {move.model}: {stays} stay as they are.")
    each = traffic_moves.sum_moves({move.value: move for move in moves}.values())
    if each.unpriced_calls:
        lines.append(
            f"{format.format_count(each.unpriced_calls)} calls have no cost that is wholly known and are left out."
        )
    if each.uncounted_calls:
        why = "have no tokens of their own: none are known, or they were imported as a sum"
        lines.append(f"{format.format_count(each.uncounted_calls)} calls {why}.")
    if any(move.low_nano != move.high_nano for move in plan):
        lines.append(
            "A range: with the cache hits the calls had, and without any; another provider's cache is not known."
        )
    lines.append("Tokens are those that the calls had; another model may count and answer somewhat otherwise.")
    st.caption("  \n".join(blocks.escape_markdown(line) for line in lines))


def _load_slugs(services: Services, actor: Actor) -> dict[str, str]:
    return {configuration.id: configuration.slug for configuration in services.configurations.list(actor)}

"""Figures of all caches: what was saved, a chart by day, and a row for each configuration."""

from collections.abc import Sequence

import streamlit as st

from lib.access.permissions import Actor
from lib.cache.cache import CacheFigures
from lib.cache.policy import CacheRules, SemanticMode
from lib.money import format_money, format_sum, usd_from_nano
from lib.services import Services
from lib.ui import blocks, format
from lib.ui.statistics import chart_card

DAYS = 30
SCOPES = {"person": "each person", "team": "a team", "app": "an app"}


def draw_figures(everything: Sequence[CacheFigures]) -> None:
    """Four figures of the last days, over all configurations."""
    hits = sum(sum(figures.hits.values()) for figures in everything)
    lookups = hits + sum(figures.outcomes.get("miss", 0) for figures in everything)
    unpriced = sum(figures.unpriced_hits for figures in everything)
    saved = format_sum(sum(figures.saved_nano_usd for figures in everything), unpriced)
    facts = [
        (f"Saved in {DAYS} days", blocks.plain(saved)),
        ("Answers from memory", format.count(hits)),
        ("Hit rate", format.share(hits / lookups) if lookups else "—"),
        ("Waiting saved", format.duration(sum(figures.saved_ms for figures in everything) if hits else None)),
    ]
    with st.container(border=True):
        blocks.facts(facts, columns=4)
        if unpriced:
            st.caption(f"{unpriced:,} of them have no known price and are not in the sum.")


def draw_chart(services: Services, actor: Actor) -> None:
    """Saved money by day and tier; nothing before the first hit."""
    rows = services.cache.daily(actor, DAYS)
    if not rows:
        return
    import pandas as pd

    from lib.statistics.charts import cache_charts

    frame = pd.DataFrame(
        {
            "day": [str(row["day"]) for row in rows],
            "tier": [row["tier"] for row in rows],
            "hits": [row["hits"] for row in rows],
            "saved": [float(usd_from_nano(row["saved_nano_usd"] or 0)) for row in rows],
            "label": [format_money(row["saved_nano_usd"]) for row in rows],
        }
    )
    with st.container(border=True):
        st.markdown("**Saved, by day**")
        chart_card.show(cache_charts.saved_by_day, frame, key="cache-saved", alt="What was saved, by day")


def draw_table(everything: Sequence[CacheFigures], selected: str | None, *, compact: bool) -> str | None:
    """A row for each configuration; the id of the one that is selected."""
    import pandas as pd

    frame = pd.DataFrame(
        {
            "configuration": [figures.slug for figures in everything],
            "tiers": [describe_tiers(figures.rules) for figures in everything],
            "shared": [SCOPES[figures.rules.scope] for figures in everything],
            "hit_rate": [format.share(figures.hit_rate) for figures in everything],
            "hits": [sum(figures.hits.values()) for figures in everything],
            "saved": [format_sum(figures.saved_nano_usd, figures.unpriced_hits) for figures in everything],
            "entries": [figures.entries for figures in everything],
            "size": [format_bytes(figures.bytes) for figures in everything],
        }
    )
    rows = [index for index, figures in enumerate(everything) if figures.configuration_id == selected]
    text = st.column_config.TextColumn
    event = st.dataframe(
        frame,
        hide_index=True,
        row_height=30,
        on_select="rerun",
        selection_mode="single-row",
        selection_default={"selection": {"rows": rows, "columns": []}},
        key="caches-" + str(hash(tuple(figures.configuration_id for figures in everything))),
        column_order=["configuration", "hit_rate", "saved"] if compact else list(frame.columns),
        column_config={
            "configuration": text("Configuration", width=130 if compact else 150),
            "tiers": text("Remembers", width=150),
            "shared": text("Shared in", width=90),
            "hit_rate": text("Hit rate", width=74, alignment="right"),
            "hits": st.column_config.NumberColumn("Hits", width=60, format="localized"),
            "saved": text("Saved", width=84, alignment="right"),
            "entries": st.column_config.NumberColumn("Entries", width=66, format="localized"),
            "size": text("Size", width=74, alignment="right"),
        },
    )
    picked = event.selection.rows
    return everything[picked[0]].configuration_id if picked and picked[0] < len(everything) else None


def describe_tiers(rules: CacheRules) -> str:
    """`exact · loose · semantic in shadow`, or `off`."""
    parts = [name for name, is_on in (("exact", rules.exact), ("loose", rules.loose)) if is_on]
    if rules.semantic is SemanticMode.SHADOW:
        parts.append("semantic in shadow")
    elif rules.semantic is not SemanticMode.OFF:
        parts.append(f"semantic, {rules.semantic.value}")
    return " · ".join(parts) or "off"


def format_bytes(count: int) -> str:
    """`0 B`, `812 kB`, `1.4 MB`."""
    if count < 1_000:
        return f"{count} B"
    if count < 1_000_000:
        return f"{count / 1_000:.0f} kB"
    return f"{count / 1_000_000:.1f} MB" if count < 1_000_000_000 else f"{count / 1_000_000_000:.1f} GB"

"""Figures of all caches: what was saved, a chart by day, and a row for each configuration."""

from collections.abc import Sequence
from datetime import timedelta

import streamlit as st

from lib.access.permissions import Actor
from lib.cache.cache import CacheFigures
from lib.cache.policy import CacheRules, SemanticMode
from lib.clock import utc_now
from lib.money import convert_nano_to_usd, format_money, format_sum
from lib.services import Services
from lib.ui import format, grammar
from lib.ui.statistics import chart_card

DAYS = 30
SCOPES = {"person": "each person's own", "team": "a team's", "app": "an app's"}


def draw_figures(everything: Sequence[CacheFigures]) -> None:
    """Four figures of the last days, over all configurations."""
    hits = sum(sum(figures.hits.values()) for figures in everything)
    lookups = hits + sum(figures.outcomes.get("miss", 0) for figures in everything)
    unpriced = sum(figures.unpriced_hits for figures in everything)
    saved = format_sum(sum(figures.saved_nano_usd for figures in everything), unpriced)
    waiting = format.format_duration(sum(figures.saved_ms for figures in everything) if hits else None)
    with st.grid(4, min_column_width=140, gap="small"):
        st.metric("Saved", saved, border=True)
        st.metric("Answers from memory", format.format_count(hits), border=True)
        st.metric("Hit rate", format.format_share(hits / lookups) if lookups else "—", border=True)
        st.metric("Waiting saved", waiting, border=True)
    left_out = f" · {unpriced:,} answers have no known price and are not in the sum" if unpriced else ""
    st.caption(f"Last {DAYS} days{left_out}")


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
            "saved": [float(convert_nano_to_usd(row["saved_nano_usd"] or 0)) for row in rows],
            "label": [format_money(row["saved_nano_usd"]) for row in rows],
        }
    )
    with st.container(border=True):
        st.subheader("Saved by day", anchor=False)
        today = utc_now().date()
        days = [str(today - timedelta(days=ago)) for ago in range(DAYS)]
        chart_card.show(cache_charts.build_savings_chart, frame, days, key="cache-saved", alt="What was saved, by day")


def draw_table(everything: Sequence[CacheFigures], *, is_narrow: bool) -> None:
    """Draw a row for each configuration; the open one is marked."""
    rows = [
        {
            "configuration": figures.slug,
            "tiers": describe_tiers(figures.rules),
            "shared": SCOPES[figures.rules.scope],
            "hit_rate": format.format_share(figures.hit_rate),
            "hits": sum(figures.hits.values()),
            "saved": format_sum(figures.saved_nano_usd, figures.unpriced_hits),
            "entries": figures.entries,
            "size": format_bytes(figures.bytes),
        }
        for figures in everything
    ]
    text = st.column_config.TextColumn
    number = st.column_config.NumberColumn
    grammar.open_table(
        "caches",
        rows,
        [figures.configuration_id for figures in everything],
        {
            "configuration": text("Configuration", width=150),
            "tiers": text("Remembers", width=200),
            "shared": text("Whose answers", width=118),
            "hit_rate": text("Hit rate", width=78, alignment="right"),
            "hits": number("Hits", width=72, format="localized"),
            "saved": text("Saved", width=88, alignment="right", help="≥ where an answer's price is unknown"),
            "entries": number("Entries", width=78, format="localized"),
            "size": text("Size", width=80, alignment="right"),
        },
        order=["configuration", "hit_rate", "saved"] if is_narrow else None,
        alt="What each configuration remembers",
    )
    count = "1 configuration" if len(rows) == 1 else f"{len(rows):,} configurations"
    st.caption(f"{count} with a cache · figures of the last {DAYS} days")


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

"""One configuration's cache: what left requests out, what is proved, and the questions that came nearest."""

from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor, Permission
from lib.cache.cache import CacheDecision, CacheFigures, PoolProof
from lib.cache.policy import SemanticMode
from lib.errors import LLMManagerError
from lib.money import format_money
from lib.services import Services
from lib.ui import blocks, format
from lib.ui.cache.overview import SCOPES, describe_tiers, format_bytes

_NEAREST = 10


def draw_detail(services: Services, actor: Actor, figures: CacheFigures, zone: ZoneInfo) -> None:
    """The panel of one configuration."""
    rules = figures.rules
    blocks.show_facts(
        [
            ("Remembers", describe_tiers(rules)),
            ("Whose answers", SCOPES[rules.scope]),
            ("For at most", format_age(rules.ttl_s)),
            ("Holds", f"{figures.entries:,} · {format_bytes(figures.bytes)} of {rules.most_bytes >> 20:,} MiB"),
        ],
        columns=2,
    )
    _draw_outcomes(figures)
    if rules.semantic is not SemanticMode.OFF:
        proofs = [proof for proof in services.cache.proofs(actor) if proof.configuration_id == figures.configuration_id]
        _draw_proofs(proofs, rules.bound_per_mille)
        _draw_decisions(services, actor, figures.configuration_id, zone)


def _draw_outcomes(figures: CacheFigures) -> None:
    """Which share of the requests each tier answered, and each rule left out."""
    counts = {**figures.hits, **figures.outcomes}
    total = sum(counts.values())
    if not total:
        st.caption("Nothing was asked since it is on.")
        return
    import pandas as pd

    names = sorted(counts, key=lambda name: -counts[name])
    frame = pd.DataFrame(
        {
            "outcome": [_OUTCOMES.get(name, name) for name in names],
            "requests": [f"{counts[name]:,} · {format.format_share(counts[name] / total)}" for name in names],
        }
    )
    text = st.column_config.TextColumn
    st.dataframe(
        frame,
        hide_index=True,
        row_height=28,
        column_config={
            "outcome": text("What became of them", width=172),
            "requests": text("Requests", width=98, alignment="right"),
        },
    )


def _draw_proofs(proofs: list[PoolProof], bound_per_mille: int) -> None:
    st.markdown("**Proof**")
    if not proofs:
        st.caption("No question in other words has come yet. Each one that would have been a hit becomes a sample.")
    for proof in proofs:
        sampled = f"{proof.proof.samples:,} labelled of {proof.would_be_hits:,} would-be hits"
        if proof.proof.bound is not None:
            st.markdown(f":green[**At most {format.format_share(proof.proof.bound)} wrong**], from {sampled}.")
        elif proof.proof.next_size is not None:
            st.markdown(
                f"Not proved: {sampled}, {proof.proof.errors} different. Looked at with {proof.proof.next_size:,} "
                f"(for at most {format.format_share(bound_per_mille / 1000)})."
            )
        else:
            st.markdown(f":red[**Not to be served**]: {proof.proof.errors} of {proof.proof.samples:,} are different.")
        if proof.saved_nano_usd:
            st.caption(blocks.escape_markdown(f"They would have saved {format_money(proof.saved_nano_usd)}."))


def _draw_decisions(services: Services, actor: Actor, configuration_id: str, zone: ZoneInfo) -> None:
    hits, misses = st.tabs(["Would-be hits", "Nearest refused"])
    for column, refused in ((hits, False), (misses, True)):
        with column:
            decisions = services.cache.decisions(actor, configuration_id, refused=refused, limit=_NEAREST)
            if not decisions:
                st.caption("None yet.")
            for decision in decisions:
                _draw_decision(services, actor, decision, zone)


def _draw_decision(services: Services, actor: Actor, decision: CacheDecision, zone: ZoneInfo) -> None:
    with st.container(border=True, gap="xsmall"):
        st.text(decision.question)
        st.text(decision.candidate)
        with blocks.start_row(gap="xsmall"):
            caption = f"similarity {decision.similarity:.3f} · {format.format_moment(decision.created_at, zone)}"
            st.caption(caption, width="stretch")
            if decision.guard is not None:
                st.badge(f"refused: {decision.guard}", color="gray")
            if decision.label is not None:
                words = f"{decision.label}, says {_LABELLERS[decision.labelled_by or '']}"
                st.badge(words, color="green" if decision.label == "same" else "red")
            elif decision.guard is None and actor.can(Permission.EDIT_CONFIGS):
                _label_button(services, actor, decision, "same", "They ask for the same")
            if decision.label != "different" and decision.guard is None and actor.can(Permission.EDIT_CONFIGS):
                _label_button(services, actor, decision, "different", "These differ")


def _label_button(services: Services, actor: Actor, decision: CacheDecision, label: str, words: str) -> None:
    if st.button(words, type="tertiary", key=f"cache-{label}-{decision.id}"):
        try:
            services.cache.label(actor, decision.id, label)
        except LLMManagerError as error:
            blocks.show_error(error)
            return
        st.rerun()


def format_age(seconds: int) -> str:
    """`90 s`, `1 h`, `7 days`."""
    if seconds % 86_400 == 0:
        days = seconds // 86_400
        return f"{days} day{'s' if days > 1 else ''}"
    return f"{seconds // 3_600} h" if seconds % 3_600 == 0 else f"{seconds:,} s"


_LABELLERS = {"person": "a person", "answers": "the answers", "": "nobody"}
_OUTCOMES = {
    "exact": "answered: the same request",
    "loose": "answered: the same words",
    "semantic": "answered: other words",
    "miss": "asked of the model",
    "tools": "left out: tools",
    "files": "left out: files by address",
    "unknown field": "left out: a field nobody here knows",
    "several answers": "left out: several answers",
    "personal": "left out: speaks of a person",
    "nobody named": "left out: a key for many people, and nobody named",
    "content policy": "left out: content policy",
    "no-store": "left out: no-store",
    "embeddings": "left out: embeddings",
    "failed": "not kept: failed",
    "cut or filtered": "not kept: cut or filtered",
    "empty": "not kept: empty",
    "signed thoughts": "not kept: signed thoughts",
    "too long": "not kept: too long",
}

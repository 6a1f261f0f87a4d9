"""The routing section of a configuration's form: more deployments, a fallback chain, attempts and deadlines."""

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from lib.configs.configurations import Configuration
from lib.configs.routing import HEAVIEST, LONGEST_S, MOST_ATTEMPTS, MOST_ATTEMPTS_IN_ALL, Routing, RoutingStrategy
from lib.errors import InvalidInput
from lib.providers.provider import Provider

STRATEGIES = {
    RoutingStrategy.WEIGHTED: "By weight, at random",
    RoutingStrategy.LEAST_BUSY: "The least busy",
    RoutingStrategy.FASTEST: "The fastest to answer",
    RoutingStrategy.CHEAPEST: "The cheapest",
}


def describe(routing: Routing, names: dict[str, str]) -> list[tuple[str, str]]:
    """Pairs of label and plain text: deployments, fallbacks, attempts and deadlines of a routing."""

    def name_target(provider_id: str, model: str) -> str:
        return f"{names.get(provider_id, 'a deleted provider')} · {model}"

    lines = []
    if routing.deployments:
        deployments = [f"{name_target(d.provider_id, d.model)} ({d.weight})" for d in routing.deployments]
        lines += [
            ("Shared with", "; ".join(deployments)),
            ("Chosen", f"{STRATEGIES[routing.strategy]}, own weight {routing.weight}"),
        ]
    if routing.fallbacks:
        lines.append(("Falls back to", ", then ".join(name_target(f.provider_id, f.model) for f in routing.fallbacks)))
    limits = routing.deadlines
    return [
        *lines,
        ("Attempts", f"{routing.max_attempts} a target, {routing.total_attempts} in all"),
        ("Deadlines", f"{limits.first_token_s:g} s first token, {limits.idle_s:g} s idle, {limits.total_s:g} s in all"),
    ]


def draw_routing_fields(
    providers: Sequence[Provider], configuration: Configuration | None
) -> Callable[[], dict[str, Any]]:
    """The section; a function that reads it (InvalidInput for a line that is half filled in)."""
    routing = Routing.from_record(configuration.routing if configuration else {})
    names = {provider.id: provider.name for provider in providers}
    owner = configuration.id if configuration else "new"
    with st.expander("Routing", icon=":material/alt_route:"):
        st.caption("Further deployments share the calls with the model above; the weight is their share.")
        deployments = _draw_editor(
            [(names.get(d.provider_id), d.model, d.weight) for d in routing.deployments], names, f"deployments-{owner}"
        )
        strategy_column, weight_column = st.columns([2, 1])
        strategy = strategy_column.selectbox(
            "Choose a deployment",
            list(STRATEGIES),
            index=list(STRATEGIES).index(routing.strategy),
            format_func=STRATEGIES.__getitem__,
        )
        weight = weight_column.number_input("Weight of the model above", 1, HEAVIEST, routing.weight)
        st.caption("When all of them are given up, the fallbacks are asked in this order.")
        fallbacks = _draw_editor(
            [(names.get(f.provider_id), f.model) for f in routing.fallbacks], names, f"fallbacks-{owner}"
        )
        attempts, in_all = st.columns(2)
        max_attempts = attempts.number_input("Attempts at each", 1, MOST_ATTEMPTS, routing.max_attempts)
        total_attempts = in_all.number_input("Attempts in all", 1, MOST_ATTEMPTS_IN_ALL, routing.total_attempts)
        deadlines = {}
        labels = {"first_token_s": "First token within, s", "idle_s": "Between pieces, s", "total_s": "In all, s"}
        for column, (name, label) in zip(st.columns(3), labels.items(), strict=True):
            deadlines[name] = column.number_input(label, 0.1, LONGEST_S, getattr(routing.deadlines, name), 5.0)

    def read() -> dict[str, Any]:
        return {
            "weight": weight,
            "deployments": read_targets(deployments, names),
            "strategy": strategy.value,
            "fallbacks": read_targets(fallbacks, names),
            "max_attempts": max_attempts,
            "total_attempts": total_attempts,
            "deadlines": deadlines,
        }

    return read


def _draw_editor(rows: Sequence[tuple[Any, ...]], names: dict[str, str], key: str) -> Sequence[dict[str, Any]]:
    """A small table to fill in: provider, model and, for deployments, a weight."""
    import pandas as pd

    columns = ["Provider", "Model", "Weight"] if key.startswith("deployments") else ["Provider", "Model"]
    types = {"Provider": "string", "Model": "string", "Weight": "Int64"}
    frame = pd.DataFrame(rows, columns=columns).astype({name: types[name] for name in columns})
    edited = st.data_editor(
        frame,
        num_rows="dynamic",
        hide_index=True,
        row_height=30,
        placeholder="—",
        key=f"routing-{key}",
        column_config={
            "Provider": st.column_config.SelectboxColumn("Provider", options=sorted(names.values()), width="small"),
            "Model": st.column_config.TextColumn("Model", max_chars=200, width="medium"),
            "Weight": st.column_config.NumberColumn("Weight", min_value=1, max_value=HEAVIEST, default=1, width=70),
        },
    )
    whole: Any = edited.astype(object).where(edited.notna(), None)
    return list(whole.to_dict("records"))


def read_targets(rows: Sequence[dict[str, Any]], names: dict[str, str]) -> list[dict[str, Any]]:
    """The lines of a table as targets; empty lines count for nothing."""
    ids = {name: provider_id for provider_id, name in names.items()}
    targets: list[dict[str, Any]] = []
    for row in rows:
        provider = row.get("Provider")
        model = str(row.get("Model") or "").strip()
        if not provider and not model:
            continue
        if provider not in ids or not model:
            raise InvalidInput(
                "A line of the routing is half empty.",
                "",
                "Give it a provider and a model, or remove it.",
                field="routing",
            )
        weight = {"weight": int(row["Weight"] or 1)} if "Weight" in row else {}
        targets.append({"provider_id": ids[provider], "model": model, **weight})
    return targets

"""The routing section of a configuration's form: more deployments, a fallback chain, attempts and deadlines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import streamlit as st

from lib.access.permissions import Actor
from lib.configs.configurations import Configuration
from lib.configs.routing import HEAVIEST, LONGEST_S, MOST_ATTEMPTS, MOST_ATTEMPTS_IN_ALL, Routing, RoutingStrategy
from lib.errors import InvalidInput
from lib.providers.provider import Provider
from lib.services import Services
from lib.ui.configurations.model_picker import draw_model_picker

_NEW_ROWS = 1_000  # numbers of added lines begin here, beyond those of stored ones
STRATEGIES = {
    RoutingStrategy.WEIGHTED: "By weight, at random",
    RoutingStrategy.LEAST_BUSY: "The least busy",
    RoutingStrategy.FASTEST: "The fastest to answer",
    RoutingStrategy.CHEAPEST: "The cheapest",
}


@dataclass(frozen=True)
class TargetChoice:
    """A provider and model as chosen in the form; a weight where it is a deployment."""

    provider_id: str
    model: str
    weight: int | None = None


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
    services: Services, actor: Actor, providers: Sequence[Provider], configuration: Configuration | None
) -> Callable[[], dict[str, Any]]:
    """The section; a function that reads it (InvalidInput for a line that is half filled in)."""
    routing = Routing.from_record(configuration.routing if configuration else {})
    owner = configuration.id if configuration else "new"
    pick = partial(_draw_targets, services, actor, providers, owner)
    with st.expander("Routing", icon=":material/alt_route:"):
        st.caption("Further deployments share the calls with the model above; the weight is their share.")
        deployments = pick("deployment", [TargetChoice(d.provider_id, d.model, d.weight) for d in routing.deployments])
        strategy_column, weight_column = st.columns([2, 1])
        strategy = strategy_column.selectbox(
            "Choose a deployment",
            list(STRATEGIES),
            index=list(STRATEGIES).index(routing.strategy),
            format_func=STRATEGIES.__getitem__,
        )
        weight = weight_column.number_input("Weight of the model above", 1, HEAVIEST, routing.weight)
        st.caption("When all of them are given up, the fallbacks are asked in this order.")
        fallbacks = pick("fallback", [TargetChoice(f.provider_id, f.model) for f in routing.fallbacks])
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
            "deployments": read_targets(deployments),
            "strategy": strategy.value,
            "fallbacks": read_targets(fallbacks),
            "max_attempts": max_attempts,
            "total_attempts": total_attempts,
            "deadlines": deadlines,
        }

    return read


def _draw_targets(
    services: Services,
    actor: Actor,
    providers: Sequence[Provider],
    owner: str,
    kind: str,
    stored: Sequence[TargetChoice],
) -> list[TargetChoice]:
    """A line for each target, with provider, model from the provider's list and, for deployments, a weight."""
    rows_key = f"routing-{kind}-{owner}"
    add_key = f"{rows_key}-add"
    if add_key not in st.session_state:  # the form has just been opened: what was not saved before is forgotten
        st.session_state[rows_key] = list(range(len(stored)))
    rows: list[int] = st.session_state[rows_key]
    targets = []
    for number, row in enumerate(rows, start=1):
        target = stored[row] if row < len(stored) else TargetChoice("", "", 1 if kind == "deployment" else None)
        label = f"{kind.capitalize()} {number}"
        targets.append(_draw_target(services, actor, providers, target, label, rows, row, rows_key))
    st.button(f"Add {kind}", icon=":material/add:", type="tertiary", key=add_key, on_click=_add_row, args=(rows,))
    return targets


def _draw_target(
    services: Services,
    actor: Actor,
    providers: Sequence[Provider],
    target: TargetChoice,
    label: str,
    rows: list[int],
    row: int,
    key: str,
) -> TargetChoice:
    is_deployment = target.weight is not None
    columns = st.columns([1, 1.5, *([0.55] if is_deployment else []), 0.22], vertical_alignment="top")
    ids = [provider.id for provider in providers]
    names = {provider.id: provider.name for provider in providers}
    provider_id = columns[0].selectbox(
        label,
        ids,
        index=ids.index(target.provider_id) if target.provider_id in ids else None,
        format_func=names.__getitem__,
        placeholder="Provider",
        key=f"{key}-provider-{row}",
    )
    provider = next((provider for provider in providers if provider.id == provider_id), None)
    current = target.model if provider_id == target.provider_id else ""
    model = draw_model_picker(services, actor, provider, current, into=columns[1], key=f"{key}-model-{row}")
    weight = target.weight
    if is_deployment:
        weight = int(columns[2].number_input("Weight", 1, HEAVIEST, target.weight, key=f"{key}-weight-{row}") or 1)
    with columns[-1]:
        st.space("small")
        st.button(
            "",
            icon=":material/close:",
            type="tertiary",
            help=f"Remove {label.lower()}",
            key=f"{key}-remove-{row}",
            on_click=rows.remove,
            args=(row,),
        )
    return TargetChoice(provider_id or "", model, weight)


def _add_row(rows: list[int]) -> None:
    rows.append(max(rows, default=-1) + 1 + _NEW_ROWS)


def read_targets(targets: Sequence[TargetChoice]) -> list[dict[str, Any]]:
    """The lines as records; empty lines count for nothing, InvalidInput for one that is half filled in."""
    records: list[dict[str, Any]] = []
    for target in targets:
        if not target.provider_id and not target.model:
            continue
        if not target.provider_id or not target.model:
            raise InvalidInput(
                "A line of the routing is half empty.",
                "",
                "Give it a provider and a model, or remove it.",
                field="routing",
            )
        weight = {} if target.weight is None else {"weight": target.weight}
        records.append({"provider_id": target.provider_id, "model": target.model, **weight})
    return records

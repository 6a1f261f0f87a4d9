"""The form of a new experiment: a table, who is asked, how answers are scored, what it may cost."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import streamlit as st

from lib.access.permissions import Actor
from lib.errors import InvalidInput
from lib.experiments.plan import EXPECTED, MOST_PARALLEL, PROMPT, ExperimentDraft, Inputs, build_grid, read_csv
from lib.experiments.workflow_candidates import PREFIX, get_slug
from lib.money import convert_usd_to_nano, format_money
from lib.services import Services
from lib.ui import blocks

SCORES = {
    "exact": "Exact match",
    "contains": "Contains the expected",
    "regex": "Matches a pattern",
    "json": "Valid JSON",
    "similarity": "Similarity (difflib)",
    "judge": "Model as judge",
}
_WITH_EXPECTED = {"exact", "contains", "similarity"}
_GRID = "city: Paris | Rome\nlanguage: English | Italian"


def draw_dialog(services: Services, actor: Actor, prompt: str | None = None) -> None:
    """Quote, then start; what is wrong is said below the form."""
    name = st.text_input("Name", max_chars=120, placeholder="Which prompt for the summaries")
    rows = _ask_table()
    candidate_choice = _choose_candidates(services, actor, prompt)
    scorers = _draw_scorers(services, actor, list(rows[0]) if rows else [])
    cap_column, parallel_column = st.columns(2)
    cap = cap_column.number_input("Cap, $", 0.0, 1e6, None, 1.0, placeholder="None", format="%.2f")
    parallel = parallel_column.number_input("Calls at once", 1, MOST_PARALLEL, 4)
    spot = st.container()
    with blocks.start_row():
        quoting = st.button("Quote")
        starting = st.button("Start experiment", type="primary")
    if not (quoting or starting):
        return
    with spot, blocks.show_errors():
        if not rows:
            raise InvalidInput("There is no table.", "", "Upload a CSV, or write a grid.")
        configurations, versions = candidate_choice
        if not configurations:
            raise InvalidInput("Nobody is asked.", "", "Choose at least one configuration.")
        make = services.experiments.candidate
        prompt_versions: list[tuple[str | None, int | None]] = [*versions] or [(None, None)]
        candidates = [
            make(actor, configuration, *prompt_version)
            for prompt_version in prompt_versions
            for configuration in configurations
            if get_slug(configuration) is None
        ]
        candidates += [make(actor, name) for name in configurations if get_slug(name) is not None]
        nano = None if not cap else convert_usd_to_nano(Decimal(str(cap)))
        draft = ExperimentDraft(name, candidates, rows, scorers(), int(parallel), nano)
        if starting:
            experiment_id = services.experiments.create(actor, draft)
            services.experiments.start(actor, experiment_id)
            st.query_params.pop("prompt", None)
            st.query_params["id"] = experiment_id
            st.rerun()
        st.info(_describe_quote(services, actor, draft), icon=":material/request_quote:")


def _describe_quote(services: Services, actor: Actor, draft: ExperimentDraft) -> str:
    quote = services.experiments.quote(actor, draft)
    if quote.high_nano is None:
        return f"{quote.calls:,} calls. No price is known for {blocks.escape_markdown(', '.join(quote.unpriced))}."
    low, high = (blocks.escape_markdown(format_money(nano)) for nano in (quote.low_nano, quote.high_nano))
    return f"{quote.calls:,} calls, from **{low}** (shortest answers) to **{high}** (longest)."


def _ask_table() -> Sequence[Inputs]:
    kind = st.segmented_control("Table", ["CSV", "Grid"], default="CSV", required=True)
    try:
        if kind == "Grid":
            text = st.text_area("A column a line, its values parted by |", height=90, placeholder=_GRID)
            rows = build_grid(_parse_columns(text)) if text.strip() else []
        else:
            file = st.file_uploader("CSV", type="csv", label_visibility="collapsed")
            st.caption(f"A column for each variable; `{PROMPT}` without a template; `{EXPECTED}` to score by.")
            rows = read_csv(file.getvalue()) if file is not None else []
    except InvalidInput as error:
        blocks.show_error(error)
        return []
    if rows:
        columns = blocks.escape_markdown(", ".join(rows[0]))
        st.caption(f"{len(rows):,} rows with the columns {columns}.")
    return rows


def _parse_columns(text: str) -> Mapping[str, Sequence[str]]:
    columns: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, colon, values = line.partition(":")
        if line.strip() and not (colon and name.strip()):
            raise InvalidInput("The grid can't be read.", f"{line[:60]!r} has no colon.", "Write it like city: a | b.")
        if line.strip():
            columns[name.strip()] = [value.strip() for value in values.split("|") if value.strip()]
    return columns


def _choose_candidates(services: Services, actor: Actor, prompt: str | None) -> tuple[list[str], list[tuple[str, int]]]:
    ready = [
        configuration.slug
        for configuration in services.configurations.list(actor)
        if configuration.is_active and configuration.needs is None
    ]
    workflows = services.workflows.definitions.list(actor)
    ready += [f"{PREFIX}{workflow.slug}" for workflow in workflows if workflow.is_active]
    configurations = st.multiselect(
        "Configurations", ready, ready if len(ready) == 1 else [], placeholder="Choose whom to ask", help="Or workflows"
    )
    versions: dict[str, tuple[str, int]] = {}
    for template in services.prompts.list(actor):
        for label, version in {**template.labels, "newest": template.newest}.items():
            versions[f"{template.slug} · {label} (version {version})"] = (template.slug, version)
    own = [name for name, (slug, _) in versions.items() if slug == prompt and "newest" in name]
    prompt_names = st.multiselect(
        "Prompts", list(versions), own, placeholder="None: the table's column prompt is asked"
    )
    return configurations, list(dict.fromkeys(versions[name] for name in prompt_names))


def _draw_scorers(services: Services, actor: Actor, columns: Sequence[str]) -> Any:
    """A function that reads the fields: InvalidInput when the schema is not JSON."""
    kinds = st.multiselect("Scores", list(SCORES), format_func=SCORES.__getitem__, placeholder="None: only compare")
    options_by_kind: dict[str, dict[str, Any]] = {kind: {} for kind in kinds}
    if _WITH_EXPECTED & set(kinds) and columns and EXPECTED not in columns:
        column = st.selectbox("Column with the expected answer", columns)
        for kind in _WITH_EXPECTED & set(kinds):
            options_by_kind[kind] = {"column": column}
    if "regex" in kinds:
        options_by_kind["regex"] = {"pattern": st.text_input("Pattern", placeholder=r"^\d{4}-\d{2}-\d{2}$")}
    schema = st.text_area("JSON Schema, if any", height=68) if "json" in kinds else ""
    if "judge" in kinds:
        ready = [
            configuration.slug
            for configuration in services.configurations.list(actor)
            if configuration.is_active and configuration.needs is None
        ]
        judge = st.selectbox("Judge", ready, index=0 if len(ready) == 1 else None, placeholder="Choose a model")
        rubric = st.text_area("Rubric", height=90, placeholder="10: right and short. 5: right but long. 0: wrong.")
        options_by_kind["judge"] = {"configuration": judge, "rubric": rubric}

    def read() -> list[dict[str, Any]]:
        if schema.strip():
            try:
                options_by_kind["json"]["schema"] = json.loads(schema)
            except ValueError as error:
                raise InvalidInput("The schema is not JSON.", f"{error}.", "Correct it.") from None
        return [{"kind": kind, **options} for kind, options in options_by_kind.items()]

    return read

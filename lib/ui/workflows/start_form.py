"""The typed form that starts a run, the quote before it, and its cap."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import streamlit as st

from lib.access.permissions import Actor
from lib.errors import InvalidInput
from lib.money import convert_usd_to_nano, format_money
from lib.services import Services
from lib.ui import blocks
from lib.workflows.definition import Field
from lib.workflows.quoting import RunQuote
from lib.workflows.run import Trigger
from lib.workflows.workflow import Workflow


def draw_start_form(services: Services, actor: Actor, workflow: Workflow, fields: Sequence[Field]) -> None:
    """Fields, quote and start; the run that was started is opened."""
    values = draw_fields(fields, f"start-{workflow.slug}")
    with blocks.start_row():
        cap_text = st.text_input(
            "Cap in US dollars",
            placeholder="none",
            width=150,
            key=f"cap-{workflow.slug}",
            help="No call begins that might pass it",
        )
        started = st.button("Start run", type="primary", icon=":material/play_arrow:", disabled=not workflow.is_active)
        quoted = st.button("Quote", icon=":material/request_quote:")
    with blocks.show_errors():
        if quoted:
            st.session_state[f"quote-{workflow.slug}"] = services.workflows.runs.quote(actor, workflow.slug, values)
        if (quote := st.session_state.get(f"quote-{workflow.slug}")) is not None:
            st.caption(blocks.escape_markdown(describe_quote(quote)))
        if started:
            cap = read_cap(cap_text)
            run = services.workflows.runs.start(actor, workflow.slug, values, trigger=Trigger.PAGE, cap_nano_usd=cap)
            st.query_params["run"] = run.id
            st.rerun()


def read_cap(text: str) -> int | None:
    """A cap in nano-dollars; None for an empty text."""
    if not text.strip():
        return None
    try:
        amount = Decimal(text.strip().removeprefix("$"))
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount <= 0:
        raise InvalidInput("The cap can't be used.", "It is no amount.", "Write it like 0.50.", field="cap")
    return convert_usd_to_nano(amount)


def describe_quote(quote: RunQuote) -> str:
    """A quote in a sentence."""
    if quote.high_nano is None or quote.low_nano is None:
        return f"Unknown: {', '.join(quote.unpriced)} has no known price."
    amount = f"{format_money(quote.low_nano)} to {format_money(quote.high_nano)}"
    if quote.basis == "past":
        runs = "1 past run" if quote.samples == 1 else f"{quote.samples} past runs"
        return f"{amount}, as {runs} cost."
    problems = f" {' '.join(quote.problems)}" if quote.problems else ""
    calls = "1 call" if quote.samples == 1 else f"{quote.samples:,} calls"
    return (
        f"At most {format_money(quote.high_nano)}: a ceiling for up to {calls}, since no run has ended yet.{problems}"
    )


def draw_fields(fields: Sequence[Field], key: str) -> dict[str, Any]:
    """The inputs of a form; empty fields are left out, so that defaults hold."""
    values: dict[str, Any] = {}
    for field in fields:
        value = _draw_field(field, f"{key}-{field.name}")
        if value not in (None, ""):
            values[field.name] = value
    if not fields:
        st.caption("It takes no inputs.")
    return values


def _draw_field(field: Field, key: str) -> Any:
    label = blocks.escape_markdown(field.label or field.name) + (
        "" if field.required and field.default is None else " (optional)"
    )
    hint = "" if field.default is None else str(field.default)
    about = blocks.escape_markdown(field.help) or None
    match field.type:
        case "boolean":
            return st.checkbox(label, bool(field.default), help=about, key=key)
        case "choice":
            index = field.choices.index(field.default) if field.default in field.choices else None
            return st.selectbox(label, field.choices, index=index, placeholder="Choose one", help=about, key=key)
        case "long_text" | "json":
            return st.text_area(label, height=110, placeholder=hint, help=about, key=key)
        case _:
            return st.text_input(label, placeholder=hint, help=about, key=key)

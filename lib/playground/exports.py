"""A run of the playground as a file: Markdown to read, JSON to go on with."""

import json
from enum import StrEnum
from typing import Any

from lib.money import convert_nano_to_usd, mark_least
from lib.playground.run import PaneState, PlaygroundRun
from lib.tokens.message_text import read_message_text

FORMAT = "llm-manager/playground-run/1"
_FIGURES = (
    *("status", "provider", "model", "served_model", "prompt_tokens", "completion_tokens", "cache_read_tokens"),
    *("reasoning_tokens", "usage_source", "first_token_ms", "execution_time_ms", "finish_reason", "error_message"),
)


class RunFormat(StrEnum):
    """A kind of file; its value is the ending of the file's name."""

    MARKDOWN = "md"
    JSON = "json"


def write_file(form: RunFormat, run: PlaygroundRun) -> bytes:
    """Write the question and every pane's answer with its figures. Costs are US dollars as text, null when unknown."""
    panes = [_record(run, pane) for pane in run.panes]
    call = run.first_call
    users = [read_message_text(message) for message in (call.messages if call else []) if message.get("role") == "user"]
    question = users[-1] if users else ""
    if form is RunFormat.MARKDOWN:
        return _write_markdown(run, question, panes).encode()
    body: dict[str, Any] = {"format": FORMAT, "id": run.id, "created_at": run.created_at.isoformat()}
    body |= {"question": question, "panes": panes}
    return json.dumps(body, ensure_ascii=False, indent=1).encode()


def _record(run: PlaygroundRun, pane: PaneState) -> dict[str, Any]:
    call = pane.call
    record: dict[str, Any] = {"configuration": pane.slug, "parameters": dict(pane.parameters), "error": pane.error}
    record["system_prompt"] = pane.system_prompt
    if call is not None:
        record |= {"log_id": call.log_id, **{name: getattr(call, name) for name in _FIGURES}}
        record["cost_usd"] = None if call.cost_nano_usd is None else f"{convert_nano_to_usd(call.cost_nano_usd):f}"
        record |= {"cost_status": call.cost_status, "text": call.text, "reasoning": call.reasoning}
    return record | {"preferred": run.winner == pane.position}


def _write_markdown(run: PlaygroundRun, question: str, panes: list[dict[str, Any]]) -> str:
    parts = [f"# Playground run, {run.created_at:%Y-%m-%d %H:%M} UTC"]
    parts += ["## Question", question or "— the prompt was not kept"]
    for pane in panes:
        head = f"{pane['configuration']} ({pane['model']})" if "model" in pane else pane["configuration"]
        parts.append(f"## {head}{' — preferred' if pane['preferred'] else ''}")
        parts += [f"> {line}" for line in pane["system_prompt"].splitlines() if line.strip()]
        parts.append(pane.get("text") or f"— {pane.get('error_message') or pane['error'] or 'no text'}")
        if "model" in pane:
            tokens = f"{_format(pane['prompt_tokens'])} → {_format(pane['completion_tokens'])} tokens"
            times = f"first token {_format(pane['first_token_ms'])} ms, in all {_format(pane['execution_time_ms'])} ms"
            cost = mark_least(f"US$ {_format(pane['cost_usd'])}", pane["cost_status"] == "partial")
            parts.append(f"*{tokens} · {cost} · {times}*")
    return "\n\n".join(parts) + "\n"


def _format(value: Any) -> str:
    return "unknown" if value is None else str(value)

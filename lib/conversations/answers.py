"""Answers that have ended, from the ledger into their messages: `settle`.

A message is written with its call's id before the call is sent, so whatever becomes of the page or the process, the
row of the ledger (closed by its process, or by recovery for a dead one) says what came of it. An answer of several
calls is a turn with tools (`lib.tools.turns`), which is named by its first call and ends the message when it has ended
itself. Words are taken as the configuration's content policy let them be kept. An answer that a workflow makes has the
id of its run.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, select, update

from lib.clock import utc_now
from lib.conversations.conversation import RUNNING
from lib.conversations.rows import M
from lib.conversations.turn_parts import build_ending, is_open, read_turns
from lib.db.engine import Store
from lib.db.tables import messages, open_calls, usage_logs, usage_payloads, workflow_runs
from lib.ledger.usage_row import build_final_condition
from lib.limited.expressions import convert_to_text
from lib.tokens.text_estimate import estimate_tokens

_UNSENT_AFTER = timedelta(seconds=60)
_NEVER_SENT = "The question was not sent. The process ended before it could be. Ask again."
_STATUS_OF_RUN = {"done": "ok", "failed": "error", "cancelled": "cancelled"}
_L = usage_logs.c
_P = usage_payloads.c
_R = workflow_runs.c


def settle(store: Store, owner_id: str | None = None) -> int:
    """Write down every answer that has ended, of one owner or of all; how many those were."""
    going = [M.status == RUNNING] + ([] if owner_id is None else [M.owner_id == owner_id])
    ended = (
        select(
            M.id,
            M.call_id,
            _L.status,
            _L.error_message,
            _L.served_model,
            _L.model,
            _P.response_text,
            _P.response,
            M.parts,
        )
        .join(usage_logs, build_final_condition(M.call_id))
        .outerjoin(usage_payloads, _P.id == _L.id)
        .where(*going)
    )
    lost = (
        select(M.id)
        .outerjoin(usage_logs, _L.call_id == M.call_id)
        .outerjoin(open_calls, open_calls.c.call_id == M.call_id)
        .outerjoin(workflow_runs, _R.id == M.id)
        .where(*going, _L.id.is_(None), open_calls.c.id.is_(None), M.created_at < utc_now() - _UNSENT_AFTER)
        .where(_R.id.is_(None))
    )
    ended_runs = (
        select(M.id, _R.state, _R.output, _R.reason, _R.failed_step)
        .join(workflow_runs, _R.id == M.id)
        .where(M.status == RUNNING, _R.state.in_([*_STATUS_OF_RUN]), *going)
    )
    with store.read() as connection:
        done = _read_endings(connection, connection.execute(ended).mappings().all())
        done |= {row.id: _write_run(row) for row in connection.execute(ended_runs)}
        never = {"status": "orphaned", "error_message": _NEVER_SENT}
        done |= {row.id: never for row in connection.execute(lost) if row.id not in done}
    if done:
        with store.write() as connection:
            for message_id, values in done.items():
                connection.execute(update(messages).where(M.id == message_id, M.status == RUNNING).values(**values))
    return len(done)


def _read_endings(connection: Connection, rows: Sequence[Mapping[Any, Any]]) -> dict[str, dict[str, Any]]:
    """Read what to store of each answer, by message: of a turn with tools once all has ended, else of its call."""
    turns = read_turns(connection, [row["call_id"] for row in rows]) if rows else {}
    done: dict[str, dict[str, Any]] = {}
    for row in rows:
        turn = turns.get(row["call_id"])
        if turn is None:
            done[row["id"]] = _read_ending(row)
        elif not is_open(turn) and (ending := build_ending(connection, turn)) is not None:
            ending["parts"] = [part for part in row["parts"] if part["type"] == "source"] + ending["parts"]
            texts = [part["text"] for part in ending["parts"] if "text" in part and part["type"] != "source"]
            done[row["id"]] = ending | {"tokens": sum(map(estimate_tokens, [ending["content"], *texts]))}
    return done


def _write_run(row: Any) -> dict[str, Any]:
    """Build the ending of an answer that a workflow's run made."""
    text = convert_to_text(row.output) if row.state == "done" else ""
    step = f" at {row.failed_step}" if row.failed_step else ""
    error = None if row.state == "done" else f"The workflow is {row.state}{step}. {row.reason}"
    return {
        "content": text,
        "tokens": estimate_tokens(text),
        "status": _STATUS_OF_RUN[row.state],
        "error_message": error,
    }


def _read_ending(row: Mapping[Any, Any]) -> dict[str, Any]:
    text = row["response_text"] or ""
    response = row["response"] or {}
    parts = list(row["parts"])
    parts += [{"type": "tool_call", **call} for call in response.get("tool_calls") or ()]
    if response.get("reasoning"):
        parts.append({"type": "reasoning", "text": response["reasoning"]})
    return {
        "content": text,
        "parts": parts,
        "tokens": estimate_tokens(text),
        "status": row["status"],
        "error_message": row["error_message"],
        "model": (row["served_model"] or row["model"])[:200],
    }

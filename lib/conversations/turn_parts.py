"""A turn with tools as the parts of one message: in every round the words, the tool calls and their results.

A part `tool_call` has the round's number and, the first of its round, the words that the model said before; a part
`tool_result` has the text that the model was told, and the run's id, where pictures and times are. `is_outside` marks
text from outside.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, select

from lib.clock import utc_now
from lib.db.tables import tool_executions, tool_turns, usage_logs, usage_payloads
from lib.tools.turn import RUNNING, WAITING, translate_status

_ON_ITS_WAY = timedelta(seconds=60)
_L = usage_logs.c
_P = usage_payloads.c
_E = tool_executions.c


def read_turns(connection: Connection, call_ids: Iterable[str]) -> dict[str, Mapping[Any, Any]]:
    """Read the rows of turns by the id of their first call; a call without tools has none."""
    query = select(tool_turns).where(tool_turns.c.id.in_(list(call_ids)))
    return {row["id"]: row for row in connection.execute(query).mappings()}


def is_open(turn: Mapping[Any, Any]) -> bool:
    """Whether a turn runs, or waits for a person."""
    return turn["state"] in (RUNNING, WAITING)


def build_ending(connection: Connection, turn: Mapping[Any, Any]) -> dict[str, Any] | None:
    """Build what is written of a turn that has ended: the last round's words, the parts, the status.

    None while the last round's row is on its way into the ledger.
    """
    rounds = _read_rounds(connection, turn["calls"])
    is_fresh = turn["ended_at"] is not None and turn["ended_at"] > utc_now() - _ON_ITS_WAY
    if is_fresh and turn["calls"] and turn["calls"][-1] not in rounds:
        return None
    runs: dict[str, list[Mapping[Any, Any]]] = defaultdict(list)
    query = select(tool_executions).where(_E.turn_id == turn["id"]).order_by(_E.id)
    for run in connection.execute(query).mappings():
        runs[run["call_id"]].append(run)
    parts: list[dict[str, Any]] = []
    for number, call_id in enumerate(turn["calls"]):
        row = rounds.get(call_id)
        if row is None:
            continue
        is_last = number == len(turn["calls"]) - 1
        parts += _build_round_parts(number, row, runs[call_id], is_last=is_last)
    last = rounds.get(turn["calls"][-1]) if turn["calls"] else None
    return {
        "content": (last["response_text"] if last else "") or "",
        "parts": parts,
        "status": translate_status(turn["state"]),
        "error_message": turn["reason"] or (last["error_message"] if last else None),
        "model": ((last["served_model"] or last["model"]) if last else "")[:200],
    }


def expand(parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Write the rounds of a message as the model is sent them: what it asked for, and each result."""
    rounds: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for part in parts:
        if part["type"] in ("tool_call", "tool_result") and "round" in part:
            rounds[part["round"]].append(part)
    sent: list[dict[str, Any]] = []
    for _, of_round in sorted(rounds.items()):
        texts = {part["tool_call_id"]: part["text"] for part in of_round if part["type"] == "tool_result"}
        answered_calls = [part for part in of_round if part["type"] == "tool_call" and part["id"] in texts]
        if not answered_calls:
            continue
        calls = [_write_call(part) for part in answered_calls]
        sent.append({"role": "assistant", "content": answered_calls[0].get("text") or None, "tool_calls": calls})
        sent += [{"role": "tool", "tool_call_id": part["id"], "content": texts[part["id"]]} for part in answered_calls]
    return sent


def _read_rounds(connection: Connection, call_ids: Sequence[str]) -> dict[str, Mapping[Any, Any]]:
    columns = (_L.call_id, _L.error_message, _L.served_model, _L.model, _P.response_text, _P.response)
    query = select(*columns).outerjoin(usage_payloads, _P.id == _L.id).where(_L.call_id.in_(call_ids), _L.is_final)
    return {row["call_id"]: row for row in connection.execute(query).mappings()}


def _build_round_parts(
    number: int, row: Mapping[Any, Any], runs: Sequence[Mapping[Any, Any]], *, is_last: bool
) -> list[dict[str, Any]]:
    response = row["response"] or {}
    parts: list[dict[str, Any]] = []
    for position, call in enumerate(response.get("tool_calls") or ()):
        text_fields = {"text": row["response_text"] or ""} if position == 0 and not is_last else {}
        parts.append({"type": "tool_call", "round": number, **call, **text_fields})
    parts += [_build_output_part(number, run) for run in runs]
    if response.get("reasoning"):
        parts.append({"type": "reasoning", "text": response["reasoning"]})
    return parts


def _build_output_part(number: int, run: Mapping[Any, Any]) -> dict[str, Any]:
    output = run["result"] or {}
    return {
        "type": "tool_result",
        "round": number,
        "tool_call_id": run["tool_call_id"],
        "name": run["tool"],
        "text": output.get("text") or run["error_message"] or "",
        "execution_id": run["id"],
        "status": run["status"],
        "is_outside": run["source"] in ("http", "mcp") or run["tool"] == "search_knowledge",
    }


def _write_call(part: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": part["name"], "arguments": part["arguments"] or "{}"}
    return {"id": part["id"], "type": "function", "function": function}

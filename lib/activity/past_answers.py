"""What models answered in earlier calls, for a program that names an answer by its id instead of sending it again.

Only calls of the actor's own are read (with a key: those of its app), and only answers that are stored as they were
said: one of which private words were masked would be another answer.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import select

from lib.access.permissions import Actor
from lib.activity import visible_calls
from lib.db.engine import Store
from lib.db.tables import configurations, usage_logs, usage_payloads
from lib.errors import NotFound
from lib.ledger.content_policy import FULL, read_stored_messages, read_stored_policy
from lib.ledger.kept_messages import restore_request
from lib.ledger.recent_calls import find_recent
from lib.ledger.usage_row import build_any_final_condition


class PastAnswer(Struct, frozen=True):
    """An answer: its text, and its tool calls in their order, each with `id`, `name` and `arguments`.

    `messages` are what it answers, with all that came before; `system_prompt` is the one among them that came from the
    configuration, empty where there was none or the configuration has another one now.
    """

    text: str
    tool_calls: tuple[Mapping[str, str], ...]
    messages: tuple[Mapping[str, Any], ...] = ()
    system_prompt: str = ""


def load_past_answers(actor: Actor, store: Store, call_ids: Collection[str]) -> dict[str, PastAnswer]:
    """Answers by their call's id; a call without one, or whose words are not kept in full, is left out."""
    answers = _load(actor, store, call_ids)
    for call_id in set(call_ids).difference(answers):
        try:  # a call that has ended just now is written a moment later
            answers[call_id] = find_recent(call_id, lambda call_id=call_id: _load_one(actor, store, call_id))  # type: ignore[misc]
        except NotFound:
            continue
    return answers


def _load_one(actor: Actor, store: Store, call_id: str) -> PastAnswer:
    if (answer := _load(actor, store, [call_id]).get(call_id)) is None:
        raise NotFound("There is no such answer.", "It is not kept, or it belongs to somebody else.")
    return answer


def _load(actor: Actor, store: Store, call_ids: Collection[str]) -> dict[str, PastAnswer]:
    calls = usage_logs.c
    words = usage_payloads.c
    query = (
        select(calls.call_id, words.response_text, words.response, words.request, configurations.c.system_prompt)
        .add_columns(words.messages_id)
        .join(usage_payloads, words.id == calls.id)
        .outerjoin(configurations, configurations.c.id == calls.configuration_id)
        .where(visible_calls.is_own(actor, usage_logs), build_any_final_condition(call_ids))
    )
    with store.read() as connection:
        rows = connection.execute(query).mappings().all()
        requests = {row["call_id"]: restore_request(connection, row) for row in rows}
    return {
        row["call_id"]: PastAnswer(
            row["response_text"] or "",
            tuple((row["response"] or {}).get("tool_calls") or ()),
            messages := tuple(read_stored_messages(requests[row["call_id"]])),
            _find_system_prompt(messages, row["system_prompt"]),
        )
        for row in rows
        if read_stored_policy(row["request"]) == FULL
    }


def _find_system_prompt(messages: Sequence[Mapping[str, Any]], configured: str | None) -> str:
    first = messages[0] if messages else {}
    is_first = bool(configured) and first.get("role") == "system" and first.get("content") == configured
    return str(configured) if is_first else ""

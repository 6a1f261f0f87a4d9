"""Titles that a model finds, each with a call of its own (origin `system`); until then the question's first words."""

from sqlalchemy import select, update

from lib.access.permissions import Actor
from lib.calls.calls import Calls
from lib.calls.request import CallRequest, Origin, Within
from lib.clock import make_id
from lib.conversations.conversation import RUNNING
from lib.conversations.rows import C, filter_own, find, load_tree, trace_path
from lib.conversations.thread import read_messages
from lib.db.engine import Store
from lib.db.tables import conversations, usage_logs, usage_payloads
from lib.errors import LLMManagerError
from lib.ledger.usage_row import build_final_condition

_L = usage_logs.c
_P = usage_payloads.c
_TITLE_PROMPT = (
    "Name this conversation in at most six words, in its own language, without quotation marks or a full stop. "
    "Answer with the name only.\n\nQuestion:\n{question}\n\nAnswer:\n{answer}"
)
_EXCERPT = 2_000
_LONGEST = 80


class Titles:
    """Asks for titles, and takes them."""

    def __init__(self, store: Store, calls: Calls) -> None:
        self._store = store
        self._calls = calls

    def suggest(self, actor: Actor, conversation_id: str) -> str | None:
        """Ask for a title, once, when the first answer has come; the call's id. A failure changes nothing."""
        with self._store.read() as connection:
            conversation = find(connection, actor, conversation_id)
            if conversation.title_source != "question" or conversation.title_call_id is not None:
                return None
            path = trace_path(load_tree(connection, conversation.id, conversation.owner_id), conversation.leaf_id)
            if len(path) < 2 or path[1].status == RUNNING or not path[1].tokens:
                return None
            turn = read_messages(connection, conversation, [path[0].id, path[1].id])
        call_id = make_id()
        unasked = (C.id == conversation_id, filter_own(actor), C.title_call_id.is_(None), C.title_source == "question")
        with self._store.write() as connection:  # of two tabs one asks
            if connection.execute(update(conversations).where(*unasked).values(title_call_id=call_id)).rowcount == 0:
                return None
        prompt = _TITLE_PROMPT.format(question=turn[0].content[:_EXCERPT], answer=turn[1].content[:_EXCERPT])
        try:
            return self._calls.start(
                CallRequest(
                    actor=actor,
                    messages=[{"role": "user", "content": prompt}],
                    configuration=conversation.configuration_id,
                    origin=Origin.SYSTEM,
                    system_prompt="",
                    conversation_id=conversation.id,
                    within=Within(parent_call_id=turn[1].call_id or ""),
                    call_id=call_id,
                    tags={"purpose": "title"},
                )
            )
        except LLMManagerError:  # the first words stay; they are not asked for again
            return None


def take_titles(store: Store, owner_id: str | None = None) -> int:
    """Write down the titles that have come, of one owner or of all; how many those were."""
    waiting = [C.title_source == "question", C.title_call_id.is_not(None)]
    waiting += [] if owner_id is None else [C.owner_id == owner_id]
    query = (
        select(C.id, C.title, _L.status, _P.response_text)
        .join(usage_logs, build_final_condition(C.title_call_id))
        .outerjoin(usage_payloads, _P.id == _L.id)
        .where(*waiting)
    )
    with store.read() as connection:
        rows = connection.execute(query).all()
    for row in rows:
        title = _clean_title(row.response_text or "") if row.status == "ok" else ""
        values = {"title": title, "title_source": "model"} if title else {"title_source": "kept"}
        with store.write() as connection:
            connection.execute(update(conversations).where(C.id == row.id, *waiting[:2]).values(**values))
    return len(rows)


def _clean_title(text: str) -> str:
    """The first line without marks around it; empty when it is no title."""
    line = next((line for line in text.splitlines() if line.strip()), "").strip(" \t\"'*#.“”„«»")
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1].rstrip() + "…"

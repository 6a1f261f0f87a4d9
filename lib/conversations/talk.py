"""What is said in a conversation: send, edit, regenerate, choose a branch, stop; and the thread as it stands.

A question and its answer are written before the call starts, which then runs in the background: leaving the page, or
losing the process, loses nothing. A sender says which message it saw last; when the conversation has gone on since,
in another tab or program, nothing is sent and the sender is told.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, update

from lib.access.permissions import Actor, Permission
from lib.calls.calls import Calls
from lib.calls.grounding import Grounding, replace_question
from lib.calls.live_call import CallView
from lib.calls.request import ASKED_AGAIN, CallRequest, Origin
from lib.clock import make_id, utc_now
from lib.configs.configurations import Configuration, Configurations
from lib.conversations.answers import settle
from lib.conversations.contexts import Contexts
from lib.conversations.conversation import RUNNING, Conversation, Message, MessageNode, Status, require_owner
from lib.conversations.question import ConversationQuestion, assemble_messages, build_message_row, build_question_row
from lib.conversations.rows import C, compute_expiry, filter_own, find, find_newest_leaf, load_tree, trace_path
from lib.conversations.thread import Thread, read_messages, read_thread
from lib.conversations.titles import take_titles
from lib.db.engine import Store
from lib.db.tables import conversations, messages
from lib.errors import Conflict, InvalidInput, NotFound
from lib.ledger.content_policy import METADATA
from lib.tokens.message_text import read_message_text
from lib.tokens.text_estimate import estimate_tokens
from lib.tools.approval_policy import DOCUMENT, PASSAGES
from lib.tools.turn import TurnView
from lib.tools.turns import Turns

SHOWN = 30
_NEXT_CALL_S = 0.05  # between looks for the next call of a turn


@dataclass(frozen=True)
class Sent:
    """Ids of what a send has written, and of the call that runs. `question_id` is None for a second answer."""

    question_id: str | None
    answer_id: str
    call_id: str


class Talk:
    """Asks and reads, one owner's."""

    def __init__(
        self,
        store: Store,
        calls: Calls,
        configurations: Configurations,
        contexts: Contexts,
        grounding: Callable[[], Grounding],
        turns: Turns,
    ) -> None:
        self._store = store
        self._calls = calls
        self._configurations = configurations
        self._contexts = contexts
        self._grounding = grounding
        self._turns = turns

    def send(
        self,
        actor: Actor,
        conversation_id: str,
        text: str,
        *,
        parent_id: str | None = None,
        last_seen: str | None = None,
        files: Sequence[str] = (),
        configuration: str | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> Sent:
        """Ask after the last message of the branch shown, or after `parent_id`, which begins a new branch.

        Conflict when the last message is no longer `last_seen` (empty: there was none), or an answer is being written.
        Nothing has been written or sent when this raises. `files` are ids of files added before.
        """
        conversation = self._settled(actor, conversation_id)
        parent = conversation.leaf_id if parent_id is None else parent_id
        question = ConversationQuestion(
            conversation_id, parent, text, files, last_seen, configuration, parameters or {}
        )
        return self._ask(actor, question)

    def edit(
        self,
        actor: Actor,
        conversation_id: str,
        message_id: str,
        text: str,
        *,
        last_seen: str | None = None,
        configuration: str | None = None,
    ) -> Sent:
        """Ask a question in other words, with the same files: a new branch beside it."""
        old = self._message(actor, conversation_id, message_id, "user")
        files = [part["id"] for part in old.parts if part["type"] == "file"]
        return self._ask(
            actor, ConversationQuestion(conversation_id, old.parent_id, text, files, last_seen, configuration, {})
        )

    def regenerate(
        self,
        actor: Actor,
        conversation_id: str,
        message_id: str,
        *,
        last_seen: str | None = None,
        configuration: str | None = None,
    ) -> Sent:
        """Another answer beside one, perhaps by another configuration."""
        old = self._message(actor, conversation_id, message_id, "assistant")
        if old.parent_id is None:
            raise InvalidInput("This answer has no question.", "", "Send a message instead.")
        return self._ask(
            actor, ConversationQuestion(conversation_id, old.parent_id, None, (), last_seen, configuration, {})
        )

    def ask_elsewhere(
        self,
        actor: Actor,
        conversation_id: str,
        text: str,
        answer_id: str,
        model: str,
        begin: Callable[[], object],
        *,
        last_seen: str | None = None,
    ) -> str:
        """Write a question whose answer no call makes but what `begin` starts, under the id of the answer.

        Returns the question's id. Nothing has been written when this raises. A workflow's run is such: it has the
        answer's id, and `settle` writes its output down when it is over.
        """
        conversation = self._settled(actor, conversation_id)
        _check_open(conversation, last_seen)
        configuration = self._configuration(actor, conversation.configuration_id)
        stored_question = ConversationQuestion(conversation.id, conversation.leaf_id, text, (), last_seen, None, {})
        with self._store.read() as connection:
            leaf = load_tree(connection, conversation.id, conversation.owner_id).get(conversation.leaf_id or "")
            if leaf is not None and leaf.status == RUNNING:
                raise Conflict("An answer is still being written.", "", "Wait for its end, or stop it.")
            question = build_question_row(connection, conversation, stored_question, configuration)
        shared = {"conversation_id": conversation.id, "owner_id": conversation.owner_id, "created_at": utc_now()}
        answer = build_message_row("assistant", configuration) | shared
        answer |= {"id": answer_id, "parent_id": question["id"], "status": RUNNING, "model": model[:200]}
        rows = [question | shared | {"parent_id": conversation.leaf_id}, answer]
        self._write(actor, conversation, rows, configuration)
        try:
            begin()
        except BaseException:
            self._take_back(actor, conversation, rows)
            raise
        return str(question["id"])

    def choose(self, actor: Actor, conversation_id: str, message_id: str) -> None:
        """Show the branch that a message is on, to its newest leaf."""
        with self._store.write() as connection:
            conversation = find(connection, actor, conversation_id)
            tree = load_tree(connection, conversation.id, conversation.owner_id)
            if message_id not in tree:
                raise _make_message_not_found()
            leaf = find_newest_leaf(tree, message_id)
            connection.execute(
                update(conversations).where(C.id == conversation.id, filter_own(actor)).values(leaf_id=leaf)
            )

    def read(self, actor: Actor, conversation_id: str, limit: int = SHOWN) -> Thread:
        """The last messages of the branch shown; 0 for all of them."""
        self._settled(actor, conversation_id)
        with self._store.read() as connection:
            return read_thread(connection, find(connection, actor, conversation_id), limit)

    def answering(self, actor: Actor, message: Message) -> CallView | None:
        """The answer as it grows; None when its call is not known, or was not sent yet."""
        actor.require(Permission.VIEW_CONVERSATIONS)
        try:
            return None if message.call_id is None else self._turns.call_view(actor, message.call_id)
        except NotFound:
            return None

    def turn(self, actor: Actor, message: Message) -> TurnView | None:
        """The rounds and tools of an answer; None where no tools were offered."""
        actor.require(Permission.VIEW_CONVERSATIONS)
        return None if message.call_id is None else self._turns.view(actor, message.call_id)

    def stop(self, actor: Actor, conversation_id: str) -> None:
        """End the answer that is being written; what came so far is kept. No effect when none is."""
        running = self.read(actor, conversation_id, 1).running
        if running is not None and running.call_id is not None:
            try:
                self._turns.stop(actor, running.call_id)
            except NotFound:  # it ended meanwhile, or runs in another process
                self._settled(actor, conversation_id)

    def wait(self, actor: Actor, conversation_id: str, message_id: str, timeout_s: float | None = None) -> Message:
        """The answer when it has ended, or after the time as it stands."""
        ends_at = None if timeout_s is None else time.monotonic() + timeout_s
        waited_for: str | None = None
        while True:
            message = self._message(actor, conversation_id, message_id, "assistant")
            seconds = None if ends_at is None else ends_at - time.monotonic()
            if not message.running or message.call_id is None or (seconds is not None and seconds <= 0):
                return message
            turn = self._turns.wait(actor, message.call_id, seconds)
            if turn is not None and turn.is_waiting:
                return message
            if message.call_id == waited_for:  # its turn goes on, and the next call has not begun
                time.sleep(_NEXT_CALL_S)
            else:
                waited_for = message.call_id
                self._calls.wait(actor, waited_for, seconds)
            self._settled(actor, conversation_id)

    def _settled(self, actor: Actor, conversation_id: str) -> Conversation:
        """The conversation, when every answer that has ended is written down."""
        owner = require_owner(actor)
        self._calls.flush()
        settle(self._store, owner)
        take_titles(self._store, owner)
        with self._store.read() as connection:
            return find(connection, actor, conversation_id)

    def _message(self, actor: Actor, conversation_id: str, message_id: str, role: str) -> Message:
        with self._store.read() as connection:
            messages_read = read_messages(connection, find(connection, actor, conversation_id), [message_id])
        if not messages_read or messages_read[0].role != role:
            raise _make_message_not_found()
        return messages_read[0]

    def _ask(self, actor: Actor, request: ConversationQuestion) -> Sent:
        conversation = self._settled(actor, request.conversation_id)
        _check_open(conversation, request.last_seen)
        configuration = self._configuration(actor, request.configuration or conversation.configuration_id)
        with self._store.read() as connection:
            tree = load_tree(connection, conversation.id, conversation.owner_id)
            if request.parent_id is not None and request.parent_id not in tree:
                raise _make_message_not_found()
            if (leaf := tree.get(conversation.leaf_id or "")) is not None and leaf.status == RUNNING:
                raise Conflict("An answer is still being written.", "", "Wait for its end, or stop it.")
            path = trace_path(tree, request.parent_id)
        self._contexts.make_room(actor, conversation, path, configuration)
        with self._store.read() as connection:
            question = (
                None if request.text is None else build_question_row(connection, conversation, request, configuration)
            )
            sent = assemble_messages(connection, conversation, path, question, configuration)
        sources = self._ground(actor, conversation, configuration, sent)
        call_id = make_id()
        now = utc_now()
        shared = {"conversation_id": conversation.id, "owner_id": conversation.owner_id, "created_at": now}
        answer = build_message_row("assistant", configuration) | shared
        answer |= {"parts": sources}
        answer |= {
            "parent_id": question["id"] if question else request.parent_id,
            "status": RUNNING,
            "call_id": call_id,
        }
        rows = ([question | shared | {"parent_id": request.parent_id}] if question else []) + [answer]
        self._write(actor, conversation, rows, configuration)
        try:
            call = CallRequest(
                actor=actor,
                messages=sent,
                configuration=configuration.id,
                origin=Origin.CONVERSATION,
                system_prompt=conversation.system_prompt,
                parameters=request.parameters,
                conversation_id=conversation.id,
                call_id=call_id,
                cache_policy=ASKED_AGAIN if request.text is None else None,
            )
            outside = self._find_outside(conversation, path, question, sources)
            self._turns.ask(call, configuration, outside=outside)
        except BaseException:
            self._take_back(actor, conversation, rows)
            raise
        return Sent(question["id"] if question else None, answer["id"], call_id)

    def _find_outside(
        self,
        conversation: Conversation,
        path: Sequence[MessageNode],
        question: Mapping[str, Any] | None,
        sources: Sequence[Mapping[str, Any]],
    ) -> str:
        """Name the text from outside that is in the branch: files, passages, results of tools; empty without any."""
        with self._store.read() as connection:
            history = read_messages(connection, conversation, [node.id for node in path])
        parts = [*(part for message in history for part in message.parts), *(question or {}).get("parts", ()), *sources]
        kinds = {str(part["type"]) for part in parts}
        if "file" in kinds:
            return DOCUMENT
        if "source" in kinds:
            return PASSAGES
        return "what a tool returned" if any(part.get("is_outside") for part in parts) else ""

    def _ground(
        self, actor: Actor, conversation: Conversation, configuration: Configuration, sent: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Put passages of the conversation's collections into the question; the parts that name them."""
        if not conversation.strategy.collections:
            return []
        texts = [{"role": str(message["role"]), "content": read_message_text(message)} for message in sent]
        spent = sum(estimate_tokens(message["content"]) for message in texts)
        passages = self._grounding().ground(
            actor, conversation.strategy.collections, texts[-1]["content"], configuration, texts[:-1], spent
        )
        replace_question(sent, passages.text)
        return list(passages.parts)

    def _configuration(self, actor: Actor, slug_or_id: str | None) -> Configuration:
        fix = "Choose another configuration for this conversation."
        if slug_or_id is None:
            raise InvalidInput("This conversation has no configuration.", "", fix, field="configuration")
        try:
            configuration = self._configurations.get(actor, slug_or_id)
        except NotFound:
            why = "It was deleted since."
            raise InvalidInput("The configuration does not exist any more.", why, fix, field="configuration") from None
        if configuration.content_policy == METADATA:
            why = f"The content policy of {configuration.slug} keeps no words, and a conversation is made of them."
            raise InvalidInput("This configuration can't be used in conversations.", why, fix, field="configuration")
        return configuration

    def _write(
        self, actor: Actor, conversation: Conversation, rows: list[dict[str, Any]], configuration: Configuration
    ) -> None:
        """Write the messages, if the branch shown still ends where it did."""
        now = utc_now()
        values: dict[str, Any] = {
            "leaf_id": rows[-1]["id"],
            "last_at": now,
            "expires_at": compute_expiry(conversation.ttl_s, now),
            "configuration_id": configuration.id,
        }
        if not conversation.title and rows[0]["role"] == "user":
            values |= {"title": _cut_title(rows[0]["content"]), "title_source": "question"}
        with self._store.write() as connection:
            unchanged = C.leaf_id.is_(None) if conversation.leaf_id is None else C.leaf_id == conversation.leaf_id
            done = connection.execute(
                update(conversations).where(C.id == conversation.id, filter_own(actor), unchanged).values(**values)
            )
            if done.rowcount == 0:
                raise _make_moved_on_conflict()
            for row in rows:
                connection.execute(insert(messages).values(**row))

    def _take_back(self, actor: Actor, conversation: Conversation, rows: list[dict[str, Any]]) -> None:
        """Nothing was sent: as if nothing had been written."""
        with self._store.write() as connection:
            back = {
                "leaf_id": conversation.leaf_id,
                "title": conversation.title,
                "title_source": conversation.title_source,
                "configuration_id": conversation.configuration_id,
            }
            mine_still = (C.id == conversation.id, filter_own(actor), C.leaf_id == rows[-1]["id"])
            connection.execute(update(conversations).where(*mine_still).values(**back))
            ids = [row["id"] for row in rows]
            connection.execute(
                delete(messages).where(messages.c.id.in_(ids), messages.c.owner_id == require_owner(actor))
            )


def _check_open(conversation: Conversation, last_seen: str | None) -> None:
    status = conversation.status(utc_now())
    if status is not Status.ACTIVE:
        raise Conflict(f"This conversation is {status}.", "", "Open it again to go on.")
    if last_seen is not None and last_seen != (conversation.leaf_id or ""):
        raise _make_moved_on_conflict()


def _cut_title(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59].rstrip() + "…"


def _make_moved_on_conflict() -> Conflict:
    return Conflict(
        "This conversation has gone on elsewhere.",
        "Somebody wrote in it since you looked, perhaps you in another tab. Your message was not sent.",
        "Read what is new, then send it again.",
    )


def _make_message_not_found() -> NotFound:
    return NotFound("There is no such message.", "It does not exist, or it belongs to another conversation.")

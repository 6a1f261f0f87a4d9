"""`/api/conversations`: begin, list, read, send (whole or as events), choose a branch, stop, end.

A key sees the conversations of its owner that belong to its app; one without an owner has none. An answer is a
background call: a client that leaves finds it when it comes back.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from lib.clock import utc_now
from lib.conversations.conversation import Conversation, Message, Status
from lib.conversations.conversations import ConversationQuery
from lib.conversations.strategy import ContextStrategy
from lib.conversations.talk import Sent
from lib.conversations.thread import Thread
from lib.errors import Conflict, InvalidInput
from lib.gateway.api.bodies import (
    AnswerBody,
    Body,
    Count,
    Moment,
    Name,
    Nothing,
    Object,
    ToolCallBody,
    Usd,
    Words,
    fill,
    format_usd,
)
from lib.gateway.api.native_protocol import describe_row
from lib.gateway.api.operation import Asking, DirectOperation, FollowedOperation, Operation
from lib.gateway.http import refusals
from lib.gateway.http.refusals import Refusal
from lib.providers import parameter_rules

_SHOWN = 100  # messages of a thread
_WAIT_S = 10


class ContextBody(Body):
    """What of a conversation is sent."""

    kind: Literal["all", "last", "budget", "summary"] | None = None
    last: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    tokens: Annotated[int, Meta(ge=1, le=10_000_000)] | None = None
    configuration_id: str | None = None
    collections: Annotated[list[str], Meta(max_length=8)] | None = None


class NewConversationBody(Body):
    """A conversation to begin."""

    configuration: Annotated[
        Name | None, Meta(description="A configuration's name; without one the app's default.")
    ] = None
    system: Annotated[str | None, Meta(description="Instead of the configuration's system prompt.")] = None
    ttl_s: Annotated[Annotated[int, Meta(ge=1)] | None, Meta(description="Seconds after the last message.")] = None
    context: Annotated[ContextBody | None, Meta(description="What is sent of it.")] = None
    title: str | None = None
    folder: str | None = None
    tags: list[str] | None = None


class ConversationsQuery(Body):
    """Which conversations."""

    status: Annotated[Literal["active", "ended", "expired"] | None, Meta(description="Only these.")] = None
    page: Annotated[Annotated[int, Meta(ge=1, le=100_000)], Meta(description="30 of them each.")] = 1
    folder: Annotated[Name | None, Meta(description="Only of this one.")] = None
    tag: Annotated[Name | None, Meta(description="Only of this one.")] = None
    archived: Annotated[Literal["true", "false"] | None, Meta(description="`true` for the archive.")] = None


class ConversationBody(Struct, kw_only=True):
    """A conversation without its messages."""

    id: str
    app: str
    title: str
    status: str
    folder: str
    tags: list[str]
    is_pinned: bool
    is_archived: bool
    ttl_s: int | None
    configuration_id: str | None
    leaf_id: str | None
    system: str | None
    context: Object
    created_at: Moment
    last_at: Moment
    expires_at: Moment | None
    ended_at: Moment | None


class ConversationsBody(Struct):
    """A page of conversations."""

    conversations: list[ConversationBody]
    has_more: bool


class SaidMessageBody(Struct, kw_only=True):
    """A message; `branches` are the ids of all that follow the same message."""

    id: str
    parent_id: str | None
    role: str
    content: str
    status: str
    error_message: str | None
    model: str
    call_id: str | None
    cost_usd: Usd | None
    cost_status: str
    prompt_tokens: Count | None
    completion_tokens: Count | None
    created_at: Moment
    branches: list[str]
    parts: list[Object]


class SpentBody(Struct, kw_only=True):
    """What a conversation took."""

    calls: Count
    prompt_tokens: Count | None
    completion_tokens: Count | None
    unpriced: Count
    cost_usd: Usd | None


class ThreadBody(ConversationBody):
    """A conversation with the last messages of the branch that is shown; `older` come before them."""

    older: Count
    messages: list[SaidMessageBody]
    usage: SpentBody


class NewMessageBody(Body):
    """A message to send, or an answer to get anew."""

    content: Annotated[Words | None, Meta(description="The message; or send regenerate.")] = None
    regenerate: Annotated[Words | None, Meta(description="The id of an answer, to get another one beside it.")] = None
    parent_id: Annotated[Name | None, Meta(description="The message it follows: a new branch. Else the last one.")] = (
        None
    )
    seen: Annotated[str | None, Meta(description="The last message that was read; 409 when more was said since.")] = (
        None
    )
    configuration: Name | None = None
    parameters: Object | None = None

    SCHEMA = {"oneOf": [{"required": ["content"]}, {"required": ["regenerate"]}]}

    def __post_init__(self) -> None:
        """InvalidInput when it is both or none."""
        super().__post_init__()
        if (self.content is None) == (self.regenerate is None):
            raise InvalidInput("The message is not clear.", "", "Send either content or regenerate.", field="content")


class ConversationAnswerBody(AnswerBody):
    """An answer and its place in the conversation."""

    conversation_id: str
    question_id: str | None
    message_id: str


class BranchChoiceBody(Body):
    """A message of the branch to show."""

    message_id: Words


def create(asking: Asking[Nothing, NewConversationBody]) -> ConversationBody:
    """Begin one; nothing is sent."""
    body = asking.body
    context = {
        name: setting for name in ContextBody.__struct_fields__ if (setting := getattr(body.context, name, None))
    }
    conversation = asking.services.conversations.create(
        asking.actor,
        configuration=body.configuration,
        title=body.title or "",
        system_prompt=body.system,
        ttl_s=body.ttl_s,
        folder=body.folder or "",
        tags=body.tags or [],
        strategy=ContextStrategy.from_record(context) if context else None,
    )
    return _describe_conversation(conversation)


def list_page(asking: Asking[ConversationsQuery, Nothing]) -> ConversationsBody:
    """A page of one's own, pinned first, then by the last message."""
    query = asking.query
    which = ConversationQuery(
        Status(query.status) if query.status else None, query.folder, query.tag, query.archived == "true"
    )
    conversations, has_more = asking.services.conversations.list(asking.actor, which, query.page)
    return ConversationsBody([_describe_conversation(conversation) for conversation in conversations], has_more)


def read_thread(asking: Asking[Nothing, Nothing]) -> ThreadBody:
    """The branch shown: its last messages."""
    return _describe_thread(asking.services.talk.read(asking.actor, asking.path["conversation_id"], _SHOWN))


def choose_branch(asking: Asking[Nothing, BranchChoiceBody]) -> ThreadBody:
    """Show the branch that a message is on."""
    conversation_id = asking.path["conversation_id"]
    asking.services.talk.choose(asking.actor, conversation_id, asking.body.message_id)
    return _describe_thread(asking.services.talk.read(asking.actor, conversation_id, _SHOWN))


def stop_answer(asking: Asking[Nothing, Nothing]) -> ThreadBody:
    """End the answer that is being written."""
    asking.services.talk.stop(asking.actor, asking.path["conversation_id"])
    return read_thread(asking)


def end(asking: Asking[Nothing, Nothing]) -> ConversationBody:
    """Nothing more is said in it."""
    return _describe_conversation(asking.services.conversations.end(asking.actor, asking.path["conversation_id"]))


def send(asking: Asking[Nothing, NewMessageBody]) -> Sent:
    """Send a message, or ask for another answer."""
    body = asking.body
    talk = asking.services.talk
    conversation_id = asking.path["conversation_id"]
    if body.regenerate is not None:
        return talk.regenerate(
            asking.actor, conversation_id, body.regenerate, last_seen=body.seen, configuration=body.configuration
        )
    return talk.send(
        asking.actor,
        conversation_id,
        body.content or "",
        parent_id=body.parent_id,
        last_seen=body.seen,
        configuration=body.configuration,
        parameters=parameter_rules.check(body.parameters or {}),
    )


def finish(asking: Asking[Nothing, NewMessageBody], sent: Sent) -> tuple[ConversationAnswerBody, Refusal | None]:
    """The answer with its row of the ledger, and why there is none where there is none."""
    services = asking.services
    actor = asking.actor
    conversation_id = asking.path["conversation_id"]
    message = services.talk.wait(actor, conversation_id, sent.answer_id, _WAIT_S)
    if message.running and (turn := services.talk.turn(actor, message)) is not None and turn.is_waiting:
        raise Conflict("The answer waits for a decision.", turn.reason, "Decide at /approvals; then read it here.")
    log = services.activity.detail(actor, sent.call_id).log
    answer = ConversationAnswerBody(
        **describe_row(log),
        conversation_id=conversation_id,
        question_id=sent.question_id,
        message_id=sent.answer_id,
        text=message.content,
        reasoning=next((str(part["text"]) for part in _select_parts(message, "reasoning")), None),
        tool_calls=[
            ToolCallBody(id=part["id"], name=part["name"], arguments=part["arguments"])
            for part in _select_parts(message, "tool_call")
        ],
    )
    return answer, refusals.refuse_row(log, services.calls.view(actor, sent.call_id).retry_after)


def _select_parts(message: Message, kind: str) -> list[Mapping[str, Any]]:
    return [part for part in message.parts if part["type"] == kind]


def _build_fields(conversation: Conversation) -> dict[str, Any]:
    return {
        "status": str(conversation.status(utc_now())),
        "system": conversation.system_prompt,
        "context": conversation.strategy.to_record(),
    }


def _describe_conversation(conversation: Conversation) -> ConversationBody:
    return fill(ConversationBody, conversation, **_build_fields(conversation))


def _describe_thread(thread: Thread) -> ThreadBody:
    spent = thread.figures
    return fill(
        ThreadBody,
        thread.conversation,
        **_build_fields(thread.conversation),
        older=thread.older,
        messages=[_describe_message(message) for message in thread.messages],
        usage=fill(SpentBody, spent, cost_usd=format_usd(spent.cost_nano_usd)),
    )


def _describe_message(message: Message) -> SaidMessageBody:
    cost = format_usd(message.cost_nano_usd)
    return fill(SaidMessageBody, message, cost_usd=cost, branches=list(message.siblings))


_ONE = "/api/conversations/{conversation_id}"
_EVENTS = "Events `chunk` {content, reasoning?, tokens}; then `done` (a ConversationAnswer) or `error`."
_ASK = "Ask, with all that was said before"
_STREAM = f"Ask and read as the model answers. {_EVENTS}"
OPERATIONS: dict[str, dict[str, Operation]] = {
    "/api/conversations": {
        "GET": DirectOperation("listConversations", "Conversations, pinned first, then the newest", list_page),
        "POST": DirectOperation("createConversation", "Begin a conversation", create, status=201),
    },
    _ONE: {"GET": DirectOperation("readConversation", "One with the last 100 messages of its branch", read_thread)},
    f"{_ONE}/messages": {"POST": FollowedOperation("sendMessage", _ASK, send, finish, status=201)},
    f"{_ONE}/stream": {"POST": FollowedOperation("streamMessage", _STREAM, send, finish, streams=True)},
    f"{_ONE}/branch": {"POST": DirectOperation("chooseBranch", "Show the branch of a message", choose_branch)},
    f"{_ONE}/stop": {"POST": DirectOperation("stopAnswer", "Stop the answer that is written", stop_answer)},
    f"{_ONE}/end": {"POST": DirectOperation("endConversation", "End a conversation", end)},
}

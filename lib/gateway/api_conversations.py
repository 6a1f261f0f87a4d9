"""`/api/conversations`: begin, list, read, send (whole or as events), choose a branch, stop, end.

A key sees the conversations of its owner that belong to its app; one without an owner has none. An answer is a
background call: a client that leaves finds it when it comes back.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from lib import services as service_root
from lib.access.grants import Endpoint
from lib.access.permissions import Actor
from lib.clock import utc_now
from lib.conversations.conversation import Conversation, Message, Status
from lib.conversations.conversations import Asked
from lib.conversations.strategy import Strategy
from lib.conversations.talk import Sent
from lib.conversations.thread import Thread
from lib.errors import InvalidInput
from lib.gateway import refusals
from lib.gateway.api_reads import Asking, Resource, moment, usd
from lib.gateway.completions import caller
from lib.gateway.exchange import Exchange, Refused
from lib.gateway.following import EVENTS, follow
from lib.gateway.protocols.asked import event, object_field, read_json, text_field
from lib.gateway.protocols.native import name_field, outcome
from lib.gateway.refusals import Refusal
from lib.providers import parameter_rules
from lib.services import Services

_SHOWN, _MOST_PAGES = 100, 100_000


def create(asking: Asking) -> Any:
    """Begin one; nothing is sent."""
    body = asking.body
    context = object_field(body, "context")
    made = asking.services.conversations.create(
        asking.actor,
        configuration=name_field(body, "configuration"),
        title=_text(body, "title") or "",
        system_prompt=_text(body, "system"),
        ttl_s=body.get("ttl_s"),
        folder=_text(body, "folder") or "",
        tags=_texts(body, "tags"),
        strategy=Strategy.from_record(context) if context else None,
    )
    return _conversation(made)


def listed(asking: Asking) -> Any:
    """A page of one's own, pinned first, then by the last message."""
    status = asking.text("status")
    if status is not None and status not in list(Status):
        raise InvalidInput("There is no such status.", "", f"Use one of {', '.join(Status)}.", field="status")
    page = asking.text("page") or "1"
    if not (page.isascii() and page.isdecimal() and len(page) < 7 and 0 < int(page) <= _MOST_PAGES):
        raise InvalidInput("page can't be used.", "It is a whole number from 1.", "Correct page.", field="page")
    asked = Asked(
        Status(status) if status else None,
        asking.text("folder"),
        asking.text("tag"),
        asking.text("archived") == "true",
    )
    found, more = asking.services.conversations.list(asking.actor, asked, int(page))
    return {"conversations": [_conversation(one) for one in found], "has_more": more}


def read(asking: Asking) -> Any:
    """The branch shown: its last messages."""
    return _thread(asking.services.talk.read(asking.actor, asking.path["conversation_id"], _SHOWN))


def branch(asking: Asking) -> Any:
    """Show the branch that a message is on."""
    conversation_id = asking.path["conversation_id"]
    asking.services.talk.choose(asking.actor, conversation_id, text_field(asking.body, "message_id"))
    return read(asking)


def stop(asking: Asking) -> Any:
    """End the answer that is being written."""
    asking.services.talk.stop(asking.actor, asking.path["conversation_id"])
    return read(asking)


def end(asking: Asking) -> Any:
    """Nothing more is said in it."""
    return _conversation(asking.services.conversations.end(asking.actor, asking.path["conversation_id"]))


@dataclass(frozen=True)
class Say:
    """Send a message; the answer whole, or as events while it grows."""

    streams: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        exchange, services = Exchange(scope, receive, send), service_root.current()
        actor = (await caller(exchange, services, Endpoint.API)).coming_from(exchange.place)
        body = read_json(await exchange.body())
        conversation_id = scope["path_params"]["conversation_id"]
        sent = await asyncio.to_thread(_send, services, actor, conversation_id, body)
        if self.streams:
            await exchange.begin(200, EVENTS, "text/event-stream; charset=utf-8")
        await follow(exchange, services, actor, sent.call_id, streams=self.streams)
        told, refusal = await asyncio.to_thread(_ended, services, actor, conversation_id, sent)
        if self.streams:
            last = event(told, "done")
            if refusal is not None:
                last = event({"message": refusal.message, "code": refusal.code}, "error")
            await exchange.end(last)
        elif refusal is not None:
            raise Refused(refusal)
        else:
            await exchange.answer_json(201, told, {"cache-control": "no-store"})


def _send(services: Services, actor: Actor, conversation_id: str, body: dict[str, Any]) -> Sent:
    given = [body.get("content"), body.get("regenerate")]
    if sum(one is not None for one in given) != 1:
        raise InvalidInput("The message is not clear.", "", "Send either content or regenerate.", field="content")
    seen, configuration = _text(body, "seen"), name_field(body, "configuration")
    if given[1] is not None:
        message_id = text_field(body, "regenerate")
        return services.talk.regenerate(actor, conversation_id, message_id, seen=seen, configuration=configuration)
    return services.talk.send(
        actor,
        conversation_id,
        text_field(body, "content"),
        parent_id=name_field(body, "parent_id"),
        seen=seen,
        configuration=configuration,
        parameters=parameter_rules.check(object_field(body, "parameters")),
    )


def _ended(services: Services, actor: Actor, conversation_id: str, sent: Sent) -> tuple[dict[str, Any], Refusal | None]:
    """The answer with its row of the ledger, and why there is none where there is none."""
    message = services.talk.wait(actor, conversation_id, sent.answer_id, 10)
    log = services.activity.detail(actor, sent.call_id).log
    same = {"conversation_id": conversation_id, "question_id": sent.question_id, "message_id": sent.answer_id}
    tools = [{name: part[name] for name in ("id", "name", "arguments")} for part in _parts(message, "tool_call")]
    reasoning = next((str(part["text"]) for part in _parts(message, "reasoning")), None)
    said = {"text": message.content, "reasoning": reasoning, "tool_calls": tools}
    return {**outcome(log), **same, **said}, refusals.of_row(log, services.calls.view(actor, sent.call_id).retry_after)


def _parts(message: Message, kind: str) -> list[Mapping[str, Any]]:
    return [part for part in message.parts if part["type"] == kind]


def _conversation(one: Conversation) -> dict[str, Any]:
    same = ("id", "title", "app", "folder", "is_pinned", "is_archived", "ttl_s", "configuration_id", "leaf_id")
    return {
        **{name: getattr(one, name) for name in same},
        "status": str(one.status(utc_now())),
        "tags": list(one.tags),
        "system": one.system_prompt,
        "context": one.strategy.to_record(),
        **{name: moment(getattr(one, name)) for name in ("created_at", "last_at", "expires_at", "ended_at")},
    }


def _thread(thread: Thread) -> dict[str, Any]:
    spent = thread.figures
    return {
        **_conversation(thread.conversation),
        "older": thread.older,
        "messages": [_message(message) for message in thread.messages],
        "usage": {
            **{name: getattr(spent, name) for name in ("calls", "prompt_tokens", "completion_tokens", "unpriced")},
            "cost_usd": usd(spent.cost_nano_usd),
        },
    }


def _message(one: Message) -> dict[str, Any]:
    same = ("id", "parent_id", "role", "content", "status", "error_message", "model", "call_id", "cost_status")
    return {
        **{name: getattr(one, name) for name in (*same, "prompt_tokens", "completion_tokens")},
        "cost_usd": usd(one.cost_nano_usd),
        "created_at": moment(one.created_at),
        "branches": list(one.siblings),
        "parts": [dict(part) for part in one.parts],
    }


def _text(body: Mapping[str, Any], name: str) -> str | None:
    """A text that may be missing."""
    value = body.get(name)
    if value is None or isinstance(value, str):
        return value
    raise InvalidInput(f"{name} must be a text.", "", f"Correct {name}.", field=name)


def _texts(body: Mapping[str, Any], name: str) -> list[str]:
    value = body.get(name)
    if value is None or (isinstance(value, list) and all(isinstance(one, str) for one in value)):
        return value or []
    raise InvalidInput(f"{name} must be a list of texts.", "", f"Correct {name}.", field=name)


_ONE = "/api/conversations/{conversation_id}"
routes: list[BaseRoute] = [
    Route("/api/conversations", Resource(listed, create), methods=["GET", "POST"]),
    Route(_ONE, Resource(read), methods=["GET"]),
    Route(f"{_ONE}/messages", Say(streams=False), methods=["POST"]),
    Route(f"{_ONE}/stream", Say(streams=True), methods=["POST"]),
    Route(f"{_ONE}/branch", Resource(read, branch, 200), methods=["POST"]),
    Route(f"{_ONE}/stop", Resource(read, stop, 200), methods=["POST"]),
    Route(f"{_ONE}/end", Resource(read, end, 200), methods=["POST"]),
]

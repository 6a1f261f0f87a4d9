"""`/api/collections` and `/api/documents`: the knowledge base for programs.

A key sees what its owner sees. An answer is a background call like those of a conversation, whole or as events.
"""

import asyncio
import base64
import binascii
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from lib import services as service_root
from lib.access.grants import Endpoint
from lib.access.permissions import Actor
from lib.errors import InvalidInput
from lib.gateway import refusals
from lib.gateway.api_reads import Asking, Resource, moment
from lib.gateway.completions import caller
from lib.gateway.exchange import Exchange, Refused
from lib.gateway.following import EVENTS, follow
from lib.gateway.protocols.asked import event, read_json, text_field
from lib.gateway.protocols.native import name_field, outcome
from lib.gateway.refusals import Refusal
from lib.services import Services

_MOST_TURNS = 50


def listed(asking: Asking) -> Any:
    """What the key's owner may read."""
    return {"collections": [_collection(one) for one in asking.services.collections.list(asking.actor)]}


def create(asking: Asking) -> Any:
    """Make a collection."""
    from lib.knowledge.chunking import Chunking

    body = asking.body
    more: dict[str, Any] = {"embedding_model": model} if (model := name_field(body, "embedding_model")) else {}
    chunking = body.get("chunking")
    if chunking is not None and not _has(chunking, {"strategy": str, "size": int, "overlap": int}):
        raise InvalidInput("chunking can't be used.", "", "Give strategy, size and overlap.", field="chunking")
    made = asking.services.collections.create(
        asking.actor,
        text_field(body, "name"),
        description=_text(body, "description"),
        is_shared=_truth(body, "is_shared", False),
        chunking=Chunking(**chunking) if chunking else None,
        **more,
    )
    return _collection(made)


def read(asking: Asking) -> Any:
    """One collection."""
    return _collection(asking.services.collections.get(asking.actor, asking.path["collection_id"]))


def documents(asking: Asking) -> Any:
    """A collection's documents with their states."""
    collection = asking.services.collections.get(asking.actor, asking.path["collection_id"])
    return {"documents": [_document(one) for one in asking.services.documents.list(asking.actor, collection.id)]}


def add(asking: Asking) -> Any:
    """Take a text, a file (base64) or an address in; it is queued when this returns."""
    from lib.knowledge.documents import KINDS, About

    body, service = asking.body, asking.services.documents
    collection = asking.services.collections.get(asking.actor, asking.path["collection_id"])
    given = [name for name in ("text", "base64", "url") if body.get(name) is not None]
    if len(given) != 1:
        raise InvalidInput("The document is not clear.", "", "Send one of text, base64 and url.", field="text")
    title, kind = name_field(body, "title") or "", name_field(body, "kind") or KINDS[0]
    about = About(title=title, kind=kind, tags=tuple(_texts(body, "tags")))
    if given == ["url"]:
        return _document(service.add_url(asking.actor, collection.id, text_field(body, "url"), about))
    if given == ["text"]:
        return _document(service.add_text(asking.actor, collection.id, title, text_field(body, "text"), about))
    try:
        data = base64.b64decode(text_field(body, "base64"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("base64 can't be read.", "", "Encode the file's bytes.", field="base64") from error
    name = name_field(body, "file_name") or title
    if not name:
        raise InvalidInput("file_name is missing.", "", "Add the file's name.", field="file_name")
    return _document(service.add(asking.actor, collection.id, name, data, about)[0])


def document(asking: Asking) -> Any:
    """One document."""
    return _document(asking.services.documents.get(asking.actor, asking.path["document_id"]))


def delete_document(asking: Asking) -> Any:
    """Remove one document."""
    asking.services.documents.delete(asking.actor, asking.path["document_id"])
    return {"deleted": asking.path["document_id"]}


def search(asking: Asking) -> Any:
    """Passages for a question."""
    collection = asking.services.collections.get(asking.actor, asking.path["collection_id"])
    settings, only = _asked(asking.body, collection.search)
    question = text_field(asking.body, "question")
    found = asking.services.passages.search(asking.actor, collection.id, question, settings, only)
    told = {"mode": found.settings.mode.value, "language": found.language, "passages": found.passages}
    return {"hits": [asdict(hit) for hit in found.hits], **told}


@dataclass(frozen=True)
class Answer:
    """Answer a question from a collection; whole, or as events while it grows."""

    streams: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        exchange, services = Exchange(scope, receive, send), service_root.current()
        actor = (await caller(exchange, services, Endpoint.API)).coming_from(exchange.place)
        body = read_json(await exchange.body())
        asked = await asyncio.to_thread(_ask, services, actor, scope["path_params"]["collection_id"], body)
        if self.streams:
            await exchange.begin(200, EVENTS, "text/event-stream; charset=utf-8")
        if asked.call_id is not None:
            await follow(exchange, services, actor, asked.call_id, streams=self.streams)
        told, refusal = await asyncio.to_thread(_ended, services, actor, asked)
        if self.streams:
            last = event(told, "done")
            if refusal is not None:
                last = event({"message": refusal.message, "code": refusal.code}, "error")
            await exchange.end(last)
        elif refusal is not None:
            raise Refused(refusal)
        else:
            await exchange.answer_json(200, told, {"cache-control": "no-store"})


def _ask(services: Services, actor: Actor, collection_id: str, body: dict[str, Any]) -> Any:
    collection = services.collections.get(actor, collection_id)
    settings, only = _asked(body, collection.search)
    history = body.get("history") or []
    is_list = isinstance(history, list) and len(history) <= _MOST_TURNS
    if not is_list or not all(_has(turn, {"role": str, "content": str}) for turn in history):
        raise InvalidInput("history can't be used.", "", "Give role and content of each turn.", field="history")
    return services.answers.ask(
        actor,
        [collection.id],
        text_field(body, "question"),
        configuration=name_field(body, "configuration"),
        history=history,
        settings=settings,
        only=only,
    )


def _ended(services: Services, actor: Actor, asked: Any) -> tuple[dict[str, Any], Refusal | None]:
    """The answer, checked, with its sources and its row of the ledger."""
    from lib.knowledge.answers import NOT_IN_SOURCES, check

    text, refusal, log = NOT_IN_SOURCES, None, None
    if asked.call_id is not None:
        view = services.calls.wait(actor, asked.call_id, 10)
        text = view.text
        log = services.activity.detail(actor, asked.call_id).log
        refusal = refusals.of_row(log, view.retry_after)
    checked = check(text, [hit.text for hit in asked.sources])
    sources = [{"n": n, **asdict(hit)} for n, hit in enumerate(asked.sources, start=1)]
    told = {"answer": checked.text, "cited": list(checked.cited), "removed_citations": checked.removed}
    told |= {"in_sources": checked.is_in_sources, "searched_as": asked.question, "sources": sources}
    return (told | {"call": outcome(log) if log else None}), refusal


def _asked(body: Mapping[str, Any], usual: Any) -> tuple[Any, Any]:
    """How to search and among what."""
    from lib.knowledge.search import Only
    from lib.knowledge.settings import SearchSettings

    k = body.get("k", usual.k)
    if not isinstance(k, int) or isinstance(k, bool):
        raise InvalidInput("k can't be used.", "It is a whole number.", "Correct k.", field="k")
    mode: Any = name_field(body, "mode") or usual.mode
    settings = SearchSettings(mode, k, _truth(body, "rerank", usual.rerank), usual.reranker)
    lists: dict[str, Any] = {name: tuple(_texts(body, name)) for name in ("documents", "kinds", "tags")}
    return settings, Only(**lists)


def _collection(one: Any) -> dict[str, Any]:
    same = ("id", "name", "description", "is_shared", "embedding_model", "documents", "ready", "failed")
    return {
        **{name: getattr(one, name) for name in same},
        "chunking": asdict(one.chunking),
        "search": asdict(one.search),
        "created_at": moment(one.created_at),
    }


def _document(one: Any) -> dict[str, Any]:
    progress = ("state", "error", "note", "chunks_total", "chunks_done", "version")
    same = ("id", "collection_id", "title", "kind", "source", "source_name", "media_type", "size", "language")
    return {
        **{name: getattr(one, name) for name in (*same, *progress)},
        "serving_version": one.serving_version,
        "tags": list(one.tags),
        "updated_at": moment(one.updated_at),
    }


def _has(value: Any, kinds: Mapping[str, type]) -> bool:
    """Whether it is an object whose known names have these types and that has no others."""
    return isinstance(value, dict) and all(
        name in kinds and isinstance(one, kinds[name]) and not isinstance(one, bool) for name, one in value.items()
    )


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if value is None or isinstance(value, str):
        return value or ""
    raise InvalidInput(f"{name} must be a text.", "", f"Correct {name}.", field=name)


def _texts(body: Mapping[str, Any], name: str) -> list[str]:
    value = body.get(name)
    is_list = isinstance(value, list) and len(value) <= 100
    if value is None or (is_list and all(isinstance(one, str) and one.isprintable() for one in value)):
        return value or []
    raise InvalidInput(f"{name} must be a list of texts.", "", f"Correct {name}.", field=name)


def _truth(body: Mapping[str, Any], name: str, usual: bool) -> bool:
    value = body.get(name, usual)
    if isinstance(value, bool):
        return value
    raise InvalidInput(f"{name} must be true or false.", "", f"Correct {name}.", field=name)


_ONE = "/api/collections/{collection_id}"
routes: list[BaseRoute] = [
    Route("/api/collections", Resource(listed, create), methods=["GET", "POST"]),
    Route(_ONE, Resource(read), methods=["GET"]),
    Route(f"{_ONE}/documents", Resource(documents, add), methods=["GET", "POST"]),
    Route(f"{_ONE}/search", Resource(read, search, 200), methods=["POST"]),
    Route(f"{_ONE}/answer", Answer(streams=False), methods=["POST"]),
    Route(f"{_ONE}/answer/stream", Answer(streams=True), methods=["POST"]),
    Route("/api/documents/{document_id}", Resource(document), methods=["GET"]),
    Route("/api/documents/{document_id}/delete", Resource(document, delete_document, 200), methods=["POST"]),
]

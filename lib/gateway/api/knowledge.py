"""`/api/collections` and `/api/documents`: the knowledge base for programs.

A key sees what its owner sees. An answer is a background call like those of a conversation, whole or as events.
"""

import base64
import binascii
from dataclasses import asdict
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from lib.errors import InvalidInput
from lib.gateway.api.bodies import Body, Count, Moment, Name, Nothing, Object, Words, fill
from lib.gateway.api.native_protocol import describe_row
from lib.gateway.api.operation import Asking, DirectOperation, FollowedOperation, Operation
from lib.gateway.http import refusals
from lib.gateway.http.refusals import Refusal

Kind = Literal["manual", "faq", "api_doc", "code"]
Names = Annotated[list[Name], Meta(max_length=100)]
Query = Annotated[str, Meta(pattern=r"\S", max_length=4000)]
_WAIT_S = 10


class ChunkingBody(Body, forbid_unknown_fields=True):
    """How documents are cut."""

    strategy: Literal["recursive", "fixed", "heading", "semantic"] | UnsetType = UNSET
    size: Count | UnsetType = UNSET
    overlap: Count | UnsetType = UNSET


class NewCollectionBody(Body):
    """A collection to make."""

    name: Annotated[str, Meta(pattern=r"\S", max_length=120)]
    description: str | None = None
    is_shared: bool = False
    embedding_model: Annotated[Name | None, Meta(description="`provider/model`; without one the bundled model.")] = None
    chunking: ChunkingBody | None = None


class CollectionBody(Struct, kw_only=True):
    """A collection, and how many of its documents are ready or failed."""

    id: str
    name: str
    description: str
    is_shared: bool
    embedding_model: str
    documents: Count
    ready: Count
    failed: Count
    chunking: Object
    search: Object
    created_at: Moment


class CollectionsBody(Struct):
    """Collections."""

    collections: list[CollectionBody]


class NewDocumentBody(Body):
    """A document to take in."""

    title: Name | None = None
    text: Annotated[Words | None, Meta(description="One of text, base64 and url.")] = None
    base64: Annotated[Words | None, Meta(description="A file's bytes; with `file_name`.")] = None
    url: Words | None = None
    file_name: Name | None = None
    kind: Kind | None = None
    tags: Names | None = None

    def __post_init__(self) -> None:
        """InvalidInput unless it is one document."""
        super().__post_init__()
        if sum(form is not None for form in (self.text, self.base64, self.url)) != 1:
            raise InvalidInput("The document is not clear.", "", "Send one of text, base64 and url.", field="text")
        if self.base64 is not None and not (self.file_name or self.title):
            raise InvalidInput("file_name is missing.", "", "Add the file's name.", field="file_name")


class DocumentBody(Struct, kw_only=True):
    """A document and how far it is."""

    id: str
    collection_id: str
    title: str
    kind: str
    tags: list[str]
    source: str
    source_name: str
    media_type: str
    size: Count
    language: str
    state: Literal["queued", "parsing", "embedding", "ready", "partial", "failed"]
    error: str | None
    note: str | None
    chunks_total: Count
    chunks_done: Count
    version: Count
    serving_version: Count | None
    updated_at: Moment


class DocumentsBody(Struct):
    """Documents."""

    documents: list[DocumentBody]


class DeletedBody(Struct):
    """What is gone."""

    deleted: str


class KnowledgeQuestionBody(Body):
    """A question, how to search, and among what."""

    question: Query
    mode: Annotated[
        Literal["hybrid", "vector", "keyword"] | None, Meta(description="Without one, the collection's.")
    ] = None
    k: Annotated[int, Meta(ge=1, le=100)] | UnsetType = UNSET
    rerank: bool | UnsetType = UNSET
    documents: Names | None = None
    kinds: Annotated[list[Kind], Meta(max_length=100)] | None = None
    tags: Names | None = None


class PassageBody(Struct, kw_only=True):
    """A passage that was found, with its neighbours."""

    chunk_id: Count
    collection_id: str
    document_id: str
    title: str
    ordinal: Count
    heading: str
    page_first: Count | None
    page_last: Count | None
    start: Count
    end: Count
    text: str
    score: float
    vector_score: float | None
    vector_rank: Count | None
    keyword_score: float | None
    keyword_rank: Count | None
    before: str
    after: str
    relevance: float | None


class PassagesBody(Struct, kw_only=True):
    """Passages, the best first, and among how many."""

    hits: list[PassageBody]
    mode: str
    language: str
    passages: Count


class TurnBody(Body, forbid_unknown_fields=True):
    """What was said before."""

    role: str
    content: str


class KnowledgeAskedBody(KnowledgeQuestionBody):
    """A question to answer."""

    configuration: Annotated[Name | None, Meta(description="Whose model answers; without one the app's default.")] = (
        None
    )
    history: Annotated[list[TurnBody], Meta(max_length=50)] | None = None


class SourceBody(PassageBody):
    """A passage and the number that it is cited by."""

    n: Count


class KnowledgeAnswerBody(Struct, kw_only=True):
    """An answer, checked, with its sources; `call` as the ledger has it, null where no model was asked."""

    answer: str
    cited: list[Count]
    removed_citations: Count
    in_sources: bool
    searched_as: str
    sources: list[SourceBody]
    call: Object | None


def list_collections(asking: Asking[Nothing, Nothing]) -> CollectionsBody:
    """The collections that the key's owner may read."""
    return CollectionsBody(
        [_describe_collection(collection) for collection in asking.services.knowledge.collections.list(asking.actor)]
    )


def create(asking: Asking[Nothing, NewCollectionBody]) -> CollectionBody:
    """Make a collection."""
    from lib.knowledge.documents.chunking import Chunking

    body = asking.body
    model: dict[str, Any] = {"embedding_model": body.embedding_model} if body.embedding_model else {}
    collection = asking.services.knowledge.collections.create(
        asking.actor,
        body.name,
        description=body.description or "",
        is_shared=body.is_shared,
        chunking=Chunking(**_select_sent_fields(body.chunking)) if body.chunking is not None else None,
        **model,
    )
    return _describe_collection(collection)


def read_collection(asking: Asking[Nothing, Nothing]) -> CollectionBody:
    """The collection that the address names."""
    return _describe_collection(asking.services.knowledge.collections.get(asking.actor, asking.path["collection_id"]))


def list_documents(asking: Asking[Nothing, Nothing]) -> DocumentsBody:
    """A collection's documents with their states."""
    collection = asking.services.knowledge.collections.get(asking.actor, asking.path["collection_id"])
    documents = asking.services.knowledge.documents.list(asking.actor, collection.id)
    return DocumentsBody([fill(DocumentBody, document) for document in documents])


def add_document(asking: Asking[Nothing, NewDocumentBody]) -> DocumentBody:
    """Take a text, a file (base64) or an address in; it is queued when this returns."""
    from lib.knowledge.documents.document_service import KINDS, About

    body = asking.body
    service = asking.services.knowledge.documents
    actor = asking.actor
    collection = asking.services.knowledge.collections.get(actor, asking.path["collection_id"])
    title = body.title or ""
    about = About(title=title, kind=body.kind or KINDS[0], tags=tuple(body.tags or ()))
    if body.url is not None:
        return fill(DocumentBody, service.add_url(actor, collection.id, body.url, about))
    if body.text is not None:
        return fill(DocumentBody, service.add_text(actor, collection.id, title, body.text, about))
    try:
        data = base64.b64decode(body.base64 or "", validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("base64 can't be read.", "", "Encode the file's bytes.", field="base64") from error
    return fill(DocumentBody, service.add(actor, collection.id, body.file_name or title, data, about)[0])


def read_document(asking: Asking[Nothing, Nothing]) -> DocumentBody:
    """The document that the address names."""
    return fill(DocumentBody, asking.services.knowledge.documents.get(asking.actor, asking.path["document_id"]))


def delete_document(asking: Asking[Nothing, Nothing]) -> DeletedBody:
    """Remove one document."""
    asking.services.knowledge.documents.delete(asking.actor, asking.path["document_id"])
    return DeletedBody(asking.path["document_id"])


def search(asking: Asking[Nothing, KnowledgeQuestionBody]) -> PassagesBody:
    """Passages for a question."""
    collection = asking.services.knowledge.collections.get(asking.actor, asking.path["collection_id"])
    settings, only = _read_scope(asking.body, collection.search)
    search = asking.services.knowledge.passages.search(
        asking.actor, collection.id, asking.body.question, settings, only
    )
    passages = [fill(PassageBody, hit) for hit in search.hits]
    mode = search.settings.mode.value
    return PassagesBody(hits=passages, mode=mode, language=search.language, passages=search.passages)


def ask(asking: Asking[Nothing, KnowledgeAskedBody]) -> Any:
    """Begin an answer from a collection."""
    body = asking.body
    collection = asking.services.knowledge.collections.get(asking.actor, asking.path["collection_id"])
    settings, only = _read_scope(body, collection.search)
    return asking.services.knowledge.answers.ask(
        asking.actor,
        [collection.id],
        body.question,
        configuration=body.configuration,
        history=[{"role": turn.role, "content": turn.content} for turn in body.history or ()],
        settings=settings,
        only=only,
    )


def finish(asking: Asking[Nothing, KnowledgeAskedBody], begun: Any) -> tuple[KnowledgeAnswerBody, Refusal | None]:
    """The answer, checked, with its sources and its row of the ledger."""
    from lib.knowledge.answers import NOT_IN_SOURCES, check

    text = NOT_IN_SOURCES
    refusal = None
    log = None
    if begun.call_id is not None:
        view = asking.services.calls.wait(asking.actor, begun.call_id, _WAIT_S)
        text = view.text
        log = asking.services.activity.detail(asking.actor, begun.call_id).log
        refusal = refusals.refuse_row(log, view.retry_after)
    checked = check(text, [hit.text for hit in begun.sources])
    answer = KnowledgeAnswerBody(
        answer=checked.text,
        cited=list(checked.cited),
        removed_citations=checked.removed,
        in_sources=checked.is_in_sources,
        searched_as=begun.question,
        sources=[fill(SourceBody, hit, n=n) for n, hit in enumerate(begun.sources, start=1)],
        call=describe_row(log) if log else None,
    )
    return answer, refusal


def _read_scope(body: KnowledgeQuestionBody, usual: Any) -> tuple[Any, Any]:
    """How to search and among what."""
    from lib.knowledge.search import DocumentFilter
    from lib.knowledge.settings import SearchSettings

    k = usual.k if body.k is UNSET else body.k
    rerank = usual.rerank if body.rerank is UNSET else body.rerank
    only: dict[str, Any] = {name: tuple(getattr(body, name) or ()) for name in ("documents", "kinds", "tags")}
    mode: Any = body.mode or usual.mode
    return SearchSettings(mode, k, rerank, usual.reranker), DocumentFilter(**only)


def _select_sent_fields(body: Struct) -> dict[str, Any]:
    """The fields that were sent."""
    return {name: value for name in body.__struct_fields__ if (value := getattr(body, name)) is not UNSET}


def _describe_collection(collection: Any) -> CollectionBody:
    cut = asdict(collection.chunking)
    search = asdict(collection.search)
    return fill(CollectionBody, collection, chunking=cut, search=search)


_ONE = "/api/collections/{collection_id}"
_DOCUMENT = "/api/documents/{document_id}"
_EVENTS = "Events `chunk` {content, reasoning?, tokens}; then `done` (a KnowledgeAnswer) or `error`."
_ANSWER = "Answer from passages, with citations"
_STREAM = f"The same as the model writes. {_EVENTS}"
OPERATIONS: dict[str, dict[str, Operation]] = {
    "/api/collections": {
        "GET": DirectOperation("listCollections", "Collections that the key's owner may read", list_collections),
        "POST": DirectOperation("createCollection", "Make a collection", create, status=201),
    },
    _ONE: {"GET": DirectOperation("readCollection", "One collection", read_collection)},
    f"{_ONE}/documents": {
        "GET": DirectOperation("listDocuments", "Its documents and how far they are", list_documents),
        "POST": DirectOperation("addDocument", "Take a document in", add_document, status=201),
    },
    f"{_ONE}/search": {"POST": DirectOperation("searchPassages", "Find passages", search)},
    f"{_ONE}/answer": {"POST": FollowedOperation("answerQuestion", _ANSWER, ask, finish)},
    f"{_ONE}/answer/stream": {"POST": FollowedOperation("streamAnswer", _STREAM, ask, finish, streams=True)},
    _DOCUMENT: {"GET": DirectOperation("readDocument", "One document", read_document)},
    f"{_DOCUMENT}/delete": {"POST": DirectOperation("deleteDocument", "Remove a document", delete_document)},
}

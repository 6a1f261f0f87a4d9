"""The knowledge base in the OpenAPI document."""

from typing import Any

from lib.gateway.openapi_operations import call, path, post, read
from lib.gateway.openapi_schemas import (
    COUNT,
    MOMENT,
    NAME,
    NUMBER,
    OBJECT,
    SAID,
    TEXT,
    TRUTH,
    Schema,
    array,
    maybe,
    one_of,
    ref,
    shape,
)

_MODES, _KINDS = ("hybrid", "vector", "keyword"), ("manual", "faq", "api_doc", "code")
_CHUNKING = shape({}, strategy=one_of("recursive", "fixed", "heading", "semantic"), size=COUNT, overlap=COUNT)
_HOW: dict[str, Schema] = {
    "mode": {**one_of(*_MODES), "description": "Without one, the collection's."},
    "k": {"type": "integer", "minimum": 1, "maximum": 100},
    "rerank": TRUTH,
    "documents": array(NAME, maxItems=100),
    "kinds": array(one_of(*_KINDS), maxItems=100),
    "tags": array(NAME, maxItems=100),
}
_HIT = {
    **{"chunk_id": COUNT, "collection_id": TEXT, "document_id": TEXT, "title": TEXT, "ordinal": COUNT},
    **{"heading": TEXT, "page_first": maybe(COUNT), "page_last": maybe(COUNT), "start": COUNT, "end": COUNT},
    **{"text": TEXT, "score": NUMBER, "vector_score": maybe(NUMBER), "vector_rank": maybe(COUNT)},
    **{"keyword_score": maybe(NUMBER), "keyword_rank": maybe(COUNT), "before": TEXT, "after": TEXT},
}
_DOCUMENT = shape(
    {"id": TEXT, "collection_id": TEXT, "title": TEXT, "kind": TEXT, "tags": array(TEXT), "source": TEXT}
    | {"source_name": TEXT, "media_type": TEXT, "size": COUNT, "language": TEXT, "updated_at": MOMENT}
    | {
        "state": one_of("queued", "parsing", "embedding", "ready", "partial", "failed"),
        "error": maybe(TEXT),
        "note": maybe(TEXT),
    }
    | {"chunks_total": COUNT, "chunks_done": COUNT, "version": COUNT, "serving_version": maybe(COUNT)}
)
SCHEMAS: dict[str, Schema] = {
    "Collection": shape(
        {"id": TEXT, "name": TEXT, "description": TEXT, "is_shared": TRUTH, "embedding_model": TEXT}
        | {"documents": COUNT, "ready": COUNT, "failed": COUNT, "chunking": OBJECT, "search": OBJECT}
        | {"created_at": MOMENT}
    ),
    "Collections": shape({"collections": array(ref("Collection"))}),
    "NewCollection": shape(
        {"name": {**SAID, "maxLength": 120}},
        description=TEXT,
        is_shared=TRUTH,
        embedding_model={**NAME, "description": "`provider/model`; without one the bundled model."},
        chunking=_CHUNKING,
    ),
    "Document": _DOCUMENT,
    "Documents": shape({"documents": array(ref("Document"))}),
    "NewDocument": shape(
        {},
        title=NAME,
        text={**SAID, "description": "One of text, base64 and url."},
        base64={**SAID, "description": "A file's bytes; with `file_name`."},
        url=SAID,
        file_name=NAME,
        kind=one_of(*_KINDS),
        tags=array(NAME, maxItems=100),
    ),
    "Deleted": shape({"deleted": TEXT}),
    "KnowledgeQuestion": shape({"question": {**SAID, "maxLength": 4000}}, **_HOW),
    "Passages": shape({"hits": array(shape(_HIT)), "mode": TEXT, "language": TEXT, "passages": COUNT}),
    "KnowledgeAsked": shape(
        {"question": {**SAID, "maxLength": 4000}},
        configuration={**NAME, "description": "Whose model answers; without one the app's default."},
        history=array(shape({"role": TEXT, "content": TEXT}), maxItems=50),
        **_HOW,
    ),
    "KnowledgeAnswer": shape(
        {"answer": TEXT, "cited": array(COUNT), "removed_citations": COUNT, "in_sources": TRUTH, "searched_as": TEXT}
        | {"sources": array(shape({"n": COUNT, **_HIT})), "call": maybe(OBJECT)}
    ),
}


def paths() -> dict[str, Any]:
    """The addresses."""
    one, document = [path("collection_id", "A collection's id or name.")], [path("document_id", "A document's id.")]
    root = "/api/collections/{collection_id}"
    answered = call("answerQuestion", "Answer from passages, with citations", "KnowledgeAsked", "KnowledgeAnswer")
    events = "Events `chunk` {content, reasoning?, tokens}; then `done` (a KnowledgeAnswer) or `error`."
    streamed = call("streamAnswer", f"The same as the model writes. {events}", "KnowledgeAsked", None)
    for operation in (answered, streamed):
        operation["parameters"] = one
    return {
        "/api/collections": {
            "get": read("listCollections", "Collections that the key's owner may read", "Collections", []),
            "post": post("createCollection", "Make a collection", [], "NewCollection", "Collection"),
        },
        root: {"get": read("readCollection", "One collection", "Collection", one)},
        f"{root}/documents": {
            "get": read("listDocuments", "Its documents and how far they are", "Documents", one),
            "post": post("addDocument", "Take a document in", one, "NewDocument", "Document"),
        },
        f"{root}/search": {
            "post": post("searchPassages", "Find passages", one, "KnowledgeQuestion", "Passages", status=200)
        },
        f"{root}/answer": {"post": answered},
        f"{root}/answer/stream": {"post": streamed},
        "/api/documents/{document_id}": {"get": read("readDocument", "One document", "Document", document)},
        "/api/documents/{document_id}/delete": {
            "post": post("deleteDocument", "Remove a document", document, "Nothing", "Deleted", status=200)
        },
    }

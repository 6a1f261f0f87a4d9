"""The knowledge base as native tools: which collections there are, and passages of one, as the asking person may read.

What documents say is text from outside, so the search is marked as dealing with an open world.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

from msgspec import Meta, Struct

from lib.knowledge.collections import Collections
from lib.knowledge.search import LONGEST_QUESTION, Passages
from lib.tools.native import READS_ONLY, NativeTools
from lib.tools.tool import ToolAnnotations, ToolContext

READS_DOCUMENTS = ToolAnnotations(read_only=True, destructive=False, idempotent=True, open_world=True)
_MOST_PASSAGES = 20


class CollectionSummary(Struct, frozen=True):
    """A collection as a model is shown it."""

    id: str
    name: str
    description: str
    documents: int


class CollectionList(Struct, frozen=True):
    """The collections that the person may read."""

    collections: tuple[CollectionSummary, ...]


class Passage(Struct, frozen=True):
    """A passage with its place; pages are None where the document has none."""

    document: str
    heading: str
    page: int | None
    text: str


class PassageList(Struct, frozen=True):
    """Passages, the best first."""

    collection: str
    passages: tuple[Passage, ...]


def register(tools: NativeTools, collections: Callable[[], Collections], passages: Callable[[], Passages]) -> None:
    """Offer `list_collections` and `search_knowledge`; the services are made when a tool first needs them."""

    def list_collections(context: ToolContext) -> CollectionList:
        """List the document collections that can be searched with search_knowledge."""
        readable = collections().list(context.actor)
        return CollectionList(
            tuple(CollectionSummary(c.id, c.name, c.description[:500], c.documents) for c in readable)
        )

    def search_knowledge(
        context: ToolContext,
        question: Annotated[
            str, Meta(description="The question, in full words", min_length=1, max_length=LONGEST_QUESTION)
        ],
        collection: Annotated[str, Meta(description="A collection's name or id, from list_collections")],
        passages_wanted: Annotated[int, Meta(description="The number of passages", ge=1, le=_MOST_PASSAGES)] = 5,
    ) -> PassageList:
        """Find passages of documents in a collection that answer a question."""
        opened = collections().get(context.actor, collection)
        settings = replace(opened.search, k=passages_wanted)
        found_passages = passages().search(context.actor, opened.id, question, settings)
        return PassageList(
            opened.name,
            tuple(Passage(hit.title, hit.heading, hit.page_first, hit.text) for hit in found_passages.hits),
        )

    tools.register(list_collections, READS_ONLY, title="List collections")
    tools.register(search_knowledge, READS_DOCUMENTS, title="Search the knowledge base")

"""The services of the knowledge base, `services.knowledge` of what `lib.services` composes; loaded when first used."""

from functools import cached_property
from typing import TYPE_CHECKING

from lib.calls.calls import Calls
from lib.configs.configurations import Configurations
from lib.configs.overrides import Overrides
from lib.db.engine import Store
from lib.providers.prices.price_book import PriceBook
from lib.settings import Settings

if TYPE_CHECKING:
    from lib.knowledge.answers import Answers
    from lib.knowledge.collections import Collections
    from lib.knowledge.documents.document_service import Documents
    from lib.knowledge.documents.ingest import Ingest
    from lib.knowledge.embedding import Embedder
    from lib.knowledge.evaluation.corpora import Corpora
    from lib.knowledge.evaluation.evaluations import Evaluations
    from lib.knowledge.evaluation.optimiser import Optimiser
    from lib.knowledge.evaluation.proposals import Proposals
    from lib.knowledge.evaluation.question_sets import QuestionSets
    from lib.knowledge.search import Passages


class KnowledgeServices:
    """Collections, their documents, searches, answers and how good they are."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        calls: Calls,
        configurations: Configurations,
        overrides: Overrides,
        prices: PriceBook,
    ) -> None:
        self._settings = settings
        self._store = store
        self._calls = calls
        self._configurations = configurations
        self._overrides = overrides
        self._prices = prices

    @cached_property
    def collections(self) -> "Collections":
        """The knowledge base: documents that are searched together."""
        from lib.knowledge.collections import Collections

        return Collections(self._store)

    @cached_property
    def embedder(self) -> "Embedder":
        """Turns texts into vectors through the call path."""
        from lib.knowledge.embedding import Embedder

        return Embedder(self._store, self._calls)

    @cached_property
    def documents(self) -> "Documents":
        """The documents of collections: added, followed, edited, removed."""
        from lib.knowledge.documents.document_service import Documents

        return Documents(self._store, self.embedder)

    @cached_property
    def ingest(self) -> "Ingest":
        """The worker that parses, cuts and embeds queued documents."""
        from lib.knowledge.documents.ingest import Ingest

        return Ingest(self._store, self.embedder)

    @cached_property
    def passages(self) -> "Passages":
        """The search for passages."""
        from lib.knowledge.indexes import Indexes
        from lib.knowledge.search import Passages

        return Passages(self._store, self.embedder, Indexes(self._store, self._settings.data_dir / "knowledge"))

    @cached_property
    def answers(self) -> "Answers":
        """Answers from passages."""
        from lib.knowledge.answers import Answers

        return Answers(self._calls, self.passages, self._configurations, self._overrides)

    @cached_property
    def question_sets(self) -> "QuestionSets":
        """Questions of collections, with what answers them."""
        from lib.knowledge.evaluation.question_sets import QuestionSets

        return QuestionSets(self._store)

    @cached_property
    def proposals(self) -> "Proposals":
        """Questions that models write."""
        from lib.knowledge.evaluation.proposals import Proposals

        return Proposals(self._store, self._calls)

    @cached_property
    def evaluations(self) -> "Evaluations":
        """How well collections are searched."""
        from lib.knowledge.evaluation.evaluations import Evaluations

        return Evaluations(self._store, self.passages)

    @cached_property
    def corpora(self) -> "Corpora":
        """Whole corpora taken in, or evaluated on."""
        from lib.knowledge.evaluation.corpora import Corpora
        from lib.knowledge.evaluation.pool import PassagePools

        return Corpora(self._store, PassagePools(self._store, self.embedder))

    @cached_property
    def optimiser(self) -> "Optimiser":
        """The best way to cut and search a collection."""
        from lib.knowledge.evaluation.optimiser import Optimiser
        from lib.knowledge.evaluation.pool import PassagePools

        pools = PassagePools(self._store, self.embedder)
        return Optimiser(self._store, self.embedder, pools, self.collections, self._prices)

    def close(self) -> None:
        """Stop taking documents in and running studies."""
        if "ingest" in self.__dict__:
            self.ingest.stop()
        if "optimiser" in self.__dict__:
            self.optimiser.close()

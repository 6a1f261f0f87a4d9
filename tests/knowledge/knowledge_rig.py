"""People, a collection, documents that are taken in at once, and what the ledger says of it."""

from typing import Any

from sqlalchemy import select

from lib import services as service_root
from lib.access.permissions import OPERATOR, Actor, Role, make_actor
from lib.db.tables import usage_logs
from lib.knowledge.documents.chunking import Chunking
from lib.knowledge.documents.document_service import About, Document
from lib.settings import Settings

MODEL = "scripted/words:256"


class KnowledgeRig:
    """Amira's collection `docs`; Jonas is a developer, Lena too."""

    def __init__(self, settings: Settings) -> None:
        self.services = service_root.build(settings)
        self.services.providers.create(OPERATOR, name="scripted", kind="scripted")
        self.amira, self.jonas, self.lena = (self.person(name) for name in ("amira", "jonas", "lena"))
        self.id = self.collection(self.amira, "docs")

    def person(self, name: str, role: Role = Role.DEVELOPER) -> Actor:
        """Somebody with an account."""
        self.services.users.create(OPERATOR, name, "correct horse battery", role)
        user = next(one for one in self.services.users.list(OPERATOR) if one.name == name)
        return make_actor(user.id, name, role)

    def collection(self, actor: Actor, name: str, model: str = MODEL, **more: Any) -> str:
        """A collection's id."""
        more.setdefault("chunking", Chunking(size=200, overlap=0))
        return self.services.knowledge.collections.create(actor, name, embedding_model=model, **more).id

    def add(self, name: str, text: str, about: About | None = None, collection: str | None = None) -> Document:
        """A document of Amira's, taken in."""
        services = self.services
        added, _ = services.knowledge.documents.add(self.amira, collection or self.id, name, text.encode(), about)
        services.knowledge.ingest.run_due()
        return services.knowledge.documents.get(self.amira, added.id)

    def found(self, question: str, actor: Actor | None = None, **more: Any) -> list[str]:
        """Titles of the passages that a question finds, the best first."""
        hits = self.services.knowledge.passages.search(actor or self.amira, self.id, question, **more).hits
        return [hit.title for hit in hits]

    def rows(self) -> list[Any]:
        """The ledger's rows of the knowledge base."""
        self.services.calls.flush()
        with self.services.store.read() as connection:
            query = select(usage_logs).where(usage_logs.c.origin == "rag").order_by(usage_logs.c.started_at)
            return list(connection.execute(query))

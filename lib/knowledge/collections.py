"""Collections: documents that are searched together, cut and embedded in one way."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, case, delete, func, insert, select, update

from lib.access import audit
from lib.access.permissions import Actor
from lib.access.team_scope import require_team
from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.tables import chunks, collections, document_versions, documents, question_sets
from lib.errors import InvalidInput
from lib.knowledge.access import filter_readable, filter_writable, find
from lib.knowledge.documents.chunking import Chunking
from lib.knowledge.embedding import BUNDLED
from lib.knowledge.evaluation.questions import delete_sets
from lib.knowledge.settings import SearchSettings

_C = collections.c
_D = documents.c


@dataclass(frozen=True)
class Collection:
    """A collection with the counts of its documents; `change_seq` grows whenever what is found in it changes."""

    id: str
    owner_id: str
    name: str
    description: str
    is_shared: bool
    embedding_model: str
    chunking: Chunking
    search: SearchSettings
    change_seq: int
    created_at: datetime
    documents: int = 0
    ready: int = 0
    failed: int = 0
    may_change: bool = False


class Collections:
    """The list, and what is set on each."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(self, actor: Actor) -> list[Collection]:
        """The collections that the actor may read, sorted by name."""
        query = _select_with_counts().where(filter_readable(actor)).order_by(func.lower(_C.name), _C.id)
        with self._store.read() as connection:
            return [_build_collection(row, actor) for row in connection.execute(query).mappings()]

    def get(self, actor: Actor, collection_id: str) -> Collection:
        """A collection by its id, or by its name where only one has it; NotFound otherwise."""
        condition = filter_readable(actor)
        with self._store.read() as connection:
            ids_by_name = select(_C.id).where(condition, _C.name == collection_id).limit(2)
            same_name = connection.scalars(ids_by_name).all()
            resolved_id = same_name[0] if len(same_name) == 1 else collection_id
            find(connection, resolved_id, condition)
            return _build_collection(
                connection.execute(_select_with_counts().where(_C.id == resolved_id)).mappings().one(), actor
            )

    def create(
        self,
        actor: Actor,
        name: str,
        *,
        description: str = "",
        is_shared: bool = False,
        embedding_model: str = BUNDLED,
        chunking: Chunking | None = None,
        search: SearchSettings | None = None,
    ) -> Collection:
        """Make an empty one; the embedding model is a `provider/model`."""
        filter_writable(actor)
        now = utc_now()
        collection_id = make_id()
        row: dict[str, Any] = {
            "id": collection_id,
            "owner_id": actor.user_id or "operator",
            "team_id": require_team(actor),
            "name": _check_name(name),
            "description": make_storable(description).strip(),
            "is_shared": is_shared,
            "embedding_model": _check_model(embedding_model),
            "chunking": asdict(chunking or Chunking()),
            "search": asdict(search or SearchSettings()),
            "created_at": now,
            "updated_at": now,
        }
        with self._store.write() as connection:
            connection.execute(insert(collections).values(**row))
            audit.record(
                connection, actor, "collection.create", str(row["name"]), of_team=row["team_id"], shared=is_shared
            )
        return self.get(actor, collection_id)

    def update(
        self,
        actor: Actor,
        collection_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        is_shared: bool | None = None,
        search: SearchSettings | None = None,
    ) -> Collection:
        """Change the fields that need no new index; None leaves one as it is."""
        values: dict[str, Any] = {"updated_at": utc_now()}
        if name is not None:
            values["name"] = _check_name(name)
        if description is not None:
            values["description"] = make_storable(description).strip()
        if is_shared is not None:
            values["is_shared"] = is_shared
        if search is not None:
            values["search"] = asdict(search)
        with self._store.write() as connection:
            row = find(connection, collection_id, filter_writable(actor))
            connection.execute(update(collections).where(_C.id == row["id"]).values(**values))
            audit.record(
                connection,
                actor,
                "collection.change",
                str(row["name"]),
                of_team=row["team_id"],
                shared=values.get("is_shared"),
            )
        return self.get(actor, collection_id)

    def reindex(
        self, actor: Actor, collection_id: str, *, chunking: Chunking | None = None, embedding_model: str | None = None
    ) -> Collection:
        """Cut, or embed, everything anew: each document goes on serving its old version until the new one is whole.

        Another embedding model takes hold at once, so that questions and passages never come of two models: what is
        not embedded anew yet is found by its words alone.
        """
        with self._store.write() as connection:
            row = find(connection, collection_id, filter_writable(actor))
            values: dict[str, Any] = {"updated_at": utc_now()}
            if chunking is not None:
                values["chunking"] = asdict(chunking.checked())
            if embedding_model is not None:
                values |= {"embedding_model": _check_model(embedding_model), "change_seq": _C.change_seq + 1}
            connection.execute(update(collections).where(_C.id == row["id"]).values(**values))
            again = update(documents).where(_D.collection_id == row["id"], _D.state.in_(("ready", "partial", "failed")))
            connection.execute(again.values(state="queued", error=None, interruptions=0, updated_at=utc_now()))
            audit.record(connection, actor, "collection.reindex", row["name"], of_team=row["team_id"])
        return self.get(actor, collection_id)

    def delete(self, actor: Actor, collection_id: str) -> None:
        """Remove it with its documents and its questions. Vectors stay until nobody has their text."""
        with self._store.write() as connection:
            row = find(connection, collection_id, filter_writable(actor))
            document_ids = select(_D.id).where(_D.collection_id == row["id"])
            delete_sets(connection, question_sets.c.collection_id == row["id"])
            connection.execute(delete(document_versions).where(document_versions.c.document_id.in_(document_ids)))
            connection.execute(delete(chunks).where(chunks.c.collection_id == row["id"]))
            connection.execute(delete(documents).where(_D.collection_id == row["id"]))
            connection.execute(delete(collections).where(_C.id == row["id"]))
            audit.record(connection, actor, "collection.delete", row["name"], of_team=row["team_id"])


def touch(connection: Connection, collection_id: str) -> None:
    """Count up a collection's `change_seq`, so that every process renews its index before the next search."""
    connection.execute(update(collections).where(_C.id == collection_id).values(change_seq=_C.change_seq + 1))


def _select_with_counts() -> Any:
    counts = [
        func.count(_D.id).label("documents"),
        func.sum(case((_D.serving_version.is_not(None), 1), else_=0)).label("ready"),
        func.sum(case((_D.state == "failed", 1), else_=0)).label("failed"),
    ]
    joined = collections.outerjoin(documents, _D.collection_id == _C.id)
    return select(collections, *counts).select_from(joined).group_by(_C.id)


def _build_collection(row: RowMapping, actor: Actor) -> Collection:
    from lib.access.permissions import Permission

    of_team = row["team_id"] == actor.team_id
    is_own = actor.sees_every_team or (of_team and (row["owner_id"] == actor.user_id or actor.rules_team))
    columns: Mapping[str, Any] = {name: row[name] for name in ("id", "owner_id", "name", "description", "is_shared")}
    return Collection(
        **columns,
        embedding_model=row["embedding_model"],
        chunking=Chunking(**row["chunking"]),
        search=SearchSettings(**row["search"]),
        change_seq=row["change_seq"],
        created_at=row["created_at"],
        documents=int(row["documents"]),
        ready=int(row["ready"] or 0),
        failed=int(row["failed"] or 0),
        may_change=is_own and actor.can(Permission.MANAGE_KNOWLEDGE_BASE),
    )


def make_storable(text: str) -> str:
    """Without what no store takes: NUL and lone surrogates."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


def _check_name(name: str) -> str:
    name = " ".join(make_storable(name).split())
    if not name or len(name) > 120:
        raise InvalidInput("A collection needs a name.", "It takes up to 120 characters.", "", field="name")
    return name


def _check_model(model: str) -> str:
    if "/" not in model.strip("/") or not model.isprintable() or len(model) > 200:
        raise InvalidInput(
            "The embedding model can't be read.", f"{model!r} names no provider.", "Write provider/model.", "embedding"
        )
    return model

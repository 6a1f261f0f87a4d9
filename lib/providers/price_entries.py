"""A team's own prices, kept in SQL beside the shipped list: looked up, set, imported, exported; every change audited.

A new price is a new version from a moment on; calls keep the price they were made with.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection, delete, insert, select, update

from lib.access import audit
from lib.access.permissions import Actor, Permission
from lib.clock import new_id, utc_now
from lib.db.engine import Store
from lib.db.tables import prices
from lib.errors import NotFound
from lib.providers import price_list
from lib.providers.kinds import ProviderKind
from lib.providers.price_book import PriceBook
from lib.providers.prices import Price

_C = prices.c


@dataclass
class Import:
    """What an import does, by entry; `same` are there already."""

    new: list[Price] = field(default_factory=list)
    changed: list[Price] = field(default_factory=list)
    same: list[Price] = field(default_factory=list)


class Prices:
    """The service behind the price page and its commands."""

    def __init__(self, store: Store, book: PriceBook) -> None:
        self._store, self._book = store, book

    def search(
        self, actor: Actor, text: str = "", kind: str | None = None, *, own_only: bool = False, most: int = 500
    ) -> Sequence[Price]:
        """The prices in force now whose model holds every word of `text`, the team's own first."""
        actor.require(Permission.VIEW_CONFIGS)
        now, words = utc_now(), text.casefold().split()
        own = {(price.kind, price.model) for price in self._book.own()}
        keys = own if own_only else own | set(self._book.shipped)
        found = []
        for key in sorted(keys, key=lambda key: (key not in own, key[0] == ProviderKind.LITELLM, key)):
            if (kind is None or key[0] == kind) and all(word in f"{key[0]}/{key[1]}".casefold() for word in words):
                versions = self._versions(*key)
                in_force = [price for price in versions if price.valid_from <= now] or versions[:1]
                found.append(in_force[-1])
            if len(found) >= most:
                break
        return found

    def versions(self, actor: Actor, kind: str, model: str) -> Sequence[Price]:
        """Every version of a model's price, the shipped one and the team's own, in order of their beginning."""
        actor.require(Permission.VIEW_CONFIGS)
        return self._versions(kind, model)

    def set(self, actor: Actor, price: Price) -> Price:
        """Add a version, or replace the one that begins at the same moment."""
        actor.require(Permission.MANAGE_PROVIDERS)
        checked = price_list.read(price_list.write([price]))[0]
        with self._store.write() as connection:
            _write(connection, actor, [replace(checked, source=checked.source or f"set by {actor.name}")])
            audit.record(connection, actor, "prices.set", f"{price.kind}/{price.model}", **_said(checked))
        self._book.forget()
        return checked

    def delete(self, actor: Actor, price_id: str) -> None:
        """Remove a version of the team's own; calls that were priced with it keep their cost."""
        actor.require(Permission.MANAGE_PROVIDERS)
        with self._store.write() as connection:
            row = connection.execute(select(prices).where(_C.id == price_id)).first()
            if row is None:
                raise NotFound("There is no such price.", "It may have been removed meanwhile.")
            connection.execute(delete(prices).where(_C.id == price_id))
            subject = f"{row.kind}/{row.model}"
            audit.record(connection, actor, "prices.delete", subject, valid_from=row.valid_from.isoformat())
        self._book.forget()

    def preview(self, actor: Actor, document: str) -> Import:
        """What importing a list would do; InvalidInput names the lines that can't be used."""
        actor.require(Permission.MANAGE_PROVIDERS)
        there = {(price.kind, price.model, price.valid_from): price for price in self._book.own()}
        found = Import()
        for price in price_list.read(document):
            known = there.get((price.kind, price.model, price.valid_from))
            same = known is not None and known.tiers == price.tiers
            (found.new if known is None else found.same if same else found.changed).append(price)
        return found

    def import_csv(self, actor: Actor, document: str) -> Import:
        """Take a list in, all of it or nothing."""
        found = self.preview(actor, document)
        with self._store.write() as connection:
            _write(connection, actor, [*found.new, *found.changed])
            counts = {"new": len(found.new), "changed": len(found.changed), "same": len(found.same)}
            audit.record(connection, actor, "prices.import", f"{sum(counts.values())} entries", **counts)
        self._book.forget()
        return found

    def export_csv(self, actor: Actor, *, own_only: bool = False) -> str:
        """The list as CSV: the team's own, or all of it."""
        actor.require(Permission.VIEW_CONFIGS)
        shipped = [] if own_only else [price for versions in self._book.shipped.values() for price in versions]
        everything = [*self._book.own(), *shipped]
        return price_list.write(sorted(everything, key=lambda price: (price.kind, price.model, price.valid_from)))

    def _versions(self, kind: str, model: str) -> list[Price]:
        own = [price for price in self._book.own() if (price.kind, price.model) == (kind, model)]
        found = [*self._book.shipped.get((kind, model), ()), *own]
        return sorted(found, key=lambda price: (price.valid_from, bool(price.id)))


def _write(connection: Connection, actor: Actor, entries: Iterable[Price]) -> None:
    """Insert versions; those of the same moment give way."""
    now = utc_now()
    for price in entries:
        same = (_C.kind == price.kind) & (_C.model == price.model) & (_C.valid_from == price.valid_from)
        values = {"rates": price_list.to_record(price), "source": price.source, "created_at": now}
        values["created_by"] = actor.user_id
        if connection.execute(update(prices).where(same).values(**values)).rowcount == 0:
            row = {"id": new_id(), "kind": price.kind, "model": price.model, "valid_from": price.valid_from}
            connection.execute(insert(prices).values(**row, **values))


def _said(price: Price) -> dict[str, object]:
    """A price for the audit log, in dollars."""
    rates = {name: price_list.dollars(value) for name, value in vars(price.rates).items() if value is not None}
    return {"valid_from": price.valid_from.isoformat(), "rates": rates, "tiers": len(price.tiers)}

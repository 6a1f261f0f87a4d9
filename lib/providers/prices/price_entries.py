"""A team's own prices, kept in SQL beside the shipped list: looked up, set, imported, exported; every change audited.

A new price is a new version from a moment on; calls keep the price they were made with.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from lib.access import audit
from lib.access.permissions import Actor, Permission
from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.tables import prices
from lib.errors import NotFound
from lib.providers.kinds import ProviderKind
from lib.providers.prices import price_list
from lib.providers.prices.price_book import PriceBook, mark_changed
from lib.providers.prices.rates import Price

_C = prices.c


@dataclass(frozen=True)
class PricePage:
    """A page of prices, and how many match in all."""

    prices: Sequence[Price]
    total: int


@dataclass
class Import:
    """What an import does, by entry; `unchanged` are there already."""

    new: list[Price] = field(default_factory=list)
    changed: list[Price] = field(default_factory=list)
    unchanged: list[Price] = field(default_factory=list)


class Prices:
    """The service behind the price page and its commands."""

    def __init__(self, store: Store, book: PriceBook) -> None:
        self._store = store
        self._book = book

    def search(
        self,
        actor: Actor,
        text: str = "",
        kind: str | None = None,
        *,
        own_only: bool = False,
        skip: int = 0,
        most: int | None = None,
    ) -> PricePage:
        """A page of the prices in force now whose kind and model hold every word of `text`, the team's own first."""
        actor.require(Permission.VIEW_CONFIGS)
        self._book.refresh()
        own = self._book.own()
        words = text.casefold().split()
        keys = [
            key
            for key in (set(own) if own_only else {*own, *self._book.shipped})
            if (kind is None or key[0] == kind) and all(word in f"{key[0]}/{key[1]}".casefold() for word in words)
        ]
        keys.sort(key=lambda key: (key not in own, key[0] == ProviderKind.LITELLM, key))
        page = keys[skip:] if most is None else keys[skip : skip + most]
        return PricePage([self._in_force(key) for key in page], len(keys))

    def versions(self, actor: Actor, kind: str, model: str) -> Sequence[Price]:
        """Every version of a model's price, the shipped one and the team's own, in order of their beginning."""
        actor.require(Permission.VIEW_CONFIGS)
        self._book.refresh()
        versions = [*self._book.shipped.get((kind, model), ()), *self._book.own().get((kind, model), ())]
        return sorted(versions, key=lambda price: (price.valid_from, bool(price.id)))

    def set(self, actor: Actor, price: Price) -> Price:
        """Add a version, or replace the one that begins at the same moment."""
        actor.require(Permission.MANAGE_PROVIDERS)
        checked = price_list.read(price_list.write([price]))[0]
        with self._store.write() as connection:
            _write(connection, actor, [replace(checked, source=checked.source or f"set by {actor.name}")])
            audit.record(connection, actor, "prices.set", f"{price.kind}/{price.model}", **_describe_price(checked))
        self._book.refresh()
        return checked

    def delete(self, actor: Actor, price_id: str) -> None:
        """Remove a version of the team's own; calls that were priced with it keep their cost."""
        actor.require(Permission.MANAGE_PROVIDERS)
        with self._store.write() as connection:
            mark_changed(connection)
            row = connection.execute(select(prices).where(_C.id == price_id)).first()
            if row is None:
                raise NotFound("There is no such price.", "It may have been removed meanwhile.")
            connection.execute(delete(prices).where(_C.id == price_id))
            subject = f"{row.kind}/{row.model}"
            audit.record(connection, actor, "prices.delete", subject, valid_from=row.valid_from.isoformat())
        self._book.refresh()

    def preview(self, actor: Actor, document: str) -> Import:
        """Tell which prices importing a list would add, change and leave alone, without importing it.

        InvalidInput names the lines that can't be used.
        """
        actor.require(Permission.MANAGE_PROVIDERS)
        self._book.refresh()
        there = {
            (p.kind, p.model, p.valid_from): p
            for p in (*_iterate_prices(self._book.shipped), *_iterate_prices(self._book.own()))
        }
        report = Import()
        for price in price_list.read(document):
            existing = there.get((price.kind, price.model, price.valid_from))
            is_unchanged = existing is not None and existing.tiers == price.tiers
            (report.new if existing is None else report.unchanged if is_unchanged else report.changed).append(price)
        return report

    def import_csv(self, actor: Actor, document: str) -> Import:
        """Take a list in, all of it or nothing."""
        report = self.preview(actor, document)
        with self._store.write() as connection:
            _write(connection, actor, [*report.new, *report.changed])
            counts = {"new": len(report.new), "changed": len(report.changed), "same": len(report.unchanged)}
            audit.record(connection, actor, "prices.import", f"{sum(counts.values())} entries", **counts)
        self._book.refresh()
        return report

    def export_csv(self, actor: Actor, *, own_only: bool = False) -> str:
        """The list as CSV: the team's own, or all of it."""
        actor.require(Permission.VIEW_CONFIGS)
        self._book.refresh()
        everything = [*_iterate_prices(self._book.own()), *([] if own_only else _iterate_prices(self._book.shipped))]
        with self._store.write() as connection:
            audit.record(connection, actor, "prices.export", "csv", rows=len(everything), own_only=own_only)
        return price_list.write(sorted(everything, key=lambda price: (price.kind, price.model, price.valid_from)))

    def _in_force(self, key: tuple[str, str]) -> Price:
        """The version that holds now, as the book chooses; the first to come where none does."""
        own = self._book.own().get(key, ())
        now = utc_now()
        begun = [price for price in own if price.valid_from <= now]
        return begun[-1] if begun else self._book.price(*key, now) or own[0]


def _iterate_prices(entries: Mapping[tuple[str, str], Sequence[Price]]) -> Iterator[Price]:
    return chain.from_iterable(entries.values())


def _write(connection: Connection, actor: Actor, entries: Iterable[Price]) -> None:
    """Insert versions; those of the same moment give way. A change is a new id: `price_id` never means two prices."""
    mark_changed(connection)
    for price in entries:
        replaced = (_C.kind == price.kind) & (_C.model == price.model) & (_C.valid_from == price.valid_from)
        connection.execute(delete(prices).where(replaced))
        row = {name: getattr(price, name) for name in ("kind", "model", "valid_from", "source")}
        authorship = {"id": make_id(), "created_by": actor.user_id, "created_at": utc_now()}
        connection.execute(insert(prices).values(**row, **authorship, rates=price_list.build_record(price)))


def _describe_price(price: Price) -> dict[str, Any]:
    """A price for the audit log, in dollars."""
    stated = {name: getattr(price.rates, name) for name in price_list.RATES}
    rates = {name: price_list.format_exact_dollars(value) for name, value in stated.items() if value is not None}
    return {"valid_from": price.valid_from.isoformat(), "rates": rates, "tiers": len(price.tiers)}

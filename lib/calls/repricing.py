"""Pricing past calls again: what would change, and the change itself.

Each attempt's tokens stand in its row, so its cost can be worked out anew with the prices that hold for its moment now.
Costs that the provider itself reported stay unless asked for; attempts that were never charged stay free. Rows are
changed in batches, each whole in itself: an interrupted run leaves right rows and can be started again.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, or_, select, update

from lib.access import audit
from lib.access.permissions import Actor, Permission
from lib.calls.ledger import take_sequence
from lib.db.engine import Store
from lib.db.tables import providers, usage_logs
from lib.providers.chunks import Usage
from lib.providers.kinds import ProviderKind
from lib.providers.price_book import PriceBook
from lib.providers.prices import PROVIDER_SAID, Cost

_BATCH = 2000
_C = usage_logs.c
_KINDS = {kind.value for kind in ProviderKind}


@dataclass(frozen=True)
class Range:
    """Which attempts: `start` ≤ started_at < `end` (None: open), of a provider, of a model, only unpriced ones."""

    start: datetime | None = None
    end: datetime | None = None
    provider: str | None = None
    model: str | None = None
    only_unpriced: bool = False
    reported_too: bool = False


@dataclass
class Difference:
    """Of one model, or of all: attempts whose cost or price changes, and sums of those attempts in nano-dollars.

    `was_unpriced` had no cost before, `stays_unpriced` get none now.
    """

    changed: int = 0
    before_nano: int = 0
    after_nano: int = 0
    was_unpriced: int = 0
    stays_unpriced: int = 0

    def add(self, old: int | None, new: Cost, *, changes: bool) -> None:
        """Take an attempt in."""
        self.stays_unpriced += new.nano is None
        if changes:
            self.changed += 1
            self.was_unpriced += old is None
            self.before_nano += old or 0
            self.after_nano += new.nano or 0


@dataclass
class Preview:
    """What re-pricing would do or has done: in all, and by (provider, model)."""

    looked_at: int = 0
    total: Difference = field(default_factory=Difference)
    models: dict[tuple[str, str], Difference] = field(default_factory=dict)


class Repricing:
    """The service."""

    def __init__(self, store: Store, book: PriceBook) -> None:
        self._store, self._book = store, book

    def preview(self, actor: Actor, range_: Range, progress: Callable[[int], None] | None = None) -> Preview:
        """What would change; nothing does."""
        actor.require(Permission.MANAGE_PROVIDERS)
        found = Preview()
        with self._store.read() as connection:
            kinds = _kinds(connection)
            for rows in _batches(connection, range_):
                self._look(rows, kinds, found)
                if progress is not None:
                    progress(found.looked_at)
        return found

    def apply(self, actor: Actor, range_: Range, progress: Callable[[int], None] | None = None) -> Preview:
        """Write the new costs; what has changed. Noted in the audit log with its sums."""
        actor.require(Permission.MANAGE_PROVIDERS)
        found, after = Preview(), ""
        while True:
            with self._store.write() as connection:
                rows = connection.execute(_query(range_, after).limit(_BATCH)).all()
                if rows:
                    changes = self._look(rows, _kinds(connection), found)
                    _write(connection, changes)
                    after = rows[-1].id
                if len(rows) < _BATCH:
                    _note(connection, actor, range_, found)
                    return found
            if progress is not None:
                progress(found.looked_at)

    def _look(self, rows: Any, kinds: Mapping[str, str], found: Preview) -> list[dict[str, Any]]:
        """Price the rows anew and count them; the values of those that change."""
        changes = []
        for row in rows:
            found.looked_at += 1
            kind = kinds.get(row.provider, row.provider if row.provider in _KINDS else "")
            price = self._book.price(kind, row.model, row.started_at) if kind else None
            new = self._book.cost(price, _usage(row), row.reported_nano_usd)
            status = "estimated" if new.status == "priced" and row.usage_source == "estimated" else new.status
            values = {"cost_nano_usd": new.nano, "cost_status": status, "price_id": new.price_id}
            changes_row = any(getattr(row, name) != value for name, value in values.items())
            for difference in (found.total, found.models.setdefault((row.provider, row.model), Difference())):
                difference.add(row.cost_nano_usd, new, changes=changes_row)
            if changes_row:
                changes.append({"row_id": row.id} | {f"new_{name}": value for name, value in values.items()})
        return changes


def _query(range_: Range, after: str = "") -> Any:
    """Attempts that were charged, in order of their ids."""
    conditions = [_C.prompt_tokens.is_not(None), _C.id > after]
    if range_.start is not None:
        conditions.append(_C.started_at >= range_.start)
    if range_.end is not None:
        conditions.append(_C.started_at < range_.end)
    if range_.provider is not None:
        conditions.append(_C.provider == range_.provider)
    if range_.model is not None:
        conditions.append(_C.model == range_.model)
    if range_.only_unpriced:
        conditions.append(_C.cost_nano_usd.is_(None))
    if not range_.reported_too:
        conditions.append(or_(_C.price_id.is_(None), _C.price_id != PROVIDER_SAID))
    return select(usage_logs).where(and_(*conditions)).order_by(_C.id)


def _batches(connection: Connection, range_: Range) -> Iterator[list[Row[Any]]]:
    after = ""
    while rows := list(connection.execute(_query(range_, after).limit(_BATCH))):
        yield rows
        after = rows[-1].id


def _write(connection: Connection, changes: list[dict[str, Any]]) -> None:
    if not changes:
        return
    first = take_sequence(connection, len(changes))
    names = ("cost_nano_usd", "cost_status", "price_id", "change_seq")
    query = update(usage_logs).where(_C.id == bindparam("row_id"))
    query = query.values({name: bindparam(f"new_{name}") for name in names})
    connection.execute(query, [change | {"new_change_seq": first + n} for n, change in enumerate(changes)])


def _note(connection: Connection, actor: Actor, range_: Range, found: Preview) -> None:
    asked = {name: str(value) for name, value in vars(range_).items() if value not in (None, False)}
    sums = {name: str(value) for name, value in vars(found.total).items()}
    audit.record(connection, actor, "prices.reprice", range_.model or range_.provider or "calls", asked=asked, **sums)


def _kinds(connection: Connection) -> dict[str, str]:
    return {name: kind for name, kind in connection.execute(select(providers.c.name, providers.c.kind))}


def _usage(row: Row[Any]) -> Usage:
    return Usage(
        prompt_tokens=row.prompt_tokens or 0,
        completion_tokens=row.completion_tokens or 0,
        cache_read_tokens=row.cache_read_tokens or 0,
        cache_write_tokens=row.cache_write_tokens or 0,
        reasoning_tokens=row.reasoning_tokens or 0,
        cache_write_1h_tokens=row.cache_write_1h_tokens or 0,
        images=row.images or 0,
    )

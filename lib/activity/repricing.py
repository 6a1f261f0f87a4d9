"""Pricing past calls again: what would change, and the change itself.

Each attempt's tokens stand in its row, so its cost can be worked out anew with the prices that hold for its moment now.
Left as they are: costs that the provider itself reported (unless asked for), attempts that were never charged, answers
from the cache, calls of a provider that is registered no more, for its kind is not known, and imported sums of many
calls, for what a call costs may hang on its own length.

Calls of the chosen team are priced anew; of every team by super-admins alone.

Rows are read without a lock and changed in batches, each whole in itself: calls go on meanwhile, an interrupted run
leaves right rows and can be started again. The audit log notes the beginning, and the sums at the end.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from msgspec import convert
from sqlalchemy import Connection, Row, bindparam, func, or_, select, update

from lib.access import audit
from lib.access.permissions import Actor, Permission
from lib.access.team_scope import filter_changeable
from lib.db.engine import Store
from lib.db.tables import providers, usage_logs
from lib.ledger.closing import take_sequence
from lib.providers.chunks import Usage, UsageDetails
from lib.providers.kinds import ProviderKind
from lib.providers.prices.price_book import PriceBook
from lib.providers.prices.rates import PROVIDER_SAID, Cost

_C = usage_logs.c
_UNPRICED = _C.cost_nano_usd.is_(None) | (_C.cost_status == "partial")  # wholly, or a part of it
_COST = ("cost_nano_usd", "cost_status", "fees_nano_usd", "price_id")
_USAGE = tuple(name for name in Usage.__struct_fields__ if name not in ("service_tier", "details"))
_KINDS = {kind.value for kind in ProviderKind}


@dataclass(frozen=True)
class RepricingScope:
    """Which attempts: `start` ≤ started_at < `end` (None: open), of a provider, only unpriced ones, of a model
    (`gpt-4.1*`: whose name begins so)."""

    start: datetime | None = None
    end: datetime | None = None
    provider: str | None = None
    model: str | None = None
    only_unpriced: bool = False
    reported_too: bool = False


@dataclass
class CostDifference:
    """Attempts of one model, or of all, whose cost or price changes, and their sums in nano-dollars.

    `was_unpriced` had no cost before, `stays_unpriced` get none now, or one that lacks a part.
    """

    changed: int = 0
    before_nano: int = 0
    after_nano: int = 0
    was_unpriced: int = 0
    stays_unpriced: int = 0

    def add(self, old: int | None, new: int | None, *, changes: bool, is_partial: bool = False) -> None:
        """Take an attempt in; `is_partial`: its new cost is only a part."""
        self.stays_unpriced += new is None or is_partial
        if changes:
            self.changed += 1
            self.was_unpriced += old is None
            self.before_nano += old or 0
            self.after_nano += new or 0


@dataclass
class RepricingPreview:
    """Attempts that re-pricing looked at and their differences: in all, and by (provider, model)."""

    looked_at: int = 0
    total: CostDifference = field(default_factory=CostDifference)
    models: dict[tuple[str, str], CostDifference] = field(default_factory=dict)


class Repricing:
    """Prices past calls anew: a preview, the change itself, and from when a model lacks a price."""

    def __init__(self, store: Store, book: PriceBook, batch: int = 2000) -> None:
        """`batch`: rows that are read and changed at a time."""
        self._store = store
        self._book = book
        self._batch = batch

    def preview(
        self, actor: Actor, range_: RepricingScope, progress: Callable[[int], None] | None = None
    ) -> RepricingPreview:
        """Count what re-pricing would change, without writing anything."""
        actor.require(Permission.MANAGE_PROVIDERS)
        preview = RepricingPreview()
        for _ in self._find_changes(actor, range_, preview, progress):
            pass
        return preview

    def apply(
        self, actor: Actor, range_: RepricingScope, progress: Callable[[int], None] | None = None
    ) -> RepricingPreview:
        """Write the new costs and return what has changed."""
        actor.require(Permission.MANAGE_PROVIDERS)
        applied = RepricingPreview()
        begun = False
        for changes in self._find_changes(actor, range_, applied, progress):
            with self._store.write() as connection:
                if not begun:
                    _record_audit(connection, actor, "prices.reprice", range_)
                    begun = True
                _write(connection, changes)
        if begun:
            with self._store.write() as connection:
                sums = {name: str(value) for name, value in vars(applied.total).items()}
                _record_audit(connection, actor, "prices.repriced", range_, **sums)
        return applied

    def oldest_unpriced(self, actor: Actor, provider: str, model: str) -> datetime | None:
        """When the first call of a model that still has no cost was made: from there its price should hold."""
        actor.require(Permission.MANAGE_PROVIDERS)
        of_team = filter_changeable(actor, _C.team_id)
        conditions = (_C.provider == provider, _C.model == model, _UNPRICED, of_team)
        with self._store.read() as connection:
            oldest: datetime | None = connection.scalar(select(func.min(_C.started_at)).where(*conditions))
        return oldest

    def _find_changes(
        self, actor: Actor, range_: RepricingScope, preview: RepricingPreview, progress: Callable[[int], None] | None
    ) -> Iterator[list[dict[str, Any]]]:
        """New column values of attempts whose cost changes, in batches; `preview` counts along."""
        self._book.refresh()
        with self._store.read() as connection:
            listed = connection.execute(select(providers.c.name, providers.c.kind))
            kinds = {name: kind for name, kind in listed}
        query = _select_charged(range_).where(filter_changeable(actor, _C.team_id))
        after = list[Any]()
        while True:
            with self._store.read() as connection:
                rows = connection.execute(query.where(*after).limit(self._batch)).all()
            if changes := [c for row in rows if (c := self._reprice(row, kinds, preview, range_)) is not None]:
                yield changes
            if progress is not None:
                progress(preview.looked_at)
            if len(rows) < self._batch:
                return
            last = rows[-1]
            after = [_C.started_at >= last.started_at, or_(_C.started_at > last.started_at, _C.id > last.id)]

    def _price_attempt(self, kind: str, row: Row[Any], *, reported_too: bool) -> Cost:
        """The cost by today's prices; with `reported_too` the price list counts before what the provider reported."""
        usage = _read_usage(row)
        if reported_too:
            by_list = self._book.charge(kind, row.model, row.started_at, usage)
            if by_list.nano is not None:
                return by_list
        return self._book.charge(kind, row.model, row.started_at, usage, row.reported_nano_usd)

    def _reprice(
        self, row: Row[Any], kinds: Mapping[str, str], preview: RepricingPreview, range_: RepricingScope
    ) -> dict[str, Any] | None:
        """Price an attempt anew and count it; the values of one that changes."""
        preview.looked_at += 1
        values = {name: getattr(row, name) for name in _COST}
        kind = kinds.get(row.provider, row.provider if row.provider in _KINDS else None)
        if kind is not None:
            new = self._price_attempt(kind, row, reported_too=range_.reported_too)
            status = "estimated" if new.status == "priced" and row.usage_source == "estimated" else new.status
            values = {"cost_nano_usd": new.nano, "cost_status": status} | {
                "fees_nano_usd": new.fees_nano,
                "price_id": new.price_id,
            }
        changes = any(getattr(row, name) != value for name, value in values.items())
        for difference in (preview.total, preview.models.setdefault((row.provider, row.model), CostDifference())):
            is_partial = values["cost_status"] == "partial"
            difference.add(row.cost_nano_usd, values["cost_nano_usd"], changes=changes, is_partial=is_partial)
        return {"row_id": row.id} | {f"new_{name}": value for name, value in values.items()} if changes else None


def _select_charged(range_: RepricingScope) -> Any:
    """Attempts that were charged, the oldest first."""
    conditions = [_C.prompt_tokens.is_not(None), _C.cache == "none", _C.calls == 1]
    if range_.start is not None:
        conditions.append(_C.started_at >= range_.start)
    if range_.end is not None:
        conditions.append(_C.started_at < range_.end)
    if range_.provider is not None:
        conditions.append(_C.provider == range_.provider)
    if range_.model is not None:
        prefix = range_.model.removesuffix("*")
        conditions.append(
            _C.model == prefix if prefix == range_.model else _C.model.startswith(prefix, autoescape=True)
        )
    if range_.only_unpriced:
        conditions.append(_UNPRICED)
    if not range_.reported_too:
        conditions.append(or_(_C.price_id.is_(None), _C.price_id != PROVIDER_SAID))
    columns = (_C.id, _C.started_at, _C.provider, _C.model, _C.usage_source, _C.reported_nano_usd, _C.service_tier)
    return (
        select(*columns, _C.usage_details, *(_C[name] for name in (*_COST, *_USAGE)))
        .where(*conditions)
        .order_by(_C.started_at, _C.id)
    )


def _write(connection: Connection, changes: list[dict[str, Any]]) -> None:
    first = take_sequence(connection, len(changes))
    query = update(usage_logs).where(_C.id == bindparam("row_id"))
    query = query.values({name: bindparam(f"new_{name}") for name in (*_COST, "change_seq")})
    connection.execute(query, [change | {"new_change_seq": first + n} for n, change in enumerate(changes)])


def _record_audit(connection: Connection, actor: Actor, action: str, range_: RepricingScope, **sums: Any) -> None:
    scope = {name: str(value) for name, value in vars(range_).items() if value not in (None, False)}
    audit.record(connection, actor, action, range_.model or range_.provider or "calls", asked=scope, **sums)


def _read_usage(row: Row[Any]) -> Usage:
    details = None if row.usage_details is None else convert(row.usage_details, UsageDetails)
    counts = {name: getattr(row, name) or 0 for name in _USAGE}
    return Usage(**counts, service_tier=row.service_tier, details=details)

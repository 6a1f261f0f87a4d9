"""Which price holds for a model at a moment: the team's own entries and the shipped list.

The most specific name wins, and of the same name the team's own entry:

1. the model as it was called;
2. the same without its date or `-latest` (`gpt-4.1-2025-04-14` → `gpt-4.1`);
3. a team's own entry that ends in `*`, the longest first.

Of several versions the newest that began at or before the call's moment holds. The shipped list also holds for calls
before its date, a team's own entry never does.
"""

import re
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cached_property

from sqlalchemy import func, select

from lib.db.engine import Store
from lib.db.tables import prices as prices_table
from lib.providers import price_list
from lib.providers.chunks import Usage
from lib.providers.kinds import ProviderKind, is_free
from lib.providers.prices import ALWAYS, Cost, Price, Rates, cost_of, plain

_CHECK_S = 2.0
_DATED = re.compile(r"(-\d{8}|-\d{4}-\d{2}-\d{2}|-latest|@\d{8})$")
_Key = tuple[str, str]


class PriceBook:
    """Prices by kind and model. Thread-safe; other processes' changes are seen within two seconds.

    `PriceBook()` holds the shipped list, which is read at first use; tests bring their own entries.
    """

    def __init__(self, entries: Iterable[Price] | None = None, store: Store | None = None) -> None:
        self._given = None if entries is None else list(entries)
        self._store = store
        self._lock = threading.Lock()
        self._own: dict[_Key, list[Price]] = {}
        self._wildcards: dict[str, list[str]] = {}
        self._seen: tuple[object, ...] | None = None
        self._next_check = 0.0

    def price(self, kind: str, model: str, at: datetime) -> Price | None:
        """The price in force at a moment, or None when nobody knows one."""
        self._follow()
        for name in _names(model):
            found = _newest(self._own.get((kind, name), ()), at) or self._from_list((kind, name), at)
            if found is not None:
                return found
        for prefix in self._wildcards.get(kind, ()):
            if model.startswith(prefix) and (found := _newest(self._own[kind, f"{prefix}*"], at)) is not None:
                return found
        if kind == ProviderKind.SCRIPTED:
            return _scripted(model)
        return plain(kind, model, ALWAYS, Rates(0, 0), "free") if is_free(kind) else None

    def cost(self, price: Price | None, usage: Usage, reported_nano: int | None = None) -> Cost:
        """What a call costs."""
        return cost_of(price, usage, reported_nano)

    def models(self, kind: str) -> list[str]:
        """Every model of a kind with a known price, by name."""
        self._follow()
        return sorted({name for found, name in (*self.shipped, *self._own) if found == kind and name[-1] != "*"})

    def own(self) -> list[Price]:
        """Every version of the team's own entries."""
        self._follow()
        return [price for versions in self._own.values() for price in versions]

    def forget(self) -> None:
        """Read the team's own entries again at the next question."""
        self._next_check, self._seen = 0.0, None

    @cached_property
    def shipped(self) -> dict[_Key, list[Price]]:
        """The shipped list, the oldest version first."""
        return _by_key(price_list.read_shipped() if self._given is None else self._given)

    def __len__(self) -> int:
        return sum(len(versions) for versions in self.shipped.values()) + len(self.own())

    def _from_list(self, key: _Key, at: datetime) -> Price | None:
        versions = self.shipped.get(key)
        return (_newest(versions, at) or versions[0]) if versions else None

    def _follow(self) -> None:
        """Take in what has changed in SQL; at most every two seconds, one small query."""
        if self._store is None or time.monotonic() < self._next_check:
            return
        with self._lock, self._store.read() as connection:
            self._next_check = time.monotonic() + _CHECK_S
            columns = prices_table.c
            now = tuple(connection.execute(select(func.count(), func.max(columns.created_at))).one())
            if now == self._seen:
                return
            rows = connection.execute(select(prices_table)).all()
            own = _by_key(
                Price(r.kind, r.model, r.valid_from, price_list.from_record(r.rates), r.source, r.id) for r in rows
            )
            wildcards: dict[str, list[str]] = {}
            for kind, name in own:
                if name.endswith("*"):
                    wildcards.setdefault(kind, []).append(name[:-1])
            for prefixes in wildcards.values():
                prefixes.sort(key=len, reverse=True)
            self._own, self._wildcards, self._seen = own, wildcards, now


def _names(model: str) -> Iterator[str]:
    yield model
    if (undated := _DATED.sub("", model)) != model:
        yield undated


def _newest(versions: Iterable[Price], at: datetime) -> Price | None:
    """The last of the versions, which are in order, that began at or before a moment."""
    found = None
    for price in versions:
        if price.valid_from > at:
            break
        found = price
    return found


def _by_key(prices: Iterable[Price]) -> dict[_Key, list[Price]]:
    found: dict[_Key, list[Price]] = {}
    for price in prices:
        found.setdefault((price.kind, price.model), []).append(price)
    for versions in found.values():
        versions.sort(key=lambda price: price.valid_from)
    return found


def _scripted(model: str) -> Price | None:
    parts = {part.partition(":")[0] for part in model.split("+")}
    if "unpriced" in parts:
        return None
    rates = Rates(2_500_000_000, 10_000_000_000, 250_000_000) if "priced" in parts else Rates(0, 0)
    return plain(ProviderKind.SCRIPTED, model, ALWAYS, rates, "scripted" if "priced" in parts else "free")

"""Which price holds for a model at a moment: the team's own entries and the shipped list.

The most specific name wins, and of the same name the team's own entry:

1. the model as it was called;
2. the same without what only addresses it: `models/`, its provider's name, a region (`eu.anthropic.…`);
3. either of them without its date or `-latest` (`gpt-4.1-2025-04-14` → `gpt-4.1`); `model_names` knows the forms;
4. for a model called without a date, what all its listed snapshots cost, if that is the same;
5. a team's own entry that ends in `*`, the longest first.

Of several versions the newest that began at or before the call's moment holds. The shipped list also holds for calls
before its date, a team's own entry never does.

Calls are priced in the event loop, which must neither wait for the database nor fail with it: what the team has entered
is kept in memory, and a thread looks every two seconds whether it has changed.
"""

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache, cached_property

from msgspec.structs import replace as replace_struct
from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.tables import installation_settings
from lib.db.tables import prices as prices_table
from lib.errors import LLMManagerError
from lib.providers import model_names
from lib.providers.chunks import Usage
from lib.providers.kinds import ProviderKind, is_free
from lib.providers.prices import price_list
from lib.providers.prices.rates import (
    ALWAYS,
    PROVIDER_SAID,
    Cost,
    Price,
    Rates,
    add_costs,
    build_plain_price,
    compute_cost,
    subtract_rounds,
)
from lib.providers.prices.service_tiers import name_priced_tier

log = logging.getLogger(__name__)
_REVISION = "prices.revision"  # a new value with every change of the team's own entries
_Key = tuple[str, str]
USE_PREFIX = "tool:"  # of a price list's models that are uses charged apart


@dataclass(frozen=True)
class _Own:
    """The team's own entries as of a revision; replaced as a whole."""

    revision: str | None = None
    entries: Mapping[_Key, list[Price]] = field(default_factory=dict)
    wildcards: Mapping[str, list[str]] = field(default_factory=dict)  # kind → prefixes, the longest first


class _PriceList:
    """A list of prices that does not change."""

    def __init__(self, prices: Iterable[Price]) -> None:
        self.versions: Mapping[_Key, Sequence[Price]] = _group_by_key(prices)  # the oldest first
        self.snapshots = self._find_snapshots()

    def _find_snapshots(self) -> Mapping[_Key, _Key]:
        """Find the newest listed snapshot of each model that is listed by snapshots alone, all of one price."""
        snapshots: dict[_Key, list[_Key]] = {}
        for kind, name in sorted(self.versions):
            undated = kind, model_names.strip_date(name)
            if undated[1] != name and undated not in self.versions:
                snapshots.setdefault(undated, []).append((kind, name))
        return {
            undated: keys[-1]
            for undated, keys in snapshots.items()
            if len({self.versions[key][-1].tiers for key in keys}) == 1
        }


@cache
def _load_shipped() -> _PriceList:
    """Read the list that ships with this version, once a process."""
    return _PriceList(price_list.read_shipped())


class PriceBook:
    """Prices by kind and model. Thread-safe; other processes' changes are seen within two seconds.

    `PriceBook()` holds the shipped list, which is read at first use; tests bring their own entries.
    """

    def __init__(
        self, entries: Iterable[Price] | None = None, store: Store | None = None, check_s: float = 2.0
    ) -> None:
        """`check_s`: seconds after which the database is asked whether prices have changed."""
        self._check_s = check_s
        self._given = None if entries is None else list(entries)
        self._store = store
        self._own: _Own | None = None if store is not None else _Own()
        self._reading = threading.Lock()
        self._next_check = 0.0
        self._dearest: dict[str, tuple[_Own, date, Price | None]] = {}  # by kind

    def price(self, kind: str, model: str, at: datetime) -> Price | None:
        """The price in force at a moment, or None when nobody knows one."""
        own = self._kept()
        for key in model_names.list_model_keys(kind, model):
            price = _find_newest(own.entries.get(key, ()), at) or self._from_list(key, at)
            if price is not None:
                return price
        if model_names.is_free_variant(kind, model):
            return build_plain_price(kind, model, ALWAYS, Rates(0, 0), "free")
        for key in model_names.list_alias_keys(kind, model):
            if (snapshot := self._list.snapshots.get(key)) and (price := self._from_list(snapshot, at)) is not None:
                return price
        for prefix in own.wildcards.get(kind, ()):
            if model.startswith(prefix) and (price := _find_newest(own.entries[kind, f"{prefix}*"], at)) is not None:
                return price
        if kind == ProviderKind.SCRIPTED:
            return _build_scripted_price(model)
        return build_plain_price(kind, model, ALWAYS, Rates(0, 0), "free") if is_free(kind) else None

    def dearest(self, kind: str, at: datetime) -> Price | None:
        """The dearest price in force of a kind: what is held for a model that nobody has a price for; None without."""
        if kind == ProviderKind.SCRIPTED:
            return _build_scripted_price("priced")
        own = self._kept()
        cached = self._dearest.get(kind)
        if cached is None or cached[0] is not own or cached[1] != at.date():
            names = {name for of, name in (*self.shipped, *own.entries) if of == kind and not name.startswith("tool:")}
            priced = [price for name in names if (price := self.price(kind, name, at)) is not None]
            dearest = max(priced, key=_bound_thousand_tokens, default=None)
            cached = self._dearest[kind] = (own, at.date(), dearest)
        return cached[2]

    def cost(self, price: Price | None, usage: Usage, reported_nano: int | None = None) -> Cost:
        """Compute what a call's own tokens cost by a price that was looked up before (None: there is no price).

        `reported_nano` is the cost that the provider itself stated, in nano-dollars; None where it stated none.
        """
        return compute_cost(price, usage, reported_nano)

    def charge(
        self,
        kind: str,
        model: str,
        at: datetime,
        usage: Usage,
        reported_nano: int | None = None,
    ) -> Cost:
        """Compute what a call costs: its own tokens, those of models it consulted, and what is charged by the use.

        Nano-dollars, None where nobody knows. `reported_nano` is what the provider itself said the whole call costs.
        A model that answered in the place of the one that was asked is charged as itself.
        """
        if usage.details is not None and usage.details.model:
            model = usage.details.model
        price = self.price(kind, model, at)
        if reported_nano == 0 and kind != ProviderKind.OPENROUTER:
            reported_nano = None  # proxies say 0 of models whose price they don't know
        if usage.service_tier:
            usage = replace_struct(usage, service_tier=name_priced_tier(kind, usage.service_tier))
        details = usage.details
        if details is None:
            return compute_cost(price, usage, reported_nano)
        rounds = details.other_models
        if price is None and reported_nano is None and details.uses and not usage.total_tokens:
            own = Cost(0, "priced", None)  # charged by its uses alone
        else:
            own = compute_cost(price, subtract_rounds(usage, rounds) if rounds else usage, reported_nano)
        if own.price_id == PROVIDER_SAID:
            return own
        consulted = [self.charge(kind, model_round.model or model, at, model_round.usage) for model_round in rounds]
        fees = [self._fee(kind, model, use, at, number) for use, number in details.uses.items()]
        whole = add_costs(own, consulted, fees)
        return replace_struct(whole, status="partial") if details.uncounted and whole.status == "priced" else whole

    def use_fee(self, kind: str, model: str, use: str, at: datetime) -> int | None:
        """Nano-dollars that one use of something charged apart costs; None where nobody knows."""
        maker = f"{model.partition('/')[0]}/" if kind == ProviderKind.LITELLM else ""
        price = self.price(kind, f"{USE_PREFIX}{maker}{use}", at)
        return None if price is None else 0 if price.is_free else price.rates.request

    def _fee(self, kind: str, model: str, use: str, at: datetime, number: int) -> int | None:
        fee = self.use_fee(kind, model, use, at)
        return None if fee is None else fee * number

    def own(self) -> Mapping[_Key, Sequence[Price]]:
        """Every version of the team's own entries by kind and model, the oldest first."""
        return self._kept().entries

    def refresh(self) -> None:
        """Take in what stands in SQL now; a service calls it after a change and before a question about now."""
        if self._store is None:
            return
        with self._reading:
            self._own = self._read(self._store, self._own)
            self._next_check = time.monotonic() + self._check_s

    def warm(self) -> None:
        """Read the shipped list now, before the first call asks for a price."""
        _ = self.shipped

    @property
    def shipped(self) -> Mapping[_Key, Sequence[Price]]:
        """The shipped list by kind and model, the oldest version first."""
        return self._list.versions

    @cached_property
    def _list(self) -> "_PriceList":
        return _load_shipped() if self._given is None else _PriceList(self._given)

    def __len__(self) -> int:
        return sum(len(versions) for price_lists in (self.shipped, self.own()) for versions in price_lists.values())

    def _from_list(self, key: _Key, at: datetime) -> Price | None:
        versions = self.shipped.get(key)
        return (_find_newest(versions, at) or versions[0]) if versions else None

    def _kept(self) -> _Own:
        """Return the team's own prices from memory; only the first call waits for the database.

        Once they are due for a check, a thread reads them again while the prices in memory go on to hold.
        """
        if self._own is None:
            self._follow()
        elif self._store is not None and time.monotonic() >= self._next_check:
            self._next_check = time.monotonic() + self._check_s
            threading.Thread(target=self._follow, name="prices", daemon=True).start()
        return self._own or _Own()

    def _follow(self) -> None:
        """Refresh, or go on with what was known when the database can't be asked."""
        try:
            self.refresh()
        except (SQLAlchemyError, LLMManagerError) as error:
            self._own = self._own or _Own()
            log.warning("The team's own prices can't be read, those known go on to hold: %s", error)

    @staticmethod
    def _read(store: Store, cached: _Own | None) -> _Own:
        with store.read() as connection:
            settings = installation_settings.c
            revision = connection.scalar(select(settings.value).where(settings.name == _REVISION))
            if cached is not None and cached.revision == revision:
                return cached
            rows = connection.execute(select(prices_table)).all()
        entries = _group_by_key(
            Price(r.kind, r.model, r.valid_from, price_list.build_tiers(r.rates), r.source, r.id) for r in rows
        )
        wildcards: dict[str, list[str]] = {}
        for kind, name in sorted(entries, key=lambda key: -len(key[1])):
            if name.endswith("*"):
                wildcards.setdefault(kind, []).append(name[:-1])
        return _Own(revision, entries, wildcards)


def mark_changed(connection: Connection) -> None:
    """Tell every process that the team's own entries change; writers of them wait for each other here."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    values = {"value": make_id(), "updated_at": utc_now()}
    statement = insert(installation_settings).values(name=_REVISION, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=values))


def _find_newest(versions: Iterable[Price], at: datetime) -> Price | None:
    """The last of the versions, which are in order, that began at or before a moment."""
    newest = None
    for price in versions:
        if price.valid_from > at:
            break
        newest = price
    return newest


def _group_by_key(prices: Iterable[Price]) -> dict[_Key, list[Price]]:
    versions_of: dict[_Key, list[Price]] = {}
    for price in prices:
        versions_of.setdefault((price.kind, price.model), []).append(price)
    for versions in versions_of.values():
        versions.sort(key=lambda price: price.valid_from)
    return versions_of


def _bound_thousand_tokens(price: Price) -> int:
    """Compute the most that a call of 1,000 prompt and 1,000 answer tokens can cost, in nano-dollars."""
    return price.rates.bound_nano(1_000, 1_000, 0)


def _build_scripted_price(model: str) -> Price | None:
    parts = {part.partition(":")[0] for part in model.split("+")}
    if "unpriced" in parts or model.startswith(USE_PREFIX):
        return None
    rates = Rates(2_500_000_000, 10_000_000_000, 250_000_000) if "priced" in parts else Rates(0, 0)
    return build_plain_price(ProviderKind.SCRIPTED, model, ALWAYS, rates, "scripted" if "priced" in parts else "free")

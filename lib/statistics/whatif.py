"""What if: logged traffic priced as if it had run on another model, beside what it has cost.

Of each call its own tokens are priced, at the other model's price of its day and of the way in which it was served.
Tokens that came from a cache have two prices: with the hits they had, at the other model's cache prices, and as plain
input. Within one kind of provider the first holds; across kinds nobody knows what the other cache would have kept, and
the cost is a range.

Calls that the other model could not have served stay where they are, at what they have cost, and are counted by the
first reason. Calls whose cost is not known, or only in part, and those without known tokens are compared with nothing,
and counted too: what a part of a cost would save is no saving.
"""
# ruff: noqa: S608 - names in SQL are ours; values are bound

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
from sqlalchemy import select

from lib.access.permissions import Actor, Permission
from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import providers
from lib.errors import InvalidInput
from lib.providers.discovery import Models
from lib.providers.kinds import ProviderKind
from lib.providers.models import ModelFacts
from lib.providers.prices.price_book import PriceBook
from lib.statistics import other_prices
from lib.statistics.cube import Query, join
from lib.statistics.filters import StatisticsFilter
from lib.statistics.measures import Dimension
from lib.statistics.other_prices import Stretch
from lib.statistics.queries import Statistics
from lib.statistics.traffic_moves import Move, Stays

BY = (Dimension.APP, Dimension.MODEL, Dimension.CONFIGURATION, Dimension.PROVIDER, Dimension.USER)
_KINDS = {kind.value for kind in ProviderKind}


_NEEDS = {"vision": ("pictures > 0", Stays.NO_IMAGES), "tools": ("needs_tools", Stays.NO_TOOLS)}
_NEEDS["json"] = ("needs_json", Stays.NO_JSON)
_MOVES = "moves"
_UNPRICED = "unpriced"
_UNCOUNTED = "uncounted"


@dataclass(frozen=True)
class TargetModel:
    """Another model: its kind of provider, what is known of it, its prices within the range."""

    kind: str
    facts: ModelFacts
    prices: Sequence[Stretch]

    @property
    def name(self) -> str:
        """The kind and the model: `openai/gpt-4.1-mini`."""
        return f"{self.kind}/{self.facts.model}"


class WhatIf:
    """The service. What an actor does not see is not priced."""

    def __init__(self, store: Store, statistics: Statistics, book: PriceBook, models: Models) -> None:
        self._store = store
        self._statistics = statistics
        self._book = book
        self._models = models

    def compare(
        self, actor: Actor, filters: StatisticsFilter, models: Iterable[str], by: Dimension = Dimension.APP
    ) -> list[Move]:
        """The traffic of each value of a dimension on each of the models (`kind/model` or `provider/model`).

        The most expensive value first. InvalidInput where a model has no price.
        """
        self._book.refresh()
        kinds = self._registered()
        served = self._served(actor, filters)
        moves = [
            move
            for name in dict.fromkeys(models)
            for move in self._moves(actor, filters, self._target(name, filters, kinds, served), by, kinds)
        ]
        spent = {move.value: 0 for move in moves}
        for move in moves:
            spent[move.value] = max(spent[move.value], move.cost_nano + move.stays_nano)
        order = {name: n for n, name in enumerate(dict.fromkeys(move.model for move in moves))}
        return sorted(moves, key=lambda move: (-spent[move.value], move.value or "", order[move.model]))

    def plan(
        self, actor: Actor, filters: StatisticsFilter, choices: Mapping[str, str], by: Dimension = Dimension.APP
    ) -> list[Move]:
        """Each value on the model that was chosen for it; values without a choice are not in it."""
        moves = self.compare(actor, filters, choices.values(), by)
        chosen_models = {value: self._name(model) for value, model in choices.items()}
        return [move for move in moves if move.value is not None and chosen_models.get(move.value) == move.model]

    def offered(self, actor: Actor) -> list[str]:
        """The models that answer in words and have a price now, of the kinds of provider registered here, by name."""
        actor.require(Permission.VIEW_STATS)
        kinds = set(self._registered().values())
        now = utc_now()
        priced = {
            (kind, model)
            for prices in (self._book.shipped, self._book.own())
            for kind, model in prices
            if kind in kinds and not model.endswith("*") and not model.startswith("ft:")
        }
        return sorted(f"{kind}/{model}" for kind, model in priced if self._answers(kind, model, now))

    def _answers(self, kind: str, model: str, now: datetime) -> bool:
        facts = self._models.find(kind, model)
        embeds = facts is not None and facts.capabilities is not None and "embeddings" in facts.capabilities
        return not embeds and self._book.price(kind, model, now) is not None

    def _registered(self) -> dict[str, str]:
        """Providers by name, and their kinds."""
        with self._store.read() as connection:
            return {row.name: row.kind for row in connection.execute(select(providers.c.name, providers.c.kind))}

    def _name(self, name: str, kinds: Mapping[str, str] | None = None) -> str:
        provider, _, model = name.partition("/")
        kind = (self._registered() if kinds is None else kinds).get(provider, provider)
        if kind not in _KINDS or not model:
            raise InvalidInput(
                f"There is no model {name}.", "", "Name it provider/model, like openai/gpt-4.1-mini.", field="model"
            )
        return f"{kind}/{model}"

    def _served(self, actor: Actor, filters: StatisticsFilter) -> list[str]:
        """The ways in which calls of the range were served, where that was told."""
        sql = "SELECT DISTINCT service_tier FROM calls"
        frame = self._statistics.answer(actor, filters, lambda rows: join(sql, rows, " AND service_tier IS NOT NULL"))
        return sorted(frame["service_tier"])

    def _target(
        self, name: str, filters: StatisticsFilter, kinds: Mapping[str, str], served: Iterable[str]
    ) -> TargetModel:
        kind, _, model = self._name(name, kinds).partition("/")
        start = filters.start or datetime(1970, 1, 1, tzinfo=UTC)
        end = filters.end or utc_now() + timedelta(days=1)
        price_stretches = other_prices.list_stretches(self._book, kind, model, start, end, served)
        if not any(stretch.price for stretch in price_stretches):
            why = "Nobody states what it costs."
            raise InvalidInput(f"{name} has no price.", why, "Set one on the Prices page.", field="model")
        return TargetModel(kind, self._models.find(kind, model) or ModelFacts(model), price_stretches)

    def _moves(
        self, actor: Actor, filters: StatisticsFilter, target: TargetModel, by: Dimension, kinds: Mapping[str, str]
    ) -> list[Move]:
        moves: dict[str | None, Move] = {}
        frame = self._statistics.answer(actor, filters, lambda rows: _build_statement(rows, target, by))
        for row in frame.to_dict("records"):
            value = row["value"] if isinstance(row["value"], str) else None
            is_same_kind = kinds.get(row["provider"], row["provider"]) == target.kind
            moves[value] = _add_rows(moves.get(value, Move(value, target.name)), row, is_same_kind)
        return list(moves.values())


def _add_rows(move: Move, row: Mapping[Any, Any], same_kind: bool) -> Move:
    """A group of rows taken into a move."""
    numbers = {name: 0 if pd.isna(row[name]) else int(row[name]) for name in _SUMS}
    calls = numbers["calls"]
    state = row["state"]
    if state == _MOVES:
        cached = numbers["cached"]
        plain = numbers["plain"]
        low, high = (cached, cached) if same_kind else (min(cached, plain), max(cached, plain))
        return replace(
            move,
            calls=move.calls + calls,
            cost_nano=move.cost_nano + numbers["cost"],
            low_nano=move.low_nano + low,
            high_nano=move.high_nano + high,
            no_cache_word_calls=move.no_cache_word_calls + numbers["no_cache_word"],
        )
    if state == _UNPRICED:
        return replace(move, unpriced_calls=move.unpriced_calls + calls)
    if state == _UNCOUNTED:
        return replace(move, uncounted_calls=move.uncounted_calls + calls)
    why = Stays(str(state))
    stays = {**move.stays, why: move.stays.get(why, 0) + calls}
    return replace(move, stays=stays, stays_nano=move.stays_nano + numbers["cost"])


_SUMS = ("calls", "cost", "cached", "plain", "no_cache_word")


def _build_statement(condition: Query, target: TargetModel, by: Dimension) -> Query:
    """A row for each value, provider and state: calls, their cost, and what it would be."""
    scale = other_prices.compute_scale(target.prices)
    rows = join(
        f"SELECT {by.column} AS value, provider, started_at, is_final, cost_nano_usd AS cost, needs_tools, needs_json, "
        "has_partial_cost, calls AS counted, "
        f"cache_read_tokens IS NULL AS no_cache_word, {other_prices.COLUMNS} FROM calls",
        condition,
        # Answers from our own cache, and attempts that never came to a model, are nobody's tokens.
        " AND saved_nano_usd IS NULL AND NOT (prompt_tokens IS NULL AND coalesce(cost_nano_usd, 1) = 0)",
    )
    priced = join(
        "SELECT value, provider, is_final, counted, cost, no_cache_word, ", _build_state(target), " AS state, ",
        other_prices.build_cached_cost(target.prices, scale), " AS cached, ",
        other_prices.build_plain_cost(target.prices, scale), " AS plain, ",
        other_prices.build_request_cost(target.prices), " AS each FROM (", rows, ")",
    )  # fmt: skip
    sums = ", ".join(
        f"CAST(sum({other_prices.round_to_nano(name, scale)} + each) AS BIGINT) AS {name}"
        for name in ("cached", "plain")
    )
    return join(
        "SELECT value, provider, state, sum(counted) FILTER (is_final) AS calls, CAST(sum(cost) AS BIGINT) AS cost, "
        f"{sums}, count(*) FILTER (is_final AND no_cache_word) AS no_cache_word FROM (",
        priced,
        ") GROUP BY value, provider, state",
    )


def _build_state(target: TargetModel) -> Query:
    """Whether a row moves, or the first reason why not."""
    facts = target.facts
    query = Query("CASE")
    query = join(  # neither a price's tiers nor a context window can be judged on a sum of calls
        query, f" WHEN prompt IS NULL OR answer IS NULL OR counted IS DISTINCT FROM 1 THEN '{_UNCOUNTED}' WHEN NOT "
    )
    query = join(query, other_prices.has_price(target.prices), f" THEN '{Stays.NO_PRICE}'")
    if facts.context_tokens is not None:
        query = join(query, Query(f" WHEN prompt + answer > ? THEN '{Stays.TOO_LONG}'", [facts.context_tokens]))
    if facts.output_tokens is not None:
        query = join(query, Query(f" WHEN answer > ? THEN '{Stays.TOO_LONG}'", [facts.output_tokens]))
    for capability, (condition, why) in _NEEDS.items():
        if facts.capabilities is not None and capability not in facts.capabilities:
            query = join(query, f" WHEN {condition} THEN '{why}'")
    return join(query, f" WHEN cost IS NULL OR has_partial_cost THEN '{_UNPRICED}' ELSE '{_MOVES}' END")

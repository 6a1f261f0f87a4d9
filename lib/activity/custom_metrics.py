"""Custom metrics of calls: recorded by who made the call, read back one call at a time, and added up by key.

A metric belongs to the call, whatever attempts it took, and may be recorded while the call runs. It keeps the call's
moment, app and user, so figures are those of calls that started in a range. Others' figures need the permission to
view statistics. Percentiles are by nearest rank: values that were really recorded.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    RowMapping,
    Select,
    cast,
    distinct,
    extract,
    func,
    insert,
    or_,
    select,
    true,
)

from lib.access.permissions import Actor, Permission, Role
from lib.activity import visible_calls
from lib.activity.custom_metric import (
    MOST_PER_CALL,
    NUMBERS,
    CustomMetric,
    MetricType,
    NewMetric,
    make_columns,
    read_metric,
)
from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.tables import custom_metrics, open_calls, usage_logs
from lib.errors import InvalidInput, NotFound
from lib.ledger.recent_calls import find_recent

MOST_AT_ONCE = 50
MOST_KEYS = 200
TOP_VALUES = 5
_QUARTER_S = 900  # every zone in use differs from UTC by quarters of an hour
_m = custom_metrics.c


@dataclass(frozen=True)
class MetricRange:
    """Calls that started from `since` on and before `until`, of some apps; None and empty are open."""

    since: datetime | None = None
    until: datetime | None = None
    apps: tuple[str, ...] = ()


@dataclass(frozen=True)
class KeyStatistics:
    """Figures of the metrics under one key. Those of numbers, truths and texts each cover the values of their type."""

    key: str
    count: int
    calls: int
    numbers: int = 0
    mean: float | None = None
    min: float | None = None
    max: float | None = None
    p50: float | None = None
    p95: float | None = None
    sum: float | None = None
    booleans: int = 0
    true_share: float | None = None
    texts: int = 0
    values: tuple[tuple[str, int], ...] = ()  # the most frequent texts, each with how often


@dataclass(frozen=True)
class DayFigure:
    """The numbers and truths under a key on a local day."""

    day: date
    count: int
    mean: float


class Metrics:
    """For who made the calls; the machine's operator may add to any."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def record(
        self,
        actor: Actor,
        call_id: str,
        key: str,
        value: Any,
        type: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> CustomMetric:
        """Add a metric to a call, named by its id or that of its row."""
        return self.record_many(actor, call_id, [NewMetric(key, value, type, metadata)])[0]

    def record_many(self, actor: Actor, call_id: str, metrics: Sequence[NewMetric]) -> Sequence[CustomMetric]:
        """Add all of them or none; InvalidInput names what can't be used, NotFound a call that is not the actor's."""
        actor.require(Permission.TEST_CONFIGS)
        if not 0 < len(metrics) <= MOST_AT_ONCE:
            raise InvalidInput(f"Record 1 to {MOST_AT_ONCE} metrics at once.", field="metrics")
        return find_recent(call_id, partial(self._record, actor, call_id, [make_columns(metric) for metric in metrics]))

    def _record(
        self, actor: Actor, call_id: str, metric_columns: Sequence[Mapping[str, Any]]
    ) -> Sequence[CustomMetric]:
        with self._store.write() as connection:
            call = _read_call(connection, call_id, partial(_may_record, actor), for_update=True)
            recorded = connection.scalar(select(func.count()).where(_m.call_id == call["call_id"])) or 0
            if recorded + len(metric_columns) > MOST_PER_CALL:
                why = f"It has {recorded}; the limit is {MOST_PER_CALL}."
                raise InvalidInput("The call has too many metrics.", why, field="metrics")
            key_id = actor.key.key_id if actor.key else None
            shared_columns = {**call, "api_key_id": key_id, "created_at": utc_now()}
            rows = [{"id": make_id(), **shared_columns, **columns} for columns in metric_columns]
            connection.execute(insert(custom_metrics), rows)
        return [read_metric(row) for row in rows]

    def list(self, actor: Actor, call_id: str) -> Sequence[CustomMetric]:
        """The metrics of a call, oldest first; NotFound when the actor may not see the call."""
        actor.require(Permission.TEST_CONFIGS)
        return find_recent(call_id, partial(self._list, actor, call_id))

    def _list(self, actor: Actor, call_id: str) -> Sequence[CustomMetric]:
        with self._store.read() as connection:
            call = _read_call(connection, call_id, partial(visible_calls.is_visible, actor))
            query = select(custom_metrics).where(_m.call_id == call["call_id"]).order_by(_m.id)
            return [read_metric(row) for row in connection.execute(query).mappings()]

    def statistics(
        self, actor: Actor, key: str | None = None, within: MetricRange = MetricRange()
    ) -> Sequence[KeyStatistics]:
        """Figures of one key, or of every key: the most used first, at most 200."""
        actor.require(Permission.TEST_CONFIGS)
        conditions = _make_conditions(actor, key, within)
        figures_by_key: dict[str, dict[str, Any]] = {}
        with self._store.read() as connection:
            for row in connection.execute(_select_counts(conditions)).mappings():
                figures_by_key[row["key"]] = dict(row)
            for row in connection.execute(_select_numbers(conditions)).mappings():
                if row["key"] in figures_by_key:  # another one has just been recorded, or is too rare
                    figures_by_key[row["key"]] |= row
            for name, value, count, all_of_key in connection.execute(_select_texts(conditions)):
                if (figures := figures_by_key.get(name)) is not None:
                    figures["texts"] = int(all_of_key)
                    figures["values"] = (*figures.get("values", ()), (value, count))
        return [KeyStatistics(**figures) for figures in figures_by_key.values()]

    def numeric_keys(self, actor: Actor) -> Sequence[str]:
        """The keys under which numbers or truths were recorded, by name, at most 200."""
        actor.require(Permission.TEST_CONFIGS)
        conditions = (visible_calls.is_visible(actor, custom_metrics), _m.number.is_not(None))
        with self._store.read() as connection:
            query = select(_m.key).where(*conditions).distinct().order_by(_m.key).limit(MOST_KEYS)
            return connection.scalars(query).all()

    def daily(self, actor: Actor, key: str, zone: ZoneInfo, within: MetricRange = MetricRange()) -> Sequence[DayFigure]:
        """The mean of a key's numbers and truths on each local day that has one, in order."""
        actor.require(Permission.TEST_CONFIGS)
        seconds = extract("epoch", _m.started_at)
        quarter = cast(seconds - seconds % _QUARTER_S, Integer).label("quarter")
        query = select(quarter, func.count(_m.number), func.sum(_m.number))
        query = (
            query.where(*_make_conditions(actor, key, within), _m.number.is_not(None))
            .group_by(quarter)
            .order_by(quarter)
        )
        days: dict[date, tuple[int, float]] = {}
        with self._store.read() as connection:
            for at, count, total in connection.execute(query):
                day = datetime.fromtimestamp(at, zone).date()
                so_far = days.get(day, (0, 0.0))
                days[day] = (so_far[0] + count, so_far[1] + total)
        return [DayFigure(day, count, total / count) for day, (count, total) in days.items()]


def _may_record(actor: Actor, table: FromClause) -> ColumnElement[bool]:
    is_operator = actor.user_id is None and actor.role is Role.SUPER_ADMIN
    return true() if is_operator else visible_calls.is_own(actor, table)


def _read_call(
    connection: Connection, call_id: str, scope: Callable[[FromClause], ColumnElement[bool]], for_update: bool = False
) -> RowMapping:
    """Id, start, app, user and team of a call; asked for while it runs first, since ending moves it to the ledger."""
    for table in (open_calls, usage_logs) if call_id.isprintable() else ():
        columns = (table.c[name] for name in ("call_id", "started_at", "app", "user_id", "team_id"))
        matches_id = or_(table.c.call_id == call_id, table.c.id == call_id)
        query = select(*columns).where(matches_id, scope(table)).order_by(table.c.attempt).limit(1)
        if for_update:  # so that two who record at once count one after the other
            query = query.with_for_update()
        if (row := connection.execute(query).mappings().first()) is not None:
            return row
    raise NotFound("There is no such call.", "It does not exist, or it belongs to somebody else.")


def _make_conditions(actor: Actor, key: str | None, within: MetricRange) -> "list[ColumnElement[bool]]":
    conditions = [visible_calls.is_visible(actor, custom_metrics)]
    if key is not None:
        conditions.append(_m.key == key)
    if within.since is not None:
        conditions.append(_m.started_at >= within.since)
    if within.until is not None:
        conditions.append(_m.started_at < within.until)
    if within.apps:
        conditions.append(_m.app.in_(within.apps))
    return conditions


def _select_counts(conditions: Sequence[ColumnElement[bool]]) -> Select[Any]:
    count = func.count()
    is_truth = _m.type == MetricType.BOOLEAN
    truths = (count.filter(is_truth).label("booleans"), func.avg(_m.number).filter(is_truth).label("true_share"))
    columns = (_m.key, count.label("count"), func.count(distinct(_m.call_id)).label("calls"), *truths)
    return select(*columns).where(*conditions).group_by(_m.key).order_by(count.desc(), _m.key).limit(MOST_KEYS)


def _select_numbers(conditions: Sequence[ColumnElement[bool]]) -> Select[Any]:
    """Each key's numbers in order, then the first whose rank reaches a share of them."""
    rank = func.row_number().over(partition_by=_m.key, order_by=_m.number)
    size = func.count().over(partition_by=_m.key)
    ranked = select(_m.key, _m.number, rank.label("rank"), size.label("size")).where(*conditions, _m.type.in_(NUMBERS))
    r = ranked.subquery().c

    def percentile(percent: int) -> ColumnElement[Any]:
        return func.min(r.number).filter(r.rank * 100 >= r.size * percent).label(f"p{percent}")

    figures = [("mean", func.avg(r.number)), ("min", func.min(r.number))]
    figures += [("max", func.max(r.number)), ("sum", func.sum(r.number))]
    columns = [figure.label(name) for name, figure in figures]
    return select(r.key, func.count().label("numbers"), *columns, percentile(50), percentile(95)).group_by(r.key)


def _select_texts(conditions: Sequence[ColumnElement[bool]]) -> Select[Any]:
    """Key, text, how often, and how many texts the key has: the most frequent few of each key."""
    count = func.count()
    rank = func.row_number().over(partition_by=_m.key, order_by=(count.desc(), _m.value))
    all_of_key = func.sum(count).over(partition_by=_m.key)
    columns = (_m.key, _m.value, count.label("count"), all_of_key.label("texts"), rank.label("rank"))
    t = select(*columns).where(*conditions, _m.type == MetricType.STRING).group_by(_m.key, _m.value).subquery().c
    return select(t.key, t.value, t.count, t.texts).where(t.rank <= TOP_VALUES).order_by(t.key, t.rank)

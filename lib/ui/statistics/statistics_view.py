"""What the statistics page shows, and the same thing as the query of an address.

Reading an address never fails: what can't be understood is left out, and what is the default is not written.
`from_query(view.to_query()) == view`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from lib.activity.call_filter import ActivityFilter
from lib.errors import InvalidInput
from lib.statistics.exchange import RateBook
from lib.statistics.filters import Dimension, Measure, StatisticsFilter
from lib.statistics.measures import Shape, parse_axis, parse_measure
from lib.statistics.periods import (
    Baseline,
    PeriodStep,
    ReportPeriod,
    ReportRange,
    choose_step,
    compare_to_last_year,
    list_steps,
    resolve,
)

LISTS = {"provider": "providers", "model": "models", "app": "apps", "user": "users"}
LISTS |= {"origin": "origins", "status": "statuses", "error_kind": "error_kinds", "configuration": "configurations"}
LISTS |= {"api_key": "api_keys", "served_model": "served_models", "service_tier": "service_tiers", "cache": "caches"}
LISTS |= {"session": "sessions", "parent_call": "parent_calls", "workflow_run": "workflow_runs"}
LISTS |= {"workflow_step": "workflow_steps", "team": "teams", "tag": "tags"}
MEASURES = (Measure.COST, Measure.TOKENS, Measure.CALLS, Measure.FAILED, Measure.LATENCY_P95)
TAB_DIMENSIONS = (
    Dimension.PROVIDER,
    Dimension.MODEL,
    Dimension.APP,
    Dimension.USER,
    Dimension.ORIGIN,
    Dimension.STATUS,
    Dimension.ERROR_KIND,
)
FAILED_STATUSES = ("error", "timeout", "truncated", "orphaned")
_UTC = ZoneInfo("UTC")
_MOST_VALUES = 100
_LONGEST = 200
_Chosen = TypeVar("_Chosen", ReportPeriod, Baseline, Measure, Dimension, PeriodStep, Shape)


@dataclass(frozen=True)
class StatisticsView:
    """Period, filters and the controls of the cards. `step` None: the one that fits the period."""

    period: ReportPeriod = ReportPeriod.DAYS_30
    first: date | None = None
    last: date | None = None
    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    error_kinds: tuple[str, ...] = ()
    configurations: tuple[str, ...] = ()  # ids
    api_keys: tuple[str, ...] = ()  # ids
    served_models: tuple[str, ...] = ()
    service_tiers: tuple[str, ...] = ()
    caches: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    parent_calls: tuple[str, ...] = ()  # ids
    workflow_runs: tuple[str, ...] = ()  # ids
    workflow_steps: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()  # ids
    tags: tuple[str, ...] = ()  # `name=value`: all of them
    compare: Baseline = Baseline.PREVIOUS
    measure: Measure = Measure.COST
    by: Dimension = Dimension.PROVIDER
    step: PeriodStep | None = None
    rows: Dimension = Dimension.PROVIDER
    columns: Dimension = Dimension.APP
    tab: str = "figures"
    split: str = "provider"  # of the tab Explore: axes and a measure by name, a shape
    across: str = ""
    figure: str = Measure.COST.value
    shape: Shape = Shape.TABLE
    other_models: tuple[str, ...] = ()  # of the tab What-if: models to compare with, and what is split
    move: Dimension = Dimension.APP

    @property
    def narrows(self) -> bool:
        """Whether any filter is set."""
        return any(getattr(self, field) for field in LISTS.values())

    def changed(self, name: str, value: Any) -> "StatisticsView":
        """A copy of the view with the field `name` set to `value`; a list becomes a tuple."""
        parts: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value}
        return replace(self, **parts)

    def cleared(self) -> "StatisticsView":
        """A copy of the view without any filter; period and controls stay."""
        none: dict[str, Any] = dict.fromkeys(LISTS.values(), ())
        return replace(self, **none)

    def range(self, zone: ZoneInfo, now: datetime) -> ReportRange:
        """The period as moments, with the range that it is compared with."""
        date_range = resolve(self.period, zone, now, self.first, self.last)
        return compare_to_last_year(date_range, zone, now) if self.compare is Baseline.LAST_YEAR else date_range

    def step_in(self, date_range: ReportRange) -> PeriodStep:
        """The chosen step where it fits the range, else the range's own."""
        offered = list_steps(date_range.start, date_range.end)
        return self.step if self.step in offered else choose_step(date_range.start, date_range.end)

    def filter(self, start: datetime, end: datetime, zone: ZoneInfo, money: RateBook | None = None) -> StatisticsFilter:
        """The filter of the statistics' queries from `start` to `end`, with cost in the currency of `money`."""
        values = {field: getattr(self, field) for field in LISTS.values()}
        values["tags"] = tuple((name, value) for name, _, value in (tag.partition("=") for tag in self.tags))
        return StatisticsFilter(start, end, zone, money=money, **values)

    def rows_behind(self, start: datetime, end: datetime, **narrowed: str | None) -> dict[str, list[str]]:
        """The address of the activity log for a part of the figures: a stretch and values of dimensions."""
        values = {field: getattr(self, field) for field in LISTS.values()}
        if self.measure is Measure.FAILED and not self.statuses:
            values["statuses"] = FAILED_STATUSES
        for name, value in narrowed.items():
            if value is not None:
                values[LISTS[name]] = (*(self.tags if name == "tag" else ()), value)
        return ActivityFilter(start=start, end=end, **values).to_query()

    def to_query(self) -> dict[str, list[str]]:
        """The view as query parameters of an address; defaults are left out."""
        default = StatisticsView()
        query = {
            name: [str(getattr(self, name))]
            for name in ("period", "compare", "measure", "by", "step", "rows", "columns", *_EXPLORED)
            if getattr(self, name) not in (getattr(default, name), None)
        }
        if self.period is ReportPeriod.CUSTOM:
            query |= {"from": [str(self.first)], "to": [str(self.last)]} if self.first else {}
        query |= {"other": list(self.other_models)} if self.other_models else {}
        return query | {name: list(getattr(self, field)) for name, field in LISTS.items() if getattr(self, field)}

    @classmethod
    def from_query(cls, query: Mapping[str, Iterable[str]], zone: ZoneInfo = _UTC) -> "StatisticsView":
        """The view of an address; moments, as the activity log writes them, become their days in `zone`."""
        values = {name: list(texts) for name, texts in query.items()}

        def last(name: str) -> str:
            return (values.get(name) or [""])[-1]

        def read_choice(name: str, kind: type[_Chosen], default: _Chosen, allowed: Iterable[_Chosen]) -> _Chosen:
            return kind(last(name)) if last(name) in set(allowed) else default

        first = _parse_day(last("from"), zone)
        until = _parse_day(last("to"), zone, is_end=True)
        period = read_choice(
            "period", ReportPeriod, ReportPeriod.CUSTOM if first else ReportPeriod.DAYS_30, ReportPeriod
        )
        if period is ReportPeriod.CUSTOM and first is None:
            period = ReportPeriod.DAYS_30
        is_custom = period is ReportPeriod.CUSTOM and first is not None
        return cls(
            period=period,
            first=first if is_custom else None,
            last=(until or first) if is_custom else None,
            measure=read_choice("measure", Measure, Measure.COST, MEASURES),
            by=read_choice("by", Dimension, Dimension.PROVIDER, (Dimension.PROVIDER, Dimension.MODEL)),
            compare=read_choice("compare", Baseline, Baseline.PREVIOUS, Baseline),
            step=PeriodStep(last("step")) if last("step") in set(PeriodStep) else None,
            rows=read_choice("rows", Dimension, Dimension.PROVIDER, TAB_DIMENSIONS),
            columns=read_choice("columns", Dimension, Dimension.APP, TAB_DIMENSIONS),
            tab=last("tab") if last("tab") in TABS else "figures",
            split=_parse_axis(last("split")) or "provider",
            across=_parse_axis(last("across")),
            figure=_parse_figure(last("figure")),
            shape=read_choice("shape", Shape, Shape.TABLE, Shape),
            other_models=_parse_values(values.get("other", ())),
            move=read_choice("move", Dimension, Dimension.APP, Dimension),
            **{field: _parse_values(values.get(name, ())) for name, field in LISTS.items()},
        )


TABS = {"figures": "Figures", "explore": "Explore", "what-if": "What-if", "reconcile": "Reconcile"}
_EXPLORED = ("tab", "split", "across", "figure", "shape", "move")


def _parse_axis(name: str) -> str:
    try:
        return parse_axis(name[:_LONGEST]).value if name else ""
    except InvalidInput:
        return ""


def _parse_figure(name: str) -> str:
    try:
        return parse_measure(name[:_LONGEST]).value
    except InvalidInput:
        return Measure.COST.value


def _parse_values(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value[:_LONGEST] for value in texts if value))[:_MOST_VALUES]


def _parse_day(text: str, zone: ZoneInfo, *, is_end: bool = False) -> date | None:
    try:
        if "T" in text:  # the "+" of an offset that nobody escaped arrives as a space
            moment = datetime.fromisoformat(text.replace(" ", "+")).astimezone(zone)
            day = (moment - timedelta(microseconds=1 if is_end else 0)).date()
        else:
            day = date.fromisoformat(text)
    except (ValueError, OverflowError):
        return None
    return day if 2000 <= day.year <= 2100 else None

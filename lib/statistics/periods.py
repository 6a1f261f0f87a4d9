"""Ranges of time in the report zone, what they are compared with, and the steps they are cut into.

A range is half-open and kept in UTC; its borders are local midnights, so a day may last 23 or 25 hours. DuckDB gets the
zone as a CASE over its changes of offset: exact, and as cheap as UTC. An hour is an hour of real time, cut where the
local hour began at the range's start; the one that a clock set back repeats is two buckets.
"""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

MOST_BUCKETS = 400


class PeriodStep(StrEnum):
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Cycle(StrEnum):
    """Cycles that come round: the local hour of a day (0–23), the day of a week (1 Monday – 7 Sunday)."""

    HOUR_OF_DAY = "hour_of_day"
    WEEKDAY = "weekday"


class Baseline(StrEnum):
    """What a range is compared with."""

    PREVIOUS = "previous"
    LAST_YEAR = "year"


class ReportPeriod(StrEnum):
    DAYS_7 = "7d"
    DAYS_30 = "30d"
    MONTH = "month"
    LAST_MONTH = "last-month"
    QUARTER = "quarter"
    YEAR = "12m"
    CUSTOM = "custom"


_RUNNING_MONTHS = {ReportPeriod.MONTH: 1, ReportPeriod.QUARTER: 3, ReportPeriod.YEAR: 12}  # calendar months, till now


@dataclass(frozen=True)
class ReportRange:
    """`start` ≤ moment < `end`, both UTC, and the stretch it is compared with."""

    start: datetime
    end: datetime
    previous_start: datetime
    previous_end: datetime


@dataclass(frozen=True)
class Bucket:
    """One step of a range. `key` is its local start, unique and sortable: `2026-10-22`, `2026-10-25T02:00+01:00`."""

    key: str
    start: datetime
    end: datetime


def compute_midnight(day: date, zone: ZoneInfo) -> datetime:
    """The moment a local day begins, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def resolve(
    period: ReportPeriod, zone: ZoneInfo, now: datetime, first: date | None = None, last: date | None = None
) -> ReportRange:
    """The range a period means now. What has not happened yet is left out of the comparison, too."""
    first, last = _find_days(period, now.astimezone(zone).date(), first, last)
    start = compute_midnight(first, zone)
    end = compute_midnight(last + timedelta(days=1), zone)
    whole_months = _count_whole_months(first, last)
    if months := _RUNNING_MONTHS.get(period) or whole_months:
        previous_day = _subtract_months(first, months)
    else:
        previous_day = first - (last - first) - timedelta(days=1)
    previous_start = compute_midnight(previous_day, zone)
    if whole_months and end <= now:
        return ReportRange(start, end, previous_start, start)
    elapsed = min(end, _cut_to_five_minutes(now)) - start
    return ReportRange(start, end, previous_start, min(previous_start + max(elapsed, timedelta(0)), start))


def compare_to_last_year(current: ReportRange, zone: ZoneInfo, now: datetime) -> ReportRange:
    """Compare the range with the same local days a year earlier, as far as it has happened; 29 Feb becomes the 28th."""
    days = [moment.astimezone(zone).date() for moment in (current.start, current.end)]
    start, end = (
        compute_midnight(day.replace(year=day.year - 1, day=28 if (day.month, day.day) == (2, 29) else day.day), zone)
        for day in days
    )
    elapsed = min(current.end, _cut_to_five_minutes(now)) - current.start
    return replace(current, previous_start=start, previous_end=min(end, start + max(elapsed, timedelta(0))))


def _find_days(period: ReportPeriod, today: date, first: date | None, last: date | None) -> tuple[date, date]:
    """The first and the last day of a period, both in it."""
    if period is ReportPeriod.CUSTOM and first is not None:
        return min(first, last or first), max(first, last or first)
    if period is ReportPeriod.MONTH:
        return today.replace(day=1), today
    if period is ReportPeriod.LAST_MONTH:
        return _subtract_months(today.replace(day=1), 1), today.replace(day=1) - timedelta(days=1)
    if period is ReportPeriod.QUARTER:
        return today.replace(month=today.month - (today.month - 1) % 3, day=1), today
    if period is ReportPeriod.YEAR:
        return _subtract_months(today.replace(day=1), 11), today
    return today - timedelta(days=6 if period is ReportPeriod.DAYS_7 else 29), today


def shift_period(
    period: ReportPeriod, today: date, first: date | None, last: date | None, step: int
) -> tuple[ReportPeriod, date | None, date | None] | None:
    """Find the period as long as this one that is `step` of them later: whole months go to whole months, days to days.

    Returns a preset by its name, else CUSTOM with its days; None for one that has not begun, or before the year 2000.
    """
    start, end = _find_days(period, today, first, last)
    if months := _RUNNING_MONTHS.get(period) or _count_whole_months(start, end):
        start = _subtract_months(start, -step * months)
        end = _subtract_months(start, -months) - timedelta(days=1)
    else:
        length = end - start + timedelta(days=1)
        start += step * length
        end += step * length
    if start > today or start.year < 2000:
        return None
    for preset in ReportPeriod:
        if preset is not ReportPeriod.CUSTOM and (start, end) == _find_calendar_days(preset, today):
            return preset, None, None
    return ReportPeriod.CUSTOM, start, end


def _find_calendar_days(period: ReportPeriod, today: date) -> tuple[date, date]:
    """A preset's days; of one that is running to the end of its months."""
    start, end = _find_days(period, today, None, None)
    months = _RUNNING_MONTHS.get(period)
    return start, _subtract_months(start, -months) - timedelta(days=1) if months else end


def _count_whole_months(first: date, last: date) -> int:
    """How many whole calendar months two days, both included, span; 0 when they don't begin and end months."""
    after = last + timedelta(days=1)
    if first.day != 1 or after.day != 1:
        return 0
    return (after.year - first.year) * 12 + after.month - first.month


def _subtract_months(day: date, months: int) -> date:
    month = day.year * 12 + day.month - 1 - months
    return date(month // 12, month % 12 + 1, day.day)


def _cut_to_five_minutes(moment: datetime) -> datetime:
    """Cut to five minutes, so that a redraw asks for the same stretch as before."""
    return moment.replace(minute=moment.minute // 5 * 5, second=0, microsecond=0)


def list_steps(start: datetime, end: datetime) -> list[PeriodStep]:
    """The steps that cut a range into a readable number of buckets, finest first."""
    days = (end - start) / timedelta(days=1)
    limits = {
        PeriodStep.HOUR: (0, 10),
        PeriodStep.DAY: (1.5, 190),
        PeriodStep.WEEK: (13, 1400),
        PeriodStep.MONTH: (45, 20_000),
    }
    return [step for step, (least, most) in limits.items() if least <= days <= most] or [PeriodStep.MONTH]


def choose_step(start: datetime, end: datetime) -> PeriodStep:
    """Hours for up to two days, then days, from a half year on weeks or months."""
    days = (end - start) / timedelta(days=1)
    readable = (
        PeriodStep.HOUR
        if days <= 2
        else PeriodStep.DAY
        if days <= 100
        else PeriodStep.WEEK
        if days <= 190
        else PeriodStep.MONTH
    )
    offered = list_steps(start, end)
    return readable if readable in offered else offered[-1]


def list_buckets(start: datetime, end: datetime, step: PeriodStep, zone: ZoneInfo) -> list[Bucket]:
    """Every bucket that touches the range, in order; the first and last may reach beyond it."""
    cut_buckets: list[Bucket] = []
    if step is PeriodStep.HOUR:
        current = start.astimezone(UTC)
        current -= timedelta(seconds=(current.timestamp() + compute_hour_phase(zone, start)) % 3600)
        while current < end:
            cut_buckets.append(Bucket(build_bucket_key(current, step, zone), current, current + timedelta(hours=1)))
            current += timedelta(hours=1)
        return cut_buckets
    day = start.astimezone(zone).date()
    if step is PeriodStep.WEEK:
        day -= timedelta(days=day.weekday())
    elif step is PeriodStep.MONTH:
        day = day.replace(day=1)
    while (begin := compute_midnight(day, zone)) < end:
        day = _add_step(day, step)
        cut_buckets.append(Bucket(build_bucket_key(begin, step, zone), begin, compute_midnight(day, zone)))
    return cut_buckets


def compute_hour_phase(zone: ZoneInfo, start: datetime) -> int:
    """Seconds by which local hours begin before those of UTC: not zero in India, Nepal and a few more."""
    return _compute_offset(start, zone) % 3600


def build_bucket_key(start: datetime, step: PeriodStep, zone: ZoneInfo) -> str:
    """The key of the bucket that begins at `start`."""
    local = start.astimezone(zone)
    return local.isoformat(timespec="minutes") if step is PeriodStep.HOUR else local.date().isoformat()


def _add_step(day: date, step: PeriodStep) -> date:
    if step is PeriodStep.MONTH:
        return _subtract_months(day, -1)
    return day + timedelta(days=7 if step is PeriodStep.WEEK else 1)


@lru_cache(maxsize=64)
def list_offsets(zone: ZoneInfo, start: datetime, end: datetime) -> list[tuple[datetime, int]]:
    """(until, seconds east of UTC) for each stretch of one offset in the range, in order; the last is `end`."""
    changes: list[tuple[datetime, int]] = []
    moment = start
    while moment < end:
        later = min(moment + timedelta(days=1), end)
        if _compute_offset(later, zone) != (offset := _compute_offset(moment, zone)):
            low = moment
            high = later
            while high - low > timedelta(seconds=1):
                middle = (low + (high - low) / 2).replace(microsecond=0)
                middle = max(middle, low + timedelta(seconds=1))
                low, high = (middle, high) if _compute_offset(middle, zone) == offset else (low, middle)
            changes.append((high.replace(microsecond=0), offset))
            later = high
        moment = later
    return [*changes, (end, _compute_offset(end, zone))]


def _compute_offset(moment: datetime, zone: ZoneInfo) -> int:
    delta = moment.astimezone(zone).utcoffset()
    return int(delta.total_seconds()) if delta else 0


def build_local_time_sql(zone: ZoneInfo, start: datetime, end: datetime) -> str:
    """DuckDB's expression for `started_at` as wall time in the zone; holds within the range.

    Microseconds are added as whole numbers, which takes a third of what adding an interval does.
    """
    *changes, (_, last) = list_offsets(zone, start, end)
    if not changes and not last:
        return "started_at"
    cases = "".join(f" WHEN started_at < TIMESTAMP '{_format_utc(until)}' THEN {s}000000" for until, s in changes)
    offset = f"CASE{cases} ELSE {last}000000 END" if cases else f"{last}000000"
    return f"make_timestamp(epoch_us(started_at) + {offset})"


def _format_utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")

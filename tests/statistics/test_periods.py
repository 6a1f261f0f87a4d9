"""Ranges, comparisons and buckets, through changes of the clock."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from lib.statistics.periods import (
    PeriodStep,
    ReportPeriod,
    choose_step,
    compare_to_last_year,
    compute_midnight,
    list_buckets,
    list_offsets,
    list_steps,
    resolve,
    shift_period,
)

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 22, 14, 22, 28, tzinfo=UTC)


@pytest.mark.feature("COST-4")
def test_a_whole_past_month_is_compared_with_the_whole_month_before() -> None:
    october = resolve(ReportPeriod.CUSTOM, BERLIN, NOW, date(2026, 10, 1), date(2026, 10, 31))
    assert october.start == compute_midnight(date(2026, 10, 1), BERLIN)
    assert october.end == compute_midnight(date(2026, 11, 1), BERLIN)
    assert (october.previous_start, october.previous_end) == (compute_midnight(date(2026, 9, 1), BERLIN), october.start)
    march = resolve(ReportPeriod.CUSTOM, BERLIN, NOW, date(2026, 2, 1), date(2026, 2, 28))
    assert march.previous_end == march.start


@pytest.mark.feature("COST-4")
@pytest.mark.parametrize("now", [NOW, datetime(2026, 11, 30, 22, tzinfo=UTC), datetime(2026, 10, 31, 23, tzinfo=UTC)])
def test_last_month_is_the_whole_one_before_beside_the_one_before_that(now: datetime) -> None:
    october = resolve(ReportPeriod.CUSTOM, BERLIN, now, date(2026, 10, 1), date(2026, 10, 31))
    assert resolve(ReportPeriod.LAST_MONTH, BERLIN, now) == october


@pytest.mark.feature("COST-4")
@pytest.mark.parametrize(
    ("period", "days", "step", "there"),
    [
        (ReportPeriod.MONTH, (None, None), -1, (ReportPeriod.LAST_MONTH, None, None)),
        (ReportPeriod.LAST_MONTH, (None, None), 1, (ReportPeriod.MONTH, None, None)),
        (ReportPeriod.LAST_MONTH, (None, None), -1, (ReportPeriod.CUSTOM, date(2026, 9, 1), date(2026, 9, 30))),
        (ReportPeriod.QUARTER, (None, None), -1, (ReportPeriod.CUSTOM, date(2026, 7, 1), date(2026, 9, 30))),
        (ReportPeriod.CUSTOM, (date(2026, 7, 1), date(2026, 9, 30)), 1, (ReportPeriod.QUARTER, None, None)),
        (ReportPeriod.CUSTOM, (date(2028, 2, 1), date(2028, 2, 29)), 1, None),
        (ReportPeriod.DAYS_7, (None, None), -1, (ReportPeriod.CUSTOM, date(2026, 11, 9), date(2026, 11, 15))),
        (ReportPeriod.CUSTOM, (date(2026, 11, 9), date(2026, 11, 15)), 1, (ReportPeriod.DAYS_7, None, None)),
        (ReportPeriod.YEAR, (None, None), -1, (ReportPeriod.CUSTOM, date(2024, 12, 1), date(2025, 11, 30))),
        (ReportPeriod.MONTH, (None, None), 1, None),
        (ReportPeriod.CUSTOM, (date(2000, 1, 1), date(2000, 1, 31)), -1, None),
    ],
)
def test_the_arrows_lead_to_the_period_beside_and_never_into_the_future(
    period: ReportPeriod, days: tuple[date | None, date | None], step: int, there: object
) -> None:
    assert shift_period(period, date(2026, 11, 22), *days, step) == there


@pytest.mark.feature("COST-4")
def test_this_quarter_and_whole_months_are_compared_with_as_many_months_before() -> None:
    quarter = resolve(ReportPeriod.QUARTER, BERLIN, NOW)
    assert quarter.start == compute_midnight(date(2026, 10, 1), BERLIN)
    assert quarter.previous_start == compute_midnight(date(2026, 7, 1), BERLIN)
    summer = resolve(ReportPeriod.CUSTOM, BERLIN, NOW, date(2026, 7, 1), date(2026, 9, 30))
    assert (summer.previous_start, summer.previous_end) == (compute_midnight(date(2026, 4, 1), BERLIN), summer.start)


@pytest.mark.feature("COST-4")
def test_a_running_period_is_compared_with_as_much_of_the_one_before() -> None:
    week = resolve(ReportPeriod.DAYS_7, ZoneInfo("UTC"), NOW)
    assert week.start == datetime(2026, 11, 16, tzinfo=UTC)
    assert week.end == datetime(2026, 11, 23, tzinfo=UTC)
    assert week.previous_start == datetime(2026, 11, 9, tzinfo=UTC)
    assert week.previous_end == datetime(2026, 11, 15, 14, 20, tzinfo=UTC)


@pytest.mark.feature("COST-4")
def test_a_day_has_the_hours_it_really_had() -> None:
    def hours(day: date) -> list[str]:
        start, end = compute_midnight(day, BERLIN), compute_midnight(date.fromordinal(day.toordinal() + 1), BERLIN)
        return [bucket.key for bucket in list_buckets(start, end, PeriodStep.HOUR, BERLIN)]

    autumn, spring = hours(date(2026, 10, 25)), hours(date(2026, 3, 29))
    assert len(autumn) == len(set(autumn)) == 25
    assert len(spring) == 23
    assert "2026-10-25T02:00+02:00" in autumn
    assert "2026-10-25T02:00+01:00" in autumn


@pytest.mark.feature("COST-4")
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca"])
def test_the_stretches_of_one_offset_are_those_of_the_zone(zone: str) -> None:
    start, end = datetime(2019, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    stretches = list_offsets(ZoneInfo(zone), start, end)
    previous = start
    for until, seconds in stretches:
        for moment in (previous, previous + (until - previous) / 2):
            assert moment.astimezone(ZoneInfo(zone)).utcoffset() == timedelta(seconds=seconds)
        previous = until
    assert previous == end


@pytest.mark.feature("COST-4")
def test_steps_fit_the_range() -> None:
    for period in (ReportPeriod.DAYS_7, ReportPeriod.DAYS_30, ReportPeriod.MONTH, ReportPeriod.YEAR):
        found = resolve(period, BERLIN, NOW)
        step = choose_step(found.start, found.end)
        assert step in list_steps(found.start, found.end)
        assert 2 <= len(list_buckets(found.start, found.end, step, BERLIN)) <= 100


@pytest.mark.feature("COST-4")
@pytest.mark.parametrize("zone", [ZoneInfo("UTC"), ZoneInfo("America/New_York"), ZoneInfo("Asia/Kathmandu")])
def test_a_year_earlier_are_the_same_local_days_as_far_as_they_have_come(zone: ZoneInfo) -> None:
    now = datetime(2028, 3, 15, 12, 3, tzinfo=zone)
    found = resolve(ReportPeriod.CUSTOM, zone, now, date(2028, 2, 29), date(2028, 3, 9))
    beside = compare_to_last_year(found, zone, now)
    assert beside.previous_start == compute_midnight(date(2027, 2, 28), zone)
    assert beside.previous_end == beside.previous_start + (found.end - found.start)
    month = compare_to_last_year(resolve(ReportPeriod.MONTH, zone, now), zone, now)
    assert month.previous_start == compute_midnight(date(2027, 3, 1), zone)
    assert month.previous_end - month.previous_start == datetime(2028, 3, 15, 12, 0, tzinfo=zone) - month.start
    over = compare_to_last_year(
        resolve(ReportPeriod.CUSTOM, zone, now, date(2027, 1, 1), date(2027, 12, 31)), zone, now
    )
    assert (over.previous_start, over.previous_end) == (compute_midnight(date(2026, 1, 1), zone), over.start)

"""A filter and its address say the same, and no address breaks the page."""

from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import parse_qs, urlencode
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.activity.call_filter import CUSTOM, LISTS, PERIODS, STATUSES, ActivityFilter

WORDS = st.lists(st.text(max_size=20), max_size=4).map(tuple)
MOMENTS = st.none() | st.datetimes(
    datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.sampled_from([UTC, timezone(timedelta(hours=5.75))])
)
FILTERS = st.builds(
    ActivityFilter,
    period=st.sampled_from([*PERIODS, CUSTOM]),
    start=MOMENTS,
    end=MOMENTS,
    text=st.text(max_size=300),
    **dict.fromkeys(set(LISTS.values()) - {"statuses"}, WORDS),
    statuses=st.lists(st.sampled_from(STATUSES)).map(tuple),
)


@pytest.mark.feature("CALL-6")
@given(FILTERS)
def test_an_address_carries_the_whole_filter(asked: ActivityFilter) -> None:
    address = urlencode(asked.to_query(), doseq=True)
    assert ActivityFilter.from_query(parse_qs(address, keep_blank_values=True)) == asked


@pytest.mark.feature("CALL-6")
@given(st.dictionaries(st.sampled_from([*LISTS, "period", "from", "to", "q", "id"]), st.lists(st.text())))
def test_any_address_is_read(query: dict[str, list[str]]) -> None:
    asked = ActivityFilter.from_query(query)
    assert ActivityFilter.from_query(asked.to_query()) == asked


@pytest.mark.feature("CALL-6")
def test_days_and_bare_moments_are_read_in_the_report_zone() -> None:
    kathmandu = ZoneInfo("Asia/Kathmandu")
    asked = ActivityFilter.from_query({"from": ["2026-10-01"], "to": ["2026-10-31"]}, kathmandu)
    assert asked.period == CUSTOM
    assert asked.start == datetime(2026, 9, 30, 18, 15, tzinfo=UTC)
    assert asked.end == datetime(2026, 10, 31, 18, 15, tzinfo=UTC)
    asked = ActivityFilter.from_query({"from": ["2026-10-01T12:00:00"], "to": ["2026-10-01T12:00:00 05:45"]}, kathmandu)
    assert asked.start == asked.end == datetime(2026, 10, 1, 6, 15, tzinfo=UTC)


@pytest.mark.feature("CALL-6")
@pytest.mark.parametrize("wrong", ["0001-01-01T00:00:00+23:00", "9999-12-31", "31.10.2026", "2026-13-01", "\x00", "T"])
def test_a_moment_that_is_none_is_left_out(wrong: str) -> None:
    asked = ActivityFilter.from_query({"from": [wrong], "to": [wrong], "period": ["eternity"]})
    assert asked == ActivityFilter.from_query(asked.to_query())


@pytest.mark.feature("CALL-6")
def test_a_period_becomes_a_moment_once() -> None:
    now = datetime(2026, 10, 31, 14, 0, tzinfo=UTC)
    fixed = ActivityFilter(period="7d", apps=("support-bot",)).at(now)
    assert (fixed.start, fixed.end, fixed.apps) == (now - timedelta(days=7), None, ("support-bot",))
    assert fixed.at(now + timedelta(days=1)) == fixed

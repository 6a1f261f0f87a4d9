"""The panel of a call: how long it took, with all its attempts and the waits between them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lib.activity.call_rows import ActivityRow
from lib.ui.activity.call_panel import measure_call

BEGAN = datetime(2026, 11, 30, 12, tzinfo=UTC)


def attempt(number: int, after_ms: int, took_ms: int | None) -> ActivityRow:
    at = BEGAN + timedelta(milliseconds=after_ms)
    row = ActivityRow(f"{number}", "call", number, at, "ok", "openai", "m", "bot", None, None, "gateway")
    return replace(row, execution_time_ms=took_ms)


@pytest.mark.feature("CALL-6")
@pytest.mark.parametrize(
    ("attempts", "milliseconds"),
    [
        ([], None),
        ([attempt(1, 0, 40)], 40),
        ([attempt(1, 0, 5), attempt(2, 505, 6)], 511),
        ([attempt(1, 0, 5), attempt(2, 505, None)], None),
    ],
)
def test_a_call_lasts_from_its_first_attempt_to_the_end_of_its_last(
    attempts: list[ActivityRow], milliseconds: float | None
) -> None:
    assert measure_call(attempts) == milliseconds

"""Numbers read as docs/look.md says."""

import pytest

from lib.ui import format


@pytest.mark.parametrize(
    ("value", "text"), [(None, "—"), (4182, "4,182"), (176_325, "176.3k"), (305_546_076, "305.55M")]
)
def test_counts(value: float | None, text: str) -> None:
    assert format.format_count(value) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (None, "—"),
        (840, "840 ms"),
        (1240, "1.24 s"),
        (9_999, "10.0 s"),
        (12_400, "12.4 s"),
        (125_000, "2 min 05 s"),
        (59_990, "1 min 00 s"),
    ],
)
def test_durations(ms: float | None, text: str) -> None:
    assert format.format_duration(ms) == text


@pytest.mark.parametrize(("fraction", "text"), [(None, "—"), (0.379, "37.9 %"), (0.0087, "0.87 %"), (0, "0.0 %")])
def test_shares(fraction: float | None, text: str) -> None:
    assert format.format_share(fraction) == text


def test_a_column_is_as_wide_as_its_largest_figure() -> None:
    assert format.compute_column_width(["$1.00", "$10,000,000.00"], 60) > 14 * 7
    assert format.compute_column_width([], 60) == 60


@pytest.mark.feature("LOOK-1")
@pytest.mark.parametrize(
    ("octets", "text"), [(0, "0 bytes"), (1, "1 byte"), (1023, "1,023 bytes"), (4_100, "4 kB"), (1_300_000, "1.2 MB")]
)
def test_a_size_is_never_nought_where_there_is_something(octets: int, text: str) -> None:
    assert format.format_size(octets) == text

"""Ids are UUIDv7, unique and in the order they were made."""

import uuid
from concurrent.futures import ThreadPoolExecutor

from lib.clock import make_id, make_id_at, parse_id_time, shorten_id


def test_ids_sort_by_their_making_even_within_a_millisecond() -> None:
    made = [make_id() for _ in range(5000)]
    assert made == sorted(made)
    assert {uuid.UUID(i).version for i in made} == {7}


def test_ids_of_many_threads_never_meet() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: make_id(), range(4000)))
    assert len(set(made)) == 4000


def test_the_id_of_a_moment_is_repeatable() -> None:
    assert (
        make_id_at(1_700_000_000_000, 1, 2) == make_id_at(1_700_000_000_000, 1, 2) < make_id_at(1_700_000_000_001, 0, 0)
    )


def test_an_id_tells_when_it_was_made() -> None:
    assert parse_id_time(make_id_at(1_700_000_000_123)) == 1_700_000_000.123
    assert [parse_id_time(text) for text in (str(uuid.uuid4()), "a word", "zzzzzzzz-zzzz-7zzz-zzzz-zzzzzzzzzzzz")] == [
        None
    ] * 3


def test_short_ids_of_one_moment_differ() -> None:
    assert len({shorten_id(make_id_at(1_700_000_000_000)) for _ in range(1000)}) > 990

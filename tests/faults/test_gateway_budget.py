"""A hundred calls at once on a small hard budget: it is used up and not passed, whatever serves them."""

from pathlib import Path

import pytest

from benchmarks.gateway_rig.load import Load, measure
from benchmarks.gateway_rig.product import COST_NANO, Installation, free_port, module
from tests.counts import cases

pytestmark = [pytest.mark.feature("GATE-4"), pytest.mark.feature("COST-2")]
LIMIT_NANO = 40 * COST_NANO
LARGEST_HOLD_NANO = 200_000  # of one call: its prompt's tokens with a margin, and 256 tokens of answer


@pytest.mark.parametrize(
    ("database_kind", "workers"),
    cases(("sqlite", 4), ("postgresql", 4), full=[("sqlite", 1), ("postgresql", 1)]),
)
def test_a_hundred_calls_at_once_never_pass_a_budget(database_url: str, tmp_path: Path, workers: int) -> None:
    upstream, port = free_port(), free_port()
    with module("upstream", upstream, 2):
        installation = Installation(tmp_path, upstream, database_url, LIMIT_NANO)
        with installation.gateway(port, workers):
            streamed = measure(Load(port, 100, True, 60.0, installation.key, most=150, ids=True))
            plain = measure(Load(port, 100, False, 60.0, installation.key, most=150, ids=True))
            alone = measure(Load(port, 1, False, 60.0, installation.key, most=50, ids=True))
        for found, asked in ((streamed, 150), (plain, 150), (alone, 50)):
            assert set(found.statuses) == {"429"}
            assert found.calls + found.statuses["429"] == asked
        acknowledged = [*streamed.ids, *plain.ids, *alone.ids]
        assert installation.unwritten(acknowledged) == set()
        sums = installation.sums()
        assert sums.faults(len(acknowledged)) == []
        assert LIMIT_NANO - LARGEST_HOLD_NANO < sums.spent <= LIMIT_NANO

"""What a call asked of its model is read out of its parameters, on both databases alike."""

from typing import Any

import pytest

from lib.db.engine import Store
from lib.statistics.copy.mirror import Mirror
from tests.statistics.ledger_rows import call, write

_SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}


@pytest.mark.feature("COST-8")
@pytest.mark.parametrize(
    ("parameters", "tools", "json"),
    [
        ({}, False, False),
        ({"tools": [{"type": "function"}], "temperature": 1}, True, False),
        ({"tools": None, "response_format": None}, False, False),
        ({"tools": "[not kept]", "response_format": "[not kept]"}, True, True),
        ({"stop": ['"tools"', "format"], "user": "tools"}, False, False),
        ({"response_format": {"type": "text"}}, False, False),
        ({"response_format": _SCHEMA}, False, True),
        ({"response_format": {"type": "json_object"}}, False, True),
        ({"text": {"format": {"type": "json_schema"}}}, False, True),
        ({"text": {"format": {"type": "text"}}}, False, False),
    ],
)
def test_tools_and_json_are_seen(store: Store, parameters: dict[str, Any], tools: bool, json: bool) -> None:
    write(store, call(parameters=parameters, images=2, cache_write_1h_tokens=7))
    mirror = Mirror(store)
    mirror.refresh()
    found = mirror.rows("SELECT needs_tools, needs_json, images, cache_write_1h_tokens FROM calls")
    assert found == [(tools, json, 2, 7)]
    mirror.close()


@pytest.mark.feature("COST-6")
def test_a_cost_that_only_a_mistake_can_be_is_unknown_and_spoils_no_sum(store: Store) -> None:
    for cost in (5 * 10**18, 5 * 10**18, -(2**63), 10**18, 7):
        write(store, call(cost_nano_usd=cost))
    mirror = Mirror(store)
    mirror.refresh()
    found = mirror.rows("SELECT count(*), CAST(sum(cost_nano_usd) AS BIGINT), count(cost_nano_usd) FROM calls")
    assert found == [(5, 10**18 + 7, 2)]
    mirror.close()

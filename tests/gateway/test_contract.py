"""What a client uses of the HTTP interface stays: names, addresses, statuses, parameters, fields."""

import json
from pathlib import Path

import pytest

from lib.gateway.api.openapi import build_document
from tests.gateway.contract import flatten

pytestmark = pytest.mark.feature("GATE-5")
RELEASED = json.loads((Path(__file__).parent / "http_contract.json").read_text())
NOW = flatten(build_document())


@pytest.mark.parametrize("operation", RELEASED)
def test_nothing_that_a_client_uses_disappears(operation: str) -> None:
    before, now = RELEASED[operation], NOW[operation]
    assert (now["name"], set(before["statuses"]) - set(now["statuses"])) == (before["name"], set())
    for place in ("parameters", "body"):
        assert not set(before[place]) - set(now[place]), "what could be sent can be sent"
        required = {name for name, is_required in now[place].items() if is_required}
        assert required <= {name for name, is_required in before[place].items() if is_required}, "and no more has to be"
    for status, fields in before["answers"].items():
        needed = {name for name, is_required in fields.items() if is_required}
        assert not needed - {name for name, is_required in now["answers"][status].items() if is_required}
        assert not set(fields) - set(now["answers"][status])

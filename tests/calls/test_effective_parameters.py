"""What a call is sent with is stored with it, and what was left out is said: in its tags and on its monitor."""

from collections.abc import Iterator

import pytest
from sqlalchemy import func, select

from lib.configs.overrides import OverrideDraft
from lib.db.tables import usage_logs
from lib.errors import InvalidInput
from lib.settings import Settings
from tests.calls.rig import AMIRA, JONAS, Rig

pytestmark = pytest.mark.feature("CFG-5")


@pytest.fixture
def rig(settings: Settings) -> Iterator[Rig]:
    rig = Rig(settings)
    yield rig
    rig.services.close()


def test_overrides_shape_the_call_and_are_stored_with_it(rig: Rig) -> None:
    create = rig.services.overrides.create
    create(AMIRA, OverrideDraft("short", {"max_tokens": 3}, app="tests"))
    create(AMIRA, OverrideDraft("cool", {"temperature": 0}, context="summary"))
    view = rig.run("lorem:50", context="summary", actor=JONAS)
    assert view.finish_reason == "length"
    assert rig.rows(view.call_id)[0]["parameters"] == {"max_tokens": 3, "temperature": 0}
    plain = rig.run("lorem:50", app="elsewhere", parameters={"max_tokens": 5})
    assert rig.rows(plain.call_id)[0]["parameters"] == {"max_tokens": 5}


def test_a_parameter_the_model_does_not_take_stops_the_call_before_it_is_sent(rig: Rig) -> None:
    with pytest.raises(InvalidInput, match="does not take seed"):
        rig.run("echo", parameters={"seed": 1})
    with rig.services.store.read() as connection:
        assert connection.scalar(select(func.count()).select_from(usage_logs)) == 0


def test_or_is_left_out_and_said(rig: Rig) -> None:
    request = rig.request("echo", parameters={"seed": 1, "temperature": 0.5}, tags={"ticket": "7"})
    configuration = rig.services.configurations.get(AMIRA, request.configuration or "")
    rig.services.configurations.update(AMIRA, configuration.id, configuration.revision, unsupported_parameters="drop")
    view = rig.services.calls.run(request)
    assert view.status == "ok"
    row = rig.rows(view.call_id)[0]
    assert row["parameters"] == {"temperature": 0.5}
    assert row["tags"] == {"ticket": "7", "dropped_parameters": ["seed"]}
    assert any(event.name == "left out" and "seed" in event.detail for event in view.events)

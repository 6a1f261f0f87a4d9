"""What a call with an API key counts for is the key's, whatever the request says."""

from collections.abc import Iterator

import pytest

from lib.access.permissions import OPERATOR, Actor
from lib.errors import PermissionDenied
from lib.settings import Settings
from tests.calls.rig import AMIRA, Rig

pytestmark = pytest.mark.feature("GATE-3")


@pytest.fixture
def rig(settings: Settings) -> Iterator[Rig]:
    rig = Rig(settings)
    yield rig
    rig.services.close()


def bearer(rig: Rig, **scope: object) -> Actor:
    token, _ = rig.services.api_keys.create(OPERATOR, **({"app": "bot"} | scope))  # type: ignore[arg-type]
    key = rig.services.api_keys.authenticate(token)
    assert key is not None
    assert key.actor is not None
    return key.actor


def test_app_key_and_user_in_the_ledger_are_the_keys(rig: Rig) -> None:
    actor = bearer(rig)
    view = rig.services.calls.run(rig.request("say:ready", actor=actor, app="somebody-elses"))
    [row] = rig.rows(view.call_id)
    assert actor.key is not None
    assert (row["app"], row["api_key_id"], row["user_id"]) == ("bot", actor.key.key_id, actor.user_id)
    view = rig.services.calls.run(rig.request("say:ready", actor=AMIRA, app="mine"))
    [row] = rig.rows(view.call_id)
    assert (row["app"], row["api_key_id"]) == ("mine", None)


def test_a_model_out_of_scope_is_refused(rig: Rig) -> None:
    actor = bearer(rig, models=["support-*"])
    request = rig.request("say:ready", actor=actor)
    with pytest.raises(PermissionDenied):
        rig.services.calls.start(request)
    rig.services.configurations.create(AMIRA, slug="support-bot", app="x", provider="scripted", model="say:ready")
    allowed = rig.request("say:ready", actor=actor)
    allowed = type(allowed)(actor=actor, messages=allowed.messages, configuration="support-bot")
    assert rig.services.calls.run(allowed).status == "ok"

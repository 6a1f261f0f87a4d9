"""Remembered answers are found by those alone for whom they were kept: no key of nobody's, and no team, is another."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from lib.access.grants import KeyGrant
from lib.access.permissions import Actor, Permission, Role, make_actor
from lib.cache.namespace import _encode_scope
from lib.cache.policy import CacheRules, SharingScope
from lib.clock import make_id
from lib.errors import NotFound
from lib.settings import Settings
from tests.cache.rig import AMIRA, CacheRig

pytestmark = pytest.mark.feature("CACHE-2")
BEN = make_actor("u1", "ben", Role.DEVELOPER, {1: None, 2: None}, 1)
NOBODY = replace(BEN, user_id=None, key=KeyGrant("k1", "bot"))


def scope(actor: Actor, chosen: SharingScope, **fields: Any) -> bytes:
    request = SimpleNamespace(actor=actor, wire=None, extra={}, parameters=fields)
    plan: Any = SimpleNamespace(request=request, app="bot")
    return _encode_scope(plan, chosen)


@pytest.mark.parametrize(
    ("chosen", "first", "second"),
    [
        (SharingScope.PERSON, BEN, replace(BEN, user_id="u2")),
        (SharingScope.PERSON, NOBODY, replace(NOBODY, key=KeyGrant("k2", "bot"))),
        (SharingScope.PERSON, NOBODY, BEN),
        (SharingScope.TEAM, BEN, replace(BEN, team_id=2)),
        (SharingScope.APP, BEN, replace(BEN, team_id=2)),
    ],
)
def test_who_is_another_has_another_memory(chosen: SharingScope, first: Actor, second: Actor) -> None:
    assert scope(first, chosen) == scope(first, chosen)
    assert scope(first, chosen) != scope(second, chosen)


def test_whom_a_program_asks_for_is_another_person() -> None:
    assert scope(BEN, SharingScope.PERSON, user="a") != scope(BEN, SharingScope.PERSON, user="b")


def test_another_teams_administrator_sees_changes_and_forgets_nothing(settings: Settings) -> None:
    rig = CacheRig(settings)
    try:
        assert rig.tiers("What is the capital of France?") == ["none"]
        call = rig.ask("What is the capital of France?")
        cache = rig.services.cache
        configuration_id = rig.configurations.get(AMIRA, rig.slug).id
        other = make_actor("u9", "eve", Role.DEVELOPER, {2: Role.TEAM_ADMINISTRATOR}, 2)
        assert other.can(Permission.EDIT_CONFIGS)
        for deed in (
            lambda: cache.rules(other, configuration_id),
            lambda: cache.change_rules(other, configuration_id, CacheRules()),
            lambda: cache.label(other, make_id(), "different"),
        ):
            with pytest.raises(NotFound):
                deed()
        assert cache.figures(other) == []
        assert cache.daily(other) == []
        assert cache.proofs(other) == []
        assert cache.decisions(other, configuration_id) == []
        assert cache.purge(other, everything=True) == 0
        assert cache.purge(other, configuration_id=configuration_id) == 0
        assert cache.forget_call(other, call.call_id) == 0
        assert cache.purge_own(other) == 0
        assert rig.tiers("What is the capital of France?") == ["exact"]
    finally:
        rig.services.close()

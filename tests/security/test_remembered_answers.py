"""Remembered answers are found by those alone for whom they were kept: no key of nobody's, and no team, is another."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from lib.access.grants import KeyGrant
from lib.access.permissions import Actor, Role, make_actor
from lib.cache.namespace import _scope_of
from lib.cache.policy import SharingScope

pytestmark = pytest.mark.feature("CACHE-2")
BEN = make_actor("u1", "ben", Role.DEVELOPER, {1: None, 2: None}, 1)
NOBODY = replace(BEN, user_id=None, key=KeyGrant("k1", "bot"))


def scope(actor: Actor, chosen: SharingScope, **fields: Any) -> bytes:
    request = SimpleNamespace(actor=actor, wire=None, extra={}, parameters=fields)
    plan: Any = SimpleNamespace(request=request, app="bot")
    return _scope_of(plan, chosen)


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

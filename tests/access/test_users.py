"""Accounts: who may make and change them, and that nobody is locked out of the house."""

from collections.abc import Callable

import pytest

from lib.access.permissions import OPERATOR, ROLE_PERMISSIONS, Permission, Role, make_actor
from lib.access.sessions import Sessions
from lib.access.users import Users
from lib.db.engine import Store
from lib.errors import Conflict, InvalidInput, NotFound, PermissionDenied, Throttled

GOOD = "correct horse battery"


@pytest.mark.feature("ACC-1")
def test_the_five_roles_hold_twelve_twelve_ten_eight_and_five_permissions() -> None:
    assert [len(ROLE_PERMISSIONS[role]) for role in Role] == [12, 12, 10, 8, 5]
    assert len(Permission) == 12
    for role in Role:
        actor = make_actor("u", "amira", role)
        for permission in Permission:
            if permission in ROLE_PERMISSIONS[role]:
                actor.require(permission)
            else:
                with pytest.raises(PermissionDenied, match=permission.value):
                    actor.require(permission)


@pytest.mark.feature("ACC-1")
def test_only_a_super_admin_manages_people(store: Store) -> None:
    users = Users(store)
    made = users.create(OPERATOR, "amira", GOOD, Role.SUPER_ADMIN)
    assert [user.name for user in users.list(OPERATOR)] == ["amira"]
    assert users.names([made.id, "unknown"]) == {made.id: "amira"}
    for role in (Role.MASTER_DEVELOPER, Role.DEVELOPER, Role.ADMINISTRATOR):
        actor = make_actor("u", "low", role)
        for forbidden in (
            lambda a=actor: users.list(a),
            lambda a=actor: users.create(a, "eve", GOOD, Role.SUPER_ADMIN),
            lambda a=actor: users.set_role(a, made.id, Role.ADMINISTRATOR),
            lambda a=actor: users.set_active(a, made.id, False),
            lambda a=actor: users.set_password(a, made.id, GOOD),
        ):
            with pytest.raises(PermissionDenied):
                forbidden()


def test_names_are_one_whatever_their_case_and_have_a_form(store: Store) -> None:
    users = Users(store)
    users.create(OPERATOR, "Amira", GOOD, "developer")
    with pytest.raises(Conflict, match="taken"):
        users.create(OPERATOR, "amira", GOOD, "developer")
    for bad in ("", "a", "two words", "semi;colon", "x" * 81):
        with pytest.raises(InvalidInput):
            users.create(OPERATOR, bad, GOOD, "developer")
    for bad in ("short", "amirah" * 20, "aaaaaaaaaaaaaaaa", "ünïcödepassword" * 5):
        with pytest.raises(InvalidInput):
            users.create(OPERATOR, "jonas", bad, "developer")
    with pytest.raises(InvalidInput, match="roles are"):
        users.create(OPERATOR, "jonas", GOOD, "king")


@pytest.mark.feature("ACC-1")
def test_one_active_super_admin_always_remains(store: Store) -> None:
    users = Users(store)
    amira = users.create(OPERATOR, "amira", GOOD, Role.SUPER_ADMIN)
    jonas = users.create(OPERATOR, "jonas", GOOD, Role.DEVELOPER)
    with pytest.raises(Conflict, match="has to remain"):
        users.set_role(OPERATOR, amira.id, Role.DEVELOPER)
    with pytest.raises(Conflict, match="has to remain"):
        users.set_active(OPERATOR, amira.id, False)
    with pytest.raises(Conflict, match="yourself"):
        users.set_active(make_actor(amira.id, "amira", Role.SUPER_ADMIN), amira.id, False)
    users.set_role(OPERATOR, jonas.id, Role.SUPER_ADMIN)
    users.set_active(OPERATOR, amira.id, False)
    with pytest.raises(NotFound):
        users.set_active(OPERATOR, "nobody", False)


@pytest.mark.feature("ACC-2")
def test_a_weakened_account_loses_its_sessions(store: Store) -> None:
    users, sessions = Users(store), Sessions(store)
    users.create(OPERATOR, "root", GOOD, Role.SUPER_ADMIN)
    amira = users.create(OPERATOR, "amira", GOOD, Role.DEVELOPER)
    changes: list[Callable[[], object]] = [
        lambda: users.set_role(OPERATOR, amira.id, Role.ADMINISTRATOR),
        lambda: users.set_password(OPERATOR, amira.id, GOOD + "2"),
        lambda: users.set_active(OPERATOR, amira.id, False),
    ]
    for weaken in changes:
        token = sessions.open_for(amira.id)
        assert sessions.find_actor(token) is not None
        weaken()
        assert sessions.find_actor(token) is None
        assert sessions.find_revoked([token]) == {token}


def test_a_person_changes_their_own_password(store: Store) -> None:
    users, sessions = Users(store), Sessions(store)
    amira = users.create(OPERATOR, "amira", GOOD, Role.SUPER_ADMIN)
    actor = make_actor(amira.id, "amira", Role.SUPER_ADMIN)
    with pytest.raises(InvalidInput, match="not right"):
        users.change_own_password(actor, "wrong", "another good password")
    users.change_own_password(actor, GOOD, "another good password")
    assert sessions.login("amira", "another good password", "127.0.0.1")


@pytest.mark.feature("ACC-2")
def test_an_unlocked_screen_is_no_place_to_guess_the_password(store: Store) -> None:
    users = Users(store)
    amira = users.create(OPERATOR, "amira", GOOD, Role.SUPER_ADMIN)
    actor = make_actor(amira.id, "amira", Role.SUPER_ADMIN)
    for _ in range(5):
        with pytest.raises(InvalidInput):
            users.change_own_password(actor, "guess", "another good password")
    with pytest.raises(Throttled):
        users.change_own_password(actor, GOOD, "another good password")

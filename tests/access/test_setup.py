"""The first account needs the set-up code, and is made once."""

import stat
from dataclasses import replace

import pytest

from lib.access.permissions import OPERATOR, Role
from lib.access.setup import Setup
from lib.access.users import Users
from lib.db import schema
from lib.db.engine import Store
from lib.errors import Conflict, InstallationError, InvalidInput
from lib.settings import Settings

GOOD = "correct horse battery"


@pytest.fixture
def house(settings: Settings) -> tuple[Settings, Store, Users]:
    store = Store(settings.database_url)
    schema.upgrade(store)
    return settings, store, Users(store)


@pytest.mark.feature("ACC-1")
def test_the_first_account_needs_the_code_and_is_made_once(house: tuple[Settings, Store, Users]) -> None:
    setup = Setup(*house)
    assert setup.is_needed()
    code = setup.read_code()
    assert code == setup.read_code() == Setup(*house).read_code()  # the same after a restart
    file = house[0].data_dir / "setup-code.txt"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(InvalidInput, match="code is not right"):
        setup.create_administrator("AAAA-BBBB-CCCC", "amira", GOOD)
    with pytest.raises(InvalidInput, match="12 characters"):
        setup.create_administrator(code, "amira", "short")
    user = setup.create_administrator(code.lower().replace("-", " "), "amira", GOOD)
    assert user.role is Role.SUPER_ADMIN
    assert not setup.is_needed()
    assert not file.exists()
    with pytest.raises((Conflict, InvalidInput)):
        setup.create_administrator(code, "eve", GOOD)
    assert [u.name for u in house[2].list(OPERATOR)] == ["amira"]


@pytest.mark.feature("ACC-1")
def test_the_environment_makes_the_first_account_and_no_second(house: tuple[Settings, Store, Users]) -> None:
    settings, store, users = house
    asked = replace(settings, admin_user="amira", admin_password=GOOD)
    made = Setup(asked, store, users).create_from_environment()
    assert made is not None
    assert Setup(replace(asked, admin_user="eve"), store, users).create_from_environment() is None
    assert [u.name for u in users.list(OPERATOR)] == ["amira"]


def test_a_weak_password_in_the_environment_is_said(house: tuple[Settings, Store, Users]) -> None:
    settings, store, users = house
    with pytest.raises(InstallationError, match="LLM_MANAGER_ADMIN"):
        Setup(replace(settings, admin_user="amira", admin_password="short"), store, users).create_from_environment()

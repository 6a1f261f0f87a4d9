"""The Access page: people, their roles and state; a person without the role sees nothing of it."""

from collections.abc import Iterator

import pytest
from visitor import Visitor, press, words

from lib.access.permissions import OPERATOR, Role
from lib.settings import Settings

GOOD = "correct horse battery"
pytestmark = [pytest.mark.feature("ACC-1"), pytest.mark.filterwarnings("default")]


@pytest.fixture
def visitor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    visitor = Visitor(settings, monkeypatch, Role.SUPER_ADMIN)
    yield visitor
    visitor.close()


def test_people_and_the_twelve_permissions_are_listed(visitor: Visitor) -> None:
    visitor.services.users.create(OPERATOR, "jonas", GOOD, Role.DEVELOPER)
    page = visitor.open("access")
    assert list(page.dataframe[0].value["Name"]) == ["amira", "jonas"]
    assert "2 people" in words(page)
    roles = page.table[0].value
    assert len(roles) == 12
    assert [int((roles[role.value] == "✓").sum()) for role in Role] == [12, 12, 8, 5]


def test_a_person_is_added_and_a_bad_password_is_said(visitor: Visitor) -> None:
    page = visitor.draw("lib.ui.access.add_dialog")
    page.text_input[0].set_value("jonas")
    page.text_input[1].set_value("short")
    page = press(page, "Add person")
    assert "12 characters or more" in page.error[0].proto.title
    page.text_input[1].set_value(GOOD)
    press(page, "Add person")
    assert {user.name: user.role for user in visitor.services.users.list(OPERATOR)} == {
        "amira": Role.SUPER_ADMIN,
        "jonas": Role.DEVELOPER,
    }


@pytest.mark.parametrize("role", [Role.MASTER_DEVELOPER, Role.DEVELOPER, Role.ADMINISTRATOR])
def test_other_roles_see_neither_people_nor_a_button(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, role: Role
) -> None:
    visitor = Visitor(settings, monkeypatch, role)
    try:
        page = visitor.open("access")
        assert [error.proto.title for error in page.error] == ["You can't manage people."]
        assert not page.button
        assert not page.dataframe
    finally:
        visitor.close()

"""The Access page: people, their roles and state; a person without the role sees nothing of it."""

from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from lib.access.audit import AuditCriteria
from lib.access.membership import find_person
from lib.access.permissions import OPERATOR, Role
from lib.jobs.retention import Days
from lib.settings import Settings
from tests.activity.activity_rig import log_all
from tests.pages.visitor import Visitor, press, press_last, run, words
from tests.waiting import CEILING_S

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
    roles = page.table[1].value
    assert len(roles) == 12
    assert [int((roles[role.value] == "✓").sum()) for role in Role] == [12, 12, 10, 8, 5]


@pytest.mark.feature("ACC-5")
def test_a_teams_administrator_sees_the_team_and_nothing_else(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = Visitor(settings, monkeypatch, Role.TEAM_ADMINISTRATOR)
    try:
        services = visitor.services
        other = services.teams.create(OPERATOR, "Zebra")
        services.users.create(OPERATOR, "bea", GOOD, Role.DEVELOPER, other.id)
        services.users.create(OPERATOR, "cem", GOOD, Role.DEVELOPER)
        page = visitor.open("access")
        assert list(page.dataframe[0].value["Name"]) == ["amira", "cem"]
        assert [tab.label for tab in page.tabs] == ["Team", "Audit"]
        assert "Zebra" not in words(page)
        assert "New team" not in [button.label for button in page.button]
    finally:
        visitor.close()


@pytest.mark.feature("ACC-5")
def test_teams_are_chosen_and_their_dialogs_work(visitor: Visitor) -> None:
    services = visitor.services
    team = services.teams.create(OPERATOR, "Zebra")
    page = visitor.open("access", team="zebra", tab="Teams")
    assert "Nobody" not in words(page)
    assert "zebra" in [str(select.value) for select in page.selectbox]
    user = services.users.list(OPERATOR)[0]
    with services.store.read() as connection:
        root = find_person(connection, user.id)
    assert root is not None
    services.stops.stop(root, "team", "zebra", "a leak")
    page = visitor.open("access", team="zebra", tab="Teams")
    assert any("a leak" in warning.value for warning in page.warning)
    page = press(page, "Start again")
    assert services.stops.list(root) == []
    services.stops.stop(root, "everything", reason="a leak")
    for name in ("playground", "conversations", "workflows"):
        assert "a leak" in words(visitor.open(name)), f"{name} says that calls are stopped where one begins them"
    services.stops.start(root, "everything")
    services.teams.choose(root, team.id)
    with services.store.read() as connection:
        assert find_person(connection, user.id).team_id == team.id  # type: ignore[union-attr]


def test_a_person_is_added_and_a_bad_password_is_said(visitor: Visitor) -> None:
    page = visitor.draw("lib.ui.access.people.add_dialog")
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


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.ADMINISTRATOR])
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


def test_who_may_manage_keys_alone_sees_the_key_and_no_people(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = Visitor(settings, monkeypatch, Role.MASTER_DEVELOPER)
    try:
        assert [error.proto.title for error in visitor.open("access").error] == ["You can't manage people."]
        page = visitor.open("settings")
        assert "Master key" in words(page)
        assert [button.label for button in page.button] == ["", "Rotate the master key"]
        assert not page.dataframe
        assert not page.tabs
    finally:
        visitor.close()


@pytest.mark.feature("CFG-6")
def test_the_master_key_is_rotated_after_a_question(visitor: Visitor) -> None:
    visitor.services.providers.create(OPERATOR, name="second", kind="openai", api_key="sk-canary-0123456789")
    before = visitor.services.master_key.state(OPERATOR).key_id
    assert before in words(visitor.open("settings"))
    press_last(visitor.draw("lib.ui.access.data_settings.rotate_dialog"), "Rotate key")
    assert visitor.services.master_key.state(OPERATOR).key_id != before
    page = visitor.services.audit.page(OPERATOR, AuditCriteria(actions=("key.rotate",)))
    assert [(entry.user_name, entry.detail["secrets"] > 0) for entry in page.entries] == [("amira", True)]


@pytest.mark.feature("CALL-8")
def test_times_are_saved_and_deleting_calls_is_confirmed(visitor: Visitor) -> None:
    page = visitor.open("settings")
    assert "There was no run yet" in words(page)
    page.number_input(key="days-words").set_value(30)
    press(page, "Save times")
    assert visitor.services.retention.days(OPERATOR) == Days(words=30)
    log_all(visitor.services.store, [{"ago": 400 * 86_400}] * 3)
    dialog = AppTest.from_string(
        """from lib.jobs.retention import Days
from lib.ui import session
from lib.ui.access import data_settings
data_settings.confirm_dialog(session.ensure_services(), session.require_actor(), Days(calls=90), 3)
""",
        default_timeout=CEILING_S,
    )
    dialog.run()
    assert "3 rows" in words(dialog)
    assert visitor.services.retention.days(OPERATOR) == Days(words=30)
    press_last(dialog, ":red[Delete 3 rows]")
    assert visitor.services.retention.days(OPERATOR) == Days(calls=90)
    visitor.services.retention.run(OPERATOR)
    assert "3 of calls" in words(visitor.open("settings"))


@pytest.mark.feature("ACC-3")
def test_the_audit_log_is_listed_by_person_and_action(visitor: Visitor) -> None:
    visitor.services.users.create(OPERATOR, "jonas", GOOD, Role.DEVELOPER)
    page = visitor.open("access")
    assert "user · create" in list(page.dataframe[-1].value["Action"])
    page.multiselect(key="audit-actions").set_value(["user.create"])
    run(page)
    assert list(page.dataframe[-1].value["What"]) == ["jonas", "amira"]
    page.multiselect(key="audit-users").set_value(["operator"])
    run(page)
    assert "2 entries" in words(page)
    page.text_input(key="audit-text").set_value("jon")
    run(page)
    assert list(page.dataframe[-1].value["What"]) == ["jonas"]


@pytest.mark.feature("ACC-3")
def test_an_entry_of_the_audit_log_reads_as_words(visitor: Visitor) -> None:
    jonas = visitor.services.users.create(OPERATOR, "jonas", GOOD, Role.DEVELOPER)
    visitor.services.budgets.create(OPERATOR, scope="global", subject="", period="month", limit_nano=3_000_000_000)
    visitor.services.api_keys.create(OPERATOR, app="bot", owner_id=jonas.id, endpoints=["chat"])
    key, budget, *_ = list(visitor.open("access", tab="Audit").dataframe[-1].value["Detail"])
    assert "limit: $3.00 · hard: yes · thresholds: 50, 80, 100 · block unpriced: no" in budget
    assert "app: bot · owner: jonas · models: every · endpoints: chat · requests per minute: —" in key


@pytest.mark.feature("ACC-3")
def test_the_audit_log_shows_from_where(visitor: Visitor) -> None:
    draw = visitor.draw("lib.ui.access.data_settings.rotate_dialog")
    press_last(draw, "Rotate key")
    page = visitor.open("access")
    shown = page.dataframe[-1].value
    assert list(shown.loc[shown["Action"] == "key · rotate", "From where"]) == ["page 192.0.2.7"]

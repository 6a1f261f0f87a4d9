"""The API keys page: a key is shown once with how to use it, its scope is changed, it is revoked after a question."""

from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from lib.access.grants import GatewayEndpoint, Limits
from lib.access.permissions import OPERATOR, Actor, Role, make_actor
from lib.settings import Settings
from tests.pages.visitor import Visitor, press, press_last, run, words
from tests.waiting import CEILING_S

pytestmark = [pytest.mark.feature("GATE-3"), pytest.mark.filterwarnings("default")]


@pytest.fixture
def visitor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    visitor = Visitor(settings, monkeypatch, Role.SUPER_ADMIN)
    yield visitor
    visitor.close()


def amira(visitor: Visitor) -> Actor:
    user = next(user for user in visitor.services.users.list(OPERATOR) if user.name == "amira")
    return make_actor(user.id, user.name, user.role)


def shown_code(page: AppTest) -> list[str]:
    return [element.value for element in page.code]


def test_without_keys_the_page_says_what_they_are(visitor: Visitor) -> None:
    page = visitor.open("keys")
    assert "No API keys yet" in words(page)
    assert "No app has a limit." in words(page)


def test_a_new_key_is_shown_once_with_a_request_ready_to_send(visitor: Visitor) -> None:
    page = visitor.draw("lib.ui.api_keys.key_forms.create_dialog")
    page = press(page, "Create key")
    assert "The app is missing" in words(page)
    page.selectbox[0].set_value("general")
    page.text_input[0].set_value("nightly")
    press(page, "Create key")
    made = page.session_state["api_key_made"]
    [key] = visitor.services.api_keys.list(OPERATOR)
    assert (key.name, key.app, key.owner, key.id) == ("nightly", "general", "amira", made["id"])
    assert visitor.services.api_keys.authenticate(made["token"]) is not None
    page = AppTest.from_string(SHOW.format(**made), default_timeout=CEILING_S)
    page = run(page)
    assert shown_code(page)[0] == made["token"]
    assert all(made["token"] in code and "/v1" in code for code in shown_code(page)[1:])
    assert '"local-default"' in shown_code(page)[1]


SHOW = """
from lib.ui import session
from lib.ui.api_keys.key_forms import show_new_key
services, actor = session.ensure_services(), session.require_actor()
show_new_key(services, actor, services.api_keys.list(actor)[0], "{token}")
"""


def test_the_page_shows_a_key_that_was_just_made_and_then_forgets_it(visitor: Visitor) -> None:
    token, key = visitor.services.api_keys.create(amira(visitor), app="general", name="nightly")
    page = visitor.open("keys")
    assert token not in str(shown_code(page))
    page.session_state["api_key_made"] = {"id": key.id, "token": token}
    page = run(page)
    assert "api_key_made" not in page.session_state
    row = page.dataframe[0].value.iloc[0]
    assert (row["name"], row["prefix"], row["app"], row["owner"]) == ("nightly", f"{token[:12]}…", "general", "amira")
    assert (row["models"], row["expires"], row["calls"]) == ("every model", "never", 0)
    assert token not in page.dataframe[0].value.to_string()


def test_scope_and_limits_are_changed(visitor: Visitor) -> None:
    visitor.services.api_keys.create(amira(visitor), app="general", models=["support-*"], limits=Limits(5))
    page = visitor.draw("lib.ui.api_keys.key_forms.edit_dialog", "api_keys.list(actor)[0]")
    assert page.multiselect[0].value == ["support-*"]
    page.multiselect[0].set_value(["local-default"])
    page.number_input[0].set_value(7)
    page.number_input[2].set_value(2)
    press_last(page, "Save key")
    [key] = visitor.services.api_keys.list(OPERATOR)
    assert key.grant.models == ("local-default",)
    assert key.grant.limits == Limits(7, None, 2)
    assert GatewayEndpoint.API not in key.grant.endpoints
    assert key.expires_at is None


def test_revoking_asks_first_and_the_key_leaves_the_list(visitor: Visitor) -> None:
    token, _ = visitor.services.api_keys.create(amira(visitor), app="general")
    page = visitor.draw("lib.ui.api_keys.key_table.ask_to_revoke", "api_keys.list(actor)[0]")
    assert "for good" in words(page)
    assert "make a new key instead" in words(page)
    assert visitor.services.api_keys.authenticate(token) is not None
    press_last(page, ":red[Revoke key]")
    assert visitor.services.api_keys.authenticate(token) is None
    assert "No active API keys" in words(visitor.open("keys"))
    page = visitor.open("keys", ended="true")
    assert page.dataframe[0].value.iloc[0]["state"] == ["■ revoked"]


def test_an_app_is_limited(visitor: Visitor) -> None:
    page = visitor.draw("lib.ui.api_keys.key_table.edit_app_limits_dialog")
    page.selectbox[0].set_value("general")
    page = run(page)
    page.number_input[0].set_value(90)
    press(page, "Save limits")
    assert visitor.services.limits.list_apps(OPERATOR) == {"general": Limits(90)}
    table = visitor.open("keys").table[0].value
    assert list(table["Requests a minute"]) == ["90"]


def test_a_developer_sees_their_own_keys_and_chooses_no_owner(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = Visitor(settings, monkeypatch, Role.DEVELOPER)
    try:
        visitor.services.api_keys.create(OPERATOR, app="general", name="not theirs")
        assert "No API keys yet" in words(visitor.open("keys"))
        page = visitor.draw("lib.ui.api_keys.key_forms.create_dialog")
        assert [box.label for box in page.selectbox] == ["App"]
        assert "Set limits" not in [button.label for button in visitor.open("keys").button]
    finally:
        visitor.close()

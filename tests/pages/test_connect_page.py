"""The page Connect your app: programs for a model and a key, a new key in them while the session lasts, a real call."""

from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from lib.access.permissions import OPERATOR, Actor, Role, make_actor
from lib.activity.call_filter import ActivityFilter
from lib.settings import Settings
from tests.pages.visitor import Visitor, press, run, words

pytestmark = [pytest.mark.feature("GATE-1"), pytest.mark.filterwarnings("default")]


@pytest.fixture
def visitor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    visitor = Visitor(settings, monkeypatch, Role.DEVELOPER)
    visitor.services.providers.create(OPERATOR, name="scripted", kind="scripted")
    add = visitor.services.configurations.create
    add(OPERATOR, slug="greeter", app="app", provider="scripted", model="say:Hello there")
    add(OPERATOR, slug="broken", app="app", provider="scripted", model="error:401")
    yield visitor
    visitor.close()


def amira(visitor: Visitor) -> Actor:
    user = next(user for user in visitor.services.users.list(OPERATOR) if user.name == "amira")
    return make_actor(user.id, user.name, user.role)


def code(page: AppTest) -> str:
    return "\n".join(element.value for element in page.code)


def test_without_a_key_it_leads_to_the_page_of_keys(visitor: Visitor) -> None:
    page = visitor.open("connect")
    assert "No API key yet" in words(page)
    assert not page.code


def test_without_a_configuration_that_works_it_says_so(visitor: Visitor) -> None:
    for provider in visitor.services.providers.list(OPERATOR):
        visitor.services.providers.set_active(OPERATOR, provider.id, False)
    assert "No configuration is ready" in words(visitor.open("connect"))


def test_programs_name_the_model_and_the_beginning_of_the_key(visitor: Visitor) -> None:
    token, key = visitor.services.api_keys.create(amira(visitor), app="bot", name="nightly")
    page = visitor.open("connect", configuration="greeter")
    assert page.selectbox(key="connect-model").value == "greeter"
    assert f"Bearer {key.prefix}..." in code(page)
    assert token not in str(page)
    assert '"greeter"' in code(page)
    assert [tab.label for tab in page.tabs] == ["curl", "Python", "JavaScript", "LangChain", "llm", "Environment"]
    page.selectbox(key="connect-model").set_value("broken")
    page = run(page)
    assert page.query_params["configuration"] == "broken"
    assert '"broken"' in code(page)
    assert '"greeter"' not in code(page)


def test_the_chosen_key_is_in_the_address(visitor: Visitor) -> None:
    create, me = visitor.services.api_keys.create, amira(visitor)
    keys = [create(me, app=app)[1] for app in ("first", "second", "third")]
    page = visitor.open("connect")
    assert "key" not in page.query_params
    page.selectbox(key="connect-key").set_value(keys[0].id)
    page = run(page)
    assert page.query_params["key"] in (keys[0].prefix, [keys[0].prefix])
    again = visitor.open("connect", key=keys[1].prefix)
    assert again.selectbox(key="connect-key").value == keys[1].id
    assert f"Bearer {keys[1].prefix}..." in code(again)
    assert visitor.open("connect", key="llmm_nobody").selectbox(key="connect-key").value == keys[2].id


def test_a_key_that_was_just_made_stands_in_the_programs_of_this_session(visitor: Visitor) -> None:
    services, me = visitor.services, amira(visitor)
    services.api_keys.create(me, app="other")
    token, key = services.api_keys.create(me, app="bot", name="nightly")
    services.api_keys.create(me, app="newest")
    page = visitor.open("connect")
    page.session_state["api_key_made"] = {"id": key.id, "token": token}
    page = run(page)
    assert "api_key_made" not in page.session_state
    assert f"Bearer {token}" in code(page)
    assert token not in code(visitor.open("connect"))


def test_a_key_that_may_not_use_the_model_is_told(visitor: Visitor) -> None:
    visitor.services.api_keys.create(amira(visitor), app="bot", models=["broken"])
    page = visitor.open("connect", configuration="greeter")
    assert "broken" in page.warning[0].value
    assert not visitor.open("connect", configuration="broken").warning


def test_others_keys_are_not_offered(visitor: Visitor) -> None:
    visitor.services.api_keys.create(OPERATOR, app="theirs")
    assert "No API key yet" in words(visitor.open("connect"))


@pytest.mark.parametrize("model", ["greeter", "scripted/say:Hello there"])
def test_try_it_makes_a_real_call_for_the_app_of_the_key(visitor: Visitor, model: str) -> None:
    visitor.services.api_keys.create(amira(visitor), app="bot")
    page = press(visitor.open("connect", configuration=model), "Ask the model")
    assert "Hello there" in words(page)
    [row] = visitor.services.activity.page(amira(visitor), ActivityFilter()).rows
    assert (row.app, row.status, row.model) == ("bot", "ok", "say:Hello there")
    assert "Hello there" in words(run(page))


def test_a_call_that_fails_says_why(visitor: Visitor) -> None:
    visitor.services.api_keys.create(amira(visitor), app="bot")
    page = press(visitor.open("connect", configuration="broken"), "Ask the model")
    assert "asks for error 401" in words(page)
    page = press(visitor.open("connect", configuration="no-such"), "Ask the model")
    assert page.error

"""The page Tools: the registry, a form to try a tool, its settings, HTTP tools, runs with filters."""

from collections.abc import Iterator

import pytest

from lib.access.permissions import OPERATOR, Actor, Role, make_actor
from lib.configs.tool_rules import ToolRules
from lib.playground.question import PlaygroundQuestion
from lib.playground.run import Pane
from lib.settings import Settings
from lib.tools.http_request import HttpTemplate
from lib.tools.http_tools import HttpToolDraft
from tests.pages.visitor import Visitor, press, press_last, run, words
from tests.waiting import CEILING_S

pytestmark = [pytest.mark.feature("TOOL-1"), pytest.mark.filterwarnings("default")]


@pytest.fixture
def visitor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    visitor = Visitor(settings, monkeypatch, Role.SUPER_ADMIN)
    yield visitor
    visitor.close()


def test_a_tool_is_tried_set_and_its_runs_are_listed(visitor: Visitor) -> None:
    assert "No tool ran in this time" in words(visitor.open("tools", tab="runs"))
    page = visitor.open("tools", id="calculate")
    assert page.title[0].value == "Tools"
    page.text_area(key="try-calculate-expression").set_value("6 * 7")
    press(page, "Run it")
    assert '"value": 42' in "\n".join(code.value for code in page.code)
    press(page, "Save settings")
    assert visitor.services.tools.settings(OPERATOR)["calculate"].revision == 1
    runs = visitor.open("tools", tab="runs")
    assert [metric.value for metric in runs.metric][:2] == ["1", "0.0 %"]
    assert list(runs.dataframe[0].value["tool"]) == ["calculate"]


def test_an_http_tool_is_searched_changed_and_removed(visitor: Visitor) -> None:
    request = HttpTemplate("https://api.example.com/{{city}}")
    parameters = {"type": "object", "properties": {"city": {"type": "string"}, "deep": {"type": "object"}}}
    draft = HttpToolDraft("weather", "Of a city.", request, parameters=parameters)
    visitor.services.http_tools.create(OPERATOR, draft)
    page = visitor.open("tools", q="weather")
    assert list(page.dataframe[0].value["name"]) == ["weather"]
    page = visitor.open("tools", id="weather")
    page.text_area(key="try-weather-deep").set_value("{")
    assert "Expecting property name" in words(run(page))
    assert "Nothing matches" in words(visitor.open("tools", q="no such thing"))


@pytest.mark.feature("TOOL-2")
@pytest.mark.feature("PLAY-2")
def test_a_turn_in_the_playground_shows_its_tools_as_cards(visitor: Visitor) -> None:
    services = visitor.services
    actor = visitor_actor(visitor)
    services.providers.create(OPERATOR, name="scripted", kind="scripted")
    rules = ToolRules(names=("calculate",)).to_record()
    services.configurations.create(
        OPERATOR, slug="sums", app="play", provider="scripted", model="call:calculate+say:It is 42.", tools=rules
    )
    run_id = services.playground.start(actor, PlaygroundQuestion('{"expression": "6 * 7"}'), [Pane("sums")])
    (pane,) = services.playground.open(actor, run_id).panes
    services.turns.wait(actor, str(pane.call_id), CEILING_S)
    page = visitor.open("playground", run=run_id)
    labels = [expander.label for expander in page.expander]
    assert any("calculate" in label and "ok" in label for label in labels)
    assert '"value": 42' in "\n".join(code.value for code in page.code)
    assert "It is 42." in words(page)


@pytest.mark.feature("TOOL-2")
def test_a_configurations_tools_are_set_in_its_form(visitor: Visitor) -> None:
    actor = visitor_actor(visitor)
    configuration = visitor.services.configurations.list(actor)[0]
    form = visitor.draw(
        "lib.ui.configurations.configuration_form.draw_editor", f"configurations.get(actor, {configuration.slug!r})"
    )
    field = next(field for field in form.multiselect if field.label == "Tools that the model may ask for")
    field.set_value(["calculate", "current_time"])
    press_last(form, "Save configuration")
    saved = visitor.services.configurations.get(actor, configuration.slug)
    assert saved.tools == {"names": ["calculate", "current_time"]}


def visitor_actor(visitor: Visitor) -> Actor:
    user = next(user for user in visitor.services.users.list(OPERATOR) if user.name == "amira")
    return make_actor(user.id, user.name, user.role)

"""The Experiments page: quoted and started, standings and answers, promotion, another person's stays hidden."""

from collections.abc import Iterator

import pytest

from lib.access.permissions import OPERATOR, Actor, Role, make_actor
from lib.experiments.experiment import ExperimentState
from lib.experiments.plan import Candidate, ExperimentDraft
from lib.prompts.template import VersionDraft
from lib.settings import Settings
from tests.pages.visitor import Visitor, press, press_last, run, words

pytestmark = [
    pytest.mark.filterwarnings("default"),  # Streamlit's and pandas' own deprecations are not ours to fix
    pytest.mark.feature("PLAY-4"),
]


@pytest.fixture
def visitor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    visitor = Visitor(settings, monkeypatch, Role.SUPER_ADMIN)
    visitor.services.providers.create(OPERATOR, name="scripted", kind="scripted")
    for slug, model in (("echo", "echo+priced"), ("mute", "say:nothing+priced")):
        visitor.services.configurations.create(OPERATOR, slug=slug, app="bot", provider="scripted", model=model)
    visitor.services.prompts.create(OPERATOR, "where", VersionDraft("Where is {{city}}?"))
    yield visitor
    visitor.close()


def amira(visitor: Visitor) -> Actor:
    return make_actor(visitor.services.users.list(OPERATOR)[0].id, "amira", Role.SUPER_ADMIN)


def test_an_empty_page_says_what_an_experiment_is(visitor: Visitor) -> None:
    assert "No experiments yet" in words(visitor.open("experiments"))


def test_a_grid_is_quoted_and_started_and_the_winner_promoted(visitor: Visitor) -> None:
    form = visitor.draw("lib.ui.experiments.experiment_form.draw_dialog")
    form = press(form, "Start experiment")
    assert "There is no table" in form.error[0].proto.title
    form.segmented_control[0].set_value("Grid")
    form = run(form)
    next(one for one in form.text_area if "column a line" in one.label).set_value("city: Paris | Rome\nexpected: Paris")
    form = run(form)
    assert "2 rows with the columns city, expected" in words(form)
    asked = {one.label: one for one in form.multiselect}
    asked["Configurations"].set_value(["echo", "mute"])
    asked["Prompts"].set_value([asked["Prompts"].options[0]])
    asked["Scores"].set_value(["contains", "similarity"])
    form = press(form, "Quote")
    assert "4 calls, from" in form.info[0].value
    press_last(form, "Start experiment")
    service, person = visitor.services.experiments, amira(visitor)
    (made,) = service.list(person)
    assert service.wait(person, made.id, 30).state is ExperimentState.DONE
    page = visitor.open("experiments", id=made.id)
    assert "4 of 4" in page.dataframe[0].value["cells"].iloc[0]
    standings = page.dataframe[1].value
    assert list(standings["Candidate"]) == ["1 · where v1 · echo ★", "2 · where v1 · mute"]
    assert standings["Contains the expected"].iloc[0].startswith("50.0 % (")
    answers = page.dataframe[2].value
    assert list(answers["1 · where v1 · echo"]) == ["✓ Where is Paris?", "✕ Where is Rome?"]
    for choice, rows in (("wrong", 2), ("differs", 2), ("all", 2)):  # mute is wrong in both
        page.segmented_control(key=f"rows-{made.id}").set_value(choice)
        assert len(run(page).dataframe[2].value) == rows
    page = press(page, "Make production")
    assert "production" not in visitor.services.prompts.get(OPERATOR, "where").labels, "it asks first"
    dialog = "lib.ui.experiments.experiment_view.draw_promotion_dialog"
    asks = visitor.draw(dialog, f"experiments.get(actor, {made.id!r}), 0, 'template'")
    assert "Version 1 of where" in words(asks)
    press_last(asks, "Put it in use")
    assert visitor.services.prompts.get(OPERATOR, "where").labels["production"] == 1
    asks.session_state["promotion"][1].undo()
    assert "production" not in visitor.services.prompts.get(OPERATOR, "where").labels
    press_last(visitor.draw(dialog, f"experiments.get(actor, {made.id!r}), 0, 'configuration'"), "Put it in use")
    assert visitor.services.configurations.default_for(OPERATOR, "bot").slug == "echo"
    press(visitor.open("experiments", id=made.id), "Copy")
    again = next(one for one in service.list(person) if one.id != made.id)
    assert (again.name, again.state) == (f"{made.name} (again)", ExperimentState.READY)
    assert [line.inputs for line in service.lines(person, again.id)] == [
        line.inputs for line in service.lines(person, made.id)
    ]


def test_what_is_missing_is_asked_by_going_on(visitor: Visitor) -> None:
    person, service = amira(visitor), visitor.services.experiments
    rows = [{"prompt": str(n)} for n in range(3)]
    made = service.create(person, ExperimentDraft("Numbers", [Candidate("echo")], rows))
    page = visitor.open("experiments", id=made)
    assert "○ not started" in page.dataframe[0].value["state"].iloc[0]
    press(page, "Start experiment")
    assert service.wait(person, made, 30).state is ExperimentState.DONE
    assert "Start experiment" not in [button.label for button in visitor.open("experiments", id=made).button]


def test_an_experiment_at_work_draws_all_of_itself_again(visitor: Visitor) -> None:
    """State, candidates and answers stand in one fragment: none of them can be older than the others."""
    person, service = amira(visitor), visitor.services.experiments
    made = service.create(person, ExperimentDraft("Numbers", [Candidate("echo")], [{"prompt": "one"}]))
    page = visitor.open("experiments", id=made)
    assert "○ not started" in page.dataframe[0].value["state"].iloc[0]
    service.start(person, made)
    assert service.wait(person, made, 30).state is ExperimentState.DONE
    page = run(page)
    assert "✓ done" in page.dataframe[0].value["state"].iloc[0]
    assert list(page.dataframe[1].value["Answers"]) == [1]
    assert list(page.dataframe[2].value["1 · echo"]) == ["one"]


def test_somebody_elses_is_not_there(visitor: Visitor) -> None:
    made = visitor.services.experiments.create(
        OPERATOR, ExperimentDraft("Theirs", [Candidate("echo")], [{"prompt": "secret"}])
    )
    page = visitor.open("experiments", id=made)
    assert "No experiments yet" in words(page)
    mine = visitor.services.experiments.create(
        amira(visitor), ExperimentDraft("Mine", [Candidate("echo")], [{"prompt": "one"}])
    )
    assert "It is not here" in words(visitor.open("experiments", id=made))
    page = visitor.open("experiments", id=mine)
    assert (len(page.dataframe), "Mine" in words(page)) == (3, True)
    page.button(key="close-id").click()
    page = run(page)
    assert len(page.dataframe) == 1, "the half page is closed"


def test_a_table_that_does_not_fit_says_so(visitor: Visitor) -> None:
    form = visitor.draw("lib.ui.experiments.experiment_form.draw_dialog")
    form.segmented_control[0].set_value("Grid")
    form = run(form)
    next(one for one in form.text_area if "column a line" in one.label).set_value("town: Paris")
    form = run(form)
    asked = {one.label: one for one in form.multiselect}
    asked["Configurations"].set_value(["echo"])
    asked["Prompts"].set_value([asked["Prompts"].options[0]])
    form = press(form, "Quote")
    assert "Missing\\: city" in form.error[0].value

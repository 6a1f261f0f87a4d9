"""The Workflows page: made from the box, started by its form, watched, changed as YAML and as a drawing, tested."""

from collections.abc import Iterator

import pytest

from lib.access.permissions import OPERATOR, Actor, Role, make_actor
from lib.settings import Settings
from lib.ui.workflows.draft import WorkflowDraft, list_ports
from lib.workflows.definition import parse_definition
from lib.workflows.run import RunState
from tests.pages.visitor import Visitor, press, press_last, run, words
from tests.workflows.rig import draw, finish, node, start

pytestmark = [
    pytest.mark.filterwarnings("default"),  # Streamlit's and pandas' own deprecations are not ours to fix
    pytest.mark.feature("FLOW-3"),
]
DOCUMENT = draw(start("text"), node("transform", "shout", value="upper(start.text)"), finish("{{shout}}!"))


@pytest.fixture
def visitor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    visitor = Visitor(settings, monkeypatch, Role.SUPER_ADMIN)
    yield visitor
    visitor.close()


def amira(visitor: Visitor) -> Actor:
    return make_actor(visitor.services.users.list(OPERATOR)[0].id, "amira", Role.SUPER_ADMIN)


def test_an_empty_page_says_what_a_workflow_is_and_one_is_made_from_the_box(visitor: Visitor) -> None:
    assert "No workflows yet" in words(visitor.open("workflows"))
    form = visitor.draw("lib.ui.workflows.workflow_table.create_dialog")
    form.selectbox[0].set_value("Bug analysis")
    form = run(form)
    form = press(form, "Make workflow")
    assert not form.error
    assert [workflow.slug for workflow in visitor.services.workflows.definitions.list(OPERATOR)] == ["bug-analysis"]


def test_a_run_is_started_by_its_form_and_shown_with_its_steps(visitor: Visitor) -> None:
    visitor.services.workflows.definitions.create(amira(visitor), "shout", DOCUMENT)
    page = visitor.open("workflows", id="shout")
    page.text_input[0].set_value("hello")
    page = press(page, "Start run")
    (made,) = visitor.services.workflows.runs.list(OPERATOR, "shout")
    ended = visitor.services.workflows.runs.wait(OPERATOR, made.id)
    assert (ended.state, ended.output) == (RunState.DONE, "HELLO!")
    page = visitor.open("workflows", run=made.id)
    told = words(page)
    assert "HELLO!" in told
    assert "done" in told
    assert list(page.dataframe[0].value["step"]) == ["start", "shout", "finish"]
    batches = visitor.services.workflows.batches
    batch = batches.start(amira(visitor), "shout", [{"text": "a"}, {"text": "b"}])
    runs = [visitor.services.workflows.runs.wait(OPERATOR, each.id) for each in batches.runs(OPERATOR, batch.id)]
    page = visitor.open("workflows", id="shout", tab="table")
    assert "2 done" in words(page)
    assert list(page.dataframe[-1].value["state"]) == ["✓ done", "✓ done"]
    page = visitor.open("workflows", **{"run": made.id, "with": runs[0].id})
    assert not page.exception
    assert list(page.dataframe[0].value["differences"]) == ["output", "output", "output"]


def test_a_long_run_shows_a_page_of_its_steps_and_the_search_finds_the_others(visitor: Visitor) -> None:
    members = {"name": "members", "type": "json", "default": [*range(150)]}
    document = draw(
        node("input", "start", fields=[members]),
        node("map", "each", over="start.members", part="one", limit=150, parallel=8),
        finish("done"),
        parts={"one": draw(node("transform", "grow", value="item + 1"))},
    )
    visitor.services.workflows.definitions.create(amira(visitor), "long", document)
    made = visitor.services.workflows.runs.start(amira(visitor), "long", {})
    visitor.services.workflows.runs.wait(OPERATOR, made.id)
    page = visitor.open("workflows", run=made.id)
    assert len(page.dataframe[0].value) == 100
    assert "the first 100 of 153 of 153 steps" in words(page)
    page.text_input(key="step-q").set_value("each/14")
    page = run(page)
    assert sorted(page.dataframe[0].value["step"]) == sorted(f"each/{n}/grow" for n in (14, *range(140, 150)))
    page.text_input(key="step-q").set_value("nothing like it")
    page = run(page)
    assert not page.dataframe
    assert "You see 0 of 153 steps" in words(page)


def test_a_definition_is_changed_as_yaml_and_its_faults_are_told_at_their_node(visitor: Visitor) -> None:
    visitor.services.workflows.definitions.create(amira(visitor), "shout", DOCUMENT)
    page = visitor.open("workflows", id="shout", tab="yaml")
    text = str(page.text_area[0].value)
    page.text_area[0].set_value(text.replace("upper(start.text)", "upper(nobody)"))
    page = press(page, "Save version")
    assert "shout: It reads nobody, which does not exist." in str(page.error[0].value).replace("\\", "")
    page.text_area[0].set_value(text.replace("upper", "lower"))
    press(page, "Save version")
    assert visitor.services.workflows.definitions.get(OPERATOR, "shout").newest == 2


@pytest.mark.feature("FLOW-9")
def test_schedules_and_webhooks_are_made_and_ended_on_the_page(visitor: Visitor) -> None:
    visitor.services.workflows.definitions.create(amira(visitor), "shout", DOCUMENT)
    visitor.services.workflows.schedules.add(amira(visitor), "shout", "0 3 * * *", "UTC", name="nightly")
    webhook, secret = visitor.services.workflows.webhooks.add(amira(visitor), "shout", "tracker")
    page = visitor.open("workflows", id="shout", tab="triggers")
    shown = words(page)
    assert "nightly" in shown
    assert "tracker" in shown
    assert f"POST {webhook.path}" in [str(block.value) for block in page.code]
    assert secret not in shown
    page.toggle[0].set_value(False)
    page = run(page)
    assert not visitor.services.workflows.webhooks.list(OPERATOR, "shout")[0].is_active
    schedules, webhooks = visitor.services.workflows.schedules, visitor.services.workflows.webhooks
    for key, kind in (
        (f"unschedule-{schedules.list(OPERATOR, 'shout')[0].id}", "schedule"),
        (f"webhook-delete-{webhook.id}", "webhook"),
    ):
        page.button(key=key).click()
        page = run(page)
        assert {f"Keep {kind}", f":red[Delete {kind}]"} <= {button.label for button in page.button}
        question = visitor.draw(
            f"lib.ui.workflows.trigger_tab._confirm_{kind}", f"workflows.{kind}s.list(actor, 'shout')[0]"
        )
        press_last(question, f":red[Delete {kind}]")
    page = run(page)
    assert schedules.list(OPERATOR, "shout") == []
    assert webhooks.list(OPERATOR, "shout") == []


@pytest.mark.feature("FLOW-5")
def test_what_is_drawn_is_joined_with_what_was_typed_and_undo_brings_it_back_whole() -> None:
    draft = WorkflowDraft.begin(parse_definition(DOCUMENT), 1)
    nodes = [{"id": n["id"], "kind": n["kind"], "x": n["x"] + 5, "y": 9} for n in draft.document["nodes"]]
    edges = [dict(edge) for edge in draft.document["edges"]]
    assert not draft.take({"base": 7, "nodes": [], "edges": []})  # drawn on another version
    added = {"id": "prompt1", "kind": "prompt", "x": 1, "y": 2}
    assert draft.take({"base": 1, "nodes": [*nodes[:1], nodes[2], added], "edges": []})
    assert [one["id"] for one in draft.document["nodes"]] == ["start", "finish", "prompt1"]
    assert draft.take({"base": 1, "nodes": nodes, "edges": edges})
    assert draft.find("shout") == {
        "kind": "transform",
        "id": "shout",
        "value": "upper(start.text)",
        "x": 225.0,
        "y": 9.0,
    }
    assert not draft.take({"base": 1, "nodes": nodes, "edges": edges})
    copied = {"id": "transform1", "kind": "transform", "like": "shout", "x": 0, "y": 0}
    draft.take({"base": 1, "nodes": [*nodes, copied], "edges": edges})
    assert (draft.find("transform1") or {})["value"] == "upper(start.text)"
    draft.replace_node("shout", {"id": "loud", "kind": "transform", "value": "'x'"})
    assert [edge["to"] for edge in draft.document["edges"]] == ["loud", "finish"]
    assert draft.version == 2


@pytest.mark.feature("FLOW-5")
def test_ports_are_drawn_as_the_definition_has_them() -> None:
    assert list_ports(node("condition", "c"), []) == ["true", "false"]
    assert list_ports(node("switch", "s", cases=[{"port": "a"}]), []) == ["a", "else", "error"]
    assert list_ports(node("approval", "a"), []) == ["approved", "denied", "expired", "error"]
    assert list_ports(node("transform", "t"), [{"from": "t", "to": "x", "port": "error"}]) == ["", "error"]

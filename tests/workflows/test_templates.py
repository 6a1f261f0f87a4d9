"""Workflows in the box: each can run, has test cases that pass, and is described."""

import pytest

from lib.settings import Settings
from lib.workflows.bench import judge_case, write_junit
from lib.workflows.definition import TestCase, parse_definition
from lib.workflows.run import RunState
from lib.workflows.templates import get_template, list_templates
from lib.workflows.validation import list_problems
from tests.workflows.rig import AMIRA, FlowRig, draw, finish, node, start

SLUGS = [template.slug for template in list_templates()]


@pytest.fixture
def database_kind() -> str:
    """One store: what the cases show does not depend on it."""
    return "sqlite"


@pytest.mark.feature("FLOW-6")
def test_there_are_eight_and_each_can_run_and_is_described() -> None:
    assert len(SLUGS) == 8
    for template in list_templates():
        assert list_problems(template.definition) == [], template.slug
        assert template.definition.cases, template.slug
        assert template.description


@pytest.mark.feature("FLOW-6", "FLOW-7")
@pytest.mark.parametrize("slug", SLUGS)
def test_the_cases_of_a_template_pass(rig: FlowRig, slug: str) -> None:
    rig.services.workflows.definitions.create(AMIRA, slug, get_template(slug).definition)
    result = rig.services.workflows.bench.test(AMIRA, slug)
    assert [case.failures for case in result.cases] == [()] * len(result.cases)
    assert rig.count_calls() == 0
    assert result.ways_taken


@pytest.mark.feature("FLOW-6")
@pytest.mark.parametrize("slug", ["bug-analysis", "data-extraction"])
def test_a_model_that_says_nothing_of_use_is_replaced_by_rules(rig: FlowRig, slug: str, settings: Settings) -> None:
    document = get_template(slug).definition
    from msgspec.structs import replace

    name = rig.configure("say:no idea")
    nodes = tuple(replace(n, configuration=name) if n.__struct_config__.tag == "prompt" else n for n in document.nodes)
    workflow = rig.services.workflows.definitions.create(AMIRA, slug, replace(document, nodes=nodes)).slug
    inputs = {
        "bug-analysis": {"title": "Crash", "description": "Login\nKeyError: x"},
        "data-extraction": {"text": "bob@example.org paid $5 on 2026-01-02"},
    }
    run = rig.finish(workflow, **inputs[slug])
    assert run.state is RunState.DONE
    expected = {"bug-analysis": ("severity", "high"), "data-extraction": ("emails", ["bob@example.org"])}
    name, value = expected[slug]
    assert run.output[name] == value


@pytest.mark.feature("FLOW-7")
def test_cases_are_judged_and_told_to_ci(rig: FlowRig) -> None:
    cases = [
        {"name": "right", "inputs": {"n": "2"}, "checks": [{"that": "output == 'two'"}]},
        {"name": "wrong <&>", "inputs": {"n": "1"}, "checks": [{"that": "output == 'two'", "why": "it should"}]},
        {"name": "broken", "inputs": {"n": "1"}, "pinned": {"say": {"k": 1}}, "checks": [{"that": "say.none == 1"}]},
    ]
    document = draw(
        start("n"),
        node("condition", "check", when="start.n == '2'"),
        node("transform", "say", value="'two'"),
        node("output", "finish", value="say != null ? say : 'other'"),
        edges="start>check check:true>say check:false>finish say>finish",
        cases=cases,
    )
    slug = rig.make(document)
    result = rig.services.workflows.bench.test(AMIRA, slug)
    assert [case.passed for case in result.cases] == [True, False, False]
    assert result.cases[1].failures == ("output == 'two' does not hold (it should). The output is 'other'.",)
    assert (result.ways_taken, result.ways, result.missed) == (4, 4, ())
    junit = write_junit([result])
    assert '<testsuite name="' in junit
    assert 'tests="3" failures="2"' in junit
    assert "wrong &lt;&amp;&gt;" in junit
    failed = rig.finish(draw(start(), node("transform", "t", value="1/0"), finish("x")))
    assert judge_case(TestCase("c"), failed, ())[0].startswith("The run is failed at t")
    expected = parse_definition({"cases": [{"name": "c", "checks": [{"that": "run.state == 'failed'"}]}]}).cases[0]
    assert judge_case(expected, failed, ()) == []

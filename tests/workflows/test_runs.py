"""Runs of every kind of node, and what they leave behind: outputs, steps, calls, cost."""

import json
from typing import Any

import pytest
from sqlalchemy import select

from lib.db.tables import usage_logs
from lib.errors import InvalidInput
from lib.workflows.run import RunState
from tests.workflows.rig import AMIRA, FlowRig, draw, finish, node, start, states

pytestmark = pytest.mark.feature("FLOW-1")


def prompt(rig: FlowRig, script: str, text: str, id: str = "ask", **fields: Any) -> dict[str, Any]:
    return node("prompt", id, configuration=rig.configure(script), prompt=text, **fields)


def test_a_prompt_is_filled_sent_and_answered_and_its_call_is_in_the_ledger(rig: FlowRig) -> None:
    document = draw(
        start("city"), prompt(rig, "echo+usage:1000,100+priced", "Where is {{start.city}}?"), finish("{{ask}}!")
    )
    run = rig.finish(document, city="Rome")
    assert (run.state, run.output, run.cost_nano_usd) == (RunState.DONE, "Where is Rome?!", 3_500_000)
    assert (run.prompt_tokens, run.completion_tokens, run.steps_done) == (1000, 100, 3)
    step = rig.steps(run)["ask"]
    assert (step.cost_nano_usd, step.input["prompt"], step.output) == (
        3_500_000,
        "Where is Rome?",
        {"text": "Where is Rome?"},
    )
    with rig.services.store.read() as connection:
        row = connection.execute(select(usage_logs)).mappings().one()
    assert (row["call_id"], row["workflow_run_id"], row["workflow_step"], row["origin"]) == (
        step.calls[0],
        run.id,
        "ask",
        "workflow",
    )


@pytest.mark.parametrize(
    ("score", "answer"), [("7", "high 7"), ("5", "high 5"), ("4.9", "low"), (12, "high 12")], ids=str
)
def test_a_condition_takes_one_way_and_the_other_is_not_run(rig: FlowRig, score: Any, answer: str) -> None:
    document = draw(
        start("score"),
        node("condition", "check", when="number(start.score) >= 5"),
        node("transform", "high", value="'high ' + start.score"),
        node("transform", "low", value="'low'"),
        node("output", "finish", value="high != null ? high : low"),
        edges="start>check check:true>high check:false>low high>finish low>finish",
    )
    run = rig.finish(document, score=score)
    assert run.output == answer
    assert len(rig.steps(run)) == 4


def test_a_map_runs_a_part_for_each_item_and_a_join_brings_branches_together(rig: FlowRig) -> None:
    document = draw(
        start("words"),
        node("map", "each", over="split(start.words, ',')", part="one", parallel=3),
        node("transform", "count", value="size(start.words)"),
        node("join", "both"),
        node("output", "finish", value="join(both.each.items, ';') + ' ' + text(both.count)"),
        edges="start>each start>count each>both count>both both>finish",
        parts={
            "one": draw(prompt(rig, "echo", "{{index}} {{item}}"), node("transform", "loud", value="upper(ask.text)"))
        },
    )
    run = rig.finish(document, words="a,b,c,d")
    assert run.output == "0 A;1 B;2 C;3 D 7"
    assert states(rig.steps(run), "each/0/ask", "each/3/loud", "each") == ["done"] * 3


def test_a_map_may_leave_out_what_fails_or_fail_with_it(rig: FlowRig) -> None:
    part = {"one": draw(node("transform", "half", value="10 / int(number(item))"))}

    def document(on_error: str) -> dict[str, Any]:
        each = node("map", "each", over="split(start.words, ',')", part="one", on_error=on_error)
        return draw(start("words"), each, finish("{{each.items}} {{each.failed}}"), parts=part)

    assert rig.finish(document("skip"), words="1,0,5").output == "[10,null,2] 1"
    run = rig.finish(document("fail"), words="1,0,5")
    assert (run.state, run.failed_step) == (RunState.FAILED, "each/1/half")
    assert run.reason.startswith("Item 2: The expression '10 / int(number(item))' can't be computed")


def test_a_loop_repeats_until_its_condition_and_shares_state(rig: FlowRig) -> None:
    document = draw(
        start("text"),
        node("loop", "again", part="round", until="size(state.text) >= 6", max_rounds=9),
        finish("{{state.text}} after {{again.rounds}}"),
        parts={"round": draw(node("transform", "longer", value="state.text + start.text", set={"text": "output"}))},
        state={"text": ""},
    )
    assert rig.finish(document, text="ab").output == "ababab after 3"


def test_a_workflow_is_a_step_of_another_in_the_version_of_the_moment_it_began(rig: FlowRig) -> None:
    inner = rig.make(draw(start("name"), finish("Hello {{start.name}}")))
    outer = draw(
        start("who"), node("workflow", "greet", workflow=inner, inputs={"name": "{{start.who}}"}), finish("{{greet}}.")
    )
    run = rig.finish(outer, who="Ada")
    assert run.output == "Hello Ada."
    assert "greet/finish" in rig.steps(run)
    assert run.pins[inner][1] == 1


def test_a_failed_step_is_left_by_its_error_port_or_replaced_by_its_fallback(rig: FlowRig) -> None:
    broken = rig.configure("error:400")
    document = draw(
        start("x"),
        node("prompt", "ask", configuration=broken, prompt="{{start.x}}"),
        node("transform", "sorry", value="'sorry: ' + ask.error"),
        finish("{{sorry}}"),
        edges="start>ask ask:error>sorry sorry>finish",
    )
    assert str(rig.finish(document, x="hi").output).startswith("sorry: ")
    good = rig.configure("say:fine")
    ask = node("prompt", "ask", configuration=broken, prompt="{{start.x}}", fallback={"configuration": good})
    assert rig.finish(draw(start("x"), ask, finish("{{ask}}")), x="hi").output == "fine"
    ask = node("prompt", "ask", configuration=broken, prompt="{{start.x}}", fallback={"value": {"text": "none"}})
    assert rig.finish(draw(start("x"), ask, finish("{{ask}}")), x="hi").output == "none"


def test_a_step_is_tried_again_as_often_as_it_says_when_that_may_help(rig: FlowRig) -> None:
    overloaded = node(
        "prompt", "ask", configuration=rig.configure("error:529"), prompt="hi", retry={"attempts": 3, "delay_s": 0}
    )
    run = rig.finish(draw(start(), overloaded, finish("{{ask}}")))
    step = rig.steps(run)["ask"]
    assert (run.state, run.failed_step, step.attempts, len(step.calls)) == (RunState.FAILED, "ask", 3, 3)


def test_answers_are_read_by_the_schema_and_asked_for_once_more_when_they_do_not_fit(rig: FlowRig) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    good = node("prompt", "ask", configuration=rig.configure('say:{"n": 4}'), prompt="?", output_schema=schema)
    assert rig.finish(draw(start(), good, finish("{{ask.data.n}}"))).output == "4"
    wrong = node("prompt", "ask", configuration=rig.configure("say:four"), prompt="?", output_schema=schema)
    run = rig.finish(draw(start(), wrong, finish("{{ask.data.n}}")))
    assert (run.state, run.reason) == (RunState.FAILED, "The answer does not fit the schema: it is no JSON.")
    assert len(rig.steps(run)["ask"].calls) == 2


@pytest.mark.parametrize(
    ("mode", "scripts", "expected"),
    [
        ("panel", {"a": "say:I think. VOTE: yes", "b": "say:VOTE: no", "c": "say:surely yes"}, "yes"),
        ("handover", {"a": "say:HANDOVER: b", "b": "say:done here"}, "done here"),
    ],
    ids=["panel", "handover"],
)
def test_agents_vote_and_hand_over(rig: FlowRig, mode: str, scripts: dict[str, str], expected: str) -> None:
    agents = [
        {
            "name": name,
            "configuration": rig.configure(script),
            "hands_to": [other for other in scripts if other != name],
        }
        for name, script in scripts.items()
    ]
    choices = {"choices": ["yes", "no"]} if mode == "panel" else {}
    team = node("agents", "team", mode=mode, agents=agents, task="Is it? {{start.x}}", **choices)
    run = rig.finish(draw(start("x"), team, finish("{{team}}")), x="so")
    assert run.output == expected
    assert len(rig.steps(run)["team"].calls) == len(scripts)


def test_a_definition_of_the_original_runs(rig: FlowRig) -> None:
    states_of_it = {
        "score": {"type": "llm", "agent": "judge", "prompt": "{{input.text}}", "next": "check"},
        "check": {"type": "condition", "condition": "score >= 5", "true": "shout", "false": "end"},
        "shout": {"type": "transform", "operation": "uppercase", "input": "text", "next": "end"},
    }
    agents = {"judge": {"role": "You judge.", "model": rig.configure("echo")}}
    document = {"initial_state": "score", "states": states_of_it, "agents_config": agents}
    slug = rig.services.workflows.definitions.import_document(AMIRA, json.dumps(document), "old").created[0]
    assert [rig.finish(slug, text=text).output for text in ("5", "4", "12")] == ["5", "4", "12"]
    looping = json.loads(json.dumps(document).replace('"false": "end"', '"false": "score"')) | {"max_steps": 6}
    slug = rig.services.workflows.definitions.import_document(AMIRA, json.dumps(looping), "older").created[0]
    assert rig.finish(slug, text="7").output == "7"
    assert len(rig.steps(rig.finish(slug, text="3"))) == 3 + 2 * 6 + 3 - 3


def test_inputs_are_checked_against_the_form(rig: FlowRig) -> None:
    fields = [{"name": "n", "type": "integer"}, {"name": "k", "type": "choice", "choices": ["a", "b"], "default": "a"}]
    slug = rig.make(draw(node("input", "start", fields=fields), finish("{{start.n}}{{start.k}}")))
    assert rig.finish(slug, n="3").output == "3a"
    with pytest.raises(InvalidInput, match=r"x is no field of the form. n is no whole number. k is none of a, b."):
        rig.start(slug, n=1.5, k="c", x=1)

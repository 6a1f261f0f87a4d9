"""Definitions: read from JSON and YAML within bounds, checked with words that name the node, versioned, exported."""

import json
import re
from typing import Any

import pytest

from lib.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from lib.limited.expressions import ExpressionError
from lib.workflows.definition import (
    LONGEST_DOCUMENT,
    build_schema,
    compute_hash,
    decode_definition,
    encode_definition,
    load_definition,
    parse_definition,
    write_yaml,
)
from lib.workflows.expressions import compile_expression, evaluate, fill_text, fill_value
from lib.workflows.original_format import translate_condition
from lib.workflows.validation import list_problems
from tests.workflows.rig import AMIRA, JONAS, FlowRig, draw, finish, node, start

pytestmark = pytest.mark.feature("FLOW-1")
SCOPE = {"a": {"score": "7", "n": 5, "text": "hi", "list": [1, 2]}, "gone": None}


def test_a_definition_reads_alike_from_json_and_yaml_and_has_a_schema() -> None:
    document = draw(
        start("x"), node("prompt", "ask", prompt="One\nTwo {{start.x}}", configuration="local"), finish("{{ask}}")
    )
    definition = load_definition(json.dumps(document))
    assert load_definition(write_yaml(definition)) == definition == decode_definition(encode_definition(definition))
    moved = json.loads(json.dumps(document).replace('"id": "ask"', '"id": "ask", "x": 40, "label": "Ask"'))
    assert compute_hash(parse_definition(moved)) == compute_hash(definition)
    import jsonschema

    jsonschema.Draft202012Validator.check_schema(build_schema())
    jsonschema.validate(document, build_schema())


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"nodes": [{"kind": "prompt", "id": "p", "promt": ""}]}, r"The node p can't be used. There is no field promt"),
        ({"nodes": [{"kind": "magic", "id": "p"}]}, r"The node p can't be used. Its kind is 'magic'; there are agents"),
        ({"nodes": [{"kind": "input"}]}, r"The node number 1 can't be used. It lacks the field id"),
        (
            {"parts": {"one": {"nodes": [{"kind": "map", "id": "m"}]}}},
            r"The node one/m can't be used. It lacks the field",
        ),
        ("a: &x [1]\nb: *x", "uses an alias"),
        ("a: [", "no YAML"),
        ("{", "no JSON"),
        ("- 1", "no object"),
        ("x: " + "y" * LONGEST_DOCUMENT, "too long"),
        ('{"nodes": []' + " " * 5_000_000 + "}", "It has 5,000,013 bytes; the limit is 1,000,000"),
        ({"initial_state": "a", "states": {"a": {"type": "llm", "next": "b"}}}, "The state a can't be translated"),
        ({"states": {"a": {"type": "magic"}}}, "Its type is 'magic'"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_no_definition_is_refused_with_the_place(document: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        load_definition(document if isinstance(document, str) else json.dumps(document))


_A = node("transform", "a", value="1")
_B = node("transform", "b", value="2")
_PART = {"one": draw(node("transform", "inner", value="item"))}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (draw(start(), _A, _B, finish("x"), edges="start>a a>b b>a b>finish"), "a: The nodes a → b → a form a circle"),
        (draw(start(), _A, _A, finish("x")), "a: 2 nodes have this id"),
        (draw(start(), _A, finish("x"), edges="start>a a>nobody a>finish"), "there is no node nobody"),
        (draw(start(), _A, finish("x"), edges="start>a a:true>finish"), "a: An edge leaves by 'true'"),
        (draw(start(), _A, _B, finish("x"), edges="start>a a>finish"), "b: Nothing leads here"),
        (draw(start(), node("transform", "a", value="1 +"), finish("x")), "a: The expression '1 \\+' can't be read"),
        (
            draw(start(), node("transform", "a", value="b + 1"), _B, finish("x")),
            "a: It reads b, which does not come before",
        ),
        (draw(start(), node("prompt", "a", prompt="{{zz.top}}"), finish("x")), "a: It reads zz, which does not exist"),
        (draw(start(), node("prompt", "a"), finish("x")), "a: It has no prompt"),
        (draw(_A, finish("x")), "There is no input"),
        (draw(start(), _A), "There is no output"),
        (draw(start(), node("output", "o")), "o: It needs words or an expression"),
        (draw(start(), node("map", "m", over="[1]", part="none"), finish("x")), "m: There is no part none"),
        (draw(start(), node("transform", "state", value="1"), finish("x")), "state: The id is a word of the language"),
        (draw(start(), node("transform", "a", value="1", set={"k": "output"}), finish("x")), "a: It sets k"),
        (draw(start(), node("wait", "w"), finish("x")), "w: It waits for nothing"),
        (
            draw(start(), node("agents", "t", mode="panel", agents=[{"name": "x"}], task="?"), finish("x")),
            "t: A panel needs a judge",
        ),
        (
            draw(
                start(),
                node("map", "m", over="[1]", part="one"),
                finish("x"),
                parts={"one": draw(node("transform", "i", value="1", set={"k": "output"}))},
                state={"k": 0},
            ),
            "i: A step of a map can't set shared state",
        ),
        (
            draw(
                start(),
                node("map", "m", over="[1]", part="one"),
                finish("x"),
                parts={
                    "one": draw(node("loop", "l", part="two", until="true")),
                    "two": draw(node("map", "n", over="[1]", part="one")),
                },
            ),
            "call each other without end",
        ),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else "",
)
def test_what_can_not_run_is_told_at_its_node(document: dict[str, Any], said: str) -> None:
    problems = [str(problem) for problem in list_problems(parse_definition(document)) if problem.is_error]
    assert any(re.search(said, problem) for problem in problems), problems


def test_a_part_sees_its_item_and_what_its_caller_sees_and_nothing_else() -> None:
    document = draw(start("x"), node("map", "m", over="[1]", part="one"), finish("{{m.items}}"), parts=_PART)
    assert list_problems(parse_definition(document)) == []
    document["parts"] = {"one": draw(node("transform", "inner", value="start.x + string(index) + finish"))}
    assert [str(p) for p in list_problems(parse_definition(document))] == [
        "inner: It reads finish, which does not come before it."
    ]


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("number(a.score) >= 5", True),
        ("a.list.map(i, i * 2)", [2, 4]),
        ("a.list.filter(i, i > 1).size() == 1", True),
        ("gone == null", True),
        ("upper(a.text) + join(split('x,y', ','), '-')", "HIx-y"),
        ("parse('so: {\"k\": [1]}').k[0]", 1),
        ("a.text.matches('^h')", True),
        ("text(3.0) + text(null) + text({'text': 'x'})", "3x"),
    ],
)
def test_expressions(source: str, value: Any) -> None:
    assert evaluate(source, SCOPE) == value


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("a.zz", "there is no 'zz'"),
        ("nobody + 1", "nobody has no value"),
        ("1 / 0", "divides by zero"),
        ("a.n + a.text", "No such overload|Unsupported"),
        ("number(a.text)", "is no number"),
        ("'x' * 3", "."),
        ("(" * 30 + "1" + ")" * 30, "nested more than"),
        ("1 + " * 600 + "1", "the limit is 2,000"),
        ("[1].map(b, [1].map(c, [1].map(d, [1].map(e, 1))))", "repetitions stand within one another"),
        ("a.__class__", "."),
        ("", "empty"),
    ],
    ids=lambda value: value[:20],
)
def test_an_expression_that_can_not_be_computed_says_why(source: str, said: str) -> None:
    with pytest.raises(ExpressionError, match=said):
        evaluate(source, SCOPE)


def test_repetitions_that_multiply_end_by_the_limit_of_their_process() -> None:
    numbers = {"x": list(range(2_000))}
    with pytest.raises(ExpressionError, match=r"processor time|longer than|memory"):
        evaluate("x.map(a, x.map(b, x.map(c, a + b + c)))", numbers)


LARGE = "a" * 100_000


@pytest.mark.parametrize(
    ("source", "values"),
    [
        ("x" + "+x" * 900, {"x": LARGE}),
        ("join(split(join(split(x, ''), x), ''), join(split(x, ''), x))", {"x": "a" * 5_000}),
    ],
    ids=["sum", "join of joins"],
)
def test_what_multiplies_its_values_ends_by_the_limits_of_its_process(source: str, values: dict[str, Any]) -> None:
    with pytest.raises(ExpressionError):
        evaluate(source, values)


@pytest.mark.parametrize("template", ["{{x}}" * 10_000, ["{{x}}"] * 10_000, [["{{x}} "], {"a": ["{{x}}"] * 10_000}]])
def test_places_without_number_are_counted_before_they_are_filled(template: Any) -> None:
    with pytest.raises(ExpressionError, match="more than 5,000,000"):
        fill_value(template, {"x": LARGE})


def test_texts_are_filled_once_and_a_place_alone_keeps_its_type() -> None:
    assert fill_text("{{a.text}} {{ a.list }} {{gone.deep}}|{{a.list.1}} {x}", SCOPE) == "hi [1,2] |2 {x}"
    assert fill_text("{{t}}", {"t": "{{a.text}}"}) == "{{a.text}}"
    assert fill_value({"n": "{{a.n}}", "s": "<{{a.n}}>"}, SCOPE) == {"n": 5, "s": "<5>"}
    with pytest.raises(ExpressionError, match=r"a.b.c has no value: there is no 'b'"):
        fill_text("{{a.b.c}}", SCOPE)


@pytest.mark.parametrize(
    ("condition", "expression"),
    [
        ("score >= 5", "double(number(score)) >= 5.0"),
        ("score>=5", "double(number(score)) >= 5.0"),
        ("a.b != 'no'", "text(a.b) != 'no'"),
        ("a.b == yes", "text(a.b) == 'yes'"),
        ("ok == True", "text(ok) == 'true'"),
        ("always", "true"),
    ],
)
def test_conditions_of_the_original(condition: str, expression: str) -> None:
    assert translate_condition(condition) == expression
    compile_expression(expression)


def test_versions_never_change_labels_move_and_the_second_of_two_editors_is_told(rig: FlowRig) -> None:
    workflows = rig.services.workflows.definitions
    slug = rig.make(draw(start("x"), finish("one")))
    second = workflows.save(AMIRA, slug, draw(start("x"), finish("two")), 1, "better")
    assert (second.version, workflows.get(AMIRA, slug).current) == (2, 2)
    with pytest.raises(Conflict, match="has a newer version"):
        workflows.save(AMIRA, slug, draw(start("x"), finish("three")), 1)
    with pytest.raises(InvalidInput, match="Nothing has changed"):
        workflows.save(AMIRA, slug, draw(start("x"), finish("two")), 2)
    assert [line for line in workflows.diff(AMIRA, slug, 1, 2) if line[0] in "+-"][2:] == [
        "-  text: one",
        "+  text: two",
    ]
    assert workflows.move_label(AMIRA, slug, "production", 1).current == 1
    assert rig.finish(slug, x="1").output == "one"
    with pytest.raises(NotFound):
        workflows.version(AMIRA, slug, 7)


def test_a_workflow_can_not_call_itself_not_even_through_others(rig: FlowRig) -> None:
    inner = rig.make(draw(start(), finish("x")))
    itself = draw(start(), node("workflow", "w", workflow=inner), finish("x"))
    with pytest.raises(InvalidInput, match=f"w: {inner} → {inner}"):
        rig.services.workflows.definitions.save(AMIRA, inner, itself, 1)
    outer = rig.make(draw(start(), node("workflow", "w", workflow=inner), finish("x")))
    with pytest.raises(InvalidInput, match=f"w: {inner} → {outer} → {inner}"):
        rig.services.workflows.definitions.save(
            AMIRA, inner, draw(start(), node("workflow", "w", workflow=outer), finish("x")), 1
        )


def test_running_is_for_those_whom_the_workflow_names(rig: FlowRig) -> None:
    from lib.access.permissions import Role, make_actor

    slug = rig.make(draw(start(), finish("x")))
    reader = make_actor(JONAS.user_id, "jonas", Role.ADMINISTRATOR)
    assert rig.services.workflows.definitions.list(reader) == []
    with pytest.raises(PermissionDenied):
        rig.start(slug, reader)
    rig.services.workflows.definitions.describe(AMIRA, slug, runners={"roles": ["administrator"]})
    assert [workflow.slug for workflow in rig.services.workflows.definitions.list(reader)] == [slug]


def test_an_export_is_imported_with_its_versions_and_labels(rig: FlowRig) -> None:
    workflows = rig.services.workflows.definitions
    slug = rig.make(draw(start("x"), finish("one")))
    workflows.save(AMIRA, slug, draw(start("x"), finish("two")), 1)
    workflows.move_label(AMIRA, slug, "production", 1)
    exported = workflows.export_json(AMIRA, [slug])
    assert workflows.import_document(AMIRA, exported).skipped == [slug]
    workflows.delete(AMIRA, slug)
    assert workflows.import_document(AMIRA, exported).created == [slug]
    assert (workflows.get(AMIRA, slug).newest, workflows.get(AMIRA, slug).labels) == (2, {"production": 1})

"""Definitions of workflows are text of strangers: whatever they multiply, nest or name, they are judged at once."""

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from lib.access.permissions import OPERATOR
from lib.errors import InvalidInput
from lib.limited.expressions import ExpressionError
from lib.settings import Settings
from lib.workflows.definition import load_definition, parse_definition
from lib.workflows.expressions import evaluate
from lib.workflows.quoting import CeilingQuotes
from lib.workflows.validation import list_problems
from tests.workflows.rig import AMIRA, FlowRig, draw, finish, node, start

pytestmark = [pytest.mark.feature("FLOW-1"), pytest.mark.feature("OPS-4")]
ENDS = [node("input", "start"), node("output", "finish", value="1")]
WAYS = [{"from": "start", "to": "first"}, {"from": "first", "to": "finish"}]
LINK = {"over": "[1]", "limit": 10}


def layers(depth: int, width: int, last: dict[str, Any]) -> dict[str, Any]:
    """Parts in one another, each repeated by so many nodes of the one above: `width ** depth` ways to the last."""
    parts = {
        f"p{level}": {"nodes": [node("map", f"m{level}_{n}", part=f"p{level + 1}", **LINK) for n in range(width)]}
        for level in range(depth)
    }
    parts[f"p{depth}"] = {"nodes": [last]}
    return {"nodes": [*ENDS, node("map", "first", part="p0", **LINK)], "edges": WAYS, "parts": parts}


def lattice(count: int, width: int) -> dict[str, Any]:
    """Parts of which each repeats the next few: the ways grow like Fibonacci's numbers, and faster."""
    parts = {
        f"p{n}": {
            "nodes": [
                node("loop", f"l{n}_{m}", part=f"p{m}", until="true") for m in range(n + 1, min(count, n + width))
            ]
            or [node("transform", f"t{n}", value="1", set={"a": "1"})]
        }
        for n in range(count)
    }
    return {"nodes": [*ENDS, node("map", "first", part="p0", **LINK)], "edges": WAYS, "parts": parts, "state": {"a": 0}}


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (layers(3, 120, node("transform", "t", value="1")), ""),
        (layers(3, 120, node("transform", "t", value="unknown")), "reads unknown"),
        (layers(30, 15, node("transform", "t", value="1")), "more than 5 deep"),
        (lattice(45, 10), "can't set shared state"),
    ],
    ids=["wide", "wide and wrong", "deep", "lattice"],
)
def test_parts_that_multiply_are_walked_once(document: dict[str, Any], problem: str) -> None:
    told = " ".join(str(found) for found in list_problems(parse_definition(document)))
    assert problem in told
    assert bool(problem) == bool(told)


def test_a_quote_counts_every_way_and_walks_none_twice() -> None:
    calls: Any = SimpleNamespace(quote=lambda *_: SimpleNamespace(low_nano=1, high_nano=2, model="m"))
    prompts: Any = None
    definition = parse_definition(layers(3, 100, node("prompt", "ask", prompt="a", retry={"attempts": 3})))
    quote = CeilingQuotes(calls, prompts, OPERATOR, {}).quote(definition, {})
    assert (quote.low_nano, quote.high_nano) == (0, 2 * 3 * 10 * 1_000 * 100**3)


@pytest.fixture
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlowRig]:
    folder = tmp_path_factory.mktemp("flow")
    made = FlowRig(Settings(data_dir=folder, database_url=f"sqlite:///{folder}/a.db"))
    yield made
    made.services.close()


def test_workflows_that_run_each_other_are_read_once(rig: FlowRig) -> None:
    services = rig.services.workflows
    rig.make(draw(start(), finish("done")), "w4")
    for level in (3, 2, 1, 0):
        calls = [node("workflow", f"c{n}", workflow=f"w{level + 1}") for n in range(100)]
        rig.make(draw(start(), *calls, finish("done")), f"w{level}")
    assert services.runs.quote(AMIRA, "w0").high_nano == 0
    with pytest.raises(InvalidInput, match="calls itself"):
        services.definitions.save(AMIRA, "w4", draw(start(), node("workflow", "c", workflow="w0"), finish("x")), 1)
    rig.make(
        draw(start(), node("workflow", "c", workflow="w0"), node("workflow", "d", workflow="w3"), finish("x")), "w"
    )
    with pytest.raises(InvalidInput, match="too deep"):
        services.runs.quote(AMIRA, "w")


@pytest.mark.parametrize(
    "text",
    [
        "- " * 200_000,
        "a: " + "{a: " * 2_000,
        "a: &a [x]\nb: [*a, *a]",
        "a: !!binary QUJD",
        "a: !!set {b, c}",
        "a: !!python/object/apply:os.system [x]",
        "a: 0x" + "f" * 200_000,
        "a: " + "1_" * 200_000,
        "a: 1" + ":1" * 2_000 + ".5",
        "a: b\n--- \nc: d",
        "a: \x00",
    ],
)
def test_yaml_is_read_where_time_and_memory_are_bounded(text: str) -> None:
    with pytest.raises(InvalidInput):
        load_definition(text)
    assert load_definition("nodes: []").nodes == (), "the next one is read"


def test_yaml_knows_the_kinds_of_json_alone() -> None:
    document = "nodes:\n- {kind: transform, id: a, value: '1'}\nstate: {day: 2026-11-30, at: 12:30, n: .5, none: ~}"
    assert load_definition(document).state == {"day": "2026-11-30", "at": 750, "n": 0.5, "none": None}


def test_the_old_format_is_translated_within_bounds() -> None:
    ways = [{"from": "a", "to": "b"}] * 20_000
    with pytest.raises(InvalidInput, match="transitions"):
        load_definition(json.dumps({"states": {"a": {}, "b": {}}, "transitions": ways}))


def test_an_expression_that_makes_too_much_is_no_fault_of_the_next() -> None:
    ten = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"
    with pytest.raises(ExpressionError, match="more than"):
        evaluate(f"{ten}.map(i, {ten}.map(j, {ten}.map(k, text)))", {"text": "x" * 20_000})
    assert evaluate("[1].map(i, i + 1)", {}) == [2]

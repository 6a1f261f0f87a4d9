"""A pattern, a schema or a text that would take the machine ends within its share: here, not the process that asks."""

import json
import resource
from pathlib import Path
from typing import Any

import pytest

from lib.errors import InvalidInput
from lib.experiments.scoring import check_scorers, score
from lib.limited import rules
from lib.limited.child import NotComputed
from lib.playground.question import list_schema_errors, read_schema, read_tools

HUGE = "a{2147483647}"
DEEP_ANSWER = "[" * 900 + "]" * 900
POINTING_ROUND: dict[str, Any] = {
    "$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 4} for n in range(20)} | {"d20": {}},
    "$ref": "#/$defs/d0",
}


def nested(levels: int) -> dict[str, Any]:
    """A schema of so many levels."""
    found: dict[str, Any] = {}
    for _ in range(levels):
        found = {"not": found}
    return found


def memory_kib() -> int:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.feature("OPS-4")
@pytest.mark.parametrize("pattern", [HUGE, f"({HUGE}){{3}}", "(" * 900 + ")" * 900, "(", "a{99999999999999999999}", ""])
def test_a_pattern_is_refused_when_it_is_saved(pattern: str) -> None:
    before = memory_kib()
    with pytest.raises(InvalidInput, match="regex can't be used"):
        check_scorers([{"kind": "regex", "pattern": pattern}], ["prompt"])
    assert memory_kib() - before < 100 * 1024


@pytest.mark.feature("OPS-4")
@pytest.mark.parametrize("schema", [{"type": "objekt"}, {"pattern": "("}, nested(5_000), nested(400)])
def test_a_schema_is_refused_when_it_is_saved(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        check_scorers([{"kind": "json", "schema": schema}], ["prompt"])


@pytest.mark.feature("OPS-4")
@pytest.mark.parametrize("read", [read_schema, read_tools])
def test_text_nested_too_deeply_is_refused(read: Any) -> None:
    for text in ('{"not":' * 100_000 + "{}" + "}" * 100_000, '{"not":' * 400 + "{}" + "}" * 400):
        with pytest.raises(InvalidInput):
            read(text)


@pytest.mark.feature("OPS-4")
@pytest.mark.parametrize(
    ("rule", "answer", "why"),
    [
        ({"kind": "regex", "pattern": r"(?:(a|aa|a)+b?)+c"}, "a" * 400 + "b", "longer than 1 s"),
        ({"kind": "regex", "pattern": HUGE}, "aaa", ""),  # memory or time ends it, as the machine is loaded
        ({"kind": "json", "schema": {"pattern": "(a+)+$"}}, json.dumps("a" * 60 + "b"), "longer than 2 s"),
        ({"kind": "json", "schema": {"uniqueItems": True}}, json.dumps([{"a": n} for n in range(20_000)]), "longer"),
        ({"kind": "json", "schema": POINTING_ROUND}, "1", "longer than 2 s"),
        ({"kind": "json", "schema": {"items": {"$ref": "#"}}}, DEEP_ANSWER, "nested too deeply"),
        ({"kind": "json", "schema": {"$ref": "#"}}, "1", "nested too deeply"),
        ({"kind": "json", "schema": {"$ref": "http://127.0.0.1/inner"}}, "1", "not in it"),
        ({"kind": "similarity"}, "a b " * 6_000, "longer than 5 s"),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_what_a_score_can_not_tell_is_its_note(rule: dict[str, Any], answer: str, why: str) -> None:
    found = score(rule, answer, {"expected": "a " * 10_000})
    assert found.value is None
    assert why in found.note or "longer than" in found.note  # a busy machine's limit of time may come first
    assert score({"kind": "regex", "pattern": "b$"}, "ab", {}).value == 1, "the next one is computed"


@pytest.mark.feature("OPS-4")
def test_a_deeply_nested_answer_does_not_fit_and_holds_nothing_up() -> None:
    found = score({"kind": "json"}, "[" * 100_000 + "]" * 100_000, {})
    assert found.value == 0
    assert "nested too deeply" in found.note


@pytest.mark.feature("OPS-4")
def test_an_unexpected_failure_of_a_score_is_its_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> float:
        raise ZeroDivisionError

    monkeypatch.setattr(rules, "compute_likeness", fail)
    assert score({"kind": "similarity"}, "a", {"expected": "a"}).note == "An unexpected error: ZeroDivisionError."


@pytest.mark.feature("OPS-4")
def test_a_schema_that_takes_too_long_says_so_beside_an_answer() -> None:
    assert list_schema_errors({"pattern": "(a+)+$"}, json.dumps("a" * 60 + "b")) == ["It takes longer than 2 s."]


@pytest.mark.feature("OPS-4")
def test_at_most_two_children_check_rules_at_once() -> None:
    from concurrent.futures import ThreadPoolExecutor

    alive = list[int]()

    def check(_: int) -> None:
        with pytest.raises(NotComputed):
            rules.find_pattern(r"(?:(a|aa|a)+b?)+c", "a" * 400)
        alive.append(len(rules._workers._idle))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(check, range(4)))
    assert max(alive) <= 2


@pytest.mark.feature("OPS-4")
def test_texts_are_compared_in_the_child_or_within_bounds() -> None:
    """Comparing takes the square of a text's length, or the cube: only short definitions of tools are compared here."""
    library = Path(rules.__file__).parents[1]
    uses = {str(path.relative_to(library)) for path in library.rglob("*.py") if "import difflib" in path.read_text()}
    assert uses == {"limited/difference.py", "limited/rule_program.py", "mcp/pins.py"}

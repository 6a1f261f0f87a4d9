"""Prompt templates: typed variables filled literally, versions that never change, labels, import and export."""

import json
from threading import Barrier, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.access.audit import Audit, AuditCriteria
from lib.access.grants import KeyGrant
from lib.access.permissions import OPERATOR, Role, make_actor
from lib.db.engine import Store
from lib.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from lib.limited.difference import compute_unified_at_once
from lib.prompts.prompts import Prompts
from lib.prompts.template import VersionDraft
from lib.prompts.variable import Variable, VariableType

pytestmark = pytest.mark.feature("PLAY-3")
AMIRA = make_actor("00000000-0000-7000-8000-00000000000a", "amira", Role.DEVELOPER)
VERA = make_actor("00000000-0000-7000-8000-00000000000b", "vera", Role.ADMINISTRATOR)
TYPED = VersionDraft(
    "Sum up {{text}} for {{ audience }} in {{words}} words. Plain: {{plain}}. Facts: {{facts}}",
    "You write for {{audience}}.",
    [
        Variable("audience", VariableType.CHOICE, choices=("engineers", "managers"), default="managers"),
        Variable("words", VariableType.NUMBER, default="50"),
        Variable("plain", VariableType.BOOLEAN, default="true"),
        Variable("facts", VariableType.JSON, example='{"a": 1}'),
    ],
    {"temperature": 0.2},
)


@pytest.fixture
def prompts(store: Store) -> Prompts:
    return Prompts(store)


def test_variables_are_filled_by_type_with_defaults(prompts: Prompts) -> None:
    prompts.create(AMIRA, "summary", TYPED)
    found = prompts.fill(AMIRA, "summary", {"text": "the log", "facts": {"n": [1, None]}, "words": 30}, label="draft")
    assert found.text == 'Sum up the log for managers in 30 words. Plain: true. Facts: {"n": [1, null]}'
    assert found.system_prompt == "You write for managers."
    assert (found.parameters, found.tags) == (
        {"temperature": 0.2},
        {"template": "summary", "template_version": "1"},
    )
    as_text = {"text": "x", "facts": "[ 1]", "words": " 2.50 ", "plain": "No", "audience": "engineers"}
    found = prompts.fill(AMIRA, "summary", as_text, version=1)
    assert found.text == "Sum up x for engineers in 2.50 words. Plain: false. Facts: [ 1]"


def test_values_are_never_expanded_again(prompts: Prompts) -> None:
    prompts.create(AMIRA, "pair", VersionDraft("{{a}}|{{b}}|{{ not this }}|{{a.b}}|{a}|{{{{a}}}}"))
    found = prompts.fill(AMIRA, "pair", {"a": "{{b}}\\1", "b": "{{a}}{{c}}"}, label="draft")
    assert found.text == "{{b}}\\1|{{a}}{{c}}|{{ not this }}|{{a.b}}|{a}|{{{{b}}\\1}}"


def test_everything_missing_wrong_or_unknown_is_listed_at_once(prompts: Prompts) -> None:
    prompts.create(AMIRA, "summary", TYPED)
    values = {"audience": "cats", "words": "many", "plain": 7, "facts": "{", "tone": "dry", "mood": 1}
    with pytest.raises(InvalidInput) as refused:
        prompts.fill(AMIRA, "summary", values, label="draft")
    assert refused.value.field == "variables"
    assert refused.value.why == (
        "Missing: text. Wrong: audience must be one of engineers, managers; words must be a number; "
        "plain must be true or false; facts must be JSON. Not in the template: tone, mood."
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "nan", "1_000", "", True, [1], "１２x"])
def test_what_is_no_number_is_refused(prompts: Prompts, value: object) -> None:
    prompts.create(AMIRA, "n", VersionDraft("{{n}}", variables=[Variable("n", VariableType.NUMBER)]))
    with pytest.raises(InvalidInput, match="n must be a number"):
        prompts.fill(AMIRA, "n", {"n": value}, label="draft")


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ([{"name": "a b"}], "letters, digits"),
        ([{"name": "x"}], "x can't be found in the text"),
        ([{"name": "a", "type": "date"}], "type must be one of"),
        ([{"name": "a", "type": "choice"}], "a choice has choices"),
        ([{"name": "a", "choices": ["x"]}], "a choice has choices"),
        ([{"name": "a", "type": "number", "default": "ten"}], "default must be a number"),
        ([{"name": "a", "typ": "text"}], "it has no typ"),
        ([{"name": "a"}, {"name": "a"}], "declared twice"),
        (["a"], "letters, digits"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(prompts: Prompts, variables: list[object], why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        prompts.create(AMIRA, "bad", VersionDraft("{{a}}", variables=variables))  # type: ignore[arg-type]
    assert prompts.list(AMIRA) == []


def test_versions_say_who_and_why_and_never_change(prompts: Prompts) -> None:
    prompts.create(AMIRA, "greet", VersionDraft("Hello {{name}}"), reason="first")
    prompts.save(VERA_EDITS, "greet", VersionDraft("Good day {{name}}", "Be kind."), 1, "kinder")
    told = [(one.version, one.text, one.user_name, one.reason) for one in prompts.versions(AMIRA, "greet")]
    assert told == [(2, "Good day {{name}}", "vera", "kinder"), (1, "Hello {{name}}", "amira", "first")]
    assert prompts.get(AMIRA, "greet").labels == {"draft": 2}
    assert prompts.diff(AMIRA, "greet", 1, "draft") == [
        *("--- version 1", "+++ version 2", "@@ -1,2 +1,3 @@"),
        *("-Hello {{name}}", "+system: Be kind.", "+Good day {{name}}"),
        ' variable name: {"type": "text", "choices": []}',
    ]
    with pytest.raises(InvalidInput, match="Nothing has changed"):
        prompts.save(AMIRA, "greet", VersionDraft("Good day {{name}}", "Be kind."), 2)


def test_comparing_versions_ends_soon_whatever_their_texts_are(prompts: Prompts) -> None:
    prompts.create(AMIRA, "long", VersionDraft("a\nb\n" * 20_000))
    prompts.save(AMIRA, "long", VersionDraft("same\n" + "b\nb\na\n" * 15_000), 1)
    lines = prompts.diff(AMIRA, "long", 1, 2)
    assert lines[:2] == ["--- version 1", "+++ version 2"]
    assert sum(line.startswith("-") for line in lines) > 1


@given(*[st.lists(st.sampled_from("abc"), max_size=8)] * 2)
def test_a_difference_told_at_once_makes_the_one_text_of_the_other(first: list[str], second: list[str]) -> None:
    head, *changes = compute_unified_at_once(first, second, ("old", "new"))[2:] or ["@@ -0,0 +0,0 @@"]
    at = max(0, int(head.split()[1][1:].split(",")[0]) - 1)
    removed = [line[1:] for line in changes if line[0] == "-"]
    at = at if removed else max(0, int(head.split()[2][1:].split(",")[0]) - 1)
    added = [line[1:] for line in changes if line[0] == "+"]
    assert first[:at] + added + first[at + len(removed) :] == second


VERA_EDITS = make_actor(VERA.user_id, "vera", Role.DEVELOPER)


def test_of_two_who_save_at_once_the_second_is_told(prompts: Prompts) -> None:
    prompts.create(AMIRA, "greet", VersionDraft("Hello"))
    start, refused = Barrier(4), []

    def save(number: int) -> None:
        start.wait()
        try:
            prompts.save(AMIRA, "greet", VersionDraft(f"Hello {number}"), 1)
        except Conflict as error:
            refused.append(error.title)

    threads = [Thread(target=save, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["greet has a newer version."] * 3
    assert [one.version for one in prompts.versions(AMIRA, "greet")] == [2, 1]


def test_a_label_is_moved_in_one_step_and_audited(prompts: Prompts, store: Store) -> None:
    prompts.create(AMIRA, "greet", VersionDraft("Hello"))
    with pytest.raises(NotFound, match="no version labelled production"):
        prompts.fill(AMIRA, "greet", {})
    prompts.move_label(AMIRA, "greet", "production", 1)
    prompts.save(AMIRA, "greet", VersionDraft("Hi"), 1)
    assert prompts.fill(AMIRA, "greet", {}).text == "Hello"
    prompts.move_label(AMIRA, "greet", "production", 2)
    assert prompts.fill(AMIRA, "greet", {}).text == "Hi"
    prompts.move_label(AMIRA, "greet", "canary", 1)
    assert prompts.get(AMIRA, "greet").labels == {"canary": 1, "draft": 2, "production": 2}
    prompts.move_label(AMIRA, "greet", "canary", None)
    moves = Audit(store).page(OPERATOR, AuditCriteria(actions=("prompt.label",))).entries
    assert [one.detail for one in moves][1:3] == [
        {"label": "canary", "from": None, "to": 1},
        {"label": "production", "from": 1, "to": 2},
    ]
    for version, label, error in ((9, "canary", NotFound), (1, "Big Label", InvalidInput), (1, "12", InvalidInput)):
        with pytest.raises(error):
            prompts.move_label(AMIRA, "greet", label, version)


def test_search_by_words_category_and_app(prompts: Prompts) -> None:
    prompts.create(AMIRA, "greet", VersionDraft("Hello"), category="mail", app="support")
    prompts.create(AMIRA, "triage", VersionDraft("Which 100% team?"), description="Sorts bugs", category="bugs")
    assert [one.slug for one in prompts.list(AMIRA, text="TEAM bugs")] == ["triage"]
    assert [one.slug for one in prompts.list(AMIRA, text="0%")] == ["triage"]
    assert [one.slug for one in prompts.list(AMIRA, text="_")] == []
    assert [one.slug for one in prompts.list(AMIRA, app="support")] == ["greet", "triage"]
    assert [one.slug for one in prompts.list(AMIRA, app="billing")] == ["triage"]
    assert [one.slug for one in prompts.list(AMIRA, category="mail")] == ["greet"]
    assert prompts.categories(AMIRA) == ["bugs", "mail"]
    prompts.describe(AMIRA, "greet", category="post", description="Letters")
    assert (prompts.get(AMIRA, "greet").app, prompts.get(AMIRA, "greet").category) == (None, "post")


def test_a_programs_key_sees_its_own_apps_templates(prompts: Prompts) -> None:
    from dataclasses import replace

    prompts.create(AMIRA, "greet", VersionDraft("Hello"), app="support")
    prompts.create(AMIRA, "triage", VersionDraft("Which team?"))
    bot = replace(AMIRA, key=KeyGrant("k", "billing"))
    assert [one.slug for one in prompts.list(bot)] == ["triage"]
    for ask in (lambda: prompts.get(bot, "greet"), lambda: prompts.fill(bot, "greet", {}, label="draft")):
        with pytest.raises(NotFound, match="no prompt greet"):
            ask()
    helper = replace(AMIRA, key=KeyGrant("k", "support"))
    assert prompts.fill(helper, "greet", {}, label="draft").text == "Hello"


def test_a_document_brings_everything_to_another_installation(prompts: Prompts, store: Store) -> None:
    prompts.create(AMIRA, "summary", TYPED, app="support", category="mail", description="Short", reason="first")
    prompts.save(AMIRA, "summary", VersionDraft("Just {{text}}"), 1, "shorter")
    prompts.move_label(AMIRA, "summary", "production", 1)
    document = prompts.export_json(AMIRA)
    before = prompts.get(AMIRA, "summary"), prompts.versions(AMIRA, "summary")
    assert prompts.import_json(AMIRA, document).skipped == ["summary"]
    with pytest.raises(PermissionDenied):
        prompts.delete(AMIRA, "summary")
    prompts.delete(OPERATOR, "summary")
    assert prompts.import_json(AMIRA, document).created == ["summary"]
    after = prompts.get(AMIRA, "summary"), prompts.versions(AMIRA, "summary")
    assert [after[0].labels, after[0].app, after[0].category] == [{"draft": 2, "production": 1}, "support", "mail"]
    for old, new in zip(before[1], after[1], strict=True):
        assert (new.text, new.system_prompt, new.variables, new.parameters, new.reason) == (
            *(old.text, old.system_prompt, old.variables, old.parameters, old.reason),
        )


@pytest.mark.parametrize(
    ("change", "title"),
    [
        (lambda d: d.update(format="x"), "not an export"),
        (lambda d: d["prompts"].append(5), "Entry 2 can't be read"),
        (lambda d: d["prompts"][0].update(slug="No!"), "Entry 1: The name can't be used"),
        (lambda d: d["prompts"][0].update(labels={"production": 3}), "Entry 1 can't be read"),
        (lambda d: d["prompts"][0].update(labels={"production": True}), "Entry 1 can't be read"),
        (lambda d: d["prompts"][0].update(versions=[]), "Entry 1 can't be read"),
        (lambda d: d["prompts"][0]["versions"][0].update(text=""), "Entry 1: The prompt is empty"),
        (lambda d: d["prompts"][0]["versions"][0].update(parameters={"api_key": "x"}), "api_key is not a parameter"),
    ],
)
def test_a_spoilt_document_brings_nothing(prompts: Prompts, change, title: str) -> None:  # type: ignore[no-untyped-def]
    prompts.create(AMIRA, "greet", VersionDraft("Hello"))
    document = json.loads(prompts.export_json(AMIRA))
    prompts.delete(OPERATOR, "greet")
    change(document)
    with pytest.raises(InvalidInput, match=title):
        prompts.import_json(AMIRA, json.dumps(document))
    assert prompts.list(AMIRA) == []


def test_a_taken_name_is_told(prompts: Prompts) -> None:
    prompts.create(AMIRA, "greet", VersionDraft("Hello"))
    with pytest.raises(Conflict, match="The name greet is taken"):
        prompts.create(AMIRA, "greet", VersionDraft("Hi"))
    assert prompts.version(AMIRA, "greet").text == "Hello"

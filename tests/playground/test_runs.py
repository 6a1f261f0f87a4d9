"""Panes asked together, stopped, asked again, shared and voted on; and who may do which."""

import json
from collections.abc import Callable, Iterator

import pytest

from lib.access.permissions import OPERATOR
from lib.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from lib.playground.exports import FORMAT, RunFormat
from lib.playground.question import (
    AttachedFile,
    PlaygroundQuestion,
    list_schema_errors,
    read_schema,
    read_tools,
    rebuild_question,
)
from lib.playground.run import DRAW, Pane, PlaygroundRun
from lib.playground.runs import RATING, VOTE
from lib.prompts.template import VersionDraft
from lib.settings import Settings
from tests.calls.rig import AMIRA, JONAS, Rig

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 40


@pytest.fixture
def rig(settings: Settings) -> Iterator[Rig]:
    made = Rig(settings)
    for name, script in (("echo", "echo"), ("slow", "echo+slow:50ms"), ("broken", "fail:401")):
        made.services.configurations.create(OPERATOR, slug=name, app="play", provider="scripted", model=script)
    yield made
    made.services.close()


def ended(rig: Rig, run_id: str) -> PlaygroundRun:
    """The run, once every pane has ended."""
    for pane in rig.services.playground.open(AMIRA, run_id).panes:
        if pane.call_id:
            rig.services.calls.wait(AMIRA, pane.call_id)
    return rig.services.playground.open(AMIRA, run_id)


@pytest.mark.feature("PLAY-1")
def test_panes_are_asked_at_once_and_keep_their_own_settings(rig: Rig) -> None:
    panes = [Pane("echo", {"temperature": 0.5}), Pane("slow"), Pane("nobody"), Pane("echo")]
    run_id = rig.services.playground.start(AMIRA, PlaygroundQuestion("What is a token?", "Be short."), panes)
    run = ended(rig, run_id)
    assert [pane.slug for pane in run.panes] == ["echo", "slow", "nobody", "echo"]
    assert [pane.call is not None for pane in run.panes] == [True, True, False, True]
    assert "nobody" in str(run.panes[2].error)
    assert run.panes[0].call is not None
    assert run.panes[0].call.parameters == {"temperature": 0.5}
    assert [message["role"] for message in run.panes[0].call.messages] == ["system", "user"]
    lines, more = rig.services.playground.recent(AMIRA)
    assert [(line.id, line.prompt_text, line.panes, more) for line in lines] == [(run_id, "What is a token?", 4, False)]
    (row,) = rig.rows(str(run.panes[0].call_id))
    assert (row["origin"], row["tags"]) == ("playground", {"playground_run": run_id})


@pytest.mark.feature("PLAY-1")
def test_all_are_stopped_and_one_is_asked_again(rig: Rig) -> None:
    playground = rig.services.playground
    question = PlaygroundQuestion(" ".join(["word"] * 200))
    run_id = playground.start(AMIRA, question, [Pane("slow"), Pane("slow")])
    playground.stop(AMIRA, run_id)
    run = ended(rig, run_id)
    assert [pane.call.status for pane in run.panes if pane.call] == ["cancelled", "cancelled"]
    playground.ask_again(AMIRA, run_id, 1, PlaygroundQuestion("Again"), Pane("echo"))
    after = ended(rig, run_id)
    assert [pane.slug for pane in after.panes] == ["slow", "echo"]
    assert after.panes[1].call_id != run.panes[1].call_id
    assert playground.call(AMIRA, run_id, 1).status == "ok"


@pytest.mark.feature("PLAY-1")
def test_nothing_is_kept_when_no_pane_can_be_asked(rig: Rig) -> None:
    with pytest.raises(NotFound):
        rig.services.playground.start(AMIRA, PlaygroundQuestion("Hello"), [Pane("nobody"), Pane("no one")])
    with pytest.raises(InvalidInput):
        rig.services.playground.start(AMIRA, PlaygroundQuestion("Hello"), [Pane("echo")] * 5)
    assert rig.services.playground.recent(AMIRA) == ([], False)


@pytest.mark.feature("PLAY-5")
def test_a_run_is_its_owners_until_it_is_shared(rig: Rig) -> None:
    playground = rig.services.playground
    run_id = playground.start(AMIRA, PlaygroundQuestion("Hello"), [Pane("echo"), Pane("echo")])
    ended(rig, run_id)
    for refused in (
        lambda: playground.open(JONAS, run_id),
        lambda: playground.call(JONAS, run_id, 0),
        lambda: playground.share(JONAS, run_id, is_shared=True),
    ):
        with pytest.raises(NotFound):
            refused()
    playground.share(AMIRA, run_id, is_shared=True)
    seen = playground.open(JONAS, run_id)
    assert [pane.call.text for pane in seen.panes if pane.call] == [
        pane.call.text for pane in playground.open(AMIRA, run_id).panes if pane.call
    ]
    changes: list[Callable[[], object]] = [
        lambda: playground.vote(JONAS, run_id, 0),
        lambda: playground.stop(JONAS, run_id),
        lambda: playground.delete(JONAS, run_id),
        lambda: playground.ask_again(JONAS, run_id, 0, PlaygroundQuestion("x"), Pane("echo")),
    ]
    for changing in changes:
        with pytest.raises(NotFound):
            changing()
    assert playground.recent(JONAS) == ([], False)
    playground.share(AMIRA, run_id, is_shared=False)
    with pytest.raises(NotFound):
        playground.open(JONAS, run_id)


@pytest.mark.feature("PLAY-1")
@pytest.mark.feature("CALL-7")
def test_a_vote_is_cast_once_and_counts_as_a_metric_of_every_call(rig: Rig) -> None:
    playground = rig.services.playground
    run_id = playground.start(AMIRA, PlaygroundQuestion("Hello"), [Pane("echo"), Pane("slow")], is_blind=True)
    run = ended(rig, run_id)
    with pytest.raises(InvalidInput):
        playground.vote(AMIRA, run_id, 7)
    playground.vote(AMIRA, run_id, 1)
    with pytest.raises(Conflict):
        playground.vote(AMIRA, run_id, 0)
    with pytest.raises(Conflict):
        playground.ask_again(AMIRA, run_id, 0, PlaygroundQuestion("x"), Pane("echo"))
    points = [m.value for p in run.panes for m in rig.services.metrics.list(AMIRA, str(p.call_id)) if m.key == VOTE]
    assert points == [0.0, 1.0]
    other = playground.start(AMIRA, PlaygroundQuestion("Hello"), [Pane("echo"), Pane("echo")])
    ended(rig, other)
    playground.vote(AMIRA, other, DRAW)
    wins = {line.slug: (line.runs, line.won, line.drawn) for line in playground.wins(AMIRA)}
    assert wins == {"echo": (3, 0, 2), "slow": (1, 1, 0)}
    alone = playground.start(AMIRA, PlaygroundQuestion("Hello"), [Pane("echo")])
    ended(rig, alone)
    with pytest.raises(Conflict):
        playground.vote(AMIRA, alone, 0)


@pytest.mark.feature("PLAY-2")
def test_files_travel_with_the_question_or_are_named_with_a_reason(rig: Rig) -> None:
    playground = rig.services.playground
    seeing = rig.services.configurations.create(
        OPERATOR, slug="seeing", app="play", provider="scripted", model="echo", capabilities=("vision",)
    )
    reading = rig.services.configurations.create(
        OPERATOR, slug="reading", app="play", provider="scripted", model="echo", capabilities=("streaming",)
    )
    files = [AttachedFile("a.png", PNG), AttachedFile("notes.md", "über".encode())]
    run_id = playground.start(AMIRA, PlaygroundQuestion("Look", files=files), [Pane(seeing.slug), Pane(reading.slug)])
    run = ended(rig, run_id)
    assert run.panes[0].call is not None
    text, image, note = run.panes[0].call.messages[-1]["content"]
    assert text["text"] == "Look"
    assert image["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert note["text"] == "File notes.md:\n\nüber"
    assert "a.png" in str(run.panes[1].error)
    for bad in (
        AttachedFile("a.png", b"GIF89a"),
        AttachedFile("a.exe", b"MZ"),
        AttachedFile("b.png", PNG + b"0" * 6_000_000),
    ):
        with pytest.raises(InvalidInput, match=bad.name):
            playground.start(AMIRA, PlaygroundQuestion("Look", files=[bad]), [Pane("seeing")])


@pytest.mark.feature("PLAY-2")
def test_an_answer_is_held_against_its_schema(rig: Rig) -> None:
    schema = read_schema('{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}')
    assert schema is not None
    assert list_schema_errors(schema, '{"n": 1}') == []
    assert list_schema_errors(schema, '{"n": "x"}') == ["$.n: 'x' is not of type 'integer'"]
    assert "not JSON" in list_schema_errors(schema, "Sure! Here")[0]
    assert "not in it" in list_schema_errors({"$ref": "https://example.com/other.json"}, "{}")[0]
    assert read_schema("  ") is None
    for bad in ("{", "[]", '{"type": "objekt"}'):
        with pytest.raises(InvalidInput):
            read_schema(bad)
    run_id = rig.services.playground.start(AMIRA, PlaygroundQuestion("Count", schema=schema), [Pane("echo")])
    asked = ended(rig, run_id).panes[0].call
    assert asked is not None
    assert asked.parameters["response_format"]["json_schema"]["schema"] == schema


@pytest.mark.feature("PLAY-1")
def test_who_may_not_test_configurations_may_not_play(rig: Rig) -> None:
    import dataclasses

    guest = dataclasses.replace(JONAS, permissions=frozenset())
    with pytest.raises(PermissionDenied):
        rig.services.playground.start(guest, PlaygroundQuestion("Hello"), [Pane("echo")])


@pytest.mark.feature("PLAY-1")
@pytest.mark.feature("CALL-7")
def test_an_answer_is_rated_and_the_last_word_counts(rig: Rig) -> None:
    playground = rig.services.playground
    run_id = playground.start(AMIRA, PlaygroundQuestion("Hello"), [Pane("echo"), Pane("nobody")])
    run = ended(rig, run_id)
    assert playground.ratings(AMIRA, run_id) == {}
    for good in (True, False):
        playground.rate(AMIRA, run_id, 0, is_good=good)
    assert playground.ratings(AMIRA, run_id) == {0: False}
    noted = [(m.key, m.value) for m in rig.services.metrics.list(AMIRA, str(run.panes[0].call_id))]
    assert noted == [(RATING, 1.0), (RATING, 0.0)]
    with pytest.raises(InvalidInput):
        playground.rate(AMIRA, run_id, 1, is_good=True)
    playground.share(AMIRA, run_id, is_shared=True)
    with pytest.raises(NotFound):
        playground.rate(JONAS, run_id, 0, is_good=True)


@pytest.mark.feature("PLAY-5")
def test_a_run_leaves_as_a_file_and_a_blind_one_only_after_the_vote(rig: Rig) -> None:
    playground = rig.services.playground
    panes = [Pane("echo", {"temperature": 0.5}), Pane("broken")]
    run_id = playground.start(AMIRA, PlaygroundQuestion("Say it", "Be short."), panes)
    run = ended(rig, run_id)
    kept = json.loads(playground.export(AMIRA, run_id, RunFormat.JSON))
    first, second = kept["panes"]
    assert (kept["format"], kept["question"], first["system_prompt"]) == (FORMAT, "Say it", "Be short.")
    assert run.panes[0].call is not None
    assert (first["text"], first["parameters"], first["status"]) == (run.panes[0].call.text, {"temperature": 0.5}, "ok")
    assert (first["cost_usd"], second["cost_usd"], second["status"]) == ("0", "0", "error")
    assert (
        f"## echo (echo)\n\n> Be short.\n\n{first['text']}"
        in playground.export(AMIRA, run_id, RunFormat.MARKDOWN).decode()
    )
    with pytest.raises(NotFound):
        playground.export(JONAS, run_id, RunFormat.JSON)
    blind = playground.start(AMIRA, PlaygroundQuestion("Say it"), [Pane("echo"), Pane("slow")], is_blind=True)
    ended(rig, blind)
    with pytest.raises(Conflict, match="vote"):
        playground.export(AMIRA, blind, RunFormat.MARKDOWN)
    playground.vote(AMIRA, blind, 1)
    assert [pane["preferred"] for pane in json.loads(playground.export(AMIRA, blind, RunFormat.JSON))["panes"]] == [
        False,
        True,
    ]


@pytest.mark.feature("PLAY-3")
def test_asked_again_it_still_counts_for_its_template(rig: Rig) -> None:
    prompts, playground = rig.services.prompts, rig.services.playground
    prompts.create(AMIRA, "greet", VersionDraft("Hello {{name}}"))
    filled = prompts.fill(AMIRA, "greet", {"name": "Ada"}, version=1)
    run_id = playground.start(AMIRA, PlaygroundQuestion(filled.text, template=filled), [Pane("echo")])
    first = ended(rig, run_id).panes[0].call
    assert first is not None
    question = rebuild_question(first)
    assert question is not None
    playground.ask_again(AMIRA, run_id, 0, question, Pane("echo"))
    again = ended(rig, run_id).panes[0].call
    assert again is not None
    assert again.call_id != first.call_id
    assert again.tags == first.tags == {"playground_run": run_id, "template": "greet", "template_version": "1"}


@pytest.mark.feature("PLAY-2")
def test_tools_are_offered_and_what_the_model_asks_of_them_is_kept(rig: Rig) -> None:
    bare = '[{"name": "weather", "parameters": {"type": "object", "properties": {"question": {"type": "string"}}}}]'
    tools = read_tools(bare)
    assert tools == read_tools(json.dumps(tools)), "bare functions and OpenAI's shape are the same"
    rig.services.configurations.create(OPERATOR, slug="asking", app="play", provider="scripted", model="call:weather")
    run_id = rig.services.playground.start(AMIRA, PlaygroundQuestion("Rain in Graz?", tools=tools), [Pane("asking")])
    call = ended(rig, run_id).panes[0].call
    assert call is not None
    asked = [{"id": "call_1", "name": "weather", "arguments": '{"question": "Rain in Graz?"}'}]
    assert (list(call.tool_calls), call.finish_reason, call.parameters["tools"]) == (asked, "tool_calls", tools)
    again = rebuild_question(call)
    assert again is not None
    assert again.parameters() == {"tools": tools}
    kept = rig.services.runs.view(AMIRA, call.call_id)
    assert list(kept.tool_calls) == asked, "also when only the ledger knows it"
    for bad in ("{", '[{"description": "nameless"}]', '[{"name": "a b"}]', '[{"name": "a", "parameters": []}]'):
        with pytest.raises(InvalidInput):
            read_tools(bad)
    with pytest.raises(InvalidInput, match="weather"):
        read_tools('{"name": "weather", "parameters": {"type": "objekt"}}')


@pytest.mark.feature("PLAY-1")
def test_each_pane_has_a_system_prompt_of_its_own_or_that_of_all(rig: Rig) -> None:
    playground = rig.services.playground
    rig.services.configurations.create(
        OPERATOR, slug="polite", app="play", provider="scripted", model="echo", system_prompt="Be polite."
    )
    panes = [Pane("polite"), Pane("polite", {}, "Be rude."), Pane("polite", {}, "")]
    for system, expected in (("Be short.", ["Be short.", "Be rude.", ""]), (None, ["Be polite.", "Be rude.", ""])):
        run = ended(rig, playground.start(AMIRA, PlaygroundQuestion("Hello", system), panes))
        assert [pane.system_prompt for pane in run.panes] == expected

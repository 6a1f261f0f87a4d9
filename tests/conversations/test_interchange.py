"""Files in and out: every form of export, and the exports of other programs with their branches."""

import csv
import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from lib.conversations import imports
from lib.conversations.exports import ExportFormat
from lib.errors import InvalidInput, NotFound
from tests.calls.rig import AMIRA, JONAS
from tests.conversations.talk_rig import TalkRig
from tests.waiting import CEILING_S

pytestmark = pytest.mark.feature("PLAY-6")


def node(name: str, parent: str | None, role: str, text: str, **message: Any) -> dict[str, Any]:
    """A node of OpenAI's `mapping`."""
    content = {"content_type": "text", "parts": [text]}
    said = {"author": {"role": role}, "content": content, "create_time": 1756000001.5, **message}
    return {"id": name, "message": said, "parent": parent, "children": []}


HIDDEN = {"metadata": {"is_visually_hidden_from_conversation": True}}
OPENAI = [
    {
        "title": "Roll back",
        "create_time": 1756000000.0,
        "current_node": "a1",
        "conversation_id": "c-1",
        "mapping": {
            "root": {"id": "root", "message": None, "parent": None, "children": ["context"]},
            "context": node("context", "root", "user", "profile", **HIDDEN),
            "q1": node("q1", "context", "user", "How do I roll back?"),
            "a1": node("a1", "q1", "assistant", "With helm.", metadata={"model_slug": "gpt-5"}),
            "a2": node("a2", "q1", "assistant", "With git."),
            "call": node("call", "a2", "assistant", "search()", recipient="browser"),
        },
    },
    {"title": "Corrupted", "conversation_id": "c-2"},
]
OPEN_WEBUI = [
    {
        "id": "w-1",
        "title": "Sums",
        "created_at": 1700000000,
        "meta": {"tags": ["maths"]},
        "chat": {
            "history": {
                "currentId": "m2",
                "messages": {
                    "m1": {
                        "id": "m1",
                        "parentId": None,
                        "role": "user",
                        "content": "15 * 17?",
                        "timestamp": 1700000000,
                    },
                    "m2": {
                        "id": "m2",
                        "parentId": "m1",
                        "role": "assistant",
                        "content": '<details type="reasoning"><summary>Thought</summary>&gt; hm</details>255',
                        "model": "deepseek-r1",
                        "timestamp": 1700000010,
                    },
                },
            }
        },
    }
]
NOBODY = "00000000-0000-0000-0000-000000000000"


def librechat(name: str, parent: str, mine: bool, text: str, **more: Any) -> dict[str, Any]:
    """A message of LibreChat's export."""
    at = "2024-05-28T18:08:55.014Z"
    return {
        "messageId": name,
        "parentMessageId": parent,
        "isCreatedByUser": mine,
        "text": text,
        "createdAt": at,
        **more,
    }


NESTED = {
    "conversationId": "l-1",
    "title": "Stories",
    "options": {"promptPrefix": "You tell stories."},
    "messages": [
        librechat(
            "1",
            NOBODY,
            True,
            "tell me one",
            children=[librechat("2", "1", False, "Once"), librechat("3", "1", False, "Twice", model="gpt-4o")],
        )
    ],
}
FLAT = {
    "conversationId": "l-2",
    "title": "Flat",
    "messages": [librechat("2", "1", False, "Answer"), librechat("1", NOBODY, True, "Question")],
}


def openai_part(content: Any, role: str = "assistant", **message: Any) -> dict[str, Any]:
    """An OpenAI export of a question and one message more."""
    mapping = {"q": node("q", None, "user", "Q"), "m": node("m", "q", role, "", content=content, **message)}
    return {"title": "T", "conversation_id": "p", "current_node": "m", "mapping": mapping}


def voice(*texts: str) -> dict[str, Any]:
    spoken = [{"content_type": "audio_transcription", "text": text, "direction": "in"} for text in texts]
    return {"content_type": "multimodal_text", "parts": [*spoken, {"content_type": "audio_asset_pointer"}]}


def text(*parts: str) -> dict[str, Any]:
    return {"content_type": "text", "parts": [*parts]}


def webui_part(role: str, content: Any, **more: Any) -> list[dict[str, Any]]:
    """An Open WebUI export of a question and one message more."""
    messages = {"q": {"role": "user", "content": "Q"}, "m": {"parentId": "q", "role": role, "content": content, **more}}
    return [{"id": "p", "chat": {"history": {"messages": messages, "currentId": "m"}}}]


def librechat_part(content: Any, **more: Any) -> dict[str, Any]:
    """A LibreChat export of a question and one message more."""
    question = librechat("q", NOBODY, True, "Q")
    return {"conversationId": "p", "messages": [question, librechat("m", "q", False, "", content=content, **more)]}


REASONING = '<details type="reasoning" done="true"><summary>Thought</summary>a <details>b</details> c</details>'
CITED = 'It rained \ue200cite\ue202turn0search1\ue201 in \ue200entity\ue202["city","Oslo"]\ue201.'
REFERENCES = [
    {"matched_text": "\ue200cite\ue202turn0search1\ue201", "items": [{"title": "News", "url": "https://n.example"}]}
]
CANVAS = {"name": "Poem", "type": "document", "content": "Roses are red"}
PICTURE = {"content_type": "image_asset_pointer", "metadata": {"dalle": {"prompt": "A cat"}}}
EVERY_KIND = {
    "spoken": (openai_part(voice("How tall?"), "user"), "How tall?"),
    "several parts": (openai_part(text("One", "Two")), "One\nTwo"),
    "a canvas": (
        openai_part({"content_type": "code", "text": json.dumps(CANVAS)}, recipient="canmore.create_textdoc"),
        "**Poem**\n\nRoses are red",
    ),
    "a canvas of code": (
        openai_part(text(json.dumps({"type": "code/python", "content": "x = 1"})), recipient="canmore.create_textdoc"),
        "```python\nx = 1\n```",
    ),
    "a changed canvas": (
        openai_part(
            text(json.dumps({"updates": [{"pattern": ".*", "replacement": "New"}]})), recipient="canmore.update_textdoc"
        ),
        "New",
    ),
    "citations": (
        openai_part(text(CITED), metadata={"content_references": REFERENCES}),
        "It rained  ([News](https://n.example)) in Oslo.",
    ),
    "older citations": (
        openai_part(
            text("So【3†source】."), metadata={"citations": [{"metadata": {"title": "A", "url": "https://a.example"}}]}
        ),
        "So ([A](https://a.example)).",
    ),
    "a picture": (openai_part({"content_type": "multimodal_text", "parts": [PICTURE]}, "tool"), "[Picture: A cat]"),
    "a picture with words": (
        openai_part({"content_type": "multimodal_text", "parts": [PICTURE, "What is it?"]}, "user"),
        "What is it?",
    ),
    "a block of the reader's": (webui_part("user", "<details>a</details> b"), "<details>a</details> b"),
    "a block of the answer's": (
        webui_part("assistant", f"{REASONING}\nSo: <details>x</details>"),
        "So: <details>x</details>",
    ),
    "a list of parts": (webui_part("user", [{"type": "text", "text": "Look"}, {"type": "image_url"}]), "Look"),
    "nothing but a picture": (webui_part("user", "", files=[{"type": "image"}]), "[Picture]"),
    "a failure": (webui_part("assistant", "", error={"content": "No such model"}), "No such model"),
    "an assistant's answer": (librechat_part([{"type": "text", "text": {"value": "Answer"}}]), "Answer"),
    "thoughts and calls": (
        librechat_part(
            [{"type": "think", "think": "hm"}, {"type": "tool_call", "tool_call": {}}, {"type": "text", "text": "So"}]
        ),
        "So",
    ),
    "an error": (librechat_part([{"type": "error", "error": "Too long"}]), "Too long"),
}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_words_are_taken_out_of_parts_of_every_kind(kind: str) -> None:
    body, said = EVERY_KIND[kind]
    (found,), unreadable = imports.read(json.dumps(body).encode())
    assert unreadable == 0
    assert [one.content for one in found.messages] == ["Q", said]


def test_a_receipt_of_a_canvas_is_no_message() -> None:
    body = openai_part(text("Successfully created text document with id 3"), "tool")
    ((found,), _) = imports.read(json.dumps(body).encode())
    assert [one.content for one in found.messages] == ["Q"]


def test_an_older_export_of_open_webui_is_a_plain_list() -> None:
    plain = [
        {"id": "p", "chat": {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}}
    ]
    ((found,), _) = imports.read(json.dumps(plain).encode())
    assert [(one.content, one.parent_id) for one in found.messages] == [("Q", None), ("A", "0")]


def take(rig: TalkRig, body: Any) -> Any:
    return rig.services.conversation_exchange.import_file(AMIRA, json.dumps(body).encode())


def test_openais_export_comes_with_its_branches_and_without_what_it_hides(rig: TalkRig) -> None:
    report = take(rig, OPENAI)
    assert (len(report.ids), report.messages, report.unreadable) == (1, 3, 1)
    talk = rig.conversations.get(AMIRA, report.ids[0])
    assert (talk.title, talk.source) == ("Roll back", "openai")
    assert talk.created_at == datetime.fromtimestamp(1756000000, UTC)
    shown = rig.thread(talk).messages
    assert [message.content for message in shown] == ["How do I roll back?", "With helm."]
    assert shown[1].model == "gpt-5"
    assert len(shown[1].siblings) == 2
    answer = rig.ask(talk, "Thanks", configuration=rig.configuration("echo"))
    assert [one["content"] for one in rig.sent(answer.call_id)] == ["How do I roll back?", "With helm.", "Thanks"]


def test_open_webuis_export(rig: TalkRig) -> None:
    (new,) = take(rig, OPEN_WEBUI).ids
    talk = rig.conversations.get(AMIRA, new)
    assert talk.tags == ("maths",)
    assert rig.words(talk) == ["15 * 17?", "255"]


def test_librechats_export_flat_and_nested(rig: TalkRig) -> None:
    (nested,) = take(rig, NESTED).ids
    talk = rig.conversations.get(AMIRA, nested)
    assert talk.system_prompt == "You tell stories."
    assert rig.words(talk) == ["tell me one", "Twice"]
    assert len(rig.thread(talk).messages[1].siblings) == 2
    (flat,) = take(rig, FLAT).ids
    assert rig.words(rig.conversations.get(AMIRA, flat)) == ["Question", "Answer"]


def test_what_was_imported_before_is_left_alone(rig: TalkRig) -> None:
    take(rig, OPEN_WEBUI)
    report = take(rig, OPEN_WEBUI)
    assert (report.ids, report.already_imported) == ((), 1)
    assert rig.conversations.count(AMIRA) == 1


def test_a_circle_ends(rig: TalkRig) -> None:
    looped = {"conversationId": "l-3", "messages": [librechat("1", "2", True, "a"), librechat("2", "1", False, "b")]}
    (new,) = take(rig, looped).ids
    assert sorted(rig.words(rig.conversations.get(AMIRA, new))) == ["a", "b"]


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"[]", b"{}", b"3", b'[{"a": 1}]', b"[" * 100_000])
def test_another_file_is_refused_in_words(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="can't be imported"):
        imports.read(data)


def test_odd_entries_are_counted_not_fatal() -> None:
    odd = [{"mapping": 3}, {"mapping": {"a": {"message": {"author": 1}}}}, {"mapping": {}}, OPENAI[0]]
    found, unreadable = imports.read(json.dumps(odd).encode())
    assert (len(found), unreadable) == (1, 3)


def test_every_form_of_export(rig: TalkRig) -> None:
    talk = rig.begin("echo+priced", title="=Sums", system_prompt="Be brief.")
    rig.ask(talk, "=1+1")
    second = rig.thread(talk).messages[1]
    sent = rig.talk.regenerate(AMIRA, talk.id, second.id, configuration=rig.configuration("say:two"))
    rig.talk.wait(AMIRA, talk.id, sent.answer_id, CEILING_S)

    def export(form: ExportFormat) -> str:
        return rig.services.conversation_exchange.export(AMIRA, [talk.id], form).decode()

    markdown = export(ExportFormat.MARKDOWN)
    assert markdown.startswith("# =Sums\n")
    assert "## User\n\n=1+1\n\n## Assistant (say:two)\n\ntwo" in markdown
    assert [json.loads(line) for line in export(ExportFormat.JSONL).splitlines()] == [
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "=1+1"},
                {"role": "assistant", "content": "two"},
            ]
        }
    ]
    rows = list(csv.DictReader(io.StringIO(export(ExportFormat.CSV))))
    assert [row["content"] for row in rows] == ["'=1+1", "'=1+1", "two"]
    assert [row["is_shown"] for row in rows] == ["true", "false", "true"]
    cost = (rows[1]["cost_nano_usd"], rows[1]["cost_status"], rows[0]["cost_status"])
    assert cost == (str(second.cost_nano_usd), "priced", ""), "what it cost, how far that is known, and no call"
    body = json.loads(export(ExportFormat.JSON))
    assert len(body["conversations"][0]["messages"]) == 3
    rig.conversations.delete(AMIRA, talk.id)
    (again,) = take(rig, body).ids
    assert rig.words(rig.conversations.get(AMIRA, again)) == ["=1+1", "two"]


def test_an_export_is_ones_own_and_is_noted(rig: TalkRig) -> None:
    talk = rig.begin("echo")
    with pytest.raises(NotFound):
        rig.services.conversation_exchange.export(JONAS, [talk.id], ExportFormat.JSON)
    assert json.loads(rig.services.conversation_exchange.export(JONAS, None, ExportFormat.JSON))["conversations"] == []
    from lib.access.audit import AuditCriteria

    entries = rig.services.audit.page(AMIRA, AuditCriteria()).entries
    assert ("conversation.export", "json") in {(entry.action, entry.subject) for entry in entries}

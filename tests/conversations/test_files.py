"""Attachments: what is sent, what is refused, and that nobody else reads them."""

import base64

import pytest

from lib.conversations import files
from lib.errors import InvalidInput, NotFound
from tests.calls.rig import AMIRA, JONAS
from tests.conversations.talk_rig import TalkRig

pytestmark = pytest.mark.feature("PLAY-6")
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def test_a_text_goes_as_a_quotation_and_an_image_as_a_picture(rig: TalkRig) -> None:
    talk = rig.begin("echo")
    kept = rig.services.conversation_files.add(
        AMIRA, talk.id, [("notes.md", b"# Notes\n```\ncode\n```"), ("dot.png", PNG)]
    )
    slug = rig.configuration("echo", capabilities=("vision",))
    answer = rig.ask(talk, "What is this?", files=[one.id for one in kept], configuration=slug)
    (sent,) = rig.sent(answer.call_id)
    text, image = sent["content"]
    assert text["text"] == "File notes.md:\n````\n# Notes\n```\ncode\n```\n````\n\nWhat is this?"
    assert image["image_url"]["url"] == "data:image/png;base64," + base64.b64encode(PNG).decode()
    question = rig.thread(talk).messages[0]
    assert [part["name"] for part in question.parts] == ["notes.md", "dot.png"]
    sent_again = rig.talk.edit(AMIRA, talk.id, question.id, "And this?", configuration=slug)
    assert len(rig.sent(sent_again.call_id)[0]["content"]) == 2


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("movie.mp4", b"\x00\x00\x00\x18ftypmp42", "neither an image"),
        ("nul.txt", b"a\x00b", "neither an image"),
        ("empty.txt", b"", "It is empty"),
        ("long.txt", b"a" * (files.LARGEST_TEXT + 1), "the limit is"),
        ("big.png", PNG + b"\x00" * files.LARGEST_IMAGE, "the limit is"),
    ],
)
def test_what_is_too_large_or_of_another_kind_is_refused_in_words(
    rig: TalkRig, name: str, data: bytes, why: str
) -> None:
    talk = rig.begin("echo")
    with pytest.raises(InvalidInput, match=why):
        rig.services.conversation_files.add(AMIRA, talk.id, [("fine.txt", b"fine"), (name, data)])


def test_a_name_is_no_path() -> None:
    assert files.check_file("../../etc/pass\nwd", b"text").name == "passwd"
    assert files.check_file("C:\\temp\\a.txt", b"text").name == "a.txt"


def test_an_image_is_not_sent_to_a_model_that_takes_none(rig: TalkRig) -> None:
    talk = rig.begin("echo")
    (kept,) = rig.services.conversation_files.add(AMIRA, talk.id, [("dot.png", PNG)])
    with pytest.raises(InvalidInput, match="does not take images"):
        rig.talk.send(AMIRA, talk.id, "Look", files=[kept.id])
    assert rig.thread(talk).messages == ()


def test_files_are_their_owners_alone(rig: TalkRig) -> None:
    talk, other = rig.begin("echo"), rig.begin("echo", JONAS)
    (kept,) = rig.services.conversation_files.add(AMIRA, talk.id, [("secret.txt", b"secret")])
    assert rig.services.conversation_files.get(AMIRA, kept.id).text == "secret"
    with pytest.raises(NotFound):
        rig.services.conversation_files.get(JONAS, kept.id)
    with pytest.raises(NotFound):
        rig.services.conversation_files.add(JONAS, talk.id, [("x.txt", b"x")])
    with pytest.raises(InvalidInput, match="can't be attached"):
        rig.talk.send(JONAS, other.id, "Read it", files=[kept.id])


def test_the_space_of_an_owner_is_bounded(rig: TalkRig, monkeypatch: pytest.MonkeyPatch) -> None:
    talk = rig.begin("echo")
    monkeypatch.setattr(files, "MOST_BYTES", 10)
    rig.services.conversation_files.add(AMIRA, talk.id, [("a.txt", b"12345")])
    with pytest.raises(InvalidInput, match="fill their space"):
        rig.services.conversation_files.add(AMIRA, talk.id, [("b.txt", b"123456")])

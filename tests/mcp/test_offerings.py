"""Resources and prompts of servers: read as files, made into templates, with nothing invisible."""

import base64
from typing import Any

import pytest

from lib.errors import InvalidInput
from lib.mcp.offerings import read_files, write_template

PICTURE = base64.b64encode(b"\x89PNG").decode()
pytestmark = pytest.mark.feature("TOOL-4")


def content(**fields: Any) -> dict[str, Any]:
    return {"contents": [fields]}


@pytest.mark.parametrize(
    ("result", "files"),
    [
        (content(uri="file:///a/b%20c.md", text="x"), [("b c.md", b"x")]),
        (content(uri="notes://plan", mimeType="application/json; charset=utf-8", text="{}"), [("plan.json", b"{}")]),
        (
            content(uri="x:", mimeType="image/png", blob=base64.b64encode(b"\x89PNG").decode()),
            [("resource.png", b"\x89PNG")],
        ),
        (content(uri="http://[", text="a\u200bb"), [("resource", b"ab")]),
    ],
)
def test_a_resource_is_files_with_names_that_say_what_they_are(result: Any, files: Any) -> None:
    assert read_files(result) == files


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({}, "is empty"),
        (content(uri="x:y", blob="%%"), "not base64"),
        (content(uri="x:y", text="a" * (4 * 1024 * 1024 + 1)), "too large"),
    ],
)
def test_what_is_no_file_is_refused(result: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        read_files(result)


def test_a_prompt_without_words_makes_no_template() -> None:
    picture = {"messages": [{"role": "user", "content": {"type": "image", "data": "x"}}]}
    with pytest.raises(InvalidInput, match="no words"):
        write_template(picture)
    turns = [{"role": role, "content": {"type": "text", "text": role}} for role in ("user", "assistant")]
    assert write_template({"messages": turns}) == "user\n\nAssistant: assistant"

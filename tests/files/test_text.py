"""The text of a file is what a person wrote, whatever system saved it."""

import pytest

from lib.errors import InvalidInput
from lib.files.text import decode_text
from lib.prompts.template import VersionDraft

TEXT = "Translate {{text}} to French.\nBe brief. é日"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_marks_and_line_ends_are_no_part_of_it(encoding: str, end: str) -> None:
    assert decode_text(TEXT.replace("\n", end).encode(encoding)) == TEXT


def test_what_is_in_no_such_encoding_is_refused_with_its_place() -> None:
    with pytest.raises(InvalidInput, match="byte 3"):
        decode_text(b"abc\xff")


@pytest.mark.feature("PLAY-3")
def test_a_template_holds_no_mark_and_plain_line_ends_whoever_saves_it() -> None:
    row = VersionDraft("\ufeffone\r\ntwo", "\ufeffbe\rbrief").to_columns()
    assert (row["text"], row["system_prompt"]) == ("one\ntwo", "be\nbrief")

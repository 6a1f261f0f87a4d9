"""Words of pictures: their order, where they stand in a document, and what is said without recognition."""

import io
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from lib.errors import InvalidInput
from lib.knowledge.documents import parsing, sandbox
from lib.knowledge.documents.text_recognition import RecognisedLine, join_lines
from tests.knowledge.test_readers import HELVETICA, PAGE, pdf, stream

pytestmark = pytest.mark.feature("RAG-1")
PICTURE = stream("\x00", "/Type/XObject/Subtype/Image/Width 1/Height 1/ColorSpace/DeviceGray/BitsPerComponent 8")
SCAN_BEHIND_TEXT = pdf(
    "<</Type/Catalog/Pages 2 0 R>>",
    "<</Type/Pages/Kids[7 0 R 3 0 R 7 0 R]/Count 3>>",
    PAGE.format("/Font<</F1 5 0 R>>", ""),
    stream("BT /F1 9 Tf 9 90 Td (Words) Tj ET"),
    HELVETICA,
    PICTURE,
    PAGE.replace("4 0 R", "8 0 R").format("/XObject<</I 6 0 R>>", ""),
    stream("q 99 0 0 99 9 9 cm /I Do Q"),
)
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


def line(text: str, left: float, top: float, width: float = 300) -> RecognisedLine:
    return RecognisedLine(text, left, top, left + width, top + 20)


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([line("b", 0, 30), line("a", 0, 0)], "a\nb"),
        ([line("4.00", 700, 4, 60), line("Tea", 0, 0, 60), line("Sum", 0, 30, 60), line("9.00", 700, 33, 60)],
         "Tea  4.00\nSum  9.00"),
        ([line(f"{side}{n}", x, 30 * n + 40) for n in range(4) for side, x in (("l", 0), ("r", 500))]
         + [line("Head", 0, 0, 900)],
         "Head\nl0\nl1\nl2\nl3\nr0\nr1\nr2\nr3"),
        ([], ""),
    ],
)  # fmt: skip
def test_columns_are_read_one_after_the_other_and_rows_of_tables_across(lines: list[RecognisedLine], text: str) -> None:
    assert join_lines(lines, 1_000) == text


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What recognition answers, by the pages it was asked for; the parser runs in this process."""
    answers: dict[str, Any] = {}

    def run(program: Path, arguments: tuple[str, ...], data: bytes, limits: Any) -> bytes:
        if program.name == "parsing.py":
            return json.dumps(parsing.parse(arguments[0], data)).encode()
        return json.dumps(answers[arguments[0]]).encode()

    monkeypatch.setattr(sandbox, "run", run)
    monkeypatch.setattr(sandbox, "can_recognise", lambda: True)
    return answers


def test_recognised_words_stand_on_their_page(reads: dict[str, Any]) -> None:
    reads["[0, 2]"] = ["First page", "Third page"]
    parsed = sandbox.parse("a.pdf", SCAN_BEHIND_TEXT)
    assert parsed.note is None
    assert parsed.page_starts is not None
    bounds = [*parsed.page_starts, len(parsed.text)]
    pages = [parsed.text[start:end].strip() for start, end in itertools.pairwise(bounds)]
    assert pages == ["First page", "Words", "Third page"]


def test_what_is_beyond_the_most_pages_is_told(reads: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "RECOGNISED_PAGES", 1)
    reads["[0]"] = ["First page"]
    assert str(sandbox.parse("a.pdf", SCAN_BEHIND_TEXT).note).startswith("67 % of the pages were read. 1 of 3")


def test_a_picture_is_a_document(reads: dict[str, Any]) -> None:
    reads["[0]"] = ["A receipt"]
    parsed = sandbox.parse("a.png", PNG)
    assert (parsed.text, parsed.page_starts, parsed.media_type) == ("A receipt\n", None, "image/png")
    reads["[0]"] = [""]
    with pytest.raises(InvalidInput, match="found no words"):
        sandbox.parse("a.png", PNG)


def test_without_recognition_a_document_says_what_is_missing(
    reads: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "can_recognise", lambda: False)
    with pytest.raises(InvalidInput, match="make ocr"):
        sandbox.parse("a.png", PNG)
    parsed = sandbox.parse("a.pdf", SCAN_BEHIND_TEXT)
    assert "33 % of the pages" in str(parsed.note)
    assert "make ocr" in str(parsed.note)


@pytest.mark.skipif(not sandbox.can_recognise(), reason="requirements-ocr.txt is not installed")
def test_printed_words_are_recognised() -> None:
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", (700, 120), "white")
    ImageDraw.Draw(picture).text((20, 30), "Invoice 4711", fill="black", font=ImageFont.load_default(48))
    out = io.BytesIO()
    picture.save(out, "PNG")
    assert "Invoice 4711" in sandbox.parse("a.png", out.getvalue()).text

"""What is read out of files of every kind, and what is refused with which reason; texts cut into passages."""

import io
import itertools
import json
import struct
import zipfile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.errors import InvalidInput
from lib.knowledge import sandbox
from lib.knowledge.chunking import Chunking, Strategy, cut, pages_of
from lib.knowledge.encodings import decoded


def pdf(*pages: str) -> bytes:
    """A PDF with a line of text on each page, written by hand."""
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    objects = ["<</Type/Catalog/Pages 2 0 R>>", f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>"]
    objects.append("<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>")
    for n, text in enumerate(pages):
        words = f"BT /F1 24 Tf 72 700 Td ({text}) Tj ET"
        fonts = "/Resources<</Font<</F1 3 0 R>>>>"
        objects.append(f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents {5 + 2 * n} 0 R{fonts}>>")
        objects.append(f"<</Length {len(words)}>>stream\n{words}\nendstream")
    body, places = "%PDF-1.4\n", []
    for number, one in enumerate(objects, start=1):
        places.append(len(body))
        body += f"{number} 0 obj{one}endobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    size = len(objects) + 1
    place = len(body)
    body += f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer<</Size {size}/Root 1 0 R>>\nstartxref\n{place}\n%%EOF"
    return body.encode()


def saved(document: Any) -> bytes:
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def word() -> bytes:
    import docx

    made = docx.Document()
    made.add_heading("Cleaning", 1)
    made.add_paragraph("Use citric acid.")
    table = made.add_table(2, 2)
    for cell, text in zip([*table.rows[0].cells, *table.rows[1].cells], ("Part", "Weeks", "Boiler", "4"), strict=True):
        cell.text = text
    return saved(made)


def slides() -> bytes:
    import pptx

    made = pptx.Presentation()
    for title in ("First", "Second"):
        slide = made.slides.add_slide(made.slide_layouts[1])
        slide.shapes.title.text, slide.placeholders[1].text = title, f"Body of {title}"
    return saved(made)


def sheet() -> bytes:
    import openpyxl

    made = openpyxl.Workbook()
    for row in (["item", "price"], ["tea", 3], ["sum", "=SUM(B2:B2)"]):
        made.active.append(row)
    return saved(made)


def zipped(entries: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return out.getvalue()


TYPES = b'<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>'


@pytest.mark.feature("RAG-1")
@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.docx", word(), ["# Cleaning", "Use citric acid.", "Part: Boiler · Weeks: 4"]),
        ("a.pptx", slides(), ["# First", "Body of Second"]),
        ("a.xlsx", sheet(), ["item: tea · price: 3"]),
        ("a.pdf", pdf("Hello page one", "Hello page two"), ["Hello page one", "Hello page two"]),
        ("a.csv", b"item;price\ntea;3\n", ["item: tea \xb7 price: 3"]),
        ("a.json", b'{"b": [1, {"c": "\xc3\xa9"}]}', ["\xe9"]),
        ("a.html", b"<h2>Head</h2><p>One <b>two</b></p><script>alert(1)</script>", ["## Head", "One two"]),
        ("a.md", "# Größe\n\ntext".encode(), ["# Größe"]),
        ("a.txt", "naïve café déjà vu, où êtes-vous allés hier soir?".encode("cp1252"), ["café"]),
        ("a.txt", "Привет, мир. Это простой текст.".encode("utf-16"), ["Привет"]),
    ],
)
def test_text_is_read_out_of(name: str, data: bytes, said: list[str]) -> None:
    text = sandbox.parse(name, data).text
    assert all(one in text for one in said)
    assert "alert" not in text
    assert "SUM" not in text


@pytest.mark.feature("RAG-1")
@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("a.txt", b"  \n ", "empty"),
        ("a.pdf", b"no pdf at all", "named .pdf"),
        ("a.pdf", b"%PDF-1.7\n garbage", "damaged"),
        ("a.pdf", pdf(""), "no text"),
        ("a.docx", word()[:900], "damaged"),
        ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "encrypted"),
        ("a.zip", zipped({"readme.txt": b"hello"}), "archive"),
        ("a.exe", b"MZ\x90\x00\x03\x00\x00\x00", "neither text nor"),
        ("a.json", b"{", "not JSON"),
        ("a.docx", zipped({"[Content_Types].xml": TYPES, "word/document.xml": b"0" * 400_000_000}), "unpacks to"),
        (
            "a.docx",
            zipped({"[Content_Types].xml": TYPES, "word/document.xml": b'<!DOCTYPE a [<!ENTITY b "bb">]><a>&b;</a>'}),
            "entities",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_read_says_why(name: str, data: bytes, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        sandbox.parse(name, data)


@pytest.mark.feature("RAG-1")
def test_a_parser_that_runs_on_or_breaks_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    looping = tmp_path / "parser.py"
    monkeypatch.setattr(sandbox, "_PARSER", looping)
    monkeypatch.setattr(sandbox, "WALL_S", 1)
    looping.write_text("import time\ntime.sleep(60)")
    with pytest.raises(InvalidInput, match="longer than"):
        sandbox.parse("a.pdf", b"x")
    for source in ("import os; os.abort()", "x = b'1' * 4_000_000_000", "open('/tmp/escaped', 'w').write('x' * 99999)"):
        looping.write_text(source)
        monkeypatch.setattr(sandbox, "WALL_S", 30)
        with pytest.raises(InvalidInput, match="breaks"):
            sandbox.parse("a.pdf", b"x")


@pytest.mark.feature("RAG-2")
def test_pages_of_a_pdf_are_known_and_a_passage_is_marked_on_its_page() -> None:
    from lib.knowledge.page_image import draw

    data = pdf("Hello page one", "Hello page two")
    parsed = sandbox.parse("a.pdf", data)
    assert parsed.page_starts is not None
    assert [parsed.text[start : start + 14] for start in parsed.page_starts] == ["Hello page one", "Hello page two"]
    plain, marked = draw(data, 1, 0, 0, 1.0), draw(data, 1, 0, 5, 1.0)
    assert plain[:4] == marked[:4] == b"\x89PNG"
    assert plain != marked
    assert struct.unpack(">II", marked[16:24]) == (595, 842)


@pytest.mark.feature("RAG-2")
@settings(max_examples=120, deadline=None)
@given(
    st.text(alphabet=st.sampled_from("ab .\n#é漢"), max_size=900),
    st.sampled_from([Strategy.FIXED, Strategy.RECURSIVE, Strategy.HEADING, Strategy.SEMANTIC]),
    st.integers(100, 160),
    st.integers(0, 50),
)
def test_passages_are_stretches_of_the_text_and_leave_nothing_out(
    text: str, strategy: Strategy, size: int, overlap: int
) -> None:
    import numpy as np

    def embed(texts: Any) -> Any:
        found = np.asarray([[len(one) % 7 + 1, one.count("a") + 1] for one in texts], dtype=np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    pieces = cut(text, Chunking(strategy, size, overlap), embed)
    covered = [False] * len(text)
    for piece in pieces:
        assert 0 <= piece.start < piece.end <= len(text)
        assert piece.end - piece.start <= size
        assert text[piece.start : piece.end].strip() == text[piece.start : piece.end]
        covered[piece.start : piece.end] = [True] * (piece.end - piece.start)
    assert all(seen or text[n].isspace() for n, seen in enumerate(covered))
    assert [piece.start for piece in pieces] == sorted(piece.start for piece in pieces)


@pytest.mark.feature("RAG-2")
def test_each_strategy_cuts_where_it_says() -> None:
    text = "# One\n\nFirst part. It is short.\n\n# Two\n\n" + "Second part goes on. " * 12
    by_heading = cut(text, Chunking(Strategy.HEADING, 200, 0))
    assert text[by_heading[0].start : by_heading[0].end] == "# One\n\nFirst part. It is short."
    assert {piece.heading for piece in by_heading} == {"One", "Two"}
    assert len(cut(text, Chunking(Strategy.RECURSIVE, 400, 0))) == 1
    overlapping = cut("Sentence number one is here. " * 30, Chunking(Strategy.RECURSIVE, 200, 60))
    assert all(b.start < a.end for a, b in itertools.pairwise(overlapping))

    def embed(texts: Any) -> Any:
        import numpy as np

        return np.asarray([[1.0, 0.0] if "cat" in one else [0.0, 1.0] for one in texts], dtype=np.float32)

    animals = "The cat sleeps in the house all day long. " * 4 + "The stock market fell again this week. " * 4
    spans = cut(animals, Chunking(Strategy.SEMANTIC, 1000, 0), embed)
    assert any(animals[one.start :].startswith("The stock") for one in spans)
    assert all(not ("cat" in animals[s.start : s.end] and "stock" in animals[s.start : s.end]) for s in spans)


@pytest.mark.feature("RAG-2")
@pytest.mark.parametrize("wrong", [{"size": 10}, {"size": 10**6}, {"overlap": 600}, {"overlap": -1}, {"strategy": "x"}])
def test_sizes_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Chunking(**wrong)


def test_pages_are_counted_from_one() -> None:
    from lib.knowledge.chunking import Piece

    assert pages_of(Piece(0, 5), [0, 10]) == (1, 1)
    assert pages_of(Piece(5, 15), [0, 10]) == (1, 2)
    assert pages_of(Piece(0, 5), None) == (None, None)
    assert decoded(b"\xef\xbb\xbfa") == "a"
    assert json.dumps(decoded("日本".encode())) == json.dumps("日本")

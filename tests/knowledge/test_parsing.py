"""What is read out of files of every kind, and what is refused with which reason; texts cut into passages."""

import io
import itertools
import json
import struct
import zipfile
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.access.permissions import OPERATOR
from lib.errors import InvalidInput
from lib.knowledge.documents import sandbox
from lib.knowledge.documents.chunking import Chunking, ChunkingStrategy, cut, find_pages
from lib.knowledge.documents.encodings import decode_text


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


def make_file(data: bytes | Callable[[], bytes]) -> bytes:
    """A file, made only now where it is costly to make."""
    return data() if callable(data) else data


TYPES = b'<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>'


def zip_zeros(part: str, size: int) -> bytes:
    """An Office file with a part that unpacks to so many bytes."""
    return zipped({"[Content_Types].xml": TYPES, part: b"0" * size})


@pytest.mark.feature("RAG-1")
@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.docx", word, ["# Cleaning", "Use citric acid.", "Part: Boiler · Weeks: 4"]),
        ("a.pptx", slides, ["# First", "Body of Second"]),
        ("a.xlsx", sheet, ["item: tea · price: 3"]),
        ("a.pdf", pdf("Hello page one", "Hello page two"), ["Hello page one", "Hello page two"]),
        ("a.csv", b"item;price\ntea;3\n", ["item: tea \xb7 price: 3"]),
        ("a.json", b'{"b": [1, {"c": "\xc3\xa9"}]}', ["\xe9"]),
        ("a.html", b"<h2>Head</h2><p>One <b>two</b></p><script>alert(1)</script>", ["## Head", "One two"]),
        ("a.md", "# Größe\n\ntext".encode(), ["# Größe"]),
        ("a.txt", "naïve café déjà vu, où êtes-vous allés hier soir?".encode("cp1252"), ["café"]),
        ("a.txt", "Привет, мир. Это простой текст.".encode("utf-16"), ["Привет"]),
    ],
)
def test_text_is_read_out_of(name: str, data: bytes | Callable[[], bytes], said: list[str]) -> None:
    text = sandbox.parse(name, make_file(data)).text
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
        ("a.docx", partial(zip_zeros, "word/document.xml", 400_000_000), "unpacks to"),
        (
            "a.docx",
            zipped({"[Content_Types].xml": TYPES, "word/document.xml": b'<!DOCTYPE a [<!ENTITY b "bb">]><a>&b;</a>'}),
            "entities",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_read_says_why(name: str, data: bytes | Callable[[], bytes], why: str) -> None:
    file = make_file(data)
    with pytest.raises(InvalidInput, match=why):
        sandbox.parse(name, file)


RUSSIAN = "Привет, мир. Это простой текст по-русски."
JAPANESE = "日本語のテキストです。これは試験用の文書です。\n"


@pytest.mark.feature("RAG-1")
@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        *[(RUSSIAN, encoding) for encoding in ("cp1251", "koi8-r", "cp866", "utf-16-le", "utf-16-be", "utf-32")],
        *[(JAPANESE, encoding) for encoding in ("shift_jis", "euc_jp", "utf-16-le", "iso2022_jp")],
        ("Plain words, one Größe.", "utf-16-le"),
        ("plain words\n" * 30_000 + "naïve café où", "cp1252"),
        ("El niño comió más jamón español.", "cp1252"),
        ("Zażółć gęślą jaźń. To jest prosty tekst po polsku.", "cp1250"),
        ("Καλημέρα κόσμε, αυτό είναι ένα απλό κείμενο", "cp1253"),
        ("İstanbul'da güneşli bir gün, ağır ağır", "cp1254"),
        ("这是一个简单的中文文本文件，用于测试。\n", "gb18030"),
    ],
    ids=lambda value: value[:9],
)
def test_text_in_any_encoding_is_read(text: str, encoding: str) -> None:
    assert decode_text(text.encode(encoding)) == text


@pytest.mark.feature("RAG-1")
def test_a_flaw_does_not_change_the_encoding() -> None:
    assert decode_text((JAPANESE * 9).strip().encode()[:-1]).startswith(JAPANESE)
    assert decode_text("Größe über alles. ".encode() * 20 + b"\xff mehr").endswith("Größe über alles. \ufffd mehr")


def part_changed(data: bytes, name: str, old: bytes, new: bytes) -> bytes:
    """An Office file with something else in one of its parts."""
    with zipfile.ZipFile(io.BytesIO(data)) as parts:
        return zipped({one: parts.read(one).replace(old, new, 1 if one == name else 0) for one in parts.namelist()})


@pytest.mark.feature("RAG-1")
@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.txt", pdf("A PDF by its bytes"), "A PDF by its bytes"),
        ("a.md", b"# Files\n\nA PDF begins with %PDF-1.4.", "# Files\n\nA PDF begins"),
        ("page", b"<?xml version='1.0'?>\n<!-- so -->\n<html><body><p>Words</p><script>no</script>", "Words"),
        ("https://a.example/b.html?c=d.txt", b"<p>Words</p><script>no</script>", "Words"),
        ("a.html", f"<html><meta charset=shift_jis><p>{JAPANESE}".encode("shift_jis"), JAPANESE.strip()),
        ("a.html", b"<p style='display: NONE'>no</p><p hidden>no</p><i style='font-size:0px'>no</i><p>Words", "Words"),
        ("a.txt", "Pay\u200bload\U000e0041 \u202eend".encode(), "Payload end"),
        ("a.csv", (",".join(f"c{n}" for n in range(10_000)) + "\n" + ",".join("1" * 10_000)).encode(), "c9999: 1"),
        (
            "far.xlsx",  # one cell in the last of a million rows
            part_changed(
                part_changed(sheet(), "xl/worksheets/sheet1.xml", b'"A1:B3"', b'"A1:XFD1048576"'),
                "xl/worksheets/sheet1.xml",
                b'<row r="3"><c r="A3"',
                b'<row r="1048576"><c r="A1048576"',
            ),
            "item: sum",
        ),
        ("a.pdf", pdf("One", "Two").replace(b"/Count 2", b"/Count 2000000000"), "One"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else "",
)
def test_files_that_are_not_what_they_seem_are_read(name: str, data: bytes, said: str) -> None:
    text = sandbox.parse(name, data).text
    assert said in text
    assert "no" not in text.split()


@pytest.mark.feature("RAG-1")
@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("a.docx", part_changed(word(), "word/document.xml", b"<w:document", b"<!DOCTYPE a><w:document"), "entities"),
        (
            "a.xlsx",
            zipped(
                {
                    "[Content_Types].xml": TYPES,
                    "xl/workbook.xml": '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'.encode(
                        "utf-16"
                    ),
                }
            ),
            "entities",
        ),
        ("a.pptx", partial(zip_zeros, "ppt/a.xml", 40_000_000), "unpacks to"),
        ("a.xlsx", slides()[:5000], "damaged"),
        ("a.json", b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        ("a.json", b"[" * 900 + b",".join([b"1"] * 60_000) + b"]" * 900, "characters"),
        ("a.csv", b"h" * 1_000_000 + b"\n" + b"x\n" * 100, "characters"),
        ("a.txt", b"word " * 5_000_000, "characters"),
        ("a.pdf", pdf("One", "Two").replace(b"/Count 2", b"/Count 1000000"), "1,000,000 pages"),
        ("a.pdf", pdf("One", "Two").replace(b"/Kids[4 0 R 6 0 R]", b"/Kids[2 0 R 2 0 R]"), "no text"),
        ("a.txt", b"hello\x00world", "neither text nor"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_hostile_files_are_refused_in_words(name: str, data: bytes | Callable[[], bytes], why: str) -> None:
    file = make_file(data)
    with pytest.raises(InvalidInput, match=why):
        sandbox.parse(name, file)


def locked_pdf() -> bytes:
    """A PDF whose text needs a password nobody has told."""
    key = "/Filter/Standard/V 1/R 2/P -44/O<" + "28" * 32 + ">/U<" + "bf" * 32 + ">"
    return pdf("Secret").replace(b"/Root 1 0 R", b"/Root 1 0 R/Encrypt<<" + key.encode() + b">>/ID[<01><01>]")


@pytest.mark.feature("RAG-1")
def test_what_a_password_locks_says_so() -> None:
    with pytest.raises(InvalidInput, match="encrypted with a password"):
        sandbox.parse("a.pdf", locked_pdf())
    locked = bytearray(word())
    for at in range(len(locked)):
        if locked[at : at + 4] == b"PK\x01\x02":
            locked[at + 8] |= 1  # the flag of each part in the archive's directory
    with pytest.raises(InvalidInput, match="encrypted with a password"):
        sandbox.parse("a.docx", bytes(locked))


@pytest.mark.feature("RAG-1")
def test_a_formula_is_text_and_is_never_computed() -> None:
    text = sandbox.parse("a.csv", b"name,cost\n=cmd|' /C calc'!A0,=1+1\n").text
    assert "name: =cmd|' /C calc'!A0 · cost: =1+1" in text


@pytest.mark.feature("RAG-1")
def test_a_parser_that_runs_on_or_breaks_is_ended(tmp_path: Any) -> None:
    looping = tmp_path / "parser.py"
    looping.write_text("import time\ntime.sleep(60)")
    with pytest.raises(InvalidInput, match="longer than"):
        sandbox.parse("a.pdf", b"x", parser=looping, wall_s=1)
    for source in ("import os; os.abort()", "x = b'1' * 4_000_000_000", "open('/tmp/escaped', 'w').write('x' * 99999)"):
        looping.write_text(source)
        with pytest.raises(InvalidInput, match="breaks"):
            sandbox.parse("a.pdf", b"x", parser=looping, wall_s=30)


@pytest.mark.feature("RAG-2")
def test_pages_of_a_pdf_are_known_and_a_passage_is_marked_on_its_page() -> None:
    data = pdf("Hello page one", "Hello page two")
    parsed = sandbox.parse("a.pdf", data)
    assert parsed.page_starts is not None
    assert [parsed.text[start : start + 14] for start in parsed.page_starts] == ["Hello page one", "Hello page two"]
    plain, marked = (sandbox.draw(data, 1, 0, count, 1.0, OPERATOR) for count in (0, 5))
    assert plain[:4] == marked[:4] == b"\x89PNG"
    assert plain != marked
    assert struct.unpack(">II", marked[16:24]) == (595, 842)


@pytest.mark.feature("RAG-2")
@settings(max_examples=120, deadline=None)
@given(
    st.text(alphabet=st.sampled_from("ab .\n#é漢"), max_size=900),
    st.sampled_from(
        [ChunkingStrategy.FIXED, ChunkingStrategy.RECURSIVE, ChunkingStrategy.HEADING, ChunkingStrategy.SEMANTIC]
    ),
    st.integers(100, 160),
    st.integers(0, 50),
)
def test_passages_are_stretches_of_the_text_and_leave_nothing_out(
    text: str, strategy: ChunkingStrategy, size: int, overlap: int
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
    by_heading = cut(text, Chunking(ChunkingStrategy.HEADING, 200, 0))
    assert text[by_heading[0].start : by_heading[0].end] == "# One\n\nFirst part. It is short."
    assert {piece.heading for piece in by_heading} == {"One", "Two"}
    assert len(cut(text, Chunking(ChunkingStrategy.RECURSIVE, 400, 0))) == 1
    overlapping = cut("Sentence number one is here. " * 30, Chunking(ChunkingStrategy.RECURSIVE, 200, 60))
    assert all(b.start < a.end for a, b in itertools.pairwise(overlapping))

    def embed(texts: Any) -> Any:
        import numpy as np

        return np.asarray([[1.0, 0.0] if "cat" in one else [0.0, 1.0] for one in texts], dtype=np.float32)

    animals = "The cat sleeps in the house all day long. " * 4 + "The stock market fell again this week. " * 4
    spans = cut(animals, Chunking(ChunkingStrategy.SEMANTIC, 1000, 0), embed)
    assert any(animals[one.start :].startswith("The stock") for one in spans)
    assert all(not ("cat" in animals[s.start : s.end] and "stock" in animals[s.start : s.end]) for s in spans)


@pytest.mark.feature("RAG-2")
@pytest.mark.parametrize("wrong", [{"size": 10}, {"size": 10**6}, {"overlap": 600}, {"overlap": -1}, {"strategy": "x"}])
def test_sizes_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Chunking(**wrong)


def test_pages_are_counted_from_one() -> None:
    from lib.knowledge.documents.chunking import Piece

    assert find_pages(Piece(0, 5), [0, 10]) == (1, 1)
    assert find_pages(Piece(5, 15), [0, 10]) == (1, 2)
    assert find_pages(Piece(0, 5), None) == (None, None)
    assert decode_text(b"\xef\xbb\xbfa") == "a"
    assert json.dumps(decode_text("日本".encode())) == json.dumps("日本")

"""Words are read through whatever wraps them, in every kind of file; and what was not read is told."""

import io
import zipfile
from typing import Any

import pytest

from lib.knowledge.documents.page_image import draw
from lib.knowledge.documents.parsing import parse

W = 'xmlns:w="w" xmlns:r="r" xmlns:m="x/math" xmlns:mc="mc" xmlns:v="v" xmlns:wps="wps" xmlns:c="c"'
P = 'xmlns:p="p" xmlns:a="a" xmlns:r="r" xmlns:c="c" xmlns:mc="mc"'


def package(parts: dict[str, str], related: dict[str, list[tuple[str, str, str]]]) -> bytes:
    """An Office file of the parts, and of what points to what: part → (id, kind, target)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        for name, xml in parts.items():
            archive.writestr(name, xml)
        for name, links in related.items():
            folder, _, file = name.rpartition("/")
            lines = "".join(f'<Relationship Id="{k}" Type="t/{kind}" Target="{to}"/>' for k, kind, to in links)
            archive.writestr(f"{folder}/_rels/{file}.rels".lstrip("/"), f"<Relationships>{lines}</Relationships>")
    return out.getvalue()


def run(text: str) -> str:
    return f"<w:r><w:t>{text}</w:t></w:r>"


def paragraph(inner: str) -> str:
    return f"<w:p>{inner}</w:p>"


CHART = (
    '<c:chartSpace xmlns:c="c" xmlns:a="a"><c:chart><c:title><a:p><a:r><a:t>Sales</a:t></a:r></a:p></c:title><c:ser>'
    '<c:tx><c:pt idx="0"><c:v>Revenue</c:v></c:pt></c:tx><c:cat><c:pt idx="0"><c:v>North</c:v></c:pt></c:cat>'
    '<c:val><c:pt idx="0"><c:v>7</c:v></c:pt></c:val></c:ser></c:chart></c:chartSpace>'
)
NOTE_PARTS = {
    f"word/{kind}s.xml": f'<w:{kind}s {W}><w:{kind} w:id="2" w:author="Ada">{paragraph(run(f"A {kind} of its own."))}'
    f"</w:{kind}></w:{kind}s>"
    for kind in ("footnote", "endnote", "comment")
}
STYLES = '<w:style w:styleId="h"><w:name w:val="heading 2"/></w:style><w:style w:styleId="x"><w:basedOn w:val="h"/>'


def word(body: str) -> bytes:
    """A Word document with a body, notes, a header and a chart."""
    parts = {"word/document.xml": f"<w:document {W}><w:body>{body}</w:body></w:document>", **NOTE_PARTS}
    parts["word/header1.xml"] = f"<w:hdr {W}>{paragraph(run('A header.'))}</w:hdr>"
    parts["word/charts/chart1.xml"] = CHART
    parts["word/styles.xml"] = f"<w:styles {W}>{STYLES}</w:style></w:styles>"
    links = [(f"n{n}", kind, f"{kind}.xml") for n, kind in enumerate(("footnotes", "endnotes", "comments", "styles"))]
    links += [("h", "header", "header1.xml"), ("c", "chart", "charts/chart1.xml")]
    return package(parts, {"": [("m", "officeDocument", "word/document.xml")], "word/document.xml": links})


BOX = f"<w:txbxContent>{paragraph(run('In a box'))}</w:txbxContent>"
WORD_BODIES = {
    "insertions are in, deletions out": (
        paragraph(
            run("The rent is ") + f"<w:del><w:r><w:delText>900</w:delText></w:r></w:del><w:ins>{run('1,250')}</w:ins>"
        )
        + paragraph(f"<w:moveFrom>{run('Moved away')}</w:moveFrom>")
        + f"<w:ins>{paragraph('<w:moveTo>' + run('Moved here') + '</w:moveTo>')}</w:ins>",
        "The rent is 1,250\n\nMoved here",
    ),
    "a deleted end joins two paragraphs": (
        paragraph(f"<w:pPr><w:rPr><w:del/></w:rPr></w:pPr>{run('One ')}") + paragraph(run("line.")),
        "One line.",
    ),
    "content controls, fields and tags": (
        f"<w:sdt><w:sdtPr><w:text/></w:sdtPr><w:sdtContent>{paragraph(run('A block'))}</w:sdtContent></w:sdt>"
        + paragraph(
            f"<w:sdt><w:sdtContent>{run('In line')}</w:sdtContent></w:sdt><w:smartTag>{run(' tagged')}</w:smartTag>"
            f"<w:fldSimple>{run(' 42')}</w:fldSimple><w:r><w:instrText>PAGE</w:instrText></w:r>"
            f"<w:hyperlink><w:customXml>{run(' linked')}</w:customXml></w:hyperlink>"
        ),
        "A block\n\nIn line tagged 42 linked",
    ),
    "formulas": (
        paragraph(
            "<m:oMath><m:f><m:num><m:r><m:t>a+b</m:t></m:r></m:num><m:den><m:r><m:t>c</m:t></m:r></m:den></m:f>"
            "<m:sSup><m:e><m:r><m:t>x</m:t></m:r></m:e><m:sup><m:r><m:t>2</m:t></m:r></m:sup></m:sSup></m:oMath>"
        ),
        "(a+b)/cx^2",
    ),
    "tables in tables": (
        f"<w:tbl><w:tr><w:tc>{paragraph(run('Part'))}</w:tc><w:tc>{paragraph(run('Weeks'))}</w:tc></w:tr>"
        f"<w:sdt><w:sdtContent><w:tr><w:tc>{paragraph(run('Boiler'))}</w:tc><w:tc><w:tbl><w:tr><w:tc>"
        f"{paragraph(run('4'))}</w:tc></w:tr></w:tbl>{paragraph('')}</w:tc></w:tr></w:sdtContent></w:sdt></w:tbl>",
        "Part: Boiler · Weeks: 4",
    ),
    "a text box once": (
        paragraph(
            run("Beside")
            + f"<w:r><mc:AlternateContent><mc:Choice><wps:txbx>{BOX}</wps:txbx></mc:Choice><mc:Fallback><w:pict>"
            f"<v:textbox>{BOX}</v:textbox></w:pict></mc:Fallback></mc:AlternateContent></w:r>"
        ),
        "Beside\n\nIn a box",
    ),
    "a chart": (paragraph('<w:r><w:drawing><c:chart r:id="c"/></w:drawing></w:r>'), "Sales\nRevenue: North 7"),
    "a heading by the style that its own is based on": (
        paragraph(f'<w:pPr><w:pStyle w:val="x"/></w:pPr>{run("Head")}'),
        "## Head",
    ),
    "a note once, after its paragraph": (
        paragraph(run("Said") + '<w:r><w:footnoteReference w:id="2"/></w:r>') + paragraph(run("More")),
        "Said\n\nFootnote (Ada): A footnote of its own.\n\nMore",
    ),
}


@pytest.mark.feature("RAG-1")
@pytest.mark.parametrize("kind", WORD_BODIES)
def test_word_is_read_through_all_wrappers(kind: str) -> None:
    body, said = WORD_BODIES[kind]
    answer = parse("a.docx", word(body))
    assert said in answer["text"]
    assert answer["text"].count("In a box") <= 1
    assert "Moved away" not in answer["text"]
    for once in ("A footnote of", "A endnote of", "A comment of", "A header."):
        assert answer["text"].count(once) == 1
    assert answer["note"] is None


def slides(shapes: str) -> bytes:
    """A presentation of one slide with notes, a comment and a chart."""
    text = "<p:sp><p:txBody><a:p><a:r><a:t>Speak slowly</a:t></a:r></a:p></p:txBody></p:sp>"
    parts = {
        "ppt/presentation.xml": f'<p:presentation {P}><p:sldIdLst><p:sldId r:id="s"/></p:sldIdLst></p:presentation>',
        "ppt/slides/slide1.xml": f"<p:sld {P}><p:cSld><p:spTree>{shapes}</p:spTree></p:cSld></p:sld>",
        "ppt/notesSlides/notesSlide1.xml": f"<p:notes {P}><p:cSld><p:spTree>{text}</p:spTree></p:cSld></p:notes>",
        "ppt/comments/comment1.xml": f"<p:cmLst {P}><p:cm><p:text>Too small</p:text></p:cm></p:cmLst>",
        "ppt/charts/chart1.xml": CHART,
        "ppt/slideLayouts/slideLayout1.xml": f"<p:sldLayout {P}><a:t>Click to edit</a:t></p:sldLayout>",
    }
    links = [("n", "notesSlide", "../notesSlides/notesSlide1.xml"), ("k", "comments", "../comments/comment1.xml")]
    related = {
        "": [("m", "officeDocument", "ppt/presentation.xml")],
        "ppt/presentation.xml": [("s", "slide", "slides/slide1.xml")],
        "ppt/slides/slide1.xml": [*links, ("c", "chart", "/ppt/charts/chart1.xml")],
    }
    return package(parts, related)


def shape(text: str, kind: str = "") -> str:
    place = f'<p:nvSpPr><p:nvPr><p:ph type="{kind}"/></p:nvPr></p:nvSpPr>' if kind else ""
    return f"<p:sp>{place}<p:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>"


@pytest.mark.feature("RAG-1")
def test_powerpoint_is_read_in_groups_tables_charts_notes_and_comments() -> None:
    cells = "".join(
        f"<a:tr><a:tc><a:txBody><a:p><a:r><a:t>{t}</a:t></a:r></a:p></a:txBody></a:tc></a:tr>" for t in "ab"
    )
    answer = parse(
        "a.pptx",
        slides(
            f"<p:grpSp>{shape('CEO: Ada')}<p:grpSp>{shape('CTO: Grace')}</p:grpSp></p:grpSp>{shape('Chart', 'title')}"
            f"<p:graphicFrame><a:tbl>{cells}</a:tbl></p:graphicFrame>"
            "<p:graphicFrame><c:chart r:id='c'/></p:graphicFrame>" + shape("3", "sldNum")
        ),
    )
    assert answer["text"].startswith("# Chart\nCEO: Ada\nCTO: Grace\na\na: b\nSales\nRevenue: North 7")
    assert "Notes: Speak slowly\nComment: Too small" in answer["text"]
    assert "Click" not in answer["text"]
    assert answer["note"] is None


@pytest.mark.feature("RAG-1")
def test_excel_is_read_with_comments_boxes_and_charts() -> None:
    import openpyxl
    from openpyxl.chart import BarChart, Reference
    from openpyxl.comments import Comment

    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet.append(["item", "price"])
    sheet.append(["tea", 3])
    sheet["A2"].comment = Comment("From Assam", "Ada")
    chart = BarChart()
    chart.title = "Prices"
    chart.add_data(Reference(sheet, 2, 1, 2, 2), titles_from_data=True)
    sheet.add_chart(chart, "D2")
    out = io.BytesIO()
    book.save(out)
    text = parse("a.xlsx", out.getvalue())["text"]
    assert "item: tea · price: 3" in text
    assert "Comment (A2): From Assam" in text
    assert "Prices" in text


def hidden_from_the_reader() -> bytes:
    """A document with words in a part that nothing points to."""
    data = io.BytesIO(word(paragraph(run("one two three four five six seven eight nine ten " * 3))))
    with zipfile.ZipFile(data, "a") as archive:
        archive.writestr("word/unknown.xml", f"<w:x {W}>{paragraph(run('eleven twelve thirteen ' * 4))}</w:x>")
    return data.getvalue()


@pytest.mark.feature("RAG-1")
def test_a_file_of_which_not_all_was_read_says_what_share() -> None:
    answer = parse("a.docx", hidden_from_the_reader())
    assert answer["note"] is not None
    assert answer["note"].endswith("% of the words were read.")
    assert 50 < int(answer["note"].split()[0]) < 90


@pytest.mark.feature("RAG-1")
@pytest.mark.parametrize(
    ("html", "text"),
    [
        (
            "<form><h1>Hours</h1><p>At nine.</p><input value='Send'><input type=hidden value=no></form>",
            "# Hours\n\nAt nine.\n\nSend",
        ),
        ("<pre>\ndef f(x):\n    if x:\n\treturn  1\n</pre><p>a\n b", "def f(x):\n    if x:\n\treturn  1\n\na b"),
        ("<details><summary>More</summary>Words</details>", "More\nWords"),
        ("Rechts&shy;schutz&#x200b;brief &#x645;&#x6cc;&zwnj;&#x62e;", "Rechtsschutzbrief \u0645\u06cc\u200c\u062e"),
        ("<nav><a href=a>Home</a> <a href=b>Help</a></nav><p>Words</p><footer>Late</footer>", "Words\n\nLate"),
        ("<nav><a href=a>All there is</a></nav>", "All there is"),
        ("<noscript>Shown without scripts</noscript>", "Shown without scripts"),
        ("<svg><title>no</title><text>North</text><text>South</text></svg><p>a<br>b", "North South\na\nb"),
        ("<ruby>漢字<rp>(</rp><rt>かんじ</rt></ruby>です", "漢字です"),
    ],
)  # fmt: skip
def test_a_page_is_read_as_it_is_shown(html: str, text: str) -> None:
    answer = parse("a.html", html.encode())
    assert answer["text"].strip() == text
    assert answer["note"] is None


@pytest.mark.feature("RAG-1")
def test_a_page_nested_deeper_than_trees_go_says_what_is_missing() -> None:
    page = "<p>Seen</p>" + "<div>" * 5_000 + "<p>deep words</p>" * 9 + "</div>" * 5_000
    answer = parse("a.html", page.encode())
    assert "deep words" in answer["text"] or "% of the words" in answer["note"]


@pytest.mark.feature("RAG-1")
@pytest.mark.parametrize(
    ("declared", "encoding", "text"),
    [
        ("utf-8", "cp1251", "Привет, мир. Это простой текст по-русски."),
        ("utf-8", "cp1252", "Größe über alles, naïve café"),
        ("iso-8859-1", "cp1251", "Привет, мир. Это простой текст по-русски."),
        ("iso-8859-1", "cp1252", "“Größe” — naïve café"),
        ("iso-8859-1", "utf-8", "Größe über alles"),
        ("gb2312", "gb18030", "这是一个简单的中文文本文件，用于测试。镕"),
        ("shift_jis", "cp932", "日本語のテキストです。①これは試験用の文書です。"),
        ("windows-1250", "cp1250", "Zażółć gęślą jaźń"),
    ],
)
def test_a_page_may_lie_about_its_encoding(declared: str, encoding: str, text: str) -> None:
    page = f"<html><head><meta charset={declared}></head><body><p>{text}</p></body></html>".encode(encoding)
    assert parse("a.html", page)["text"].strip() == text


@pytest.mark.feature("RAG-1")
@pytest.mark.parametrize(
    ("name", "table", "last"),
    [
        ("a.csv", "id,b\n" + "1,plain words\n" * 2_000 + '2,"He said ""stop, now"""', 'id: 2 · b: He said "stop, now"'),
        ("a.csv", 'id;comment\n1;"a;b\nc"\n2;"1,5"', "id: 2 · comment: 1,5"),
        ("a.csv", "sep=|\nid|comment\n1|a,b", "id: 1 · comment: a,b"),
        ("a.csv", "id, comment\n1, \"a, b\"", "id: 1 · comment: a, b"),
        ("a.tsv", "id\tsize\n1\t5\" pipe", 'id: 1 · size: 5" pipe'),
        ("a.csv", "only\none", "only: one"),
    ],
)  # fmt: skip
def test_quotes_of_a_table_are_doubled_anywhere(name: str, table: str, last: str) -> None:
    answer = parse(name, table.encode())
    assert answer["text"].strip().split("\n")[-1] == last
    assert answer["note"] is None


def pdf(*objects: str) -> bytes:
    """A PDF of numbered objects, the first of which is its catalogue."""
    body, places = "%PDF-1.7\n", []
    for number, one in enumerate(objects, start=1):
        places.append(len(body))
        body += f"{number} 0 obj{one}endobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"trailer<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{len(body)}\n%%EOF"
    return f"{body}xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{end}".encode("latin-1")


def stream(content: str, more: str = "") -> str:
    return f"<<{more}/Length {len(content)}>>stream\n{content}\nendstream"


PAGES = "<</Type/Pages/Kids[3 0 R]/Count 1>>"
PAGE = "<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R/Resources<<{}>>{}>>"
HELVETICA = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"


@pytest.mark.feature("RAG-1")
def test_values_of_a_pdf_form_and_its_notes_are_read() -> None:
    widget = "/Type/Annot/Subtype/Widget/Rect[9 9 90 30]"
    data = pdf(
        "<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[6 0 R 8 0 R]>>>>",
        PAGES,
        PAGE.format("/Font<</F1 5 0 R>>", "/Annots[6 0 R 7 0 R 8 0 R]"),
        stream("BT /F1 9 Tf 9 90 Td (Order) Tj ET"),
        HELVETICA,
        f"<<{widget}/FT/Tx/T(name)/TU(Your name)/V(Ada Lovelace)>>",
        "<</Type/Annot/Subtype/Text/Rect[1 1 9 9]/Contents(Ask her first)>>",
        f"<<{widget}/FT/Ch/Ff 131072/T(size)/V(large)/Opt[(small)(large)]>>",
    )
    answer = parse("a.pdf", data)
    assert answer["text"] == "Order\nYour name: Ada Lovelace\nNote: Ask her first\nsize: large\n"
    assert answer["note"] is None


@pytest.mark.feature("RAG-1")
@pytest.mark.feature("RAG-2")
def test_upright_japanese_in_a_font_of_elsewhere_is_read_and_marked() -> None:
    columns = "".join(f"1 0 0 1 150 {180 - 12 * n} Tm <{cid:04x}> Tj " for n, cid in enumerate((843, 845, 847, 849)))
    ros = "/CIDSystemInfo<</Registry(Adobe)/Ordering(Japan1)/Supplement 2>>"
    described = "<</Type/FontDescriptor/FontName/Ryumin-Light/Flags 6/FontBBox[0 -200 1000 900]/ItalicAngle 0"
    data = pdf(
        "<</Type/Catalog/Pages 2 0 R>>",
        PAGES,
        PAGE.format("/Font<</F1 5 0 R>>", ""),
        stream(f"BT /F1 12 Tf {columns}ET"),
        "<</Type/Font/Subtype/Type0/BaseFont/Ryumin-Light-Identity-H/Encoding/Identity-H/DescendantFonts[6 0 R]>>",
        f"<</Type/Font/Subtype/CIDFontType0/BaseFont/Ryumin-Light{ros}/FontDescriptor 7 0 R/DW 1000>>",
        described + "/Ascent 800/Descent -200/CapHeight 700/StemV 80>>",
    )
    answer = parse("a.pdf", data)
    assert answer["text"].strip() == "あいうえ"
    assert draw(data, 0, 0, 4, 1.0) != draw(data, 0, 0, 0, 1.0)


@pytest.mark.feature("RAG-1")
def test_pages_that_are_pictures_are_told() -> None:
    picture = stream("\x00", "/Type/XObject/Subtype/Image/Width 1/Height 1/ColorSpace/DeviceGray/BitsPerComponent 8")
    data = pdf(
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R 7 0 R]/Count 2>>",
        PAGE.format("/Font<</F1 5 0 R>>", ""),
        stream("BT /F1 9 Tf 9 90 Td (Words) Tj ET"),
        HELVETICA,
        picture,
        PAGE.replace("4 0 R", "8 0 R").format("/XObject<</I 6 0 R>>", ""),
        stream("q 99 0 0 99 9 9 cm /I Do Q"),
    )
    assert parse("a.pdf", data)["note"].startswith("50 % of the pages were read. 1 of 2 have no text")

"""A file's text, in a process of its own that may do little: `python parsing.py NAME < bytes > JSON`.

What a file is, its first bytes say; the name only tells text formats apart. The answer is {"text", "page_starts",
"media_type"} or {"refused": why}. Headings become Markdown's (`# …`), rows of tables lines of `head: value`. Nothing
in a file is run, fetched or resolved: no macro, no formula, no entity, no link. Text of a PDF keeps one character for
each of the page's, so that a passage can be marked on the page.
"""

import csv
import io
import itertools
import json
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

from lib.knowledge.encodings import decoded, wide_encoding

MOST_TEXT, MOST_PAGES = 20_000_000, 20_000
_TOO_LONG = f"It has more than {MOST_TEXT:,} characters. Split it."
_MOST_UNPACKED, _MOST_PARTS, _MOST_RATIO = 300 * 1024 * 1024, 10_000, 200
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_PDF, _HTML, _JSON, _CSV, _MARKDOWN, _TEXT = (
    "application/pdf",
    "text/html",
    "application/json",
    "text/csv",
    "text/markdown",
    "text/plain",
)
_OFFICE = {
    "word/": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "ppt/": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "xl/": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_BY_ENDING = {"html": _HTML, "htm": _HTML, "xhtml": _HTML, "json": _JSON, "csv": _CSV, "tsv": _CSV}
_BY_ENDING |= {"md": _MARKDOWN, "markdown": _MARKDOWN}
_BINARY_ENDINGS = ("pdf", "docx", "pptx", "xlsx", "docm", "xlsm", "pptm")
_PAGE = re.compile(rb"(?>\s|<\?[^>]*>|<!--(?:(?!-->).)*-->)*+(<!doctype html|<html)", re.IGNORECASE | re.DOTALL)
_UNSEEN = re.compile(r"display:none|visibility:hidden|font-size:0(?![.\d]*[1-9])", re.IGNORECASE)
_BLOCKS = {"p", "div", "li", "tr", "br", "section", "article", "table", "ul", "ol", "pre", "blockquote", "dd", "dt"}
_SILENT = {"script", "style", "noscript", "template", "svg", "iframe", "object", "head", "nav", "footer", "form"}


class Refused(Exception):
    """Why a file has no text for us, in a sentence for the person who brought it."""


def parse(name: str, data: bytes) -> dict[str, Any]:
    """The text of a file; Refused with the reason."""
    if not data.strip():
        raise Refused("It is empty.")
    media_type = _kind(name, data)
    reader = {_PDF: _pdf, **dict(zip(_OFFICE.values(), (_docx, _pptx, _xlsx), strict=True))}.get(media_type)
    pages = reader(data) if reader is not None else [_of_text(media_type, decoded(data), name)]
    text, starts = "", []
    for page in pages:
        starts.append(len(text))
        text += page if page.endswith("\n") or media_type == _PDF else page + "\n\n"
        if len(text) > MOST_TEXT:
            raise Refused(_TOO_LONG)
    clean = "".join(sign if sign.isprintable() or sign in "\n\t" else " " for sign in text)
    if not clean.strip():
        raise Refused("It has no text. A scanned document needs text recognition first.")
    has_pages = media_type == _PDF or media_type in list(_OFFICE.values())[1:]
    return {"text": clean, "page_starts": starts if has_pages else None, "media_type": media_type}


def _kind(name: str, data: bytes) -> str:
    ending = re.split(r"[?#]", name)[0].rpartition(".")[2].lower()
    if data.lstrip(b"\xef\xbb\xbf\r\n\t ").startswith(b"%PDF-") or (ending == "pdf" and b"%PDF-" in data[:1024]):
        return _PDF
    if data.startswith(_OLE):
        raise Refused("It is encrypted with a password, or an Office file from before 2007. Save it anew without one.")
    if data.startswith(b"PK\x03\x04"):
        return _office_kind(data)
    if ending in _BINARY_ENDINGS:
        raise Refused(f"It is named .{ending}, but it is none, or it is damaged at its beginning.")
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff"))
    if b"\x00" in data[:4096] and not marked and wide_encoding(data) is None:
        raise Refused("It is neither text nor a PDF, Word, PowerPoint or Excel file.")
    if _PAGE.match(data[:4096].removeprefix(b"\xef\xbb\xbf")):
        return _HTML
    return _BY_ENDING.get(ending, _TEXT)


def _office_kind(data: bytes) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as parts:
            known = parts.infolist()
            unpacked = sum(part.file_size for part in known)
            if len(known) > _MOST_PARTS or unpacked > _MOST_UNPACKED or unpacked > _MOST_RATIO * len(data) + 1_000_000:
                raise Refused(f"It unpacks to {unpacked // 1024**2:,} MB, far more than a document needs.")
            if any(part.flag_bits & 1 for part in known):
                raise Refused("It is encrypted with a password.")
            names = [part.filename for part in known]
            kind = next((kind for folder, kind in _OFFICE.items() if any(n.startswith(folder) for n in names)), None)
            if kind is None or "[Content_Types].xml" not in names:
                raise Refused("It is an archive. Unpack it and add the files that are in it.")
            for part in known:
                is_xml = part.filename.endswith((".xml", ".rels"))
                if is_xml and re.search(rb"<!(DOCTYPE|ENTITY)", parts.read(part).replace(b"\0", b"")):  # UTF-16 too
                    raise Refused("It declares XML entities, as no Office program does.")
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, OSError) as error:
        raise Refused("It is damaged or was cut off.") from error
    return kind


def _pdf(data: bytes) -> Iterator[str]:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        locked = "password" in str(error).lower()
        raise Refused("It is encrypted with a password." if locked else "It is damaged or was cut off.") from error
    if len(document) > MOST_PAGES:
        raise Refused(f"It has {len(document):,} pages; the limit is {MOST_PAGES:,}. Split it.")
    for number in range(len(document)):
        try:
            page = document[number].get_textpage()
            yield page.get_text_range().replace("\r", " ").replace("\ufffe", "-") + "\n"
        except pypdfium2.PdfiumError:
            yield "\n"


def _docx(data: bytes) -> Iterator[str]:
    import docx
    from docx.table import Table

    document = _opened(lambda: docx.Document(io.BytesIO(data)))
    lines: list[str] = []
    for part in document.iter_inner_content():
        if isinstance(part, Table):
            lines += [*_rows([[cell.text for cell in row.cells] for row in part.rows]), ""]
            continue
        style = (part.style.name or "") if part.style is not None else ""
        level = re.fullmatch(r"Heading (\d)", style)
        mark = "#" * min(int(level[1]), 6) + " " if level else "# " if style == "Title" else ""
        if part.text.strip():
            lines += [mark + " ".join(part.text.split()) if mark else part.text.strip(), ""]
    yield "\n".join(lines)


def _pptx(data: bytes) -> Iterator[str]:
    import pptx

    for slide in _opened(lambda: pptx.Presentation(io.BytesIO(data))).slides:
        lines: list[str] = []
        title = slide.shapes.title
        if title is not None and title.text.strip():
            lines.append("# " + " ".join(title.text.split()))
        for shape in slide.shapes:
            if shape.has_text_frame and shape != title:
                lines += [text.text for text in shape.text_frame.paragraphs if text.text.strip()]
            if getattr(shape, "has_table", False):
                lines += _rows([[cell.text for cell in row.cells] for row in shape.table.rows])
        if slide.has_notes_slide and (notes := slide.notes_slide.notes_text_frame) is not None and notes.text.strip():
            lines += ["", "Notes: " + notes.text.strip()]
        yield "\n".join(lines)


def _xlsx(data: bytes) -> Iterator[str]:
    import openpyxl

    book = _opened(lambda: openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True))
    for sheet in book.worksheets:
        sheet.reset_dimensions()  # what it says of its size is often wrong, and costs a cell for each that is not there
        rows = ([("" if cell is None else str(cell)) for cell in row] for row in sheet.iter_rows(values_only=True))
        filled = (row for row in rows if any(cell.strip() for cell in row))
        yield _limited(f"{line}\n" for line in itertools.chain([f"# {sheet.title}"], _rows(filled)))


def _opened(open_it: Any) -> Any:
    try:
        return open_it()
    except MemoryError:
        raise
    except Exception as error:  # the libraries raise whatever the damage led to
        raise Refused("It is damaged or was cut off.") from error


def _of_text(media_type: str, text: str, name: str) -> str:
    if media_type == _HTML:
        return _html(text)
    if media_type == _JSON:
        try:
            return _limited(json.JSONEncoder(ensure_ascii=False, indent=1).iterencode(json.loads(text)))
        except RecursionError as error:
            raise Refused("It is nested too deeply.") from error
        except ValueError as error:
            raise Refused(f"It is named .json, but is not JSON: {str(error)[:80]}.") from error
    if media_type == _CSV:
        csv.field_size_limit(max(csv.field_size_limit(), MOST_TEXT))
        try:
            dialect: Any = csv.Sniffer().sniff(text[:20_000], ",;\t|")
        except csv.Error:
            dialect = csv.excel_tab if name.lower().endswith(".tsv") else csv.excel
        return _limited(f"{line}\n" for line in _rows(csv.reader(io.StringIO(text), dialect)))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _limited(parts: Iterable[str]) -> str:
    """All of them, as long as they are no more than a document may have."""
    out, size = io.StringIO(), 0
    for part in parts:
        size += out.write(part)
        if size > MOST_TEXT:
            raise Refused(_TOO_LONG)
    return out.getvalue()


def _rows(rows: Iterable[list[str]]) -> Iterator[str]:
    """Lines of `head: value`, with the first row as the heads."""
    heads: list[str] | None = None
    for row in rows:
        cells = [" ".join(cell.split()) for cell in row]
        if heads is None:
            heads = cells
            yield " | ".join(cells)
            continue
        named = ((heads[n] if n < len(heads) else "", cell) for n, cell in enumerate(cells))
        yield " · ".join(f"{head}: {cell}" if head else cell for head, cell in named if cell)


def _html(text: str) -> str:
    import lxml.html

    parser = lxml.html.HTMLParser(
        encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True, huge_tree=False
    )
    try:
        root = lxml.html.document_fromstring(text.encode("utf-8", "replace"), parser=parser)
    except (lxml.etree.ParserError, ValueError, AssertionError) as error:
        raise Refused("It has no text.") from error
    out: list[str] = []
    _walk(root, out)
    lines = (" ".join(line.split()) for line in "".join(out).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _walk(root: Any, out: list[str]) -> None:
    """Text in order, with a stack of its own: pages nest deeper than Python calls."""
    todo: list[Any] = [root]
    while todo:
        node = todo.pop()
        if isinstance(node, str):
            out.append(node)
            continue
        tag = node.tag if isinstance(node.tag, str) else ""
        style = "".join((node.get("style") or "").split())
        silent = tag in _SILENT or not tag or node.get("hidden") is not None or _UNSEEN.search(style) is not None
        level = int(tag[1]) if re.fullmatch(r"h[1-6]", tag) else 0
        before = "\n\n" + "#" * level + " " if level else "\n" if tag in _BLOCKS else ""
        after = "\n\n" if level or tag == "p" else "\n" if tag in _BLOCKS else " " if tag in ("td", "th") else ""
        if node.tail and node is not root:
            todo.append(" ".join(node.tail.split("\n")))
        if silent:
            continue
        todo.append(after)
        todo += reversed(list(node))
        todo.append(before + " ".join((node.text or "").split("\n")))


def main(name: str) -> None:
    """Read, answer, end."""
    data = sys.stdin.buffer.read()
    try:
        told = parse(name, data)
    except Refused as error:
        told = {"refused": str(error)}
    except MemoryError:
        told = {"refused": "It takes more memory than a document may."}
    sys.stdout.buffer.write(json.dumps(told, ensure_ascii=False).encode("utf-8", "replace"))


if __name__ == "__main__":
    main(sys.argv[1])

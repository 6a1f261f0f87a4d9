"""A PDF as text, a page for each page: its characters, of which each knows its place on the page, so that a passage
can be marked there; then, at the page's end, values of form fields and the words of notes.

pdfium leaves out text that takes no room, which is what it makes of upright Japanese set in a font that is not in the
file. Such text is given an outline first, and so it has room.
"""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lib.knowledge.readers.coverage import Coverage
from lib.knowledge.readers.limits import Refused
from lib.patterns import compile_pattern

MOST_PAGES = 20_000
_MOST_ANNOTATIONS = 5_000  # of a page; forms within forms
_DEEPEST = 15
_FLAT = 0.02  # points
_LOST = 1.02  # times as many letters: what an outline must bring
_DENSE = r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]"
# Of a column, which are not lines.
_BETWEEN_SIGNS = compile_pattern(rf"(?<={_DENSE})\r\n(?={_DENSE})")
_UNREADABLE = compile_pattern(r"[\ufffd\x00-\x08\x0e-\x1f\ue000-\uf8ff]")
_HYPHEN = "\ufffe"  # at the end of a line, as pdfium tells it


@dataclass(frozen=True)
class PageText:
    """A page's characters; `places`: where each stands in pdfium's page, None where it is the same number."""

    text: str
    words: Any  # pdfium's page of text
    places: list[int] | None = None


def read_paper(data: bytes, coverage: Coverage) -> Iterator[str]:
    """The text of each page; pages that are pictures, and signs without a meaning, are told to `coverage`."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        locked = "password" in str(error).lower()
        raise Refused("It is encrypted with a password." if locked else "It is damaged or was cut off.") from error
    if len(document) > MOST_PAGES:
        raise Refused(f"It has {len(document):,} pages; the limit is {MOST_PAGES:,}. Split it.")
    document.init_forms()
    for number in range(len(document)):
        try:
            yield _read_page(document, number, coverage)
        except pypdfium2.PdfiumError:
            yield "\n"


def read_page_text(page: Any) -> PageText:
    """A page's text as it is read, for who reads it and who marks it."""
    words = page.get_textpage()
    text = words.get_text_range()
    if not _outline_flat_text(page):
        return PageText(text, words)
    outlined = page.get_textpage()
    longer = outlined.get_text_range()
    if _count_letters(longer) < _LOST * max(1, _count_letters(text)):
        return PageText(text, words)
    dropped = {position for match in _BETWEEN_SIGNS.finditer(longer) for position in range(*match.span())}
    positions = [position for position in range(len(longer)) if position not in dropped]
    return PageText("".join(longer[position] for position in positions), outlined, positions)


def _read_page(document: Any, number: int, coverage: Coverage) -> str:
    from pypdfium2 import raw

    page = document[number]
    text = read_page_text(page).text
    beside = _list_annotation_lines(page, document.formenv)
    coverage.signs += len(text)
    coverage.signs_read += len(text) - len(_UNREADABLE.findall(text))
    if any(sign.isalnum() for sign in text) or beside:
        coverage.add_page(number, is_read=True)
    elif any(True for _ in page.get_objects(filter=(raw.FPDF_PAGEOBJ_IMAGE,), max_depth=3)):
        coverage.add_page(number, is_read=False)
    return "\n".join([text.replace("\r", " ").replace(_HYPHEN, "-"), *beside]) + "\n"


def _count_letters(text: str) -> int:
    return sum(sign.isalnum() for sign in text)


def _outline_flat_text(page: Any) -> bool:
    """Give text without width or height an outline; whether there was any."""
    from pypdfium2 import raw

    is_flat = False
    for text in page.get_objects(filter=(raw.FPDF_PAGEOBJ_TEXT,), max_depth=_DEEPEST):
        left, bottom, right, top = text.get_bounds()
        if min(right - left, top - bottom) < _FLAT:
            raw.FPDFTextObj_SetTextRenderMode(text, raw.FPDF_TEXTRENDERMODE_FILL_STROKE)
            raw.FPDFPageObj_SetStrokeWidth(text, 1.0)
            raw.FPDFPageObj_Transform(text, 1, 0, 0, 1, 0, 0)  # measures it anew
            is_flat = True
    return is_flat


def _list_annotation_lines(page: Any, form: Any) -> list[str]:
    """`name: value` of each field that is filled in, and the words of notes."""
    from pypdfium2 import raw

    lines: dict[str, None] = {}
    for number in range(min(raw.FPDFPage_GetAnnotCount(page), _MOST_ANNOTATIONS)):
        annotation = raw.FPDFPage_GetAnnot(page, number)
        if not annotation:
            continue
        try:
            kind = raw.FPDFAnnot_GetSubtype(annotation)
            if kind == raw.FPDF_ANNOT_WIDGET:
                line = _format_field_line(annotation, form) if form else ""
            elif kind in (raw.FPDF_ANNOT_POPUP, raw.FPDF_ANNOT_LINK):
                line = ""
            else:
                line = _read_string(raw.FPDFAnnot_GetStringValue, annotation, b"Contents")
                line = f"Note: {' '.join(line.split())}" if line.strip() else ""
        finally:
            raw.FPDFPage_CloseAnnot(annotation)
        if line:
            lines[line] = None
    return [*lines]


def _format_field_line(annotation: Any, form: Any) -> str:
    from pypdfium2 import raw

    kind = raw.FPDFAnnot_GetFormFieldType(form, annotation)
    if kind in (raw.FPDF_FORMFIELD_CHECKBOX, raw.FPDF_FORMFIELD_RADIOBUTTON):
        if not raw.FPDFAnnot_IsChecked(form, annotation):
            return ""
        value = _read_string(raw.FPDFAnnot_GetFormFieldExportValue, form, annotation)
        value = "" if value in ("Yes", "On", "1") else value
    elif kind in (raw.FPDF_FORMFIELD_TEXTFIELD, raw.FPDF_FORMFIELD_COMBOBOX, raw.FPDF_FORMFIELD_LISTBOX):
        value = _read_string(raw.FPDFAnnot_GetFormFieldValue, form, annotation)
        if not value.strip():
            return ""
    else:
        return ""
    name = _read_string(raw.FPDFAnnot_GetFormFieldAlternateName, form, annotation)
    name = name or _read_string(raw.FPDFAnnot_GetFormFieldName, form, annotation)
    return f"{' '.join(name.split())}: {value.strip() or 'yes'}" if name.strip() else value.strip()


def _read_string(read: Any, *arguments: Any) -> str:
    """A string that pdfium writes into a buffer as UTF-16, its length asked for first."""
    from pypdfium2 import raw

    size = read(*arguments, None, 0)
    if size <= 2:
        return ""
    buffer = ctypes.create_string_buffer(size)
    read(*arguments, ctypes.cast(buffer, ctypes.POINTER(raw.FPDF_WCHAR)), size)
    text = buffer.raw[:size].decode("utf-16-le", "replace").partition("\0")[0]
    return text.replace("\r\n", "\n").replace("\r", "\n")

"""A file's text, in a process of its own that may do little: `python parsing.py NAME < bytes > JSON`.

What a file is, its first bytes say; the name only tells text formats apart. The answer is {"text", "page_starts",
"media_type", "note", "pages", "pictures"} or {"refused": why}; `note` says what share of the words was read where it is
not all, `pictures` numbers (from 0) those of the `pages` that have a picture and no text. Headings become Markdown's
(`# …`), rows of tables lines of `head: value`. Nothing in a file is run, fetched or resolved: no macro, no formula, no
entity, no link. Text of a PDF's page begins with one character for each of the page's, so that a passage can be marked
on the page.
"""

import io
import itertools
import json
import re
import sys
import unicodedata
import zipfile
from collections.abc import Iterable
from typing import Any

from lib.knowledge.documents.encodings import decode_text, detect_wide_encoding
from lib.knowledge.readers.coverage import Coverage, count_office_words, list_page_words, list_words
from lib.knowledge.readers.limits import MOST_TEXT, TOO_LONG, Refused, join_limited
from lib.patterns import compile_pattern

_MOST_UNPACKED = 300 * 1024 * 1024
_MOST_PARTS = 10_000
_MOST_RATIO = 200
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_PDF = "application/pdf"
_HTML = "text/html"
_JSON = "application/json"
_CSV = "text/csv"
_MARKDOWN = "text/markdown"
_TEXT = "text/plain"
_OFFICE = {
    "word/": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "ppt/": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "xl/": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_PICTURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"II*\x00": "image/tiff",
    b"MM\x00*": "image/tiff",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
_BY_ENDING = {"html": _HTML, "htm": _HTML, "xhtml": _HTML, "json": _JSON, "csv": _CSV, "tsv": _CSV}
_BY_ENDING |= {"md": _MARKDOWN, "markdown": _MARKDOWN}
_BINARY_ENDINGS = ("pdf", "docx", "pptx", "xlsx", "docm", "xlsm", "pptm")
_PAGE = compile_pattern(
    rb"(?>\s|<\?[^>]*>|<!--(?:(?!-->).)*-->)*+(<!doctype html|<html)",
    re.IGNORECASE | re.DOTALL,
)
_DECLARES = compile_pattern(rb"<!(DOCTYPE|ENTITY)")
_JOINERS = "\u200c\u200d"  # part of how Persian, Sinhala and pictures of families are written
_DEEPEST = 6_000  # calls within calls


def parse(name: str, data: bytes) -> dict[str, Any]:
    """The text of a file; Refused with the reason."""
    if not data.strip():
        raise Refused("It is empty.")
    media_type = _detect_kind(name, data)
    coverage = Coverage()
    text = ""
    starts = []
    for page in _read_pages(media_type, name, data, coverage):
        starts.append(len(text))
        text += page if page.endswith("\n") or media_type == _PDF else page + "\n\n"
        if len(text) > MOST_TEXT:
            raise Refused(TOO_LONG)
    clean, starts = _replace_unprintable(text, starts, keeps_places=media_type == _PDF)
    if not clean.strip() and not coverage.pictures:
        raise Refused("It has no text.")
    has_pages = media_type == _PDF or media_type in list(_OFFICE.values())[1:]
    note = coverage.note(clean)
    answer = {"text": clean, "page_starts": starts if has_pages else None, "media_type": media_type, "note": note}
    return answer | {"pages": coverage.pages, "pictures": coverage.pictures}


def _read_pages(media_type: str, name: str, data: bytes, coverage: Coverage) -> Iterable[str]:
    """The text of each page; what the file holds is told to `coverage`."""
    if media_type == _PDF:
        from lib.knowledge.readers.paper import read_paper

        return read_paper(data, coverage)
    if media_type.startswith("image/"):
        coverage.add_page(0, is_read=False)
        return [""]
    if media_type in _OFFICE.values():
        coverage.words = count_office_words(data)
        return _read_office_pages(media_type, data)
    text = decode_text(data)
    if media_type == _HTML:
        coverage.words = list_page_words(text)
    elif media_type == _CSV:
        from lib.knowledge.readers.tables import drop_separator_line

        coverage.words.update(list_words(drop_separator_line(text)))
    return [_read_text(media_type, text, name)]


def _read_office_pages(media_type: str, data: bytes) -> Iterable[str]:
    from lib.knowledge.readers.sheets import read_sheets
    from lib.knowledge.readers.slides import read_slides
    from lib.knowledge.readers.word import read_word

    word, slides, _ = _OFFICE.values()
    if media_type == word:
        return [read_word(data)]
    return read_slides(data) if media_type == slides else read_sheets(data)


def _replace_unprintable(text: str, starts: list[int], *, keeps_places: bool) -> tuple[str, list[int]]:
    """The text without signs that can't be shown, and where its pages begin then.

    Signs that only say how lines may break (soft hyphens, U+200B) or run are taken out, so that no word is cut in two;
    joiners are spelling and stay. In a PDF each sign keeps its place.
    """
    if text.isascii() and text.isprintable():
        return text, starts
    signs = {sign: _replace_sign(sign, keeps_places=keeps_places) for sign in set(text)}
    table = {ord(sign): visible for sign, visible in signs.items()}
    if all(len(visible) == 1 for visible in signs.values()):
        return text.translate(table), starts
    bounds = [*starts, len(text)]
    parts = [text[start:end].translate(table) for start, end in itertools.pairwise(bounds)]
    places = [0, *itertools.accumulate(len(part) for part in parts)]
    return "".join(parts), places[: len(starts)]


def _replace_sign(sign: str, *, keeps_places: bool) -> str:
    if sign.isprintable() or sign in "\n\t" or sign in _JOINERS:
        return sign
    if sign in "\x0b\x0c\x85\u2028\u2029":
        return "\n"
    if unicodedata.category(sign) == "Cf":
        return "\u00ad" if keeps_places and sign == "\u00ad" else " " if keeps_places else ""
    return " "


def _detect_kind(name: str, data: bytes) -> str:
    ending = name.partition("?")[0].partition("#")[0].rpartition(".")[2].lower()
    if data.lstrip(b"\xef\xbb\xbf\r\n\t ").startswith(b"%PDF-") or (ending == "pdf" and b"%PDF-" in data[:1024]):
        return _PDF
    if data.startswith(_OLE):
        raise Refused("It is encrypted with a password, or an Office file from before 2007. Save it anew without one.")
    if (picture := _detect_picture_kind(data)) is not None:
        return picture
    if data.startswith(b"PK\x03\x04"):
        return _detect_office_kind(data)
    if ending in _BINARY_ENDINGS:
        raise Refused(f"It is named .{ending}, but it is none, or it is damaged at its beginning.")
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff"))
    if b"\x00" in data[:4096] and not marked and detect_wide_encoding(data) is None:
        raise Refused("It is neither text nor a PDF, Word, PowerPoint or Excel file.")
    if _PAGE.match(data[:4096].removeprefix(b"\xef\xbb\xbf")):
        return _HTML
    return _BY_ENDING.get(ending, _TEXT)


def _detect_picture_kind(data: bytes) -> str | None:
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in _PICTURES.items() if data.startswith(start)), None)


def _detect_office_kind(data: bytes) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as parts:
            members = parts.infolist()
            unpacked = sum(part.file_size for part in members)
            if (
                len(members) > _MOST_PARTS
                or unpacked > _MOST_UNPACKED
                or unpacked > _MOST_RATIO * len(data) + 1_000_000
            ):
                raise Refused(f"It unpacks to {unpacked // 1024**2:,} MB, far more than a document needs.")
            if any(part.flag_bits & 1 for part in members):
                raise Refused("It is encrypted with a password.")
            names = [part.filename for part in members]
            kind = next((kind for folder, kind in _OFFICE.items() if any(n.startswith(folder) for n in names)), None)
            if kind is None or "[Content_Types].xml" not in names:
                raise Refused("It is an archive. Unpack it and add the files that are in it.")
            for part in members:
                is_xml = part.filename.endswith((".xml", ".rels"))
                if is_xml and _DECLARES.search(parts.read(part).replace(b"\0", b"")):  # UTF-16 too
                    raise Refused("It declares XML entities, as no Office program does.")
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, OSError) as error:
        raise Refused("It is damaged or was cut off.") from error
    return kind


def _read_text(media_type: str, text: str, name: str) -> str:
    if media_type == _HTML:
        from lib.knowledge.readers.web import read_page

        return read_page(text)
    if media_type == _JSON:
        try:
            return join_limited(json.JSONEncoder(ensure_ascii=False, indent=1).iterencode(json.loads(text)))
        except RecursionError as error:
            raise Refused("It is nested too deeply.") from error
        except ValueError as error:
            raise Refused(f"It is named .json, but is not JSON: {str(error)[:80]}.") from error
    if media_type == _CSV:
        from lib.knowledge.readers.tables import read_table

        return read_table(text, name)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def main(name: str) -> None:
    """Read, answer, end."""
    data = sys.stdin.buffer.read()
    sys.setrecursionlimit(_DEEPEST)
    try:
        answer = parse(name, data)
    except Refused as error:
        answer = {"refused": str(error)}
    except RecursionError:
        answer = {"refused": "It is nested too deeply."}
    except MemoryError:
        answer = {"refused": "It takes more memory than a document may."}
    sys.stdout.buffer.write(json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace"))


if __name__ == "__main__":
    main(sys.argv[1])

"""An HTML page as text: what a browser shows of it, line for line where the page says so.

Silent is what is never shown, and a `nav` or `footer` that is made of links. A form is text with fields, whose values
are shown. `PageWords` counts the words of a page in another way than the reader: tag by tag, without a tree.
"""

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

from lib.knowledge.readers.limits import Refused
from lib.patterns import compile_pattern

_UNSEEN = compile_pattern(r"display:none|visibility:hidden|font-size:0(?![.\d]*[1-9])", re.IGNORECASE)
_EMPTY_LINES = compile_pattern(r"\n{3,}")
_HEADING_TAG = compile_pattern(r"h[1-6]")
_APART_TAG = compile_pattern(r"h[1-6]|td|th|button|text")
_BLOCKS = frozenset(
    {
        "p", "div", "li", "tr", "section", "article", "main", "header", "aside", "address", "table", "caption", "ul",
        "ol", "dl", "pre", "textarea", "blockquote", "dd", "dt", "form", "fieldset", "legend", "details", "summary",
        "figure", "figcaption", "nav", "footer", "select", "option", "dialog", "center"
    }
)  # fmt: skip
_NEVER_SHOWN = frozenset(
    {
        "script", "style", "template", "iframe", "head", "title", "audio", "video", "canvas", "datalist", "rt", "rp",
        "desc", "metadata", "annotation"
    }
)  # fmt: skip
_INSTEAD = frozenset(("noscript", "object"))  # shown where something else can't be
_LINES_KEPT = frozenset(("pre", "textarea", "listing", "xmp"))
_VOID = frozenset(
    {
        "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"
    }
)  # fmt: skip
_VALUE_UNSEEN = frozenset(("hidden", "password", "checkbox", "radio", "image", "file", "color", "range"))
_BLANKS = str.maketrans({" ": "\ue000", "\t": "\ue001", "\r": None})  # of lines that are kept, until all are joined
_KEPT_BLANKS = str.maketrans({"\ue000": " ", "\ue001": "\t"})
_FOREIGN_BLANKS = str.maketrans({"\ue000": " ", "\ue001": " "})


def read_page(text: str) -> str:
    """The text; Refused where there is none."""
    import lxml.html

    parser = lxml.html.HTMLParser(
        encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True, huge_tree=True
    )
    plain = text.translate(_FOREIGN_BLANKS).replace("\0", "")
    try:
        root = lxml.html.document_fromstring(plain.encode("utf-8", "replace"), parser=parser)
    except (lxml.etree.ParserError, ValueError, AssertionError) as error:
        raise Refused("It has no text.") from error
    return _extract_text(root, _NEVER_SHOWN | _INSTEAD) or _extract_text(root, _NEVER_SHOWN, keeps_links=True)


def _extract_text(root: Any, silent: frozenset[str], *, keeps_links: bool = False) -> str:
    out: list[str] = []
    _walk(root, silent, keeps_links, out)
    lines = (" ".join(line.split()).translate(_KEPT_BLANKS).rstrip() for line in "".join(out).split("\n"))
    return _EMPTY_LINES.sub("\n\n", "\n".join(lines)).strip("\n")


def _walk(root: Any, silent: frozenset[str], keeps_links: bool, out: list[str]) -> None:
    """Text in order, with a stack of its own: pages nest deeper than Python calls."""
    todo: list[tuple[Any, bool]] = [(root, False)]
    while todo:
        node, keeps_lines = todo.pop()
        if isinstance(node, str):
            out.append(node)
            continue
        tag = node.tag if isinstance(node.tag, str) else ""
        if node.tail and node is not root:
            todo.append((_convert_blanks(node.tail, keeps_lines), False))
        if not tag or tag in silent or is_hidden(node.attrib) or (not keeps_links and _is_mostly_links(tag, node)):
            continue
        break_before, break_after = _choose_breaks(tag)
        is_kept = keeps_lines or tag in _LINES_KEPT
        todo.append((break_after, False))
        todo += [(child, is_kept) for child in reversed(node)]
        text = _read_input_text(node.attrib) if tag == "input" else node.text or ""
        todo.append((break_before + _convert_blanks(text, is_kept), False))


def _convert_blanks(text: str, keeps_lines: bool) -> str:
    """A stretch of text as one line, or with its own lines and blanks."""
    return text.translate(_BLANKS) if keeps_lines else text.replace("\r", " ").replace("\n", " ")


def _choose_breaks(tag: str) -> tuple[str, str]:
    """The line breaks and blanks to write before and after an element with this tag."""
    if _HEADING_TAG.fullmatch(tag):
        return "\n\n" + "#" * int(tag[1]) + " ", "\n\n"
    if tag in _BLOCKS:
        return "\n", "\n\n" if tag in ("p", "pre") else "\n"
    if tag in ("br", "hr"):
        return "\n", ""
    return "", " " if tag in ("td", "th", "input", "button", "text") else ""


def is_hidden(attributes: Mapping[str, Any]) -> bool:
    """Whether an element says of itself that it is not shown."""
    if "hidden" in attributes and attributes["hidden"] != "until-found":
        return True
    style = attributes.get("style")
    return _UNSEEN.search("".join((style or "").split())) is not None


def _read_input_text(attributes: Mapping[str, Any]) -> str:
    is_unseen = (attributes.get("type") or "").lower() in _VALUE_UNSEEN
    return "" if is_unseen else str(attributes.get("value") or "")


def _is_mostly_links(tag: str, node: Any) -> bool:
    """Whether most of a `nav` or `footer` is links."""
    if tag not in ("nav", "footer"):
        return False
    linked = sum(len("".join(link.itertext()).strip()) for link in node.iter("a"))
    return 2 * linked >= len(" ".join("".join(node.itertext()).split()))


class PageWords(HTMLParser):
    """The stretches of text that a page shows for certain, one after the other, in `stretches`."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.stretches: list[str] = []
        self._silenced: list[str] = []  # open elements of which the first is silent

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Follow how deep it is in what is not shown; words of different cells stand apart."""
        if tag in _VOID:
            self.stretches.append(" " if tag in ("br", "hr") else "")
            return
        is_silent = tag in _NEVER_SHOWN or tag in _INSTEAD or tag in ("nav", "footer") or is_hidden(dict(attrs))
        if self._silenced or is_silent:
            self._silenced.append(tag)
        self._part(tag)

    def handle_endtag(self, tag: str) -> None:
        """The end of an element, or of one that was left open around it."""
        if tag in self._silenced:
            while self._silenced.pop() != tag:
                pass
        self._part(tag)

    def handle_data(self, data: str) -> None:
        """A stretch of text."""
        if not self._silenced:
            self.stretches.append(data)

    def _part(self, tag: str) -> None:
        if tag in _BLOCKS or _APART_TAG.fullmatch(tag):
            self.stretches.append(" ")

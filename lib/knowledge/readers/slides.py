"""A PowerPoint file as text, a page for each slide: its title, what is on it (in groups, tables, charts and diagrams
too), its notes and comments."""

from collections.abc import Iterator

from lib.knowledge.readers.limits import row_lines
from lib.knowledge.readers.office import (
    Element,
    Package,
    attribute,
    child,
    inline,
    linked_part,
    local,
    paragraphs,
    shown,
    within,
    words_of_drawing,
)


def read_slides(data: bytes) -> Iterator[str]:
    """The text of each slide, in the order of the presentation."""
    package = Package(data)
    main = package.main
    related = package.related(main)
    root = package.root(main)
    for slide_id in within(root, "sldId"):
        part = related.get(next((v for k, v in slide_id.attrib.items() if k.endswith("}id")), ""), ("", ""))[1]
        slide = package.root(part)
        if slide is not None:
            yield "\n".join(_slide_lines(package, part, slide))


def _slide_lines(package: Package, part: str, slide: Element) -> list[str]:
    title: list[str] = []
    lines: list[str] = []
    _walk(package, part, slide, title, lines)
    head = " ".join(" ".join(title).split())
    lines = ([f"# {head}"] if head else []) + lines
    for note in package.of_kind(part, "notesSlide"):
        note_lines: list[str] = []
        _walk(package, note, package.root(note), note_lines, note_lines)
        lines += ["", "Notes: " + "\n".join(note_lines)] if note_lines else []
    for comments in package.of_kind(part, "comments"):
        lines += [f"Comment: {' '.join(text.split())}" for text in _comments(package.root(comments))]
    return lines


def _walk(package: Package, part: str, node: Element, title: list[str], lines: list[str]) -> None:
    """Append the words that an element shows to `title` and `lines`, through groups and whatever else wraps it."""
    for element in shown(node):
        name = local(element)
        if name == "sp":
            kind = _placeholder(element)
            if kind != "sldNum":
                _walk(package, part, element, title, title if kind in ("title", "ctrTitle") else lines)
        elif name == "p":
            apart: list[Element] = []
            text = "".join(inline(element, apart)).strip()
            lines += [text] if text else []
        elif name == "tbl":
            rows = ([_cell(cell) for cell in row if local(cell) == "tc"] for row in element if local(row) == "tr")
            lines += row_lines(rows)
        elif name in ("chart", "relIds"):
            lines += words_of_drawing(package, linked_part(package, part, element))
        else:
            _walk(package, part, element, title, lines)


def _cell(node: Element) -> str:
    return " ".join(paragraphs(node))


def _placeholder(shape: Element) -> str:
    """The kind of placeholder (`title`, `body` …) that a shape fills; empty for a shape of its own."""
    placeholder = next((element for element in within(shape, "ph")), None)
    return "" if placeholder is None else attribute(placeholder, "type")


def _comments(root: Element) -> Iterator[str]:
    for comment in within(root, "cm"):
        plain = child(comment, "text")
        yield (plain.text or "") if plain is not None else " ".join(paragraphs(comment))

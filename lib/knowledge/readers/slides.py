"""A PowerPoint file as text, a page for each slide: its title, what is on it (in groups, tables, charts and diagrams
too), its notes and comments."""

from collections.abc import Iterator

from lib.knowledge.readers.limits import yield_row_lines
from lib.knowledge.readers.office import (
    Element,
    Package,
    find_child,
    find_linked_part,
    iterate_shown,
    iterate_within,
    list_paragraphs,
    read_attribute,
    read_drawing_lines,
    read_local_name,
    yield_inline_text,
)


def read_slides(data: bytes) -> Iterator[str]:
    """The text of each slide, in the order of the presentation."""
    package = Package(data)
    main = package.main
    related = package.related(main)
    root = package.root(main)
    for slide_id in iterate_within(root, "sldId"):
        part = related.get(next((v for k, v in slide_id.attrib.items() if k.endswith("}id")), ""), ("", ""))[1]
        slide = package.root(part)
        if slide is not None:
            yield "\n".join(_list_slide_lines(package, part, slide))


def _list_slide_lines(package: Package, part: str, slide: Element) -> list[str]:
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
        lines += [f"Comment: {' '.join(text.split())}" for text in _yield_comments(package.root(comments))]
    return lines


def _walk(package: Package, part: str, node: Element, title: list[str], lines: list[str]) -> None:
    """Append the words that an element shows to `title` and `lines`, through groups and whatever else wraps it."""
    for element in iterate_shown(node):
        name = read_local_name(element)
        if name == "sp":
            kind = _read_placeholder(element)
            if kind != "sldNum":
                _walk(package, part, element, title, title if kind in ("title", "ctrTitle") else lines)
        elif name == "p":
            apart: list[Element] = []
            text = "".join(yield_inline_text(element, apart)).strip()
            lines += [text] if text else []
        elif name == "tbl":
            rows = (
                [_read_cell(cell) for cell in row if read_local_name(cell) == "tc"]
                for row in element
                if read_local_name(row) == "tr"
            )
            lines += yield_row_lines(rows)
        elif name in ("chart", "relIds"):
            lines += read_drawing_lines(package, find_linked_part(package, part, element))
        else:
            _walk(package, part, element, title, lines)


def _read_cell(node: Element) -> str:
    return " ".join(list_paragraphs(node))


def _read_placeholder(shape: Element) -> str:
    """The kind of placeholder (`title`, `body` …) that a shape fills; empty for a shape of its own."""
    placeholder = next((element for element in iterate_within(shape, "ph")), None)
    return "" if placeholder is None else read_attribute(placeholder, "type")


def _yield_comments(root: Element) -> Iterator[str]:
    for comment in iterate_within(root, "cm"):
        plain = find_child(comment, "text")
        yield (plain.text or "") if plain is not None else " ".join(list_paragraphs(comment))

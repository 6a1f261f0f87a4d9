"""A Word document as text: the final view of tracked changes, through content controls, fields, boxes and tables.

Insertions are in and deletions out (ECMA-376 17.13.5); what stands beside the text (boxes, notes, comments, charts)
follows the paragraph that it hangs on; headers and footers come once, at the end.
"""

from typing import Any

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
from lib.patterns import compile_pattern

_NOTES = {
    "footnoteReference": ("footnotes", "Footnote"),
    "endnoteReference": ("endnotes", "Endnote"),
    "commentReference": ("comments", "Comment"),
}
_NUMBERED_HEADING = compile_pattern(r"heading ([1-9])")
_LONGEST_HEAD = 120  # of a table that is one of data, not of layout


def read_word(data: bytes) -> str:
    """The text of a document."""
    return "\n".join(_WordReader(Package(data)).lines())


class _WordReader:
    def __init__(self, package: Package) -> None:
        self._package = package
        self._main = package.main
        self._levels = _read_heading_levels(package, self._main)
        self._notes = {name: self._read_notes(part) for name, (part, _) in _NOTES.items()}
        self._told: set[tuple[str, str]] = set()  # notes that had their turn
        self._drawn: set[str] = set()  # parts of charts and diagrams
        self._begun = ""  # of a paragraph whose end was deleted

    def lines(self) -> list[str]:
        out: list[str] = []
        root = self._package.root(self._main)
        if root is not None:
            self._blocks(root, out)
        for name, notes in self._notes.items():
            for key in notes:
                self._note(name, key, out)
        for part in self._package.of_kind(self._main, "chart", "diagramData"):
            out += [] if part in self._drawn else read_drawing_lines(self._package, part)
        margins: dict[str, None] = {}
        for part in self._package.of_kind(self._main, "header", "footer"):
            margin: list[str] = []
            self._blocks(self._package.root(part), margin)
            margins |= dict.fromkeys(line for line in margin if line)
        return [*out, *margins]

    def _read_notes(self, kind: str) -> dict[str, Element]:
        notes: dict[str, Element] = {}
        for part in self._package.of_kind(self._main, kind):
            root = self._package.root(part)
            for note in () if root is None else root:
                if read_attribute(note, "type") not in ("separator", "continuationSeparator", "continuationNotice"):
                    notes[read_attribute(note, "id")] = note
        return notes

    def _blocks(self, node: Element, out: list[str]) -> None:
        """The paragraphs and tables in an element, through whatever wraps them."""
        for element in iterate_shown(node):
            name = read_local_name(element)
            if name == "p":
                self._paragraph(element, out)
            elif name == "tbl":
                self._table(element, out)
            else:
                self._blocks(element, out)

    def _paragraph(self, node: Element, out: list[str]) -> None:
        apart: list[Element] = []
        text = self._begun + "".join(yield_inline_text(node, apart))
        properties = find_child(node, "pPr")
        mark = find_child(properties, "rPr") if properties is not None else None
        is_joined = mark is not None and any(read_local_name(element) in ("del", "moveFrom") for element in mark)
        self._begun = text if is_joined else ""
        if text.strip() and not is_joined:
            level = self._level(properties)
            out += ["#" * level + " " + " ".join(text.split()) if level else text.strip(), ""]
        for element in apart:
            self._beside(element, out)

    def _beside(self, node: Element, out: list[str]) -> None:
        """Append a note, chart, box or table that hangs on a paragraph, after it."""
        name = read_local_name(node)
        if name in _NOTES:
            self._note(name, read_attribute(node, "id"), out)
        elif name in ("chart", "relIds"):
            part = find_linked_part(self._package, self._main, node)
            self._drawn.add(part)
            out += [*read_drawing_lines(self._package, part), ""]
        elif name == "p":
            self._paragraph(node, out)
        elif name == "tbl":
            self._table(node, out)
        else:
            begun = self._begun
            self._begun = ""
            self._blocks(node, out)
            self._begun = begun

    def _note(self, name: str, key: str, out: list[str]) -> None:
        note = self._notes[name].get(key)
        if note is None or (name, key) in self._told:
            return
        self._told.add((name, key))
        words = " ".join(" ".join(list_paragraphs(note)).split())
        author = f" ({who})" if (who := read_attribute(note, "author")) else ""
        out += [f"{_NOTES[name][1]}{author}: {words}", ""] if words else []

    def _level(self, properties: Any) -> int:
        """The level of a heading, 1 to 6; 0 for a paragraph of text."""
        if properties is None:
            return 0
        outline = find_child(properties, "outlineLvl")
        style = find_child(properties, "pStyle")
        if outline is not None:
            return _read_outline_level(outline)
        return self._levels.get(read_attribute(style, "val"), 0) if style is not None else 0

    def _table(self, node: Element, out: list[str]) -> None:
        rows = [row for row in (self._row(row_element) for row_element in _list_rows(node)) if row]
        if all(len(row) == 1 for row in rows):
            for (cell,) in rows:
                out += [*cell, ""] if any(cell) else []
            return
        cells = [[" ".join(part for part in cell if part) for cell in row] for row in rows]
        if any(len(cell) > _LONGEST_HEAD for cell in cells[0]):
            out += [" | ".join(" ".join(cell.split()) for cell in row if cell) for row in cells]
        else:
            out += yield_row_lines(cells)
        out.append("")

    def _row(self, node: Element) -> list[list[str]]:
        """The lines of each cell; a cell that spans columns stands in the first of them."""
        cells: list[list[str]] = []
        for cell in _list_cells(node):
            lines: list[str] = []
            self._blocks(cell, lines)
            span = find_child(cell, "tcPr", "gridSpan")
            wide = read_attribute(span, "val") if span is not None else "1"
            cells += [lines] + [[]] * (min(int(wide), 100) - 1 if wide.isdecimal() else 0)
        return cells


def _list_rows(table: Element) -> list[Element]:
    """The rows of a table, through what wraps them; deleted ones are out."""
    rows: list[Element] = []
    for element in table:
        if read_local_name(element) == "tr":
            rows += [element] if find_child(element, "trPr", "del") is None else []
        elif read_local_name(element) not in ("", "tblPr", "tblGrid"):
            rows += _list_rows(element)
    return rows


def _list_cells(row: Element) -> list[Element]:
    cells: list[Element] = []
    for element in row:
        if read_local_name(element) == "tc":
            cells += [element] if find_child(element, "tcPr", "cellDel") is None else []
        elif read_local_name(element) not in ("", "trPr", "tblPrEx"):
            cells += _list_cells(element)
    return cells


def _read_outline_level(outline: Element) -> int:
    """1 to 6; 0 for what is no heading."""
    level = read_attribute(outline, "val")
    return int(level) + 1 if level in [*"012345"] else 0


def _read_heading_levels(package: Package, main: str) -> dict[str, int]:
    """The level of each style that makes headings, also through the style that it is based on."""
    own: dict[str, int] = {}
    based: dict[str, str] = {}
    for part in package.of_kind(main, "styles"):
        for style in iterate_within(package.root(part), "style"):
            key = read_attribute(style, "styleId")
            name = find_child(style, "name")
            base = find_child(style, "basedOn")
            style_name = read_attribute(name, "val").lower() if name is not None else ""
            if base is not None:
                based[key] = read_attribute(base, "val")
            if (numbered := _NUMBERED_HEADING.fullmatch(style_name)) is not None:
                own[key] = min(int(numbered[1]), 6)
            elif style_name == "title":
                own[key] = 1
            elif (outline := find_child(style, "pPr", "outlineLvl")) is not None and (
                level := _read_outline_level(outline)
            ):
                own[key] = level
    levels = dict(own)
    for key in based:
        base = key
        steps = 0
        while base not in own and base in based and steps < 20:
            base = based[base]
            steps = steps + 1
        if base in own:
            levels[key] = own[base]
    return levels

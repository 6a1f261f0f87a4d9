"""A Word document as text: the final view of tracked changes, through content controls, fields, boxes and tables.

Insertions are in and deletions out (ECMA-376 17.13.5); what stands beside the text (boxes, notes, comments, charts)
follows the paragraph that it hangs on; headers and footers come once, at the end.
"""

from typing import Any

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
        self._levels = _heading_levels(package, self._main)
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
            out += [] if part in self._drawn else words_of_drawing(self._package, part)
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
                if attribute(note, "type") not in ("separator", "continuationSeparator", "continuationNotice"):
                    notes[attribute(note, "id")] = note
        return notes

    def _blocks(self, node: Element, out: list[str]) -> None:
        """The paragraphs and tables in an element, through whatever wraps them."""
        for element in shown(node):
            name = local(element)
            if name == "p":
                self._paragraph(element, out)
            elif name == "tbl":
                self._table(element, out)
            else:
                self._blocks(element, out)

    def _paragraph(self, node: Element, out: list[str]) -> None:
        apart: list[Element] = []
        text = self._begun + "".join(inline(node, apart))
        properties = child(node, "pPr")
        mark = child(properties, "rPr") if properties is not None else None
        is_joined = mark is not None and any(local(element) in ("del", "moveFrom") for element in mark)
        self._begun = text if is_joined else ""
        if text.strip() and not is_joined:
            level = self._level(properties)
            out += ["#" * level + " " + " ".join(text.split()) if level else text.strip(), ""]
        for element in apart:
            self._beside(element, out)

    def _beside(self, node: Element, out: list[str]) -> None:
        """Append a note, chart, box or table that hangs on a paragraph, after it."""
        name = local(node)
        if name in _NOTES:
            self._note(name, attribute(node, "id"), out)
        elif name in ("chart", "relIds"):
            part = linked_part(self._package, self._main, node)
            self._drawn.add(part)
            out += [*words_of_drawing(self._package, part), ""]
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
        words = " ".join(" ".join(paragraphs(note)).split())
        author = f" ({who})" if (who := attribute(note, "author")) else ""
        out += [f"{_NOTES[name][1]}{author}: {words}", ""] if words else []

    def _level(self, properties: Any) -> int:
        """The level of a heading, 1 to 6; 0 for a paragraph of text."""
        if properties is None:
            return 0
        outline = child(properties, "outlineLvl")
        style = child(properties, "pStyle")
        if outline is not None:
            return _outline_level(outline)
        return self._levels.get(attribute(style, "val"), 0) if style is not None else 0

    def _table(self, node: Element, out: list[str]) -> None:
        rows = [row for row in (self._row(row_element) for row_element in _rows_of(node)) if row]
        if all(len(row) == 1 for row in rows):
            for (cell,) in rows:
                out += [*cell, ""] if any(cell) else []
            return
        cells = [[" ".join(part for part in cell if part) for cell in row] for row in rows]
        if any(len(cell) > _LONGEST_HEAD for cell in cells[0]):
            out += [" | ".join(" ".join(cell.split()) for cell in row if cell) for row in cells]
        else:
            out += row_lines(cells)
        out.append("")

    def _row(self, node: Element) -> list[list[str]]:
        """The lines of each cell; a cell that spans columns stands in the first of them."""
        cells: list[list[str]] = []
        for cell in _cells_of(node):
            lines: list[str] = []
            self._blocks(cell, lines)
            span = child(cell, "tcPr", "gridSpan")
            wide = attribute(span, "val") if span is not None else "1"
            cells += [lines] + [[]] * (min(int(wide), 100) - 1 if wide.isdecimal() else 0)
        return cells


def _rows_of(table: Element) -> list[Element]:
    """The rows of a table, through what wraps them; deleted ones are out."""
    rows: list[Element] = []
    for element in table:
        if local(element) == "tr":
            rows += [element] if child(element, "trPr", "del") is None else []
        elif local(element) not in ("", "tblPr", "tblGrid"):
            rows += _rows_of(element)
    return rows


def _cells_of(row: Element) -> list[Element]:
    cells: list[Element] = []
    for element in row:
        if local(element) == "tc":
            cells += [element] if child(element, "tcPr", "cellDel") is None else []
        elif local(element) not in ("", "trPr", "tblPrEx"):
            cells += _cells_of(element)
    return cells


def _outline_level(outline: Element) -> int:
    """1 to 6; 0 for what is no heading."""
    level = attribute(outline, "val")
    return int(level) + 1 if level in [*"012345"] else 0


def _heading_levels(package: Package, main: str) -> dict[str, int]:
    """The level of each style that makes headings, also through the style that it is based on."""
    own: dict[str, int] = {}
    based: dict[str, str] = {}
    for part in package.of_kind(main, "styles"):
        for style in within(package.root(part), "style"):
            key = attribute(style, "styleId")
            name = child(style, "name")
            base = child(style, "basedOn")
            style_name = attribute(name, "val").lower() if name is not None else ""
            if base is not None:
                based[key] = attribute(base, "val")
            if (numbered := _NUMBERED_HEADING.fullmatch(style_name)) is not None:
                own[key] = min(int(numbered[1]), 6)
            elif style_name == "title":
                own[key] = 1
            elif (outline := child(style, "pPr", "outlineLvl")) is not None and (level := _outline_level(outline)):
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

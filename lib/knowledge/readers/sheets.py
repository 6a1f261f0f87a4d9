"""An Excel file as text, a page for each sheet: its rows, then its comments, boxes and charts. Formulas are never
computed: what a cell showed when it was saved is its text."""

import io
import itertools
from collections.abc import Iterator

from lib.knowledge.readers.limits import Refused, join_limited, row_lines
from lib.knowledge.readers.office import Package, attribute, chart_lines, local, paragraphs, within


def read_sheets(data: bytes) -> Iterator[str]:
    """The text of each sheet."""
    import openpyxl

    try:
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    except MemoryError:
        raise
    except Exception as error:  # the library raises whatever the damage led to
        raise Refused("It is damaged or was cut off.") from error
    package = Package(data)
    beside = {name: _beside(package, part) for name, part in _sheet_parts(package)}
    for sheet in book.worksheets:
        sheet.reset_dimensions()  # what it says of its size is often wrong, and costs a cell for each that is not there
        rows = ([("" if cell is None else str(cell)) for cell in row] for row in sheet.iter_rows(values_only=True))
        filled = (row for row in rows if any(cell.strip() for cell in row))
        every = itertools.chain([f"# {sheet.title}"], row_lines(filled), beside.pop(sheet.title, []))
        yield join_limited(f"{line}\n" for line in every)
    for name, lines in beside.items():  # sheets that are nothing but a chart
        if lines:
            yield "\n".join([f"# {name}", *lines])


def _sheet_parts(package: Package) -> Iterator[tuple[str, str]]:
    related = package.related(package.main)
    for sheet in within(package.root(package.main), "sheet"):
        key = next((value for name, value in sheet.attrib.items() if name.endswith("}id")), "")
        if key in related:
            yield attribute(sheet, "name"), related[key][1]


def _beside(package: Package, part: str) -> list[str]:
    """Comments, boxes and charts of a sheet."""
    lines: list[str] = []
    for comments in package.of_kind(part, "comments", "threadedComment"):
        for comment in within(package.root(comments), "comment", "threadedComment"):
            text = " ".join("".join(t.text or "" for t in within(comment, "t", "text") if local(t) != "rPh").split())
            lines += [f"Comment ({attribute(comment, 'ref')}): {text}"] if text else []
    for drawing in package.of_kind(part, "drawing"):
        root = package.root(drawing)
        lines += [] if root is None else paragraphs(root)
        for chart in package.of_kind(drawing, "chart", "chartEx"):
            lines += chart_lines(package.root(chart))
    return lines

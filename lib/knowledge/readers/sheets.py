"""An Excel file as text, a page for each sheet: its rows, then its comments, boxes and charts. Formulas are never
computed: what a cell showed when it was saved is its text."""

import io
import itertools
from collections.abc import Iterator

from lib.knowledge.readers.limits import Refused, join_limited, yield_row_lines
from lib.knowledge.readers.office import (
    Package,
    iterate_within,
    list_chart_lines,
    list_paragraphs,
    read_attribute,
    read_local_name,
)


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
    beside = {name: _list_lines_beside(package, part) for name, part in _iterate_sheet_parts(package)}
    for sheet in book.worksheets:
        sheet.reset_dimensions()  # what it says of its size is often wrong, and costs a cell for each that is not there
        rows = ([("" if cell is None else str(cell)) for cell in row] for row in sheet.iter_rows(values_only=True))
        filled = (row for row in rows if any(cell.strip() for cell in row))
        every = itertools.chain([f"# {sheet.title}"], yield_row_lines(filled), beside.pop(sheet.title, []))
        yield join_limited(f"{line}\n" for line in every)
    for name, lines in beside.items():  # sheets that are nothing but a chart
        if lines:
            yield "\n".join([f"# {name}", *lines])


def _iterate_sheet_parts(package: Package) -> Iterator[tuple[str, str]]:
    related = package.related(package.main)
    for sheet in iterate_within(package.root(package.main), "sheet"):
        key = next((value for name, value in sheet.attrib.items() if name.endswith("}id")), "")
        if key in related:
            yield read_attribute(sheet, "name"), related[key][1]


def _list_lines_beside(package: Package, part: str) -> list[str]:
    """Comments, boxes and charts of a sheet."""
    lines: list[str] = []
    for comments in package.of_kind(part, "comments", "threadedComment"):
        for comment in iterate_within(package.root(comments), "comment", "threadedComment"):
            text = " ".join(
                "".join(
                    t.text or "" for t in iterate_within(comment, "t", "text") if read_local_name(t) != "rPh"
                ).split()
            )
            lines += [f"Comment ({read_attribute(comment, 'ref')}): {text}"] if text else []
    for drawing in package.of_kind(part, "drawing"):
        root = package.root(drawing)
        lines += [] if root is None else list_paragraphs(root)
        for chart in package.of_kind(drawing, "chart", "chartEx"):
            lines += list_chart_lines(package.root(chart))
    return lines

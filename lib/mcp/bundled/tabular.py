"""Rows of a query, cut to what a model can use: 100 rows, 4,000 characters a cell, 1 MB in all."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

MOST_ROWS = 100
STATEMENT_S = 30
LONGEST_CELL = 4_000
_MOST_CHARACTERS = 1_000_000


@dataclass(frozen=True)
class Rows:
    """Columns and rows of JSON values. `is_complete` False: there were more rows, or longer cells, than are told."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    is_complete: bool

    def to_json(self) -> dict[str, Any]:
        """Write them as one JSON object."""
        return {
            "columns": list(self.columns),
            "rows": [list(row) for row in self.rows],
            "is_complete": self.is_complete,
        }


def take_rows(columns: Sequence[str], source: Iterable[Sequence[Any]]) -> Rows:
    """Take rows up to the limits."""
    rows = list[list[Any]]()
    characters_left = _MOST_CHARACTERS
    is_complete = True
    for row in source:
        cells = [_convert_to_json(cell) for cell in row]
        characters_left -= sum(len(cell) if isinstance(cell, str) else 8 for cell in cells)
        if len(rows) == MOST_ROWS or characters_left < 0:
            return Rows(columns, rows, False)
        is_complete = is_complete and not any(_is_cut(cell) for cell in row)
        rows.append(cells)
    return Rows(columns, rows, is_complete)


def _is_cut(cell: Any) -> bool:
    return isinstance(cell, str) and len(cell) > LONGEST_CELL


def _convert_to_json(cell: Any) -> Any:
    match cell:
        case None | bool() | int() | float():
            return cell
        case str():
            return cell[:LONGEST_CELL]
        case bytes() | memoryview():
            return f"<{len(bytes(cell)):,} bytes>"
        case datetime() | date() | time():
            return cell.isoformat()
        case Decimal():
            return str(cell)
        case _:
            return str(cell)[:LONGEST_CELL]

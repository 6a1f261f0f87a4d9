"""A file as a table: its form, which of its columns are ours, how its numbers are written; and its rows' raw values.

Whoever takes usage in and whoever compares it read files through here, so that both understand the same forms, names,
numbers and days, and refuse the same mistakes with the same words.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import islice
from typing import Any

from lib.errors import InvalidInput
from lib.usage_files.adjust import Raw
from lib.usage_files.formats import GENERIC, UsageFileFormat, find_format, recognise, suggest_columns
from lib.usage_files.numbers import Notation, detect_notation, parse_count, parse_dollars
from lib.usage_files.source import Odd, Row, UsageFile

TOKENS = (
    *("prompt_tokens", "completion_tokens", "total_tokens", "cache_read_tokens", "cache_write_tokens"),
    *("cache_write_1h_tokens", "reasoning_tokens"),
)
NUMBERS = frozenset((*TOKENS, "calls", "cost_usd", "execution_time_ms", "first_token_ms"))
HARMLESS = frozenset({"there already", "nothing in it", "not a call of a model", "its time is not over yet"})
_LOOKED_AT = 200  # rows whose columns tell the format
_WEIGHED = 5_000  # rows whose numbers tell the notation


class SkippedRow(Exception):
    """The row is not taken; its words say why."""


@dataclass(frozen=True)
class Table:
    """`mapping`: our fields and the file's columns."""

    form: UsageFileFormat
    columns: Sequence[str]
    mapping: Mapping[str, str]
    notation: Notation

    def raw_values(self, row: Row) -> Raw:
        """Read our fields from a row of the file as raw values, corrected as the file's form asks for.

        SkippedRow, with the reason, for a row that is not taken.
        """
        if isinstance(row, Odd):
            raise SkippedRow(row.why)
        raw = {name: row.get(column) for name, column in self.mapping.items()}
        if self.form.adjust is None:
            return raw
        try:
            reason = self.form.adjust(raw, row)
        except (ValueError, TypeError, AttributeError):
            raise SkippedRow("a number can't be read") from None
        if reason is not None:
            raise SkippedRow(reason)
        return raw

    def count_of(self, raw: Raw, name: str) -> int | None:
        """A count among raw values; SkippedRow."""
        try:
            return parse_count(raw.get(name), self.notation)
        except ValueError:
            raise SkippedRow(f"{name.replace('_', ' ')} can't be read") from None

    def cost_of(self, raw: Raw) -> Decimal | None:
        """The cost among raw values, in dollars; SkippedRow."""
        try:
            return parse_dollars(raw.get("cost_usd"), self.notation)
        except ValueError as error:
            why = "cost is more than $1,000,000,000" if "more than" in str(error) else "cost can't be read"
            raise SkippedRow(why) from None


def look_at(source: UsageFile, form_name: str | None = None, mapping: Mapping[str, str] | None = None) -> Table:
    """The table of a file: recognised by its columns or as named; `mapping` changes columns, "" takes one away.

    InvalidInput when a field or a column of the mapping is not there.
    """
    columns = [*dict.fromkeys(name for row in islice(source.rows(), _LOOKED_AT) for name in row)]
    form = find_format(form_name) if form_name else recognise(columns)
    ours = suggest_columns(columns) if form is GENERIC else form.mapping(columns)
    ours = {name: column for name, column in (ours | dict(mapping or {})).items() if column}
    return Table(form, columns, ours, Notation.POINT)


def open_table(source: UsageFile, form_name: str | None = None, mapping: Mapping[str, str] | None = None) -> Table:
    """`look_at`, checked, and with the notation of its numbers."""
    table = look_at(source, form_name, mapping)
    _check(table)
    return add_notation(table, source)


def open_mapped(source: UsageFile, mapping: Mapping[str, str]) -> Table:
    """The table of any file whose columns are all named by the mapping; InvalidInput as of `open_table`."""
    columns = [*dict.fromkeys(name for row in islice(source.rows(), _LOOKED_AT) for name in row)]
    table = Table(GENERIC, columns, {name: column for name, column in mapping.items() if column}, Notation.POINT)
    _check(table)
    return add_notation(table, source)


def add_notation(table: Table, source: UsageFile) -> Table:
    """The table with the notation that its numbers are written in."""
    columns = [column for name, column in table.mapping.items() if name in NUMBERS]
    cells = (row.get(column) for row in islice(source.rows(), _WEIGHED) for column in columns)
    return replace(table, notation=detect_notation(cells, separator=source.separator))


def iterate_rows(table: Table, source: UsageFile) -> Iterator[tuple[Row, Raw | SkippedRow]]:
    """Every row with its raw values, or why it has none."""
    for row in source.rows():
        try:
            yield row, table.raw_values(row)
        except SkippedRow as reason:
            yield row, reason


def tell(left_out: Mapping[str, int]) -> str:
    """`2 rows: cost can't be read, 1 row: no day.`"""
    parts = (f"{count:,} {'row' if count == 1 else 'rows'}: {why}" for why, count in left_out.items())
    return ", ".join(parts) + "."


def _check(table: Table) -> None:
    allowed = {*GENERIC.columns, *table.form.columns}
    for name, column in table.mapping.items():
        check_field(name, allowed)
        check_column(column, table.columns)
    if not table.mapping.get("started_at"):
        fix = "Say which column it is: --map started_at=COLUMN"
        raise InvalidInput("No column says when calls were made.", "", fix, field="map")


def check_field(name: str, allowed: Any) -> None:
    """InvalidInput when there is no such field."""
    if name not in allowed:
        fields = ", ".join(name for name in (*GENERIC.columns, "date") if name in allowed)
        raise InvalidInput(f"There is no field {name}.", f"The fields are {fields}.", field="map")


def check_column(column: str, columns: Sequence[str]) -> None:
    """InvalidInput when the file has no such column."""
    if column not in columns:
        why = f"Its columns are {', '.join(columns[:30])}."
        raise InvalidInput(f"The file has no column {column}.", why, "Choose one of them.", field="map")

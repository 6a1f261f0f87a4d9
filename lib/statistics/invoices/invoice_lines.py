"""What a provider says it was used for and charges: its exports as lines of a day and a model.

Read are the answers of the interfaces and the CSV of the consoles:

- OpenAI: platform.openai.com/docs/api-reference/usage, completions and costs; in dollars; the input includes what was
  cached;
- Anthropic: platform.claude.com/docs, Usage and Cost API, usage_report/messages (fresh, read and written apart) and
  cost_report (its `amount` is in cents), and the console's CSV of both (dollars);
- any other table, its columns mapped.

Lines of one day and model are added up exactly and rounded once. A provider's days are UTC's.
"""

import io
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date
from decimal import Decimal
from typing import Any

from lib.errors import InvalidInput
from lib.money import convert_usd_to_nano
from lib.usage_files import UsageFile, table, values
from lib.usage_files.adjust import Raw
from lib.usage_files.formats import GENERIC, suggest_columns
from lib.usage_files.source import Row
from lib.usage_files.table import SkippedRow, Table

LARGEST = 50_000_000  # bytes
FIELDS = ("date", "model", "prompt_tokens", "completion_tokens", "cache_read_tokens", "cost_usd")
_NUMBERS = ("prompt_tokens", "completion_tokens", "cache_read_tokens")


@dataclass(frozen=True)
class InvoiceLine:
    """A model on a day, as the provider has it; None: the file does not say. `model` None: it belongs to no model.

    The prompt includes cached tokens. `parts` is how many rows of the file it adds up.
    """

    day: date
    model: str | None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cache_read_tokens: int | None = None
    cost_nano: int | None = None
    parts: int = 1


@dataclass(frozen=True)
class Invoice:
    """A file read. `kind` is the provider's (None: anybody's), `left_out` counts the rows not taken by their reason.

    `quantum_nano` is the worth of the last digit of its costs: what a rounding may hide.
    """

    label: str
    kind: str | None
    lines: tuple[InvoiceLine, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    quantum_nano: int = 0

    @property
    def splits_cost(self) -> bool:
        """Whether its costs say their model, where they have one; else those of a day are of all models together."""
        costs = [line for line in self.lines if line.cost_nano is not None]
        return not costs or any(line.model is not None for line in costs)

    @property
    def unread(self) -> Mapping[str, int]:
        """Rows whose figures are missing in the lines, by their reason."""
        return {why: count for why, count in self.left_out.items() if why not in table.HARMLESS}


def read(content: bytes, mapping: Mapping[str, str] | None = None) -> Invoice:
    """A file as an invoice; `mapping` names the column of each field of an unknown table.

    InvalidInput when it can't be read, or has no line.
    """
    source = _open_source(content)
    usage_table = _open_mapped(source, mapping) if mapping else _open_recognised(source)
    sums = _Sums()
    for row, raw in table.iterate_rows(usage_table, source):
        sums.take(usage_table, row, raw)
    if not sums.sums:
        why = table.tell(sums.left_out) if sums.left_out else "It has no rows."
        raise InvalidInput("The file has no line to compare.", why, "Export it again, by day and model.")
    label = "Mapped columns" if mapping else usage_table.form.label
    return Invoice(label, usage_table.form.provider, sums.lines(), dict(sums.left_out), sums.quantum_nano)


def join_invoices(invoices: Iterable[Invoice]) -> Invoice:
    """Several files of one provider, as its usage and its costs, as one; what one does not say the other may."""
    files = list(invoices)
    if len({invoice.kind for invoice in files}) != 1:
        raise InvalidInput("These files are of several providers.", "", "Compare one provider at a time.")
    lines: dict[tuple[date, str | None], dict[str, int]] = {}
    for line in (line for invoice in files for line in invoice.lines):
        sums = lines.setdefault((line.day, line.model), {})
        for name in (*FIELDS[2:5], "cost_nano", "parts"):
            value = getattr(line, name)
            if value is not None and name in sums and name != "parts":
                why = f"Both say {name} of {line.model or 'no model'} on {line.day}."
                raise InvalidInput("The files overlap.", why, "Leave one of them out.")
            if value is not None:
                sums[name] = sums.get(name, 0) + value
    left_out = sum((Counter(invoice.left_out) for invoice in files), Counter[str]())
    return Invoice(
        " and ".join(dict.fromkeys(invoice.label for invoice in files)),
        files[0].kind,
        tuple(InvoiceLine(on, model, **sums) for (on, model), sums in sorted(lines.items(), key=_order)),
        dict(left_out),
        max(invoice.quantum_nano for invoice in files),
    )


def read_columns(content: bytes) -> tuple[list[str], dict[str, str], bool]:
    """The columns of a file, those that look like our fields, and whether its form is known anyway."""
    source = _open_source(content)
    recognised = table.look_at(source)
    if recognised.form is not GENERIC:
        return list(recognised.columns), {}, True
    first: Row = next(iter(source.rows()), {})
    names = [name for name in recognised.columns if not isinstance(first.get(name), dict | list)]
    ours = suggest_columns(names)
    if "started_at" in ours:
        ours["date"] = ours["started_at"]
    return names, {name: ours[name] for name in FIELDS if name in ours}, False


class _Sums:
    """Lines as they come together."""

    def __init__(self) -> None:
        self.sums: dict[tuple[date, str | None], dict[str, Decimal]] = {}
        self.left_out = Counter[str]()
        self._digits = 0
        self._has_cost = False

    def take(self, usage_table: Table, row: Row, raw: Raw | SkippedRow) -> None:
        """Add a row, or count why it is left out."""
        try:
            if isinstance(raw, SkippedRow):
                raise raw
            on, model, numbers = _read_line(usage_table, row, raw)
        except SkippedRow as reason:
            self.left_out[str(reason)] += 1
            return
        sums = self.sums.setdefault((on, model), {"parts": Decimal(0)})
        for name, value in {**numbers, "parts": Decimal(1)}.items():
            if value is not None:
                sums[name] = sums.get(name, Decimal(0)) + value
        if (cost := numbers.get("cost_usd")) is not None:
            exponent = cost.as_tuple().exponent
            self._digits = max(self._digits, -exponent if isinstance(exponent, int) else 0)
            self._has_cost = True

    @property
    def quantum_nano(self) -> int:
        return int(Decimal(10) ** (9 - self._digits)) if self._has_cost else 0

    def lines(self) -> tuple[InvoiceLine, ...]:
        """In order of days and models."""
        lines = []
        for (on, model), sums in sorted(self.sums.items(), key=_order):
            cost = sums.pop("cost_usd", None)
            whole = {name: int(value) for name, value in sums.items()}
            lines.append(InvoiceLine(on, model, **whole, cost_nano=None if cost is None else convert_usd_to_nano(cost)))
        return tuple(lines)


_Numbers = dict[str, Decimal | None]


def _read_line(usage_table: Table, row: Row, raw: Raw) -> tuple[date, str | None, _Numbers]:
    """A row's day, model and figures; SkippedRow."""
    try:
        moment = values.parse_moment(raw.get("started_at"), UTC)
    except ValueError:
        raise SkippedRow("day can't be read") from None
    if moment is None:
        raise SkippedRow("no day")
    names = [name for name in _NUMBERS if name in raw]
    counts = {name: usage_table.count_of(raw, name) for name in names}
    numbers: _Numbers = {name: None if count is None else Decimal(count) for name, count in counts.items()}
    if "cost_usd" in raw:
        numbers["cost_usd"] = usage_table.cost_of(raw)
    named_model = values.clean_text(row.get(usage_table.mapping.get("model", "")), 200)
    model = None if named_model is None else str(raw.get("canonical_model") or raw["model"]).strip()
    return moment.date(), model, numbers


def _open_source(content: bytes) -> UsageFile:
    if len(content) > LARGEST:
        raise InvalidInput("The file is too large.", f"It has more than {LARGEST // 10**6} MB.", "Compare fewer days.")
    return UsageFile(io.BytesIO(content), "")


def _open_mapped(source: UsageFile, mapping: Mapping[str, str]) -> Table:
    for name in mapping:
        table.check_field(name, FIELDS)
    columns = table.look_at(source).columns
    for column in mapping.values():
        table.check_column(column, columns)  # before all else: a misspelt name is the likeliest reason
    if not mapping.get("date") or not {"prompt_tokens", "completion_tokens", "cost_usd"} & set(mapping):
        raise InvalidInput(
            "Too few columns are mapped.",
            "A day and tokens or a cost are needed.",
            "Name their columns.",
            field="mapping",
        )
    return table.open_mapped(source, {("started_at" if name == "date" else name): c for name, c in mapping.items()})


def _open_recognised(source: UsageFile) -> Table:
    if table.look_at(source).form is GENERIC:
        raise InvalidInput(
            "This is no export of OpenAI or Anthropic.",
            "",
            "Say which column is the day, the model, the tokens, the cost.",
        )
    return table.open_table(source)


def _order(item: tuple[tuple[date, str | None], Any]) -> tuple[date, str]:
    return item[0][0], item[0][1] or ""

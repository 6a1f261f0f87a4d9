"""What a provider says it was used for and charges: its exports as lines of a day and a model.

Read are the answers of the interfaces and the CSV of the consoles:

- OpenAI: platform.openai.com/docs/api-reference/usage, completions and costs; in dollars; the input includes what was
  cached;
- Anthropic: platform.claude.com/docs, Usage and Cost API, usage_report/messages (fresh, read and written apart) and
  cost_report (its `amount` is in cents), and the console's CSV of both (dollars);
- any other table, its columns mapped.

Lines of one day and model are added up exactly and rounded once. A provider's days are UTC's.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from lib.errors import InvalidInput
from lib.money import nano_from_usd
from lib.statistics.invoice_rows import Row, Unfit, day, number, rows, text

FIELDS = ("date", "model", "prompt_tokens", "completion_tokens", "cache_read_tokens", "cost_usd")
_DAY = ("starting_at", "usage_date_utc", "start_time_iso", "start_time")
_WORDS = {  # columns that look like a field, of any table
    "date": ("date", "day", "usage_date", "start_time", "timestamp", "created_at"),
    "model": ("model", "model_name", "model_version", "line_item", "sku"),
    "prompt_tokens": ("prompt_tokens", "input_tokens", "tokens_in", "input"),
    "completion_tokens": ("completion_tokens", "output_tokens", "tokens_out", "output"),
    "cache_read_tokens": ("cache_read_tokens", "cached_tokens", "input_cached_tokens"),
    "cost_usd": ("cost_usd", "cost", "amount", "spend", "total_cost", "usd"),
}


@dataclass(frozen=True)
class Line:
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
    lines: tuple[Line, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    quantum_nano: int = 0


def read(content: bytes, mapping: Mapping[str, str] | None = None) -> Invoice:
    """A file as an invoice; `mapping` names the column of each field of an unknown table.

    InvalidInput when it can't be read, or has no line.
    """
    found_rows = rows(content)
    names = set(found_rows[0]) if found_rows else set()
    label, kind, form = ("Mapped columns", None, _mapped(mapping)) if mapping else _recognised(names)
    found = _Sums()
    for row in found_rows:
        found.take(row, form)
    if not found.sums:
        why = "; ".join(f"{count} rows: {reason}" for reason, count in found.left_out.items()) or "It has no rows."
        raise InvalidInput("The file has no line to compare.", why, "Export it again, by day and model.")
    return Invoice(label, kind, found.lines(), dict(found.left_out), found.quantum_nano)


def joined(invoices: Iterable[Invoice]) -> Invoice:
    """Several files of one provider, as its usage and its costs, as one; what one does not say the other may."""
    files = list(invoices)
    if len({one.kind for one in files}) != 1:
        raise InvalidInput("These files are of several providers.", "", "Compare one provider at a time.")
    lines: dict[tuple[date, str | None], dict[str, int]] = {}
    for line in (line for one in files for line in one.lines):
        sums = lines.setdefault((line.day, line.model), {})
        for name in (*FIELDS[2:5], "cost_nano", "parts"):
            value = getattr(line, name)
            if value is not None and name in sums and name != "parts":
                why = f"Both say {name} of {line.model or 'no model'} on {line.day}."
                raise InvalidInput("The files overlap.", why, "Leave one of them out.")
            if value is not None:
                sums[name] = sums.get(name, 0) + value
    left_out = sum((Counter(one.left_out) for one in files), Counter[str]())
    return Invoice(
        " and ".join(dict.fromkeys(one.label for one in files)),
        files[0].kind,
        tuple(Line(on, model, **sums) for (on, model), sums in sorted(lines.items(), key=_order)),
        dict(left_out),
        max(one.quantum_nano for one in files),
    )


def columns(content: bytes) -> tuple[list[str], dict[str, str], bool]:
    """The columns of a file, those that look like our fields, and whether its form is known anyway."""
    first = next(iter(rows(content)), {})
    names = [name for name, value in first.items() if not isinstance(value, dict | list)]
    plain = {"_".join(name.lower().replace(".", " ").split()): name for name in reversed(names)}
    suggested = {ours: next((plain[word] for word in words if word in plain), None) for ours, words in _WORDS.items()}
    try:
        _recognised(set(first))
    except InvalidInput:
        return names, {ours: name for ours, name in suggested.items() if name}, False
    return names, {}, True


class _Sums:
    """Lines as they come together."""

    def __init__(self) -> None:
        self.sums: dict[tuple[date, str | None], dict[str, Decimal]] = {}
        self.left_out = Counter[str]()
        self._digits = 0
        self._has_cost = False

    def take(self, row: Row, form: "_Form") -> None:
        """Add a row, or count why it is left out."""
        try:
            on, model, numbers = form(row)
        except Unfit as unfit:
            self.left_out[str(unfit)] += 1
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

    def lines(self) -> tuple[Line, ...]:
        """In order of days and models."""
        found = []
        for (on, model), sums in sorted(self.sums.items(), key=_order):
            cost = sums.pop("cost_usd", None)
            whole = {name: int(value) for name, value in sums.items()}
            found.append(Line(on, model, **whole, cost_nano=None if cost is None else nano_from_usd(cost)))
        return tuple(found)


_Numbers = dict[str, Decimal | None]
_Form = Callable[[Row], tuple[date, str | None, _Numbers]]


def _openai_usage(row: Row) -> tuple[date, str | None, _Numbers]:
    names = dict(zip(FIELDS[2:5], ("input_tokens", "output_tokens", "input_cached_tokens"), strict=True))
    return day(row, *_DAY), text(row, "model"), {ours: number(row, name) for ours, name in names.items()}


def _openai_costs(row: Row) -> tuple[date, str | None, _Numbers]:
    if str(row.get("amount.currency", row.get("amount_currency", "usd"))).lower() != "usd":
        raise Unfit("not in dollars")
    item = text(row, "line_item")
    model = item.partition(", ")[0] if item else None  # "gpt-5-mini-2025-08-07, input"
    return day(row, *_DAY), model, {"cost_usd": number(row, "amount.value", "amount_value", needed=True)}


def _anthropic_usage(row: Row) -> tuple[date, str | None, _Numbers]:
    fresh = number(row, "uncached_input_tokens", "usage_input_tokens_no_cache")
    read = number(row, "cache_read_input_tokens", "usage_input_tokens_cache_read")
    five = number(row, "cache_creation.ephemeral_5m_input_tokens", "usage_input_tokens_cache_write_5m")
    hour = number(row, "cache_creation.ephemeral_1h_input_tokens", "usage_input_tokens_cache_write_1h")
    prompt = sum((part for part in (fresh, read, five, hour) if part is not None), Decimal(0))
    answer = number(row, "output_tokens", "usage_output_tokens")
    numbers: _Numbers = {"prompt_tokens": prompt, "completion_tokens": answer, "cache_read_tokens": read}
    return day(row, *_DAY), text(row, "model", "model_version"), numbers


def _anthropic_costs(row: Row) -> tuple[date, str | None, _Numbers]:
    if str(row.get("currency") or "USD").upper() != "USD":
        raise Unfit("not in dollars")
    cents = number(row, "amount")
    cost = number(row, "cost_usd", needed=True) if cents is None else cents / 100
    return day(row, *_DAY), text(row, "model"), {"cost_usd": cost}


def _mapped(mapping: Mapping[str, str]) -> _Form:
    if "date" not in mapping or not {"prompt_tokens", "completion_tokens", "cost_usd"} & set(mapping):
        raise InvalidInput(
            "Too few columns are mapped.",
            "A day and tokens or a cost are needed.",
            "Name their columns.",
            field="mapping",
        )

    def form(row: Row) -> tuple[date, str | None, _Numbers]:
        numbers = {name: number(row, column) for name, column in mapping.items() if name in FIELDS[2:]}
        return day(row, mapping["date"]), text(row, mapping.get("model", "")), numbers

    return form


_KNOWN: tuple[tuple[frozenset[str], str, str, _Form], ...] = (
    (frozenset({"num_model_requests", "input_tokens", "start_time"}), "OpenAI usage", "openai", _openai_usage),
    (frozenset({"amount.value", "start_time"}), "OpenAI costs", "openai", _openai_costs),
    (frozenset({"amount_value", "start_time"}), "OpenAI costs", "openai", _openai_costs),
    (frozenset({"uncached_input_tokens", "starting_at"}), "Anthropic usage", "anthropic", _anthropic_usage),
    (frozenset({"usage_input_tokens_no_cache", "usage_date_utc"}), "Anthropic usage", "anthropic", _anthropic_usage),
    (frozenset({"amount", "currency", "starting_at"}), "Anthropic costs", "anthropic", _anthropic_costs),
    (frozenset({"cost_usd", "usage_date_utc", "token_type"}), "Anthropic costs", "anthropic", _anthropic_costs),
)


def _recognised(names: set[str]) -> tuple[str, str, _Form]:
    for needed, label, kind, form in _KNOWN:
        if needed <= names:
            return label, kind, form
    raise InvalidInput(
        "This is no export of OpenAI or Anthropic.", "", "Say which column is the day, the model, the tokens, the cost."
    )


def _order(item: tuple[tuple[date, str | None], Any]) -> tuple[date, str]:
    return item[0][0], item[0][1] or ""

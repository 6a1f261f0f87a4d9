"""The report currency of the installation, and dated exchange rates to it. The ledger stays in nano-dollars.

A day's cost is converted at the newest rate of that day or before; a day before the first rate has none, and is told
apart, never guessed. Rates are decimals, units for one dollar. They come from people: one by one, or as CSV with the
columns day, currency, per_usd, or as the European Central Bank publishes its history (Date, USD, JPY… for one euro).
"""

import csv
import io
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date
from decimal import Decimal, localcontext

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from lib.access import audit
from lib.access.permissions import Actor, Permission
from lib.db import installation
from lib.db.engine import Store
from lib.db.tables import exchange_rates
from lib.errors import InvalidInput, NotFound
from lib.files.text import end_lines
from lib.money import USD
from lib.patterns import compile_pattern
from lib.usage_files.numbers import Notation, detect_notation, parse_number
from lib.usage_files.values import parse_moment

_CURRENCY = compile_pattern(r"[A-Z]{3}")

_SETTING = "report_currency"
_BATCH = 5_000
_DIGITS = 12
_C = exchange_rates.c


@dataclass(frozen=True)
class Rate:
    """Units of a currency for one dollar, from a day on."""

    day: date
    currency: str
    per_usd: Decimal


@dataclass(frozen=True)
class RateBook:
    """The rates of one currency, in order of days."""

    currency: str
    days: tuple[date, ...]
    rates: tuple[Decimal, ...]

    def on(self, day: date) -> Decimal | None:
        """The newest rate of a day or before."""
        count = bisect_right(self.days, day)
        return self.rates[count - 1] if count else None


class ExchangeRates:
    """Rates and the report currency: read by whoever sees figures, set by whoever manages prices."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def currency(self, actor: Actor) -> str:
        """The report currency; USD until another is chosen."""
        actor.require(Permission.VIEW_STATS)
        with self._store.read() as connection:
            return installation.read(connection, _SETTING) or USD

    def choices(self, actor: Actor) -> dict[str, tuple[int, date, date]]:
        """Currencies that have rates: how many, the first and the last day."""
        actor.require(Permission.VIEW_STATS)
        query = select(_C.currency, func.count(), func.min(_C.day), func.max(_C.day)).group_by(_C.currency)
        with self._store.read() as connection:
            return {
                name: (many, first, last) for name, many, first, last in connection.execute(query.order_by("currency"))
            }

    def book(self, actor: Actor, currency: str | None = None) -> RateBook | None:
        """The rates of a currency, else of the report currency; None for the dollar. InvalidInput when it has none."""
        actor.require(Permission.VIEW_STATS)
        is_named = currency is not None
        currency = currency or self.currency(actor)
        query = select(_C.day, _C.per_usd).where(_C.currency == currency).order_by(_C.day)
        if currency == USD:
            return None
        with self._store.read() as connection:
            rows = connection.execute(query).all()
        if not rows and not is_named:
            return None  # the last of its rates was removed
        if not rows:
            raise InvalidInput(f"There is no rate for {currency}.", "", "Add one first, or import a list.", "currency")
        return RateBook(currency, tuple(row.day for row in rows), tuple(Decimal(row.per_usd) for row in rows))

    def choose(self, actor: Actor, currency: str) -> None:
        """Report in a currency; it needs a rate, but for USD."""
        actor.require(Permission.MANAGE_PROVIDERS)
        if currency != USD and currency not in self.choices(actor):
            raise InvalidInput(f"There is no rate for {currency}.", "", "Add one first, or import a list.", "currency")
        with self._store.write() as connection:
            installation.write(connection, _SETTING, currency)
            audit.record(connection, actor, "currency.choose", currency)

    def set(self, actor: Actor, rate: Rate) -> None:
        """Add a rate, or replace that of its day."""
        actor.require(Permission.MANAGE_PROVIDERS)
        checked = _check_rate(str(rate.day), rate.currency, str(rate.per_usd), "The rate")
        with self._store.write() as connection:
            self._write(connection, [checked])
            audit.record(
                connection, actor, "rates.set", f"{checked.currency} {checked.day}", per_usd=str(checked.per_usd)
            )

    def delete(self, actor: Actor, currency: str, day: date) -> None:
        """Remove a rate; that of the day before then holds."""
        actor.require(Permission.MANAGE_PROVIDERS)
        with self._store.write() as connection:
            gone = connection.execute(delete(exchange_rates).where(_C.currency == currency, _C.day == day))
            if not gone.rowcount:
                raise NotFound("There is no such rate.", "It may have been removed meanwhile.")
            audit.record(connection, actor, "rates.delete", f"{currency} {day}")

    def import_csv(self, actor: Actor, document: str) -> int:
        """Take a list in, all of it or nothing, in place of rates of the same days; how many."""
        actor.require(Permission.MANAGE_PROVIDERS)
        rates = read(document)
        with self._store.write() as connection:
            self._write(connection, rates)
            audit.record(connection, actor, "rates.import", f"{len(rates)} rates")
        return len(rates)

    def _write(self, connection: Connection, rates: list[Rate]) -> None:
        insert = sqlite.insert if self._store.is_sqlite else postgresql.insert
        statement = insert(exchange_rates)
        statement = statement.on_conflict_do_update(
            index_elements=["currency", "day"], set_={"per_usd": statement.excluded.per_usd}
        )
        rows = [{"currency": rate.currency, "day": rate.day, "per_usd": format(rate.per_usd, "f")} for rate in rates]
        for start in range(0, len(rows), _BATCH):
            connection.execute(statement, rows[start : start + _BATCH])


def read(document: str) -> list[Rate]:
    """The rates of a CSV in either form, the last of each day and currency; InvalidInput names the line.

    Cells may be parted by commas, semicolons or tabs, decimals begin with a point or a comma, as the numbers tell.
    """
    text = end_lines(document).lstrip()
    separator = max(",;\t", key=text.partition("\n")[0].count)
    lines = list(csv.DictReader(io.StringIO(text), delimiter=separator, skipinitialspace=True))
    columns = [name.strip() for name in lines[0] if name] if lines else []
    rows = [{(name or "").strip(): cell for name, cell in row.items() if isinstance(cell, str)} for row in lines]
    if {"day", "currency", "per_usd"} <= set(columns):
        notation = detect_notation((row.get("per_usd") for row in rows), separator=separator)
        rates = [
            _check_rate(row.get("day"), row.get("currency"), row.get("per_usd"), f"Line {number}", notation)
            for number, row in enumerate(rows, start=2)
        ]
    elif columns[:1] == ["Date"] and USD in columns:
        cells = (row.get(name) for row in rows for name in columns[1:])
        notation = detect_notation(cells, separator=separator)
        rates = [
            rate
            for number, row in enumerate(rows, start=2)
            for rate in _read_euro_day(row, columns[1:], f"Line {number}", notation)
        ]
    elif not lines and text.strip():
        raise InvalidInput("The list is empty.", "It has a head line and no rate.", "")
    else:
        raise InvalidInput(
            "These are no exchange rates.", "The head line names none of the columns.", "Use day, currency, per_usd."
        )
    if not rates:
        raise InvalidInput("The list is empty.", "It has a head line and no rate.", "")
    return list({(rate.currency, rate.day): rate for rate in rates}.values())


def _read_euro_day(row: Mapping[str, str], columns: list[str], label: str, notation: Notation) -> list[Rate]:
    """A day of the European Central Bank's list; days without a rate of the dollar say nothing about dollars."""
    cells = {name: (row.get(name) or "").strip() for name in columns}
    day_rates = {name: text for name, text in cells.items() if text not in ("", "N/A")}
    if USD not in day_rates:
        return []
    day = (row.get("Date") or "").strip()
    dollar = _check_rate(day, "EUR", day_rates[USD], label, notation)
    with localcontext() as context:
        context.prec = _DIGITS
        rates = [Rate(dollar.day, "EUR", 1 / dollar.per_usd)]
        for name, text in day_rates.items():
            if name != USD:
                rates.append(
                    Rate(dollar.day, name, _check_rate(day, name, text, label, notation).per_usd / dollar.per_usd)
                )
    return rates


def _check_rate(
    day: str | None, currency: str | None, per_usd: str | None, label: str, notation: Notation = Notation.POINT
) -> Rate:
    name = (currency or "").strip().upper()
    if not _CURRENCY.fullmatch(name) or name == USD:
        raise InvalidInput(f"{label} names no currency.", f"{currency!r} is not one.", "Use three letters, as EUR.")
    try:
        rate = parse_number(per_usd or "none given", notation)
        begins = parse_moment((day or "none given").strip(), UTC)
        if rate is None or begins is None:
            raise ValueError
    except ValueError as error:
        raise InvalidInput(f"{label} can't be read.", f"{day!r}, {per_usd!r}", "Use 2026-10-01 and 0.92.") from error
    rate = Decimal(rate)
    if not Decimal("1e-9") <= rate <= Decimal("1e9") or len(format(rate, "f")) > 40:
        raise InvalidInput(f"{label} has no usable rate.", f"{per_usd} is out of range.", "A rate is more than 0.")
    return Rate(begins.date(), name, rate)

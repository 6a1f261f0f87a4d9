"""Bringing past usage in: look first, then write, and undo a batch as a whole. For super-admins: it changes everybody's
figures.

A file is read in a stream and written in batches of a few thousand rows, each its own short transaction, so live calls
are written in between. What is there already, by its id, is not written again. A run that is cut off takes its
rows away; after a kill its batch still stands as `running` and can be undone. Undoing deletes in small batches, too,
and raises the ledger's epoch once, at its end: copies of the ledger start over.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, tzinfo
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, bindparam, delete, exists, insert, select, update

from lib.access import audit
from lib.access.permissions import Actor
from lib.calls.closing import take_sequence
from lib.clock import new_id, utc_now
from lib.db.bulk import copy_rows
from lib.db.engine import Store
from lib.db.quick import Quick
from lib.db.tables import imports, ledger_clock, outside_people, providers, usage_logs, users
from lib.errors import Conflict, InvalidInput, NotFound
from lib.imports.batch import Batch, Preview, Wishes
from lib.imports.identity import Occurrences
from lib.imports.rows import Choices, Reader
from lib.providers.price_book import PriceBook
from lib.usage_files.numbers import MOST_NANO
from lib.usage_files.source import Source
from lib.usage_files.table import LeftOut, Table, look_at, open_table, rows_of, tell

_WHAT = "import past usage"
_CHUNK = 5_000
_LOOKED_AT = 200  # rows whose columns tell the format
_SHOWN = 20
_THERE = "there already"
_IDS: Any = bindparam("ids", expanding=True)
_KNOWN = Quick(select(usage_logs.c.id).where(usage_logs.c.id.in_(_IDS)))
Progress = Callable[[int, float], None]


def _no(rows: int, share: float) -> None:
    """Nobody watches."""


class Imports:
    """The service."""

    def __init__(self, store: Store, prices: PriceBook) -> None:
        self._store, self._prices = store, prices

    def look(self, actor: Actor, source: Source, wishes: Wishes | None = None) -> Preview:
        """How the file is recognised, by its first rows: form, columns, mapping. No row is counted."""
        actor.require_super_admin(_WHAT)
        wishes = wishes or Wishes()
        return _preview_of(look_at(source, wishes.format, wishes.mapping))

    def preview(self, actor: Actor, source: Source, wishes: Wishes | None = None, progress: Progress = _no) -> Preview:
        """What would be written; nothing is. `progress(rows read, share of the file)`."""
        actor.require_super_admin(_WHAT)
        found, reader = self._reader(source, wishes or Wishes(), "")
        for rows in _fresh_rows(self._store, found, _made(reader, source, found, progress)):
            found.sample += rows[: _SHOWN - len(found.sample)]
        for row in found.sample:
            row["user_name"] = reader.outside.get(row["user_id"] or "") or _name(reader.people, row["user_id"])
        found.overlaps = self._overlaps(found)
        return found

    def run(self, actor: Actor, source: Source, wishes: Wishes | None = None, progress: Progress = _no) -> Batch:
        """Write the file's rows, each once however often it comes; the batch. Conflict when nothing in it is new."""
        actor.require_super_admin(_WHAT)
        batch_id = new_id()
        found, reader = self._reader(source, wishes or Wishes(), batch_id)
        self._begin(actor, batch_id, source, found)
        try:
            made = _made(reader, source, found, progress)
            while chunk := list(islice(made, _CHUNK)):
                self._write(chunk, found, reader)
            if not found.rows:
                raise Conflict("There is nothing new in the file.", tell(found.left_out), "Nothing was written.")
        except BaseException:  # also a page that was left in the middle: half a file would mislead
            self._remove(batch_id)
            raise
        with self._store.write() as connection:
            connection.execute(update(imports).where(imports.c.id == batch_id).values(state="done", **_sums(found)))
            audit.record(connection, actor, "import.done", source.name, **_noted(batch_id, found))
        return self._get(batch_id)

    def list(self, actor: Actor) -> Sequence[Batch]:
        """Every import, the newest first."""
        actor.require_super_admin(_WHAT)
        with self._store.read() as connection:
            rows = connection.execute(select(imports).order_by(imports.c.at.desc(), imports.c.id.desc())).mappings()
            return [Batch(**row) for row in rows]

    def undo(self, actor: Actor, batch_id: str) -> int:
        """Take a batch's rows out of the ledger, all of them; how many there were. Undone in part it can go on."""
        actor.require_super_admin(_WHAT)
        batch = self._get(batch_id)
        with self._store.write() as connection:
            connection.execute(update(imports).where(imports.c.id == batch.id).values(state="undoing"))
            audit.record(connection, actor, "import.undo", batch.file_name, batch=batch.id, rows=batch.rows)
        return self._remove(batch.id)

    def _reader(self, source: Source, wishes: Wishes, batch_id: str) -> tuple[Preview, Reader]:
        """How the file will be read."""
        table = open_table(source, wishes.format, wishes.mapping)
        zone = UTC if table.form.in_utc else _zone(wishes.zone)
        choices = Choices(table, zone, wishes.app.strip(), wishes.provider.strip(), wishes.price)
        self._prices.refresh()
        with self._store.read() as connection:
            people = {key: user_id for key, user_id in connection.execute(select(users.c.name_key, users.c.id))}
            kinds = {name: kind for name, kind in connection.execute(select(providers.c.name, providers.c.kind))}
        return _preview_of(table), Reader(choices, self._prices, people, kinds, utc_now(), batch_id)

    def _begin(self, actor: Actor, batch_id: str, source: Source, found: Preview) -> None:
        row = {"id": batch_id, "at": utc_now(), "user_name": actor.name, "file_name": source.name[:200]}
        row |= {"format": found.format, "state": "running", **_sums(found)}
        with self._store.write() as connection:
            connection.execute(insert(imports), row)
            audit.record(connection, actor, "import.begin", source.name, batch=batch_id, format=found.format)

    def _write(self, chunk: Sequence[dict[str, Any]], found: Preview, reader: Reader) -> None:
        with self._store.write(bulk=True) as connection:
            first = take_sequence(connection, len(chunk))  # its lock also makes two imports wait for each other
            rows = _new_ones(connection, chunk, found)
            for number, row in enumerate(rows):
                row["change_seq"] = first + number
            copy_rows(connection, usage_logs, rows)
            _write_people(connection, {row["user_id"] for row in rows}, reader.outside)
        for row in rows:
            found.add(row)
        _check_sum(found)

    def _remove(self, batch_id: str) -> int:
        """Delete a batch's rows, its people that nobody else names, and the batch itself."""
        count, mine = 0, usage_logs.c.batch_id == batch_id
        while True:
            with self._store.write(bulk=True) as connection:
                ids = connection.scalars(select(usage_logs.c.id).where(mine).limit(_CHUNK)).all()
                if ids:
                    connection.execute(delete(usage_logs).where(usage_logs.c.id.in_(ids)))
                    count += len(ids)
                    continue
                still_named = exists().where(usage_logs.c.user_id == outside_people.c.id)
                connection.execute(delete(outside_people).where(~still_named))
                connection.execute(delete(imports).where(imports.c.id == batch_id))
                take_sequence(connection, 1)
                raised = {"epoch": ledger_clock.c.epoch + 1}
                connection.execute(update(ledger_clock).where(ledger_clock.c.id == 1).values(**raised))
                return count

    def _get(self, batch_id: str) -> Batch:
        with self._store.read() as connection:
            row = connection.execute(select(imports).where(imports.c.id == batch_id)).mappings().one_or_none()
        if row is None:
            raise NotFound("There is no such import.", "", "See: python -m lib usage imports")
        return Batch(**row)

    def _overlaps(self, found: Preview) -> Sequence[str]:
        if found.first_at is None:
            return []
        i = imports.c
        source = found.format.partition("-")[0]  # its usage and its costs are two sides of the same calls
        same = (i.format.startswith(source, autoescape=True), i.first_at <= found.last_at, i.last_at >= found.first_at)
        with self._store.read() as connection:
            return connection.scalars(select(i.file_name).where(*same).order_by(i.at)).all()


def _preview_of(table: Table) -> Preview:
    return Preview(table.form.name, table.form.label, [*table.columns], dict(table.mapping), table.form.is_sum)


def _made(reader: Reader, source: Source, found: Preview, progress: Progress) -> Iterator[dict[str, Any]]:
    """The file's rows as rows of the ledger; what is left out is counted."""
    size, read = max(1, source.size), 0
    for read, (row, raw) in enumerate(rows_of(reader.choices.table, source), 1):
        if read % _CHUNK == 0:
            progress(read, min(1.0, source.file.tell() / size))
        try:
            if isinstance(raw, LeftOut):
                raise raw
            made = reader.read(row, raw)
        except LeftOut as reason:
            found.left_out[str(reason)] += 1
        else:
            yield from made
    progress(read, 1.0)


def _fresh_rows(store: Store, found: Preview, made: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Batches of rows that would be new, counted in."""
    seen = Occurrences()
    while chunk := list(islice(made, _CHUNK)):
        with store.read() as connection:
            rows = _new_ones(connection, chunk, found)
        once = [row for row in rows if seen.count(hash(row["id"])) == 1]
        found.left_out[_THERE] += len(rows) - len(once)
        for row in once:
            found.add(row)
        _check_sum(found)
        yield once
    found.left_out = +found.left_out


def _new_ones(connection: Connection, chunk: Sequence[dict[str, Any]], found: Preview) -> list[dict[str, Any]]:
    """Those whose id is not in the ledger, each once."""
    by_id: dict[str, dict[str, Any]] = {}
    for row in chunk:
        by_id.setdefault(row["id"], row)
    there = {row.id for row in _KNOWN.all(connection, {"ids": list(by_id)})}
    rows = [row for log_id, row in by_id.items() if log_id not in there]
    if len(rows) < len(chunk):
        found.left_out[_THERE] += len(chunk) - len(rows)
    return rows


def _write_people(connection: Connection, named: set[str | None], outside: Mapping[str, str]) -> None:
    wanted = [user_id for user_id in named if user_id is not None and user_id in outside]
    there = set(connection.scalars(select(outside_people.c.id).where(outside_people.c.id.in_(wanted))))
    if new := [{"id": user_id, "name": outside[user_id]} for user_id in wanted if user_id not in there]:
        connection.execute(insert(outside_people), new)


def _zone(name: str) -> tzinfo:
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ValueError, KeyError, OSError):
        raise InvalidInput(f"There is no time zone {name}.", "", "Write it as Europe/Berlin.", field="zone") from None


def _check_sum(found: Preview) -> None:
    if abs(found.cost_nano_usd or 0) > MOST_NANO:
        why = "Together the file's rows cost more than $1,000,000,000."
        raise InvalidInput("The costs can't be in dollars.", why, "Map a column of dollars, or none.", field="map")


def _sums(found: Preview) -> dict[str, Any]:
    names = ("rows", "calls", "first_at", "last_at", "total_tokens", "cost_nano_usd", "unpriced")
    return {name: getattr(found, name) for name in names} | {"left_out": dict(found.left_out)}


def _noted(batch_id: str, found: Preview) -> dict[str, Any]:
    cost = None if found.cost_nano_usd is None else str(found.cost_nano_usd)
    return {"batch": batch_id, "format": found.format, "rows": found.rows, "cost_nano_usd": cost}


def _name(people: Mapping[str, str], user_id: str | None) -> str | None:
    return next((name for name, known in people.items() if known == user_id), None)

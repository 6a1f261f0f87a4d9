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
from lib.clock import make_id, utc_now
from lib.db.bulk import copy_rows
from lib.db.compiled_statements import CompiledStatement
from lib.db.engine import Store
from lib.db.tables import imports, ledger_clock, outside_people, providers, usage_logs, users
from lib.errors import Conflict, InvalidInput, NotFound
from lib.imports.batch import ImportBatch, ImportPreview, Wishes
from lib.imports.identity import Occurrences
from lib.imports.rows import RowChoices, RowReader
from lib.ledger.closing import take_sequence
from lib.providers.prices.price_book import PriceBook
from lib.usage_files.numbers import MOST_NANO
from lib.usage_files.source import UsageFile
from lib.usage_files.table import SkippedRow, Table, iterate_rows, look_at, open_table, tell

_ACTION = "import past usage"
_CHUNK = 5_000
_LOOKED_AT = 200  # rows whose columns tell the format
_SHOWN = 20
_ALREADY_LOGGED = "there already"
_IDS: Any = bindparam("ids", expanding=True)
_SELECT_LOGGED_IDS = CompiledStatement(select(usage_logs.c.id).where(usage_logs.c.id.in_(_IDS)))
Progress = Callable[[int, float], None]


def _ignore_progress(rows: int, share: float) -> None:
    """Do nothing with the progress, for callers that show none."""


class Imports:
    """Previews, writes, lists and undoes imports."""

    def __init__(self, store: Store, prices: PriceBook) -> None:
        self._store = store
        self._prices = prices

    def look(self, actor: Actor, source: UsageFile, wishes: Wishes | None = None) -> ImportPreview:
        """Recognise a file by its first rows: form, columns, mapping. No row is counted."""
        actor.require_super_admin(_ACTION)
        wishes = wishes or Wishes()
        return _make_preview(look_at(source, wishes.format, wishes.mapping))

    def preview(
        self, actor: Actor, source: UsageFile, wishes: Wishes | None = None, progress: Progress = _ignore_progress
    ) -> ImportPreview:
        """Read the file and sum up what would be written; nothing is. `progress(rows read, share of the file)`."""
        actor.require_super_admin(_ACTION)
        preview, reader = self._make_reader(source, wishes or Wishes(), "")
        for rows in _iterate_fresh(self._store, preview, _read_rows(reader, source, preview, progress)):
            preview.sample += rows[: _SHOWN - len(preview.sample)]
        for row in preview.sample:
            row["user_name"] = reader.outside.get(row["user_id"] or "") or _find_name(reader.people, row["user_id"])
        preview.overlaps = self._find_overlaps(preview)
        return preview

    def run(
        self, actor: Actor, source: UsageFile, wishes: Wishes | None = None, progress: Progress = _ignore_progress
    ) -> ImportBatch:
        """Write the file's rows, each once however often it comes, and return the batch. Raises Conflict when nothing
        is new.
        """
        actor.require_super_admin(_ACTION)
        batch_id = make_id()
        preview, reader = self._make_reader(source, wishes or Wishes(), batch_id)
        self._begin(actor, batch_id, source, preview)
        try:
            ledger_rows = _read_rows(reader, source, preview, progress)
            while chunk := list(islice(ledger_rows, _CHUNK)):
                self._write(chunk, preview, reader)
            if not preview.rows:
                raise Conflict("There is nothing new in the file.", tell(preview.left_out), "Nothing was written.")
        except BaseException:  # also a page that was left in the middle: half a file would mislead
            self._remove(batch_id)
            raise
        with self._store.write() as connection:
            connection.execute(
                update(imports).where(imports.c.id == batch_id).values(state="done", **_build_sums(preview))
            )
            audit.record(connection, actor, "import.done", source.name, **_build_detail(batch_id, preview))
        return self._get(batch_id)

    def list(self, actor: Actor) -> Sequence[ImportBatch]:
        """List every import, newest first."""
        actor.require_super_admin(_ACTION)
        with self._store.read() as connection:
            rows = connection.execute(select(imports).order_by(imports.c.at.desc(), imports.c.id.desc())).mappings()
            return [ImportBatch(**row) for row in rows]

    def undo(self, actor: Actor, batch_id: str) -> int:
        """Delete a batch's rows from the ledger and return how many there were. An undo that was cut off can go on."""
        actor.require_super_admin(_ACTION)
        batch = self._get(batch_id)
        with self._store.write() as connection:
            connection.execute(update(imports).where(imports.c.id == batch.id).values(state="undoing"))
            audit.record(connection, actor, "import.undo", batch.file_name, batch=batch.id, rows=batch.rows)
        return self._remove(batch.id)

    def _make_reader(self, source: UsageFile, wishes: Wishes, batch_id: str) -> tuple[ImportPreview, RowReader]:
        """Make the preview and the reader for a file and the person's wishes."""
        table = open_table(source, wishes.format, wishes.mapping)
        zone = UTC if table.form.in_utc else _parse_zone(wishes.zone)
        choices = RowChoices(table, zone, wishes.app.strip(), wishes.provider.strip(), wishes.price)
        self._prices.refresh()
        with self._store.read() as connection:
            people = {key: user_id for key, user_id in connection.execute(select(users.c.name_key, users.c.id))}
            kinds = {name: kind for name, kind in connection.execute(select(providers.c.name, providers.c.kind))}
        return _make_preview(table), RowReader(choices, self._prices, people, kinds, utc_now(), batch_id)

    def _begin(self, actor: Actor, batch_id: str, source: UsageFile, preview: ImportPreview) -> None:
        row = {"id": batch_id, "at": utc_now(), "user_name": actor.name, "file_name": source.name[:200]}
        row |= {"format": preview.format, "state": "running", **_build_sums(preview)}
        with self._store.write() as connection:
            connection.execute(insert(imports), row)
            audit.record(connection, actor, "import.begin", source.name, batch=batch_id, format=preview.format)

    def _write(self, chunk: Sequence[dict[str, Any]], preview: ImportPreview, reader: RowReader) -> None:
        with self._store.write(bulk=True) as connection:
            first = take_sequence(connection, len(chunk))  # its lock also makes two imports wait for each other
            rows = _keep_new(connection, chunk, preview)
            for number, row in enumerate(rows):
                row["change_seq"] = first + number
            copy_rows(connection, usage_logs, rows)
            _write_people(connection, {row["user_id"] for row in rows}, reader.outside)
        for row in rows:
            preview.add(row)
        _check_sum(preview)

    def _remove(self, batch_id: str) -> int:
        """Delete a batch's rows, its people that nobody else names, and the batch itself."""
        count = 0
        is_in_batch = usage_logs.c.batch_id == batch_id
        while True:
            with self._store.write(bulk=True) as connection:
                ids = connection.scalars(select(usage_logs.c.id).where(is_in_batch).limit(_CHUNK)).all()
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

    def _get(self, batch_id: str) -> ImportBatch:
        with self._store.read() as connection:
            row = connection.execute(select(imports).where(imports.c.id == batch_id)).mappings().one_or_none()
        if row is None:
            raise NotFound("There is no such import.", "", "See: python -m lib usage imports")
        return ImportBatch(**row)

    def _find_overlaps(self, preview: ImportPreview) -> Sequence[str]:
        if preview.first_at is None:
            return []
        i = imports.c
        source = preview.format.partition("-")[0]  # its usage and its costs are two sides of the same calls
        is_overlapping = (
            i.format.startswith(source, autoescape=True),
            i.first_at <= preview.last_at,
            i.last_at >= preview.first_at,
        )
        with self._store.read() as connection:
            return connection.scalars(select(i.file_name).where(*is_overlapping).order_by(i.at)).all()


def _make_preview(table: Table) -> ImportPreview:
    return ImportPreview(table.form.name, table.form.label, [*table.columns], dict(table.mapping), table.form.is_sum)


def _read_rows(
    reader: RowReader, source: UsageFile, preview: ImportPreview, progress: Progress
) -> Iterator[dict[str, Any]]:
    """Read the file's rows as rows of the ledger; what is left out is counted."""
    size = max(1, source.size)
    read = 0
    for read, (row, raw) in enumerate(iterate_rows(reader.choices.table, source), 1):
        if read % _CHUNK == 0:
            progress(read, min(1.0, source.file.tell() / size))
        try:
            if isinstance(raw, SkippedRow):
                raise raw
            ledger_rows = reader.read(row, raw)
        except SkippedRow as reason:
            preview.left_out[str(reason)] += 1
        else:
            yield from ledger_rows
    progress(read, 1.0)


def _iterate_fresh(
    store: Store, preview: ImportPreview, ledger_rows: Iterator[dict[str, Any]]
) -> Iterator[list[dict[str, Any]]]:
    """Yield batches of rows that would be new, added to the preview's sums."""
    occurrences = Occurrences()
    while chunk := list(islice(ledger_rows, _CHUNK)):
        with store.read() as connection:
            rows = _keep_new(connection, chunk, preview)
        once = [row for row in rows if occurrences.count(hash(row["id"])) == 1]
        preview.left_out[_ALREADY_LOGGED] += len(rows) - len(once)
        for row in once:
            preview.add(row)
        _check_sum(preview)
        yield once
    preview.left_out = +preview.left_out


def _keep_new(connection: Connection, chunk: Sequence[dict[str, Any]], preview: ImportPreview) -> list[dict[str, Any]]:
    """Keep rows whose id is not in the ledger, each once."""
    by_id: dict[str, dict[str, Any]] = {}
    for row in chunk:
        by_id.setdefault(row["id"], row)
    logged_ids = {row.id for row in _SELECT_LOGGED_IDS.all(connection, {"ids": list(by_id)})}
    rows = [row for log_id, row in by_id.items() if log_id not in logged_ids]
    if len(rows) < len(chunk):
        preview.left_out[_ALREADY_LOGGED] += len(chunk) - len(rows)
    return rows


def _write_people(connection: Connection, user_ids: set[str | None], outside: Mapping[str, str]) -> None:
    outside_ids = [user_id for user_id in user_ids if user_id is not None and user_id in outside]
    written_ids = set(connection.scalars(select(outside_people.c.id).where(outside_people.c.id.in_(outside_ids))))
    if new := [{"id": user_id, "name": outside[user_id]} for user_id in outside_ids if user_id not in written_ids]:
        connection.execute(insert(outside_people), new)


def _parse_zone(name: str) -> tzinfo:
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ValueError, KeyError, OSError):
        raise InvalidInput(f"There is no time zone {name}.", "", "Write it as Europe/Berlin.", field="zone") from None


def _check_sum(preview: ImportPreview) -> None:
    if abs(preview.cost_nano_usd or 0) > MOST_NANO:
        why = "Together the file's rows cost more than $1,000,000,000."
        raise InvalidInput("The costs can't be in dollars.", why, "Map a column of dollars, or none.", field="map")


def _build_sums(preview: ImportPreview) -> dict[str, Any]:
    names = ("rows", "calls", "first_at", "last_at", "total_tokens", "cost_nano_usd", "unpriced")
    return {name: getattr(preview, name) for name in names} | {"left_out": dict(preview.left_out)}


def _build_detail(batch_id: str, preview: ImportPreview) -> dict[str, Any]:
    cost = None if preview.cost_nano_usd is None else str(preview.cost_nano_usd)
    return {"batch": batch_id, "format": preview.format, "rows": preview.rows, "cost_nano_usd": cost}


def _find_name(people: Mapping[str, str], user_id: str | None) -> str | None:
    return next((name for name, account_id in people.items() if account_id == user_id), None)

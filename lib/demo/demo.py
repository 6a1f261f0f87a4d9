"""Loading and removing the sample year.

Loading goes in batches of a few thousand rows, each its own short transaction, so live calls are written in between; a
load that is cut off takes its rows away again, and after a kill they are still marked and can be removed. Removing is
one transaction, and raises the ledger's epoch: copies of the ledger start over. Only a super-admin may do either, for
both change everybody's figures.
"""

from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from lib.access import audit
from lib.access.permissions import Actor, Role
from lib.clock import utc_now
from lib.db.bulk import insert_columns
from lib.db.engine import Store
from lib.db.tables import ledger_clock, usage_logs, usage_payloads
from lib.demo.catalogue import APPS, BATCH
from lib.errors import Conflict, InvalidInput, PermissionDenied
from lib.ledger.closing import take_sequence
from lib.providers.prices.price_book import PriceBook

_WITH_TEXT = 400  # newest rows that also get a prompt and an answer
_SAID_OF = ("id", "app", "status")  # what their words depend on
MOST_CALLS = 5_000_000


class Demo:
    """Loads and removes the sample data of one store."""

    def __init__(self, store: Store, prices: PriceBook | None = None) -> None:
        self._store = store
        self._prices = prices or PriceBook()

    def is_present(self) -> bool:
        """Whether any sample row is in the ledger."""
        with self._store.read() as connection:
            return _is_present(connection)

    def load(
        self,
        actor: Actor,
        calls: int = 20_000,
        seed: int = 7,
        *,
        now: datetime | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Write a year of `calls` calls that ends now (their retries come on top); returns the calls written.

        The same seed and `now` give the same rows. `progress(written, calls)` is called after each batch.
        """
        _require_super_admin(actor)
        if not 1 <= calls <= MOST_CALLS:
            raise InvalidInput(f"{calls} calls can't be loaded.", "", f"Choose 1 to {MOST_CALLS:,}.", field="calls")
        from lib.demo import year  # brings NumPy

        source = year.draw_blocks(calls, seed, now or utc_now(), self._prices)
        self._refuse_second_load()
        try:
            return self._load(actor, source, calls, progress)
        except Conflict:
            raise
        except BaseException:  # also a page that was left in the middle: half a year would mislead
            self.remove(actor)
            raise

    def _load(
        self,
        actor: Actor,
        source: Iterator[dict[str, list[Any]]],
        calls: int,
        progress: Callable[[int, int], None] | None,
    ) -> int:
        written = 0
        newest = deque[dict[str, Any]](maxlen=_WITH_TEXT)
        for columns in source:
            self._write(columns, first=written == 0)
            last = zip(*(columns[name][-_WITH_TEXT:] for name in _SAID_OF), strict=True)
            newest.extend(dict(zip(_SAID_OF, values, strict=True)) for values in last)
            written += sum(columns["is_final"])
            if progress:
                progress(written, calls)
        with self._store.write() as connection:
            connection.execute(insert(usage_payloads), list(_build_payloads(list(newest))))
            audit.record(connection, actor, "demo.load", "sample data", calls=written)
        return written

    def _refuse_second_load(self) -> None:
        if self.is_present():
            raise Conflict("Sample data is already loaded.", "", "Remove it first to load it again.")

    def remove(self, actor: Actor) -> int:
        """Delete every sample row and its texts in one transaction; returns the calls removed."""
        _require_super_admin(actor)
        marked = usage_logs.c.batch_id == BATCH
        with self._store.write() as connection:
            take_sequence(connection, 1)
            calls = select(func.count()).select_from(usage_logs).where(marked, usage_logs.c.is_final)
            removed = int(connection.execute(calls).scalar_one())
            ids = select(usage_logs.c.id).where(marked)
            connection.execute(delete(usage_payloads).where(usage_payloads.c.id.in_(ids)))
            connection.execute(delete(usage_logs).where(marked))
            connection.execute(
                update(ledger_clock).where(ledger_clock.c.id == 1).values(epoch=ledger_clock.c.epoch + 1)
            )
            audit.record(connection, actor, "demo.remove", "sample data", calls=removed)
        return removed

    def _write(self, columns: dict[str, list[Any]], *, first: bool) -> None:
        count = len(columns["id"])
        with self._store.write(bulk=True) as connection:
            sequence = take_sequence(connection, count)  # its lock also makes two loads wait for each other
            if first and _is_present(connection):
                raise Conflict("Sample data is already loaded.", "", "Remove it first to load it again.")
            insert_columns(connection, usage_logs, columns | {"change_seq": list(range(sequence, sequence + count))})


def _is_present(connection: Connection) -> bool:
    return (
        connection.execute(select(usage_logs.c.id).where(usage_logs.c.batch_id == BATCH).limit(1)).first() is not None
    )


def _require_super_admin(actor: Actor) -> None:
    if actor.role is not Role.SUPER_ADMIN:
        raise PermissionDenied("You can't change sample data.", "Only the role super-admin can.", "Ask one of them.")


def _build_payloads(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    apps = {app.name: app for app in APPS}
    for row in rows:
        app = apps[row["app"]]
        number = int(row["id"][-4:], 16) % 9000 + 1000
        question = app.question.format(n=number)
        answer = app.answer.format(n=number)
        if row["status"] in ("truncated", "cancelled"):
            answer = answer[: len(answer) // 3]
        yield {
            "id": row["id"],
            "prompt_text": question,
            "response_text": answer if row["status"] in ("ok", "truncated", "cancelled") else None,
            "request": [{"role": "user", "content": question}],
            "response": {},
        }

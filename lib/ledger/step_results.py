"""Results of steps that cost or act, in the database of the ledger: written once, asked before a step runs.

`build_row` makes the row that the closing record of a model call carries, so that answer and result are one
transaction, also when that comes later, from a spool: outputs are JSON, encrypted by the data key until they are
erased; their hash and size stay.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from lib.clock import utc_now
from lib.db.compiled_statements import CompiledStatement
from lib.db.data_key import DataKey
from lib.db.engine import Store
from lib.db.tables import step_results
from lib.errors import InvalidInput

MOST_BYTES = 16 * 1024 * 1024
_R = step_results.c
_GET = CompiledStatement(select(step_results).where(_R.run_id == bindparam("of_run"), _R.step == bindparam("of_step")))


def _compile_write(dialect: Any) -> CompiledStatement:
    """Compile the statement that writes the row of a step that is done, unless one is there that is done."""
    statement = dialect.insert(step_results).values({column.name: bindparam(f"new_{column.name}") for column in _R})
    names = ("state", "call_id", "sealed", "output_hash", "output_size", "finished_at")
    changed = {name: statement.excluded[name] for name in names}
    written = statement.on_conflict_do_update(index_elements=["run_id", "step"], set_=changed, where=_R.state != "done")
    return CompiledStatement(written.returning(_R.step))


_WRITE = {"sqlite": _compile_write(sqlite), "postgresql": _compile_write(postgresql)}


@dataclass(frozen=True)
class StoredStep:
    """A row: `state` is started, done or unknown; `output` is None before it is there and once it was erased."""

    run_id: str
    step: str
    state: str
    call_id: str | None
    output: Any
    output_hash: str
    output_size: int
    started_at: datetime
    finished_at: datetime | None


class StepResults:
    """Reads and writes results. Thread-safe."""

    def __init__(self, store: Store, data_key: DataKey) -> None:
        self._store = store
        self._data_key = data_key

    def prepare(self) -> None:
        """Read the key, so that `build_row` asks no database: it is called where nothing may wait for one."""
        self._data_key.load()

    def get(self, run_id: str, step: str) -> StoredStep | None:
        """Get a step's row; None when it was never begun."""
        with self._store.read() as connection:
            rows = _GET.all(connection, {"of_run": run_id, "of_step": step})
        return self._build(rows[0]) if rows else None

    def list_steps(self, run_id: str) -> list[StoredStep]:
        """List a run's rows in the order in which they began."""
        query = select(step_results).where(_R.run_id == run_id).order_by(_R.started_at, _R.step)
        with self._store.read() as connection:
            return [self._build(row) for row in connection.execute(query)]

    def begin(self, run_id: str, step: str) -> bool:
        """Note that a step begins to act; False when it has begun before."""
        row = {"run_id": run_id, "step": step, "state": "started", "output_hash": "", "output_size": 0}
        with self._store.write() as connection:
            statement = self._insert().values(**row, started_at=utc_now()).on_conflict_do_nothing()
            return connection.scalar(statement.returning(_R.step)) is not None

    def finish(self, run_id: str, step: str, output: Any) -> bool:
        """Keep a step's output, unless it has one: the first result stands. Whether this is it."""
        row = self.build_row(run_id, step, output)
        with self._store.write() as connection:
            return write_result(connection, row)

    def mark_unknown(self, run_id: str, step: str) -> None:
        """Note that nobody knows whether a step was done."""
        self._change(run_id, step, "started", {"state": "unknown"})

    def settle(self, run_id: str, step: str, output: Any) -> None:
        """Take `output` as the result of a step whose end nobody knew."""
        row = self.build_row(run_id, step, output)
        with self._store.write() as connection:
            names = ("state", "sealed", "output_hash", "output_size", "finished_at")
            unknown = update(step_results).where(_R.run_id == run_id, _R.step == step, _R.state == "unknown")
            connection.execute(unknown.values({name: row[name] for name in names}))

    def forget(self, run_id: str, step: str) -> None:
        """Delete a step's row, so that it is done again."""
        with self._store.write() as connection:
            connection.execute(delete(step_results).where(_R.run_id == run_id, _R.step == step))

    def erase(self, run_id: str) -> None:
        """Erase a run's outputs; states, hashes and sizes stay."""
        with self._store.write() as connection:
            connection.execute(update(step_results).where(_R.run_id == run_id).values(sealed=None))

    def erase_before(self, moment: datetime) -> None:
        """Erase the outputs of steps that were done before a moment."""
        with self._store.read() as connection:
            old = (_R.finished_at < moment, _R.sealed.is_not(None))
            if connection.scalar(select(_R.step).where(*old).limit(1)) is None:
                return
        with self._store.write() as connection:
            connection.execute(update(step_results).where(*old).values(sealed=None))

    def build_row(self, run_id: str, step: str, output: Any, call_id: str | None = None) -> dict[str, Any]:
        """Build the row of a step that is done; InvalidInput for an output that is no JSON or larger than 16 MB."""
        try:
            text = json.dumps(output, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidInput(f"The result of the step {step} can't be kept.", "It is not JSON.") from error
        encoded = text.encode("utf-8", "surrogatepass")
        if len(encoded) > MOST_BYTES:
            why = f"It has {len(encoded) // 1024 // 1024} MB; at most {MOST_BYTES // 1024 // 1024} are kept."
            raise InvalidInput(f"The result of the step {step} is too large.", why)
        now = utc_now()
        return {
            "run_id": run_id,
            "step": step,
            "state": "done",
            "call_id": call_id,
            "sealed": self._data_key.encrypt(text),
            "output_hash": hashlib.sha256(encoded).hexdigest(),
            "output_size": len(encoded),
            "started_at": now,
            "finished_at": now,
        }

    def _change(self, run_id: str, step: str, state: str, values: Mapping[str, Any]) -> None:
        with self._store.write() as connection:
            expected_row = (_R.run_id == run_id, _R.step == step, _R.state == state)
            connection.execute(update(step_results).where(*expected_row).values(**values))

    def _insert(self) -> Any:
        return (sqlite if self._store.is_sqlite else postgresql).insert(step_results)

    def _build(self, row: Any) -> StoredStep:
        output = None if row.sealed is None else json.loads(self._data_key.decrypt(row.sealed))
        copied_fields = (
            "run_id",
            "step",
            "state",
            "call_id",
            "output_hash",
            "output_size",
            "started_at",
            "finished_at",
        )
        return StoredStep(output=output, **{name: getattr(row, name) for name in copied_fields})


def write_result(connection: Connection, row: Mapping[str, Any]) -> bool:
    """Write the row of a step that is done in the caller's transaction; False where a result is there, which stands."""
    params = {f"new_{name}": value for name, value in row.items()}
    return bool(_WRITE[connection.dialect.name].all(connection, params))

"""The ends of attempts: from the spool and from `open_calls` into `usage_logs`, each once, with what they settle."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, update

from lib.access.limits import Claim, RateLimits
from lib.budgets.budget import CallFacts
from lib.budgets.holds import Charged, settle_many
from lib.budgets.windows import WindowMemory
from lib.clock import utc_now
from lib.db.bulk import insert_rows
from lib.db.compiled_statements import CompiledStatement
from lib.db.tables import ledger_clock, open_calls, usage_logs, usage_payloads
from lib.ledger import admission
from lib.ledger.kept_messages import KeptMessages
from lib.ledger.step_results import write_result
from lib.ledger.usage_row import UsageRow

_MOST_AT_ONCE = 5_000  # rows a statement: databases bound its parameters
_IDS: Any = bindparam("ids", expanding=True)
_THERE = CompiledStatement(select(usage_logs.c.id).where(usage_logs.c.id.in_(_IDS)))
_END = CompiledStatement(delete(open_calls).where(open_calls.c.id.in_(_IDS)))
_SEQUENCE = CompiledStatement(
    update(ledger_clock)
    .where(ledger_clock.c.id == 1)
    .values(change_seq=ledger_clock.c.change_seq + bindparam("count"))
    .returning(ledger_clock.c.change_seq)
)


@dataclass(slots=True)
class Closing:
    """The end of an attempt: its row of `usage_logs` (with no change number yet) and that of `usage_payloads`.

    `claim` is what the call took of the limits; it is not spooled: after a crash the estimate goes on to count.
    `charged` is there when a lease was to pay for the call. `step` is a row of `step_results`, already encrypted: what
    the call answered to a step of a run, committed with the call.
    """

    row: UsageRow
    payload: dict[str, Any] = field(default_factory=dict)
    claim: Claim | None = None
    charged: Charged | None = None
    step: dict[str, Any] | None = None

    def to_record(self) -> dict[str, Any]:
        """For `fast_json.encode`, which writes moments in ISO 8601."""
        record: dict[str, Any] = {"row": self.row.to_columns(), "payload": self.payload}
        if self.step is not None:
            record["step"] = self.step
        return record if self.charged is None else record | {"charges": self.charged.charges}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Closing":
        """Back from the spool."""
        row = UsageRow.from_record(record["row"])
        step = record.get("step")
        if step is not None:
            step = step | {name: datetime.fromisoformat(step[name]) for name in ("started_at", "finished_at")}
        charged = parse_charged(record.get("charges"), row.to_columns())
        return cls(row, dict(record["payload"]), charged=charged, step=step)


def parse_charged(charges: Sequence[Sequence[str]] | None, row: Mapping[Any, Any]) -> Charged | None:
    """The leases that a record of the spool names, for a row of `open_calls` or `usage_logs`; None without leases."""
    if charges is None:
        return None
    names = ("provider", "app", "configuration_id", "user_id", "api_key_id", "team_id")
    windows = tuple((budget_id, datetime.fromisoformat(start)) for budget_id, start in charges)
    return Charged(CallFacts(*(row[name] for name in names)), windows)


def withdraw_openings(connection: Connection, ids: list[str], memory: WindowMemory | None = None) -> None:
    """Take back openings of which nobody knows whether they were committed: their calls were not sent."""
    _END.run(connection, [{"ids": ids}])
    settle_many(connection, dict.fromkeys(ids, 0), utc_now(), memory=memory)


def insert_closings(
    connection: Connection,
    closings: Iterable[Closing],
    limits: RateLimits | None = None,
    never_open: Collection[str] = (),
    stored_messages: KeptMessages | None = None,
    memory: WindowMemory | None = None,
    most_at_once: int = _MOST_AT_ONCE,
) -> int:
    """Move ended attempts into `usage_logs` and settle what was held for them, each once whatever is tried again.

    How many were new. `never_open`: ids that have no row in `open_calls`, nor holds of their own. `stored_messages`
    stores the messages of requests once; without it they stay in their payloads. `memory`: what is known of budgets.
    `most_at_once`: rows of one statement.
    """
    pending = iter({closing.row.id: closing for closing in closings}.values())
    new = 0
    while batch := list(islice(pending, most_at_once)):
        new += _insert_batch(connection, batch, limits, never_open, stored_messages, memory)
    return new


def _insert_batch(
    connection: Connection,
    closings: list[Closing],
    limits: RateLimits | None,
    never_open: Collection[str],
    stored_messages: KeptMessages | None,
    memory: WindowMemory | None,
) -> int:
    ids = [closing.row.id for closing in closings]
    sequence = take_sequence(connection, len(ids))
    there = {row.id for row in _THERE.all(connection, {"ids": ids})}
    fresh = [closing for closing in closings if closing.row.id not in there]
    if fresh:
        for number, closing in enumerate(fresh, sequence):
            closing.row.change_seq = number
        insert_rows(connection, usage_logs, [closing.row for closing in fresh])
        if payloads := [dict(c.payload, id=c.row.id) for c in fresh if c.payload]:
            if stored_messages is not None:
                stored_messages.fold(connection, payloads, [c.row for c in fresh if c.payload])
            insert_rows(connection, usage_payloads, payloads)
        for closing in fresh:
            if closing.step is not None:
                write_result(connection, closing.step)
        spent = [admission.make_spent(closing.row, closing.claim, closing.charged) for closing in fresh]
        admission.settle(connection, spent, limits, utc_now(), never_open, memory)
    if was_open := [log_id for log_id in ids if log_id not in never_open]:
        _END.run(connection, [{"ids": was_open}])
    return len(fresh)


def take_sequence(connection: Connection, count: int) -> int:
    """Reserve `count` change numbers and return the first; the row's lock makes their order that of the commits."""
    return int(_SEQUENCE.all(connection, {"count": count})[0].change_seq) - count + 1

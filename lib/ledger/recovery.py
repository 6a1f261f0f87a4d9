"""Closing what dead processes left open: their spooled endings first, then what was still running as `orphaned`.

A process is dead when its spool folder can be locked here, or, when the folder is on another machine, when it has not
been seen for a minute. Everything happens in one transaction per process and is safe to repeat.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec import convert, to_builtins
from msgspec.structs import replace
from sqlalchemy import Connection, delete, insert, select, update

from lib.budgets.holds import Charged
from lib.budgets.leases import give_back
from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import FIRST_TEAM, open_calls, processes, providers
from lib.errors import ErrorKind
from lib.ledger import content_policy
from lib.ledger.closing import Closing, insert_closings, parse_charged
from lib.ledger.kept_messages import KeptMessages
from lib.ledger.row_repair import make_writable
from lib.ledger.spool import DeadSpool, iterate_dead_spools, read_host_name
from lib.ledger.usage_row import AttemptRow, UsageRow
from lib.providers.chunks import Usage, UsageDetails
from lib.providers.prices.price_book import PriceBook
from lib.providers.prices.rates import Cost
from lib.tokens.message_text import read_message_text
from lib.tokens.prompt_size import measure
from lib.tokens.prompt_tokens import estimate_prompt
from lib.tokens.text_estimate import estimate_tokens

log = logging.getLogger(__name__)
UNSEEN = timedelta(seconds=60)
_WHY = "The process that ran the call ended before the answer did. What had been noted of the answer is kept."


def renew_lease_of_life(store: Store, owner: str, pid: int) -> None:
    """Give a sign of life: before the first call is opened, and again and again.

    Who was taken for dead, after a pause longer than that, is there again.
    """
    now = utc_now()
    with store.write() as connection:
        renewal = update(processes).where(processes.c.id == owner).values(seen_at=now)
        if connection.execute(renewal).rowcount == 0:
            row = {"id": owner, "host": read_host_name(), "pid": pid, "started_at": now, "seen_at": now}
            connection.execute(insert(processes), row)


def sign_out(store: Store, owner: str) -> None:
    """The process has no open call and ends."""
    with store.write() as connection:
        connection.execute(delete(processes).where(processes.c.id == owner))


def recover(store: Store, spool_root: Path, prices: PriceBook, stored_messages: KeptMessages | None = None) -> int:
    """Close everything that dead processes left, and return how many calls that were.

    With `stored_messages` each message of their requests is stored once.
    """
    closed = 0
    for spool in iterate_dead_spools(spool_root):
        recovered = _try_to_recover(store, spool.owner, prices, spool, stored_messages)
        if recovered is not None:
            closed += recovered
            if spool.is_damaged:
                log.error("Records that a process left can't be read; they are kept in %s.", spool.put_aside())
            else:
                spool.remove()
    for owner in _find_unseen_owners(store, spool_root):
        closed += _try_to_recover(store, owner, prices, None, stored_messages) or 0
    return closed


def _try_to_recover(
    store: Store, owner: str, prices: PriceBook, spool: DeadSpool | None, stored_messages: KeptMessages | None
) -> int | None:
    try:
        try:
            return _recover_owner(store, owner, prices, spool, None, stored_messages)
        except Exception as error:
            closings = _read_closings(spool.records()) if spool else []
            if not make_writable(store, closings, [], error):
                raise
            return _recover_owner(store, owner, prices, spool, closings, stored_messages)
    except Exception as error:  # the boundary between dead processes: one must not keep the others, or a start, waiting
        log.error("What the process %s left can't be closed, and is tried again: %s", owner, error)
        return None


def _find_unseen_owners(store: Store, spool_root: Path) -> list[str]:
    """Processes and owners of open calls without a folder here and without a recent sign of life."""
    local_owners = {path.name for path in spool_root.iterdir()} if spool_root.is_dir() else set()
    with store.read() as connection:
        owners = set(connection.scalars(select(open_calls.c.owner).distinct()))
        process_rows = connection.execute(select(processes.c.id, processes.c.seen_at)).all()
        since = utc_now() - UNSEEN
    owners |= {row.id for row in process_rows}
    return sorted(owners - local_owners - {row.id for row in process_rows if row.seen_at > since})


def _read_closings(records: Iterable[Mapping[str, Any]]) -> list[Closing]:
    return [Closing.from_record(record) for record in records if "row" in record]


def _recover_owner(
    store: Store,
    owner: str,
    prices: PriceBook,
    spool: DeadSpool | None,
    mended: list[Closing] | None,
    stored_messages: KeptMessages | None,
) -> int:
    records = spool.records() if spool else []
    closings = _read_closings(records) if mended is None else mended
    with store.write() as connection:
        new = insert_closings(connection, closings, stored_messages=stored_messages)
        open_rows: dict[str, Mapping[Any, Any]] = {
            row["id"]: row
            for row in connection.execute(select(open_calls).where(open_calls.c.owner == owner)).mappings()
        }
        charged = dict[str, Charged | None]()
        ended = {closing.row.id for closing in closings}
        for row, charges in _read_openings(
            records
        ):  # those that are in the ledger already are passed over when inserted
            if row["id"] not in ended:
                open_rows.setdefault(row["id"], row)
                charged[row["id"]] = parse_charged(charges, row)
        kinds = _read_kinds(connection) if open_rows else {}
        orphans = [_make_orphan_closing(row, spool, prices, kinds.get(row["provider"])) for row in open_rows.values()]
        for orphan in orphans:
            orphan.charged = charged.get(orphan.row.id)
        new += insert_closings(connection, orphans, stored_messages=stored_messages)
        give_back(connection, owner, utc_now())
        connection.execute(delete(processes).where(processes.c.id == owner))
    return new


def _read_openings(records: Iterable[Mapping[str, Any]]) -> Iterator[tuple[dict[str, Any], Any]]:
    """Rows of `open_calls` that are in the spool, and what a lease was to pay for them."""
    for record in records:
        if "opened" in record:
            row = dict.fromkeys(open_calls.c.keys()) | {"team_id": FIRST_TEAM} | record["opened"]
            row["started_at"] = datetime.fromisoformat(row["started_at"])
            yield row, record["charges"]


def _read_kinds(connection: Connection) -> dict[str, str]:
    return {name: kind for name, kind in connection.execute(select(providers.c.name, providers.c.kind))}


def _make_orphan_closing(
    opened: Mapping[Any, Any], spool: DeadSpool | None, prices: PriceBook, kind: str | None
) -> Closing:
    """The closing of a call that nobody closed: its noted text, estimated tokens and cost.

    `kind` None: the provider is gone, so its prices are not known.
    """
    notes = spool.checkpoints(opened["id"]) if spool else []
    text = "".join(note["text"] for note in notes)
    last = notes[-1] if notes else {}
    request = opened["request"]
    messages = content_policy.read_stored_messages(opened["request"])

    def estimate(estimated_messages: list[dict[str, Any]]) -> int:
        return estimate_prompt(
            measure({"messages": estimated_messages}, opened["parameters"]), kind or "", opened["model"]
        )

    prompt_tokens = content_policy.read_prompt_tokens(request, estimate)
    usage = _add_noted_billing(Usage(*last.get("tokens", (prompt_tokens, estimate_tokens(text)))), last.get("billed"))
    unknown = Cost(None, "unpriced", None)
    cost = unknown if kind is None else prices.charge(kind, opened["model"], opened["started_at"], usage)
    identity = {name: opened[name] for name in AttemptRow.__struct_fields__}
    row = UsageRow(
        **identity,
        is_final=True,
        finished_at=opened["started_at"] + timedelta(milliseconds=last["elapsed_ms"]) if last else utc_now(),
        status="orphaned",
        error_kind=ErrorKind.PROCESS_ENDED.value,
        error_message=_WHY,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        cache_read_tokens=0,
        cache_write_tokens=0,
        cache_write_1h_tokens=0,
        reasoning_tokens=0,
        usage_source="estimated",
        cost_nano_usd=cost.nano,
        cost_status="estimated" if cost.status == "priced" else cost.status,
        fees_nano_usd=cost.fees_nano,
        service_tier=usage.service_tier,
        usage_details=None if usage.details is None else to_builtins(usage.details),
        price_id=cost.price_id,
        execution_time_ms=last.get("elapsed_ms"),
        first_token_ms=last.get("first_token_ms"),
        chunks=last.get("chunks"),
    )
    user_texts = [read_message_text(message) for message in messages if message.get("role") == "user"]
    payload: dict[str, Any] = {
        "prompt_text": user_texts[-1] if user_texts else None,
        "response_text": text if content_policy.read_stored_policy(request) == content_policy.FULL else None,
        "request": request,
        "response": {},
    }
    return Closing(row, payload)


def _add_noted_billing(usage: Usage, billed: Mapping[str, Any] | None) -> Usage:
    """The usage with what its last checkpoint says that it is billed by beside these tokens."""
    if billed is None:
        return usage
    details = None if billed["details"] is None else convert(billed["details"], UsageDetails)
    return replace(usage, service_tier=billed["service_tier"], details=details)

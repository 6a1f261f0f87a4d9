"""Circuit breakers: a provider's model that keeps failing is left alone for a while, so calls end at once.

One circuit for each provider and model. It opens after five failures in a row that are the provider's: a server error,
overload (503, 529), no connection, a stream that broke off, nothing in time. It stays closed on what a working
provider says: a refused key or request, an unknown model, a rate limit (429), which is waited for instead. After the
pause one call goes through as a probe: it closes the circuit, or opens it again for twice as long.

The open ones are rows of `circuits`, so that all processes share them; each process counts its own failures, writes
only when a circuit opens, probes or closes, and reads the table when what it knows is older than two seconds. A
database that does not answer changes nothing: calls go on with what is known.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from lib.access import audit
from lib.access.permissions import Actor, Permission
from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import circuits, providers
from lib.errors import ErrorKind, LLMManagerError, NotFound, ProviderError

log = logging.getLogger(__name__)
THRESHOLD = 5
PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(minutes=10)
FRESH_S = 2.0
_C = circuits.c
_FAULTS = {
    ErrorKind.SERVER_ERROR,
    ErrorKind.OVERLOADED,
    ErrorKind.CONNECTION,
    ErrorKind.STREAM_CUT,
    ErrorKind.TIMEOUT_FIRST_TOKEN,
    ErrorKind.TIMEOUT_IDLE,
}


class AttemptVerdict(Enum):
    """What an attempt says of its provider: it answered, it failed, or nothing (the attempt was stopped)."""

    ANSWERED = auto()
    FAILED = auto()
    NOTHING = auto()


@dataclass(frozen=True)
class Circuit:
    """An open circuit. `failures` in a row; from `open_until` on, one call may probe."""

    provider_id: str
    provider: str
    model: str
    failures: int
    opened_at: datetime
    open_until: datetime
    reason: str

    @property
    def pause(self) -> timedelta:
        """How long it stays open at this number of failures: 30 s, doubled by every failed probe, up to 10 min."""
        return min(PAUSE * (1 << max(0, min(self.failures - THRESHOLD, 10))), LONGEST_PAUSE)

    def is_shut(self, now: datetime) -> bool:
        """Whether nothing may pass yet; a clock that was set back does not make it longer."""
        return now < self.open_until <= now + LONGEST_PAUSE


class Admission(Struct, frozen=True):
    """Leave to send one attempt, or the open circuit that refuses it. A probe's end decides about its circuit."""

    provider_id: str
    model: str
    is_probe: bool = False
    refused_by: Circuit | None = None


class Circuits:
    """The circuits as this process knows them. `admit` and `report` belong to the calls' loop."""

    def __init__(self, store: Store, fresh_s: float = FRESH_S) -> None:
        """`fresh_s`: seconds after which what other processes have opened is read again."""
        self.fresh_s = fresh_s
        self._store = store
        self._open: dict[tuple[str, str], Circuit] = {}
        self._failures: dict[tuple[str, str], int] = {}
        self._read_at = float("-inf")

    def list(self, actor: Actor) -> list[Circuit]:
        """The open ones, by provider and model."""
        actor.require(Permission.VIEW_CONFIGS)
        with self._store.read() as connection:
            return _read(connection)

    def close(self, actor: Actor, provider_id: str, model: str) -> None:
        """Let calls through again now; other processes follow within two seconds."""
        actor.require(Permission.MANAGE_PROVIDERS)
        with self._store.write() as connection:
            name = connection.scalar(select(providers.c.name).where(providers.c.id == provider_id))
            if connection.execute(delete(circuits).where(*_is(provider_id, model))).rowcount == 0:
                raise NotFound("The circuit is closed.", "A probe or somebody else closed it.")
            audit.record(connection, actor, "circuit.close", f"{name or provider_id} · {model}")
        self._open.pop((provider_id, model), None)

    async def admit(self, provider_id: str, model: str, *, anyway: bool = False) -> Admission:
        """Ask for leave to send one attempt; `anyway` (a person's test) passes an open circuit as a probe."""
        if time.monotonic() - self._read_at >= self.fresh_s:
            await asyncio.to_thread(self._refresh)
        circuit = self._open.get((provider_id, model))
        if circuit is None:
            return Admission(provider_id, model)
        if anyway:
            return Admission(provider_id, model, is_probe=True)
        now = utc_now()
        if not circuit.is_shut(now) and await self._try(self._take_probe, circuit, now):
            return Admission(provider_id, model, is_probe=True)
        return Admission(provider_id, model, refused_by=self._open.get((provider_id, model), circuit))

    def answered(self, admission: Admission) -> bool:
        """Note an answer where nothing has to be written; False where `report` has to be asked."""
        self._failures.pop((admission.provider_id, admission.model), None)
        return not admission.is_probe

    async def report(self, admission: Admission, verdict: AttemptVerdict, reason: str = "") -> None:
        """Tell how an admitted attempt ended; every admission is reported once."""
        key = (admission.provider_id, admission.model)
        if verdict is AttemptVerdict.ANSWERED:
            self._failures.pop(key, None)
        elif verdict is AttemptVerdict.FAILED and not admission.is_probe and key not in self._open:
            self._failures[key] = self._failures.get(key, 0) + 1
            if self._failures[key] >= THRESHOLD:
                await self._try(self._trip, key, self._failures.pop(key), reason)
        circuit = self._open.get(key)
        if not admission.is_probe or circuit is None:
            return
        if verdict is AttemptVerdict.ANSWERED:
            await self._try(self._end, circuit)
        elif verdict is AttemptVerdict.FAILED:
            failed = replace(circuit, failures=circuit.failures + 1, reason=reason)
            await self._try(self._move, replace(failed, open_until=utc_now() + failed.pause))
        else:
            await self._try(self._move, replace(circuit, open_until=utc_now()))

    async def _try(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Do database work in a thread; a database that refuses is logged and changes nothing for calls."""
        try:
            return await asyncio.to_thread(work, *arguments)
        except (SQLAlchemyError, LLMManagerError) as error:
            log.warning("A circuit's change could not be written: %s", error)
            return None

    def _refresh(self) -> None:
        self._read_at = time.monotonic()
        try:
            with self._store.read() as connection:
                open_circuits = _read(connection)
        except (SQLAlchemyError, LLMManagerError) as error:
            log.warning("The circuits could not be read: %s", error)
            return
        self._open = {(circuit.provider_id, circuit.model): circuit for circuit in open_circuits}

    def _take_probe(self, circuit: Circuit, now: datetime) -> bool:
        """Whether this call is the one probe: the first to move the moment on; the others wait for its pause."""
        moved = replace(circuit, open_until=now + circuit.pause)
        claim = update(circuits).where(*_is(circuit.provider_id, circuit.model), _C.open_until == circuit.open_until)
        with self._store.write() as connection:
            won = connection.execute(claim.values(open_until=moved.open_until, updated_at=now)).rowcount == 1
        if won:
            self._open[(circuit.provider_id, circuit.model)] = moved
        else:
            self._refresh()
        return won

    def _trip(self, key: tuple[str, str], failures: int, reason: str) -> None:
        now = utc_now()
        opened = Circuit(key[0], "", key[1], failures, now, now + PAUSE, reason)
        self._open[key] = opened
        row = {"failures": failures, "opened_at": now, "open_until": opened.open_until, "reason": reason[:500]}
        with self._store.write() as connection:
            if connection.scalar(select(_C.failures).where(*_is(*key))) is None:
                connection.execute(insert(circuits).values(provider_id=key[0], model=key[1], updated_at=now, **row))
        log.warning("The circuit of %s opened after %d failures: %s", key[1], failures, reason)

    def _move(self, circuit: Circuit) -> None:
        self._open[(circuit.provider_id, circuit.model)] = circuit
        values = {"failures": circuit.failures, "open_until": circuit.open_until, "reason": circuit.reason[:500]}
        with self._store.write() as connection:
            of_it = update(circuits).where(*_is(circuit.provider_id, circuit.model))
            connection.execute(of_it.values(updated_at=utc_now(), **values))

    def _end(self, circuit: Circuit) -> None:
        self._open.pop((circuit.provider_id, circuit.model), None)
        with self._store.write() as connection:
            connection.execute(delete(circuits).where(*_is(circuit.provider_id, circuit.model)))


def judge_attempt(failure: BaseException | None) -> AttemptVerdict:
    """Judge the provider by how an attempt ended: it answered, it failed, or the end tells nothing of it.

    `failure` is None when the stream ran to its end.
    """
    if failure is None:
        return AttemptVerdict.ANSWERED
    if not isinstance(failure, ProviderError) or failure.kind in (ErrorKind.TIMEOUT_TOTAL, ErrorKind.REFUSED):
        return AttemptVerdict.NOTHING
    return AttemptVerdict.FAILED if failure.kind in _FAULTS else AttemptVerdict.ANSWERED


def _is(provider_id: str, model: str) -> tuple[Any, Any]:
    return _C.provider_id == provider_id, _C.model == model


def _read(connection: Connection) -> list[Circuit]:
    query = (
        select(circuits, providers.c.name.label("provider"))
        .join(providers, providers.c.id == _C.provider_id)
        .where(_C.open_until.is_not(None))
        .order_by(providers.c.name, _C.model)
    )
    names = Circuit.__dataclass_fields__
    return [Circuit(**{name: row[name] for name in names}) for row in connection.execute(query).mappings()]

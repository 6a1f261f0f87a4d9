"""Rows of turns: what runs, what waits for a person with all that is needed to go on, how each ended.

The state of a turn that waits is sealed by the vault and erased at its end, so that no content policy keeps a turn
from waiting for days. A turn is resumed by whoever changes its row from waiting to running: one process alone.
"""

from datetime import timedelta
from typing import Any

from msgspec import convert, to_builtins
from sqlalchemy import RowMapping, delete, insert, select, update

from lib.access.membership import find_person
from lib.access.permissions import OPERATOR, Actor
from lib.access.team_scope import filter_owned
from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import processes, tool_turns
from lib.db.vault import Vault
from lib.errors import PermissionDenied
from lib.fast_json import decode, encode_text
from lib.tools.turn import RUNNING, WAITING, TurnState

_UNSEEN = timedelta(seconds=60)
_LOST = "The process that ran it ended before the answer came. Ask again."
_T = tool_turns.c


class TurnRows:
    """Writes and reads `tool_turns`."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    def open(self, state: TurnState, actor: Actor, process_id: str) -> None:
        """Write the row of a turn that begins."""
        row = {
            "id": state.turn_id,
            "user_id": state.user_id,
            "team_id": actor.team_id,
            "app": state.app or "",
            "origin": state.origin,
            "configuration_id": state.configuration_id,
            "conversation_id": state.conversation_id,
            "state": RUNNING,
            "process_id": process_id,
            "calls": [state.turn_id],
            "started_at": utc_now(),
        }
        with self._store.write() as connection:
            connection.execute(insert(tool_turns).values(**row))

    def forget(self, turn_id: str) -> None:
        """Delete the row of a turn of which nothing was sent."""
        with self._store.write() as connection:
            connection.execute(delete(tool_turns).where(_T.id == turn_id))

    def note_calls(self, turn_id: str, calls: list[str]) -> None:
        """Note the calls of the turn so far."""
        with self._store.write() as connection:
            connection.execute(update(tool_turns).where(_T.id == turn_id).values(calls=calls))

    def suspend(self, state: TurnState, reason: str) -> None:
        """Write down all that is needed to go on once a person has decided."""
        text = encode_text(to_builtins(state))
        with self._store.write() as connection:
            sealed = {"sealed": self._vault.encrypt(text, within=connection)}
            change = {"state": WAITING, "reason": reason, "request": sealed, "calls": state.calls, "process_id": None}
            connection.execute(update(tool_turns).where(_T.id == state.turn_id, _T.state == RUNNING).values(**change))

    def claim(self, turn_id: str, process_id: str) -> TurnState | None:
        """Take a waiting turn to go on with it; None when it does not wait, or another process was quicker."""
        with self._store.write() as connection:
            waiting = update(tool_turns).where(_T.id == turn_id, _T.state == WAITING)
            claimed = connection.execute(waiting.values(state=RUNNING, process_id=process_id, reason=""))
            if claimed.rowcount == 0:
                return None
            sealed = connection.scalar(select(_T.request).where(_T.id == turn_id))
        return self._unseal(sealed)

    def peek(self, turn_id: str) -> TurnState | None:
        """Read the state of a turn that waits; None when it does not."""
        with self._store.read() as connection:
            sealed = connection.scalar(select(_T.request).where(_T.id == turn_id, _T.state == WAITING))
        return None if sealed is None else self._unseal(sealed)

    def end(self, turn_id: str, state: str, reason: str, calls: list[str]) -> None:
        """Write how a turn ended, and erase what was needed to go on."""
        ending: dict[str, Any] = {"state": state, "reason": reason, "ended_at": utc_now(), "calls": calls}
        with self._store.write() as connection:
            is_open = _T.state.in_((RUNNING, WAITING))
            query = update(tool_turns).where(_T.id == turn_id, is_open)
            connection.execute(query.values(**ending, request=None, process_id=None))

    def read(self, actor: Actor, turn_id: str) -> RowMapping | None:
        """Read the row of the actor's own turn; None when there is none."""
        own = filter_owned(actor, _T.user_id, _T.team_id)
        with self._store.read() as connection:
            return connection.execute(select(tool_turns).where(_T.id == turn_id, own)).mappings().first()

    def recover(self) -> int:
        """Close the turns of dead processes; how many those were."""
        now = utc_now()
        alive = select(processes.c.id).where(processes.c.seen_at > now - _UNSEEN)
        lost = (_T.state == RUNNING, _T.process_id.notin_(alive))
        ending = {"state": "orphaned", "reason": _LOST, "ended_at": now, "request": None}
        with self._store.read() as connection:  # nobody waits for the lock while there is nothing to do
            if connection.scalar(select(_T.id).where(*lost).limit(1)) is None:
                return 0
        with self._store.write() as connection:
            return connection.execute(update(tool_turns).where(*lost).values(**ending)).rowcount

    def load_actor(self, user_id: str | None, team_id: int) -> Actor:
        """Load the person for whom a turn goes on, with the role that they have now; PermissionDenied if off."""
        if user_id is None:
            return OPERATOR
        with self._store.read() as connection:
            actor = find_person(connection, user_id, team_id)
        if actor is None:
            why = "The person it is for has no account any more, or is no member of the team."
            raise PermissionDenied("The turn can't go on.", why)
        return actor

    def _unseal(self, sealed: Any) -> TurnState | None:
        if not isinstance(sealed, dict) or "sealed" not in sealed:
            return None
        return convert(decode(self._vault.decrypt(sealed["sealed"])), TurnState)

"""The stop switch: within five seconds no process does anything more for what is stopped.

That is a key, a team, a tool, a server of tools, or everything.

What is stopped stands in the database. Each process reads it again when what it knows is older than two seconds, by one
asker while the others go on; a process that can't read it goes on with what it knows. Calls that run when the switch is
thrown are ended by their process's watch (`lib.calls.calls`).

Whoever was switched off, or is no more in the team that they act in, is stopped the same way: an experiment, a page
left open or a program that began before then pauses, until somebody else has it.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from lib.access import audit
from lib.access.permissions import NO_TEAM, Actor, Role
from lib.access.team_choices import StopKind
from lib.access.team_scope import is_usable
from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import ALL_TEAMS, api_keys, mcp_servers, stops, team_members, teams, tools, users
from lib.errors import Conflict, InstallationError, InvalidInput, NotFound, PermissionDenied
from lib.patterns import read_whole_number

_S = stops.c


@dataclass(frozen=True)
class Stop:
    """What is stopped: `subject` is a team's or a key's id, the name of a tool or a server, empty for everything.

    `label` is its name.
    """

    kind: StopKind
    subject: str
    label: str
    reason: str
    user_name: str
    at: datetime


class StopSwitch:
    """Throws and asks the switch. Thread-safe."""

    def __init__(self, store: Store, fresh_s: float = 2.0) -> None:
        """`fresh_s`: seconds after which what other processes have switched is read again."""
        self._fresh_s = fresh_s
        self._store = store
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._reasons: dict[tuple[str, str], str] = {}
        self._people: dict[str, tuple[bool, frozenset[int] | None]] = {}  # switched on, teams (None: every one)

    def list(self, actor: Actor) -> Sequence[Stop]:
        """List what is stopped and concerns the actor: everything, their team, its keys; the newest first."""
        with self._store.read() as connection:
            rows = connection.execute(select(stops).order_by(_S.at.desc())).all()
            owners = _read_owners(connection, rows)
        listed = list[Stop]()
        for row in rows:
            label, team_id = owners.get((row.kind, row.subject), (row.subject or row.kind, ALL_TEAMS))
            if is_usable(actor, team_id):
                listed.append(Stop(StopKind(row.kind), row.subject, label, row.reason, row.user_name, row.at))
        return listed

    def stop(self, actor: Actor, kind: StopKind | str, subject: str = "", reason: str = "") -> None:
        """Stop a key or a team (by its id) or everything; Conflict when it is stopped already."""
        chosen_kind, subject, team_id = self._check(actor, kind, subject)
        reason = " ".join(reason.split())[:200]
        row = {"kind": chosen_kind, "subject": subject, "reason": reason, "user_name": actor.name, "at": utc_now()}
        try:
            with self._store.write() as connection:
                connection.execute(insert(stops).values(**row))
                about = subject or "everything"
                audit.record(connection, actor, f"stop.{chosen_kind}", about, of_team=team_id, reason=reason)
        except IntegrityError as error:
            raise Conflict("It is stopped already.", "", "Start it again first.") from error
        self._read_at = float("-inf")

    def start(self, actor: Actor, kind: StopKind | str, subject: str = "") -> None:
        """Let it run again; NotFound when it was not stopped."""
        chosen_kind, subject, team_id = self._check(actor, kind, subject)
        with self._store.write() as connection:
            gone = connection.execute(delete(stops).where(_S.kind == chosen_kind, _S.subject == subject))
            if gone.rowcount == 0:
                raise NotFound("It was not stopped.")
            audit.record(connection, actor, f"start.{chosen_kind}", subject or "everything", of_team=team_id)
        self._read_at = float("-inf")

    def check(self, actor: Actor, **uses: str) -> None:
        """Raise PermissionDenied when what the actor does is stopped: by key, by team, or altogether.

        `uses` names what else it needs: `tool=`, `server=`.
        Reads nothing: `refresh` does, where `is_fresh` says that it is time.
        """
        if (refusal := self.find_refusal(actor, **uses)) is not None:
            raise refusal

    def find_refusal(self, actor: Actor, **uses: str) -> PermissionDenied | None:
        """Find why the actor's calls, or uses of something, are stopped; None while they are not."""
        if (away := self._find_absence(actor)) is not None:
            return away
        reasons = self._reasons
        if not reasons:
            return None
        subjects = [("everything", ""), ("team", str(actor.team_id))]
        if actor.key is not None:
            subjects.append(("key", actor.key.key_id))
        subjects += uses.items()
        for kind, subject in subjects:
            if (reason := reasons.get((kind, subject))) is not None:
                return _make_stop_refusal(kind, reason)
        return None

    def find_key_refusal(self, key_id: str) -> PermissionDenied | None:
        """Find why a key is stopped, whatever it is used for; None while it is not. Reads nothing, as `check`."""
        if (reason := self._reasons.get((StopKind.KEY, key_id))) is None:
            return None
        return _make_stop_refusal(StopKind.KEY, reason)

    def find_tool_refusal(self, actor: Actor, **uses: str) -> PermissionDenied | None:
        """Find why runs of tools are stopped for the actor, with everything else or alone; None while they are not."""
        if (refusal := self.find_refusal(actor, **uses)) is not None:
            return refusal
        if (reason := self._reasons.get((StopKind.TOOLS, ""))) is None:
            return None
        return PermissionDenied("All tools are stopped.", reason or "An administrator stopped them.", "Ask them.")

    @property
    def is_fresh(self) -> bool:
        """Whether what this process knows is younger than two seconds, or another asker reads it right now."""
        return time.monotonic() - self._read_at < self._fresh_s

    def refresh(self) -> None:
        """Read what is stopped, unless it is known; where the database can't be read, what is known holds."""
        with self._lock:
            if self.is_fresh:
                return
            self._read_at = time.monotonic()  # the others go on with what is known
        try:
            with self._store.read() as connection:
                rows = connection.execute(select(_S.kind, _S.subject, _S.reason)).all()
                people = _read_people(connection)
        except (SQLAlchemyError, InstallationError):
            return
        self._reasons = {(row.kind, row.subject): row.reason for row in rows}
        self._people = people

    def _find_absence(self, actor: Actor) -> PermissionDenied | None:
        """Find whether the person behind an actor was switched off or left the team; None for who has no account."""
        is_active, team_ids = self._people.get(actor.user_id or "", (True, None))
        if is_active and (team_ids is None or actor.team_id in team_ids):
            return None
        why = "The team has them no more as a member." if is_active else "Their account is switched off."
        return PermissionDenied(
            f"Calls of {actor.name} are paused.", why, "A team's administrator can take over what they have."
        )

    def _check(self, actor: Actor, kind: StopKind | str, subject: str) -> tuple[StopKind, str, int]:
        """The kind, the id and the team of what is named, if the actor may stop it."""
        try:
            chosen_kind = StopKind(kind)
        except ValueError as error:
            raise InvalidInput(f"{kind} can't be stopped.", "", f"Use {', '.join(StopKind)}.", field="kind") from error
        if chosen_kind not in (StopKind.TEAM, StopKind.KEY):
            actor.require_super_admin(f"stop {'everything' if chosen_kind is StopKind.EVERYTHING else 'what all use'}")
            if chosen_kind in (StopKind.EVERYTHING, StopKind.TOOLS):
                return chosen_kind, "", ALL_TEAMS
            if not 0 < len(subject) <= 80 or not subject.isprintable():
                raise InvalidInput(f"Which {chosen_kind}?", "", f"Name the {chosen_kind}.", field="subject")
            return chosen_kind, subject, ALL_TEAMS
        if chosen_kind is StopKind.TEAM:
            with self._store.read() as connection:
                is_named = (teams.c.slug == subject) | (teams.c.id == read_whole_number(subject))
                team_id = connection.scalar(select(teams.c.id).where(is_named))
            actor.require_team_administrator(-1 if team_id is None else team_id, "stop this team")
            if team_id is None:
                raise NotFound("There is no such team.")
            return chosen_kind, str(team_id), int(team_id)
        with self._store.read() as connection:
            team_id = connection.scalar(select(api_keys.c.team_id).where(api_keys.c.id == subject))
        actor.require_team_administrator(actor.team_id, "stop this key")
        if team_id is None or not (actor.sees_every_team or team_id == actor.team_id):
            raise NotFound("There is no such key.")
        return chosen_kind, subject, int(team_id)


def _make_stop_refusal(kind: str, reason: str) -> PermissionDenied:
    blocked = "Everything is" if kind == StopKind.EVERYTHING else f"This {kind} is"
    remedy = "Ask who stopped it, or a super-admin, to start it again."
    return PermissionDenied(f"{blocked} stopped.", reason or "An administrator stopped them.", remedy)


def _read_owners(connection: Connection, rows: Sequence[Any]) -> dict[tuple[str, str], tuple[str, int]]:
    """Read the names and teams of what is stopped, by kind and subject; what is of all teams may be missing.

    A key that is gone is nobody's. A tool of a server (`server__tool`) is of its server's team.
    """
    of_kind = {kind: [row.subject for row in rows if row.kind == kind] for kind in StopKind}
    owners: dict[tuple[str, str], tuple[str, int]] = {
        (StopKind.KEY, subject): (subject, NO_TEAM) for subject in of_kind[StopKind.KEY]
    }
    for row in connection.execute(select(teams.c.id, teams.c.name)):
        owners[StopKind.TEAM, str(row.id)] = (row.name, row.id)
    keys = select(api_keys.c.id, api_keys.c.name, api_keys.c.team_id).where(api_keys.c.id.in_(of_kind[StopKind.KEY]))
    for key in connection.execute(keys):
        owners[StopKind.KEY, key.id] = (key.name, key.team_id)
    server_of = {subject: subject.partition("__")[0] for subject in of_kind[StopKind.TOOL] if "__" in subject}
    names = {*of_kind[StopKind.SERVER], *server_of.values()}
    servers = select(mcp_servers.c.name, mcp_servers.c.team_id).where(mcp_servers.c.name.in_(names))
    team_of = {row.name: row.team_id for row in connection.execute(servers)}
    for subject, server in [*server_of.items(), *((name, name) for name in of_kind[StopKind.SERVER])]:
        kind = StopKind.TOOL if subject in server_of else StopKind.SERVER
        owners[kind, subject] = (subject, team_of.get(server, ALL_TEAMS))
    own_tools = select(tools.c.name, tools.c.team_id).where(tools.c.name.in_(of_kind[StopKind.TOOL]))
    for row in connection.execute(own_tools):
        if row.name not in server_of:
            owners[StopKind.TOOL, row.name] = (row.name, row.team_id)
    return owners


def _read_people(connection: Connection) -> dict[str, tuple[bool, frozenset[int] | None]]:
    """Read who is switched on, and in which teams; super-admins are in every one."""
    team_ids: dict[str, set[int]] = {}
    for user_id, team_id in connection.execute(select(team_members.c.user_id, team_members.c.team_id)):
        team_ids.setdefault(user_id, set()).add(team_id)
    rows = connection.execute(select(users.c.id, users.c.is_active, users.c.role))
    return {
        row.id: (row.is_active, None if row.role == Role.SUPER_ADMIN else frozenset(team_ids.get(row.id, ())))
        for row in rows
    }

"""Signing in: a random token in the browser's cookie, its SHA-256 as a row here; deleting the row signs out everywhere.

A wrong name and a wrong password have one answer and take one time. Failures are counted per name and per network
address; after a few, each further one doubles a pause that ends by itself, so nobody is locked out for good.
"""

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, or_, select, update

from lib.access.passwords import matches
from lib.access.permissions import Actor, Role, actor_for
from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import login_failures, sessions, users
from lib.errors import InvalidInput, Throttled

LIFETIME = timedelta(days=14)
IDLE = timedelta(days=3)
_SEEN_EVERY = timedelta(minutes=5)
_FREE_TRIES_NAME, _FREE_TRIES_ADDRESS = 5, 20
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2, 900
_FORGET = timedelta(hours=24)


class Sessions:
    """Server-side sessions. A token is 256 random bits and is never stored."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def login(self, name: str, password: str, address: str, user_agent: str = "") -> str:
        """The token of a new session; InvalidInput for wrong names and passwords alike, Throttled after too many."""
        subjects = {_digest("name:" + name.strip().casefold()): _FREE_TRIES_NAME}
        subjects[_digest("address:" + address)] = _FREE_TRIES_ADDRESS
        self._refuse_throttled(subjects)
        with self._store.read() as connection:
            row = (
                connection.execute(select(users).where(users.c.name_key == name.strip().casefold())).mappings().first()
            )
        right = matches(password, row["password_hash"] if row and row["is_active"] else None)
        with self._store.write() as connection:
            if not right or row is None:
                _count_failure(connection, subjects)
            else:
                connection.execute(delete(login_failures).where(login_failures.c.subject.in_(subjects)))
                return _open(connection, row["id"], user_agent)
        raise InvalidInput("The user name or the password is not right.", "", "Check both and try again.")

    def check_pause(self, address: str) -> None:
        """Throttled while an address has to wait (for the set-up code, which is guessed like a password)."""
        self._refuse_throttled({_digest("address:" + address): _FREE_TRIES_ADDRESS})

    def count_failure(self, address: str) -> None:
        """Count a wrong try of an address."""
        with self._store.write() as connection:
            _count_failure(connection, [_digest("address:" + address)])

    def open_for(self, user_id: str, user_agent: str = "") -> str:
        """The token of a new session for a person who was just created."""
        with self._store.write() as connection:
            return _open(connection, user_id, user_agent)

    def actor(self, token: str | None) -> Actor | None:
        """Whose session it is, or None when it has ended or its user is disabled."""
        if not token:
            return None
        now, token_hash = utc_now(), _digest(token)
        query = (
            select(users.c.id, users.c.name, users.c.role, sessions.c.last_seen_at)
            .join(sessions, sessions.c.user_id == users.c.id)
            .where(sessions.c.token_hash == token_hash, _valid())
        )
        with self._store.read() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            return None
        if now - row["last_seen_at"] > _SEEN_EVERY:
            with self._store.write() as connection:
                seen = update(sessions).where(sessions.c.token_hash == token_hash).values(last_seen_at=now)
                connection.execute(seen)
        return actor_for(row["id"], row["name"], Role(row["role"]))

    def revoked(self, tokens: Iterable[str]) -> set[str]:
        """Those of the tokens whose session has ended."""
        by_hash = {_digest(token): token for token in tokens}
        if not by_hash:
            return set()
        query = (
            select(sessions.c.token_hash)
            .join(users, users.c.id == sessions.c.user_id)
            .where(sessions.c.token_hash.in_(by_hash), _valid())
        )
        with self._store.read() as connection:
            alive = set(connection.scalars(query))
        return {token for token_hash, token in by_hash.items() if token_hash not in alive}

    def end(self, token: str) -> None:
        """Sign this browser out, in every tab."""
        with self._store.write() as connection:
            connection.execute(delete(sessions).where(sessions.c.token_hash == _digest(token)))

    def end_all_of(self, user_id: str) -> None:
        """Sign a person out everywhere."""
        with self._store.write() as connection:
            connection.execute(delete(sessions).where(sessions.c.user_id == user_id))

    def sweep(self) -> None:
        """Forget sessions that have run out and failures of yesterday."""
        now = utc_now()
        over = or_(sessions.c.expires_at <= now, sessions.c.last_seen_at <= now - IDLE)
        with self._store.write() as connection:
            connection.execute(delete(sessions).where(over))
            connection.execute(delete(login_failures).where(login_failures.c.last_failed_at <= now - _FORGET))

    def _refuse_throttled(self, subjects: dict[str, int]) -> None:
        with self._store.read() as connection:
            rows = connection.execute(select(login_failures).where(login_failures.c.subject.in_(subjects))).mappings()
            waits = [_wait_s(row["failures"], subjects[row["subject"]], row["last_failed_at"]) for row in rows]
        if (wait := max(waits, default=0)) > 0:
            why = "There were too many wrong tries."
            raise Throttled("Signing in is paused.", why, f"Try again in {wait} s.", retry_after=wait)


def _wait_s(failures: int, free: int, last_failed_at: datetime) -> int:
    """Seconds still to wait: nothing for the free tries, then 2, 4, 8 … up to a quarter of an hour."""
    if failures < free:
        return 0
    pause = min(_FIRST_PAUSE_S * 2 ** min(failures - free, 20), _LONGEST_PAUSE_S)
    left = pause - (utc_now() - last_failed_at).total_seconds()
    return max(0, int(left) + 1) if left > 0 else 0


def _count_failure(connection: Connection, subjects: Iterable[str]) -> None:
    now = utc_now()
    for subject in sorted(subjects):
        counted = (
            update(login_failures)
            .where(login_failures.c.subject == subject)
            .values(failures=login_failures.c.failures + 1, last_failed_at=now)
        )
        if connection.execute(counted).rowcount == 0:
            connection.execute(insert(login_failures), {"subject": subject, "failures": 1, "last_failed_at": now})


def _open(connection: Connection, user_id: str, user_agent: str) -> str:
    token, now = secrets.token_urlsafe(32), utc_now()
    row = {"token_hash": _digest(token), "user_id": user_id, "created_at": now, "last_seen_at": now}
    connection.execute(insert(sessions), row | {"expires_at": now + LIFETIME, "user_agent": user_agent[:200]})
    connection.execute(update(users).where(users.c.id == user_id).values(last_login_at=now))
    return token


def _valid() -> ColumnElement[bool]:
    now = utc_now()
    return and_(sessions.c.expires_at > now, sessions.c.last_seen_at > now - IDLE, users.c.is_active)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()

"""Signing in: a random token in the browser's cookie, its SHA-256 as a row here; deleting the row signs out everywhere.

A wrong name and a wrong password have one answer and take one time; `throttle` slows guessing down.
"""

import hashlib
import secrets
from collections.abc import Iterable
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, or_, select, update

from lib.access.membership import find_person
from lib.access.passwords import matches
from lib.access.permissions import Actor
from lib.access.throttle import Throttle, build_address_subject, build_name_subject
from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import sessions, users
from lib.errors import InvalidInput

LIFETIME = timedelta(days=14)
IDLE = timedelta(days=3)
_SEEN_EVERY = timedelta(minutes=5)


class Sessions:
    """Server-side sessions. A token is 256 random bits and is never stored."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._throttle = Throttle(store)

    def login(self, name: str, password: str, address: str, user_agent: str = "") -> str:
        """Check a name and password and return a new session's token. Raises InvalidInput for wrong names and
        passwords alike, Throttled after too many.
        """
        tries = (build_name_subject(name), build_address_subject(address))
        key = name.strip().casefold().replace("\0", "")
        self._throttle.spend(*tries)
        with self._store.read() as connection:
            row = connection.execute(select(users).where(users.c.name_key == key)).mappings().first()
        right = matches(password, row["password_hash"] if row and row["is_active"] else None)
        if not right or row is None:
            raise InvalidInput("The user name or the password is not right.", "", "Check both and try again.")
        with self._store.write() as connection:
            still = select(users.c.id).where(users.c.id == row["id"], users.c.password_hash == row["password_hash"])
            if connection.scalar(still.where(users.c.is_active).with_for_update()) is None:
                raise InvalidInput("This account has just changed.", "", "Sign in again.")
            self._throttle.forgive(connection, *tries)
            return _open(connection, row["id"], user_agent)

    def count_try(self, address: str) -> None:
        """Count a try from an address, or Throttled (for the set-up code, which is guessed like a password)."""
        self._throttle.spend(build_address_subject(address))

    def refund_try(self, address: str) -> None:
        """Give the try back: the code was right."""
        with self._store.write() as connection:
            self._throttle.refund(connection, build_address_subject(address))

    def open_for(self, user_id: str, user_agent: str = "") -> str:
        """The token of a new session for a person who was just created."""
        with self._store.write() as connection:
            return _open(connection, user_id, user_agent)

    def find_actor(self, token: str | None) -> Actor | None:
        """Find whose session a token opens; None when it has ended or its user is disabled."""
        if not token:
            return None
        now = utc_now()
        token_hash = _hash_token(token)
        query = (
            select(users.c.id, sessions.c.last_seen_at)
            .join(sessions, sessions.c.user_id == users.c.id)
            .where(sessions.c.token_hash == token_hash, _is_valid())
        )
        with self._store.read() as connection:
            row = connection.execute(query).mappings().first()
            actor = None if row is None else find_person(connection, row["id"])
        if row is None or actor is None:
            return None
        if now - row["last_seen_at"] > _SEEN_EVERY:
            with self._store.write() as connection:
                touch = update(sessions).where(sessions.c.token_hash == token_hash).values(last_seen_at=now)
                connection.execute(touch)
        return actor

    def find_revoked(self, tokens: Iterable[str]) -> set[str]:
        """Return those of the tokens whose session has ended."""
        by_hash = {_hash_token(token): token for token in tokens}
        if not by_hash:
            return set()
        query = (
            select(sessions.c.token_hash)
            .join(users, users.c.id == sessions.c.user_id)
            .where(sessions.c.token_hash.in_(by_hash), _is_valid())
        )
        with self._store.read() as connection:
            alive = set(connection.scalars(query))
        return {token for token_hash, token in by_hash.items() if token_hash not in alive}

    def end(self, token: str) -> None:
        """Sign this browser out, in every tab."""
        with self._store.write() as connection:
            connection.execute(delete(sessions).where(sessions.c.token_hash == _hash_token(token)))

    def end_all_of(self, user_id: str) -> None:
        """Sign a person out everywhere."""
        with self._store.write() as connection:
            connection.execute(delete(sessions).where(sessions.c.user_id == user_id))

    def sweep(self) -> None:
        """Forget sessions that have run out and wrong tries of yesterday."""
        now = utc_now()
        over = or_(sessions.c.expires_at <= now, sessions.c.last_seen_at <= now - IDLE)
        with self._store.write() as connection:
            connection.execute(delete(sessions).where(over))
        self._throttle.sweep()


def _open(connection: Connection, user_id: str, user_agent: str) -> str:
    token = secrets.token_urlsafe(32)
    now = utc_now()
    row = {"token_hash": _hash_token(token), "user_id": user_id, "created_at": now, "last_seen_at": now}
    connection.execute(insert(sessions), row | {"expires_at": now + LIFETIME, "user_agent": user_agent[:200]})
    connection.execute(update(users).where(users.c.id == user_id).values(last_login_at=now))
    return token


def _is_valid() -> ColumnElement[bool]:
    now = utc_now()
    return and_(sessions.c.expires_at > now, sessions.c.last_seen_at > now - IDLE, users.c.is_active)


def _hash_token(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()

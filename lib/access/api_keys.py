"""API keys of programs: making, changing, revoking; and `authenticate`, which a door asks for every request.

A key is `llmm_` and 256 random bits. It is shown once; its SHA-256 is stored. What was looked up counts for four
seconds in this process, so a revoked key, a changed scope and a disabled owner take effect everywhere within five. A
key that is unknown, revoked, expired or whose owner is disabled has one answer, None, and takes one path. When a key
was last used is noted in memory and written for all keys together, at most once a minute for each.
"""

import hashlib
import hmac
import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, func, insert, or_, select, true, update
from sqlalchemy.exc import SQLAlchemyError

from lib.access import audit
from lib.access.api_key import ApiKey, build_api_key, check_app, check_expiry, check_name, check_scopes
from lib.access.grants import MODEL_ENDPOINTS, NO_LIMITS, GatewayEndpoint, Limits
from lib.access.limits import check_limits, prepare_counters
from lib.access.membership import find_person
from lib.access.permissions import Actor, Permission
from lib.access.team_scope import require_team
from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.tables import api_keys, team_members, users
from lib.errors import Conflict, InstallationError, NotFound, PermissionDenied

log = logging.getLogger(__name__)
PREFIX_LENGTH = 12
_FRESH_S = 4.0
_MOST_KEPT = 10_000
_USED_EVERY = timedelta(minutes=1)
_WRITE_EVERY_S = 10.0
_NEVER = "0" * 64
_M = team_members.c


class ApiKeys:
    """The keys of all programs. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._cache: OrderedDict[str, tuple[float, ApiKey | None]] = OrderedDict()
        self._last_uses: dict[str, datetime] = {}
        self._written_at = -_WRITE_EVERY_S

    def create(
        self,
        actor: Actor,
        *,
        app: str,
        name: str = "",
        owner_id: str | None = None,
        models: Sequence[str] = (),
        endpoints: Sequence[str] = MODEL_ENDPOINTS,
        limits: Limits = NO_LIMITS,
        expires_at: datetime | None = None,
        serves_many: bool = False,
    ) -> tuple[str, ApiKey]:
        """A new key and what is kept of it; the key can't be seen again. Without `owner_id` it is the actor's own."""
        _require_person(actor)
        owner_id = owner_id or actor.user_id
        team_id = require_team(actor)
        if owner_id != actor.user_id:
            actor.require_super_admin("make keys for others")  # a key reads its owner's words
        app = check_app(app)
        token = "llmm_" + secrets.token_urlsafe(32)
        now = utc_now()
        check_limits(limits)
        row = {
            "id": make_id(),
            "name": check_name(name, app),
            "prefix": token[:PREFIX_LENGTH],
            "hash": _hash_token(token),
            "app": app,
            "user_id": owner_id,
            "team_id": team_id,
            "scopes": check_scopes(models, endpoints, serves_many=serves_many),
            **vars(limits),
            "expires_at": check_expiry(expires_at),
            "created_at": now,
            "created_by": actor.user_id,
        }
        with self._store.write() as connection:
            if owner_id is not None and find_person(connection, owner_id, team_id) is None:
                raise NotFound("There is no such active user in the team.", "", "Choose another owner.")
            connection.execute(insert(api_keys), row)
            prepare_counters(connection, [f"key:{row['id']}"])
            detail = {"app": app, "owner": owner_id, "scopes": row["scopes"], **vars(limits)}
            subject = f"{row['prefix']}… {row['name']}"
            audit.record(connection, actor, "api_key.create", subject, of_team=team_id, **detail)
            return token, _get(connection, api_keys.c.id == row["id"])

    def list(self, actor: Actor) -> list[ApiKey]:
        """The actor's keys in the team, for those who administer it all of the team's, for a super-admin everybody's;
        the newest first.
        """
        _require_person(actor)
        with self._store.read() as connection:
            rows = (
                connection.execute(_build_query().where(_filter_visible(actor)).order_by(api_keys.c.id.desc()))
                .mappings()
                .all()
            )
        return [build_api_key(row) for row in rows]

    def find(self, actor: Actor, prefix: str) -> ApiKey:
        """The key that begins so and is not revoked; Conflict when there are several."""
        _require_person(actor)
        begins = func.substr(api_keys.c.prefix, 1, min(len(prefix), PREFIX_LENGTH)) == prefix[:PREFIX_LENGTH]
        with self._store.read() as connection:
            query = _build_query().where(_filter_visible(actor), begins, api_keys.c.revoked_at.is_(None)).limit(2)
            rows = connection.execute(query).mappings().all()
        if not rows or not prefix:
            raise NotFound("No key begins so.", "It does not exist, is revoked, or belongs to somebody else.")
        if len(rows) > 1:
            raise Conflict("Several keys begin so.", "", f"Give more of it, up to {PREFIX_LENGTH} characters.")
        return build_api_key(rows[0])

    def update(
        self,
        actor: Actor,
        key_id: str,
        *,
        name: str,
        models: Sequence[str],
        endpoints: Sequence[str],
        limits: Limits,
        expires_at: datetime | None,
        serves_many: bool | None = None,
    ) -> ApiKey:
        """Change a key that the actor made (any, for who administers its team); app, owner and team stay."""
        _require_person(actor)
        check_limits(limits)
        made_by_actor = true() if actor.rules_team else api_keys.c.created_by == actor.user_id
        conditions = (api_keys.c.id == key_id, _filter_visible(actor), api_keys.c.revoked_at.is_(None))
        with self._store.write() as connection:
            key = _get(connection, *conditions)
            if expires_at != key.expires_at:
                check_expiry(expires_at)
            if key.user_id != actor.user_id and GatewayEndpoint.TEAMS in {*endpoints} - {*key.grant.endpoints}:
                actor.require_super_admin("let others' keys rule teams")  # it would act with its owner's rights
            serves_many = key.grant.serves_many if serves_many is None else serves_many
            values: dict[str, Any] = {
                "name": check_name(name, key.app),
                "scopes": check_scopes(models, endpoints, serves_many=serves_many),
                "expires_at": expires_at,
                **vars(limits),
            }
            if connection.execute(update(api_keys).where(*conditions, made_by_actor).values(**values)).rowcount == 0:
                raise PermissionDenied("You can't change this key.", "Somebody else made it for you.", "Ask them.")
            prepare_counters(connection, [f"key:{key_id}"])
            detail = {"scopes": values["scopes"], "expires_at": expires_at and expires_at.isoformat()} | vars(limits)
            subject = f"{key.prefix}… {values['name']}"
            audit.record(connection, actor, "api_key.change", subject, of_team=key.team_id, **detail)
            after = _get(connection, api_keys.c.id == key_id)
        self._forget()
        return after

    def revoke(self, actor: Actor, key_id: str) -> None:
        """End a key for good: here at once, in every process within five seconds."""
        _require_person(actor)
        conditions = (api_keys.c.id == key_id, _filter_visible(actor), api_keys.c.revoked_at.is_(None))
        with self._store.write() as connection:
            key = _get(connection, *conditions)
            connection.execute(update(api_keys).where(*conditions).values(revoked_at=utc_now()))
            subject = f"{key.prefix}… {key.name}"
            audit.record(connection, actor, "api_key.revoke", subject, of_team=key.team_id, app=key.app)
        self._forget()

    def authenticate(self, token: str) -> ApiKey | None:
        """Find the key of a token, with `actor` set, or None. The database is asked when what this process knows of
        the token is older than four seconds.
        """
        digest = _hash_token(token)
        is_cached, key = self._recall(digest)
        return key if is_cached else self._look_up(digest)

    async def authenticate_async(self, token: str) -> ApiKey | None:
        """Find the key of a token from an event loop; where the database is asked, that happens in a thread."""
        import asyncio

        digest = _hash_token(token)
        is_cached, key = self._recall(digest)
        return key if is_cached else await asyncio.to_thread(self._look_up, digest)

    def find_ruler(self, key_id: str) -> Actor:
        """Find the owner of a key for teams, with all that they may do to teams; PermissionDenied for other keys.

        Such a key rules for the person who made it: one that was made for somebody else, or handed over, does not.
        """
        with self._store.read() as connection:
            key = _find_working(connection, key_id)
            is_own = key is not None and key.user_id is not None and key.created_by == key.user_id
            owner = find_person(connection, key.user_id or "", key.team_id) if key is not None and is_own else None
        if key is None or owner is None:
            why = "It belongs to nobody, or another person than its owner made it."
            raise PermissionDenied("This API key rules no team.", why, "Make a key of your own for it.")
        key.grant.require_endpoint(GatewayEndpoint.TEAMS)
        return owner

    def write_last_used(self) -> None:
        """Write when keys were last used; where the database can't be written, they wait for the next call."""
        with self._lock:
            used = self._last_uses
            self._last_uses = {}
            self._written_at = time.monotonic()
        if not used:
            return
        older = or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at <= bindparam("before"))
        change = update(api_keys).where(api_keys.c.id == bindparam("of"), older)
        rows = [{"of": key, "at": at, "before": at - _USED_EVERY} for key, at in sorted(used.items())]
        try:
            with self._store.write() as connection:
                connection.execute(change.values(last_used_at=bindparam("at")), rows)
        except (SQLAlchemyError, InstallationError) as error:
            log.warning("When keys were last used waits to be written: %s", error)
            with self._lock:
                self._last_uses = used | self._last_uses

    def _recall(self, digest: str) -> tuple[bool, ApiKey | None]:
        with self._lock:
            at, key = self._cache.get(digest, (0.0, None))
            if digest not in self._cache or time.monotonic() - at >= _FRESH_S:
                return False, None
            return True, self._note_use(key)

    def _look_up(self, digest: str) -> ApiKey | None:
        looked_up_at = time.monotonic()  # before the query: a later change is seen in four seconds
        with self._store.read() as connection:
            query = _build_query().add_columns(api_keys.c.hash).where(api_keys.c.hash == digest)
            row = connection.execute(query).mappings().first()
        matches = hmac.compare_digest(row["hash"] if row else _NEVER, digest)
        key = build_api_key(row) if row and matches else None
        if key is not None and (key.revoked_at is not None or key.actor is None):
            key = None
        with self._lock:
            self._cache[digest] = (looked_up_at, key)
            self._cache.move_to_end(digest)
            while len(self._cache) > _MOST_KEPT:
                self._cache.popitem(last=False)
            key = self._note_use(key)
            write = bool(self._last_uses) and looked_up_at - self._written_at >= _WRITE_EVERY_S
        if write:
            self.write_last_used()
        return key

    def _note_use(self, key: ApiKey | None) -> ApiKey | None:
        """The key unless it has expired by now. Holds the lock."""
        now = utc_now()
        if key is None or (key.expires_at is not None and key.expires_at <= now):
            return None
        if key.last_used_at is None or now - key.last_used_at >= _USED_EVERY:
            self._last_uses[key.id] = now
        return key

    def _forget(self) -> None:
        with self._lock:
            self._cache.clear()


def find_key_actor(connection: Connection, key_id: str) -> Actor | None:
    """Find for whom a key acts, by its id: for work that goes on after its request; None when it is not valid now."""
    key = _find_working(connection, key_id)
    return None if key is None else key.actor


def _find_working(connection: Connection, key_id: str) -> ApiKey | None:
    """A key by its id that is valid now, with somebody for whom it acts."""
    row = connection.execute(_build_query().where(api_keys.c.id == key_id)).mappings().first()
    key = None if row is None else build_api_key(row)
    if key is None or key.actor is None or key.revoked_at is not None:
        return None
    return None if key.expires_at is not None and key.expires_at <= utc_now() else key


def _require_person(actor: Actor) -> None:
    """Keys are for who may call models; a key does not make or change keys, so its scope can't be widened with it."""
    actor.require(Permission.TEST_CONFIGS)
    if actor.key is not None:
        raise PermissionDenied("An API key can't manage keys.", "", "Sign in on the page API keys.")


def _build_query() -> Select[Any]:
    owner = (users.c.name.label("owner"), users.c.role.label("owner_role"), users.c.is_active.label("owner_is_active"))
    member = (_M.role.label("owner_team_role"), _M.user_id.is_not(None).label("owner_is_member"))
    columns = [column for column in api_keys.columns if column is not api_keys.c.hash]
    joined = api_keys.outerjoin(users, users.c.id == api_keys.c.user_id).outerjoin(
        team_members, (_M.user_id == api_keys.c.user_id) & (_M.team_id == api_keys.c.team_id)
    )
    return select(*columns, *owner, *member).select_from(joined)


def _filter_visible(actor: Actor) -> ColumnElement[bool]:
    """Keys of the actor in the chosen team, or all that the actor administers."""
    if actor.sees_every_team:
        return true()
    of_team = api_keys.c.team_id == actor.team_id
    return of_team if actor.rules_team else and_(of_team, api_keys.c.user_id == actor.user_id)


def _get(connection: Connection, *conditions: ColumnElement[bool]) -> ApiKey:
    row = connection.execute(_build_query().where(*conditions)).mappings().first()
    if row is None:
        raise NotFound("There is no such key.", "It does not exist, is revoked, or belongs to somebody else.")
    return build_api_key(row)


def _hash_token(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()

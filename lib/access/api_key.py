"""An API key as a value, and the checks of what a person may put into one.

A key acts as its owner with less: never as super-admin (keys manage no people, make no keys and read nobody else's
words), and without the endpoint `api` with the permission to call models alone. A key without an owner is a program of
its own: what it does belongs to nobody else. A key belongs to one team: what it calls is the team's, and it works
only while its owner is a member.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lib.access.grants import GatewayEndpoint, KeyGrant, Limits
from lib.access.permissions import Actor, Permission, Role, make_actor
from lib.clock import utc_now
from lib.errors import InvalidInput
from lib.patterns import compile_pattern

_CALLING = frozenset({Permission.VIEW_CONFIGS, Permission.TEST_CONFIGS})
_APP = compile_pattern(r"[a-z0-9][a-z0-9._\-]{0,79}")
_PATTERN = compile_pattern(r"[^\s\[\]?,'\"\\]{1,281}")
_MOST_PATTERNS = 100


@dataclass(frozen=True)
class ApiKey:
    """A key without its secret. `actor` is None when its owner is disabled."""

    id: str
    name: str
    prefix: str
    user_id: str | None
    team_id: int
    owner: str  # their name; empty: nobody
    grant: KeyGrant
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None  # to the minute
    created_at: datetime
    created_by: str | None
    actor: Actor | None = field(repr=False)
    is_owner_away: bool = False  # from the key's team

    @property
    def app(self) -> str:
        """The app that every call of the key counts for."""
        return self.grant.app

    def state(self, now: datetime | None = None) -> str:
        """Say whether the key is `active`, `expired`, `revoked`, `owner disabled`, or `owner left the team`."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= (now or utc_now()):
            return "expired"
        if self.is_owner_away:
            return "owner left the team"
        return "active" if self.actor is not None else "owner disabled"


def build_api_key(row: Mapping[Any, Any]) -> ApiKey:
    """The key of a row of `api_keys` joined with its owner's name, role and state."""
    scopes = row["scopes"]
    grant = KeyGrant(
        row["id"],
        row["app"],
        tuple(scopes["models"]),
        tuple(GatewayEndpoint(name) for name in scopes["endpoints"]),
        Limits(row["requests_per_minute"], row["tokens_per_minute"], row["concurrency"]),
        bool(scopes.get("serves_many", False)),
    )
    columns = (
        "id",
        "name",
        "prefix",
        "user_id",
        "team_id",
        "expires_at",
        "revoked_at",
        "last_used_at",
        "created_at",
        "created_by",
    )
    actor = _build_actor(row, grant)
    is_away = actor is None and bool(row["owner_is_active"])
    return ApiKey(
        **{name: row[name] for name in columns},
        owner=row["owner"] or "",
        grant=grant,
        actor=actor,
        is_owner_away=is_away,
    )


def _build_actor(row: Mapping[Any, Any], grant: KeyGrant) -> Actor | None:
    team_id: int = row["team_id"]
    if row["user_id"] is None:
        return Actor(
            row["id"], f"key {row['name']}", Role.ADMINISTRATOR, _CALLING, grant, team_id=team_id, team_ids=(team_id,)
        )
    if not row["owner_is_active"]:
        return None
    role = Role(row["owner_role"])
    if role is not Role.SUPER_ADMIN and not row["owner_is_member"]:
        return None
    team_role = row["owner_team_role"] and Role(row["owner_team_role"])
    owner = make_actor(row["user_id"], row["owner"], role, {team_id: team_role}, team_id)
    permissions = owner.permissions
    if GatewayEndpoint.API not in grant.endpoints:
        permissions &= _CALLING
    lowered = Role.MASTER_DEVELOPER if owner.role is Role.SUPER_ADMIN else owner.role
    return Actor(row["user_id"], row["owner"], lowered, permissions, grant, team_id=team_id, team_ids=(team_id,))


def check_app(text: str) -> str:
    """Return an app's name without spaces around it; raises InvalidInput."""
    text = text.strip()
    if _APP.fullmatch(text):
        return text
    if not text:
        raise InvalidInput("The app is missing.", "", "Name it like support-bot.", field="app")
    why = f"{text[:40]!r} must be lower-case letters, digits, dots, dashes or underscores, at most 80."
    raise InvalidInput("The app can't be used.", why, "Write it like support-bot.", field="app")


def check_name(text: str, app: str) -> str:
    """Return a key's name, or its app's when it has none; raises InvalidInput."""
    text = text.strip() or app
    if len(text) <= 80 and text.isprintable():
        return text
    raise InvalidInput("The name can't be used.", "It is longer than 80 characters.", "Shorten it.", field="name")


def check_scopes(models: Sequence[str], endpoints: Sequence[str], *, serves_many: bool = False) -> dict[str, Any]:
    """Return a key's scopes as the database stores them; raises InvalidInput with what can't be used."""
    patterns = list(dict.fromkeys(pattern.strip() for pattern in models if pattern.strip()))
    if wrong := next((pattern for pattern in patterns if not _PATTERN.fullmatch(pattern)), None):
        fix = "Write a configuration's name, or provider/model; * stands for anything."
        raise InvalidInput(f"{wrong[:60]!r} can't be a model.", "", fix, field="models")
    if len(patterns) > _MOST_PATTERNS:
        raise InvalidInput(f"More than {_MOST_PATTERNS} models.", "", "Use * to name several at once.", field="models")
    endpoint_names = [endpoint.value for endpoint in GatewayEndpoint]
    if unknown := set(endpoints) - set(endpoint_names):
        wrong = ", ".join(sorted(unknown))[:60]
        raise InvalidInput(
            f"There is no endpoint {wrong}.", "", f"Use any of {', '.join(endpoint_names)}.", field="endpoints"
        )
    if not endpoints:
        raise InvalidInput("The key has no endpoint.", "It could be used nowhere.", "Choose one.", field="endpoints")
    scopes: dict[str, Any] = {"models": patterns, "endpoints": [name for name in endpoint_names if name in endpoints]}
    return scopes | {"serves_many": True} if serves_many else scopes


def check_expiry(expires_at: datetime | None) -> datetime | None:
    """Return a moment to come, or None for never; raises InvalidInput for one that has passed."""
    if expires_at is not None and expires_at <= utc_now():
        raise InvalidInput("The key would have expired already.", "", "Choose a later day.", field="expires_at")
    return expires_at

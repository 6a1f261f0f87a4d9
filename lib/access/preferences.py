"""What each person has set for themselves, a JSON value per key, in the database: it follows them to any browser.

The machine's operator has no user row: they get the defaults, and setting is refused. Keys in use:
`report.zone` (an IANA name), `playground.configuration` (a slug), `conversations.configuration` (an id) and
`conversations.auto_title` (whether a model finds titles).
"""

from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from lib.access.permissions import Actor
from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import user_preferences
from lib.errors import InvalidInput, PermissionDenied

REPORT_ZONE = "report.zone"
PLAYGROUND_CONFIGURATION = "playground.configuration"
_UTC = ZoneInfo("UTC")


class Preferences:
    """A person's own settings; nobody reads or sets another's."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, actor: Actor, key: str, default: Any = None) -> Any:
        """The value, or `default` when it was never set."""
        if actor.user_id is None:
            return default
        query = select(user_preferences.c.value).where(*_is_own(actor.user_id, key))
        with self._store.read() as connection:
            row = connection.execute(query).one_or_none()
        return default if row is None else row.value

    def set(self, actor: Actor, key: str, value: Any) -> None:
        """Keep a JSON value; the time zone is checked to be one."""
        if actor.user_id is None:
            raise PermissionDenied(
                "The operator has no preferences.", "They belong to a person's account.", "Sign in as that person."
            )
        if key == REPORT_ZONE and _find_zone(value) is None:
            raise InvalidInput(
                "There is no such time zone.", f"The name {value!r} is not known.", "Choose one of the list.", key
            )
        values = {"value": value, "updated_at": utc_now()}
        insert = sqlite.insert if self._store.is_sqlite else postgresql.insert  # one statement: two tabs may race
        statement = insert(user_preferences).values(user_id=actor.user_id, key=key, **values)
        with self._store.write() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["user_id", "key"], set_=values))

    def report_zone(self, actor: Actor) -> ZoneInfo:
        """The zone in which the person reads dates and days; UTC until they choose."""
        return _find_zone(self.get(actor, REPORT_ZONE)) or _UTC


def _is_own(user_id: str, key: str) -> tuple[Any, ...]:
    return user_preferences.c.user_id == user_id, user_preferences.c.key == key


def _find_zone(name: object) -> ZoneInfo | None:
    """Find the time zone of a name, or None: a stored name may be missing from this system's zone data."""
    if not isinstance(name, str) or not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None

"""The examples among the providers: registered once in an installation's life, so that deleting one lasts."""

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError

from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.tables import providers, user_preferences
from lib.providers.kinds import ProviderKind

SEEDED = (
    ProviderKind.LOCAL,
    ProviderKind.OLLAMA,
    ProviderKind.OPENAI,
    ProviderKind.ANTHROPIC,
    ProviderKind.OPENROUTER,
)
_INSTALLATION = "installation"  # where a user's id would stand
_MARK = "seeded-providers"


def seed(store: Store) -> None:
    """Register the examples unless they once were."""
    now = utc_now()
    mark = {"user_id": _INSTALLATION, "key": _MARK, "value": True, "updated_at": now}
    rows = [
        {"id": make_id(), "name": kind.value, "kind": kind.value, "created_at": now, "updated_at": now}
        for kind in SEEDED
    ]
    with store.read() as connection:
        if _is_marked(connection):
            return
    try:
        with store.write() as connection:
            connection.execute(insert(user_preferences).values(**mark))
            taken_names = set(connection.scalars(select(providers.c.name)))
            if fresh := [row for row in rows if row["name"] not in taken_names]:
                connection.execute(insert(providers), fresh)
    except IntegrityError:
        return  # another process was faster


def _is_marked(connection: Connection) -> bool:
    query = select(user_preferences.c.key).where(
        user_preferences.c.user_id == _INSTALLATION, user_preferences.c.key == _MARK
    )
    return connection.scalar(query) is not None

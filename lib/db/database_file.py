"""The SQLite file before it is opened: made for its owner's eyes alone, and never in place of one that was lost.

A file that is gone, or empty, beside a master key, a spool or a copy for the statistics is no first start: a disk was
not mounted, or a copy failed. An empty database there would answer as if nobody had ever had a key or spent a dollar.
"""

import os
from pathlib import Path

from sqlalchemy.engine import make_url

from lib.db.engine import Store
from lib.db.vault import KEY_FILE
from lib.errors import InstallationError
from lib.settings import Settings


def open_store(settings: Settings) -> Store:
    """Open the installation's database, for servers, workers and commands alike; raises as `prepare_file` does."""
    prepare_file(settings)
    return Store(settings.database_url)


def prepare_file(settings: Settings) -> None:
    """Make the database's file where there is none; InstallationError when there should be one."""
    name = make_url(settings.database_url).database if settings.is_sqlite else None
    if not name or name == ":memory:" or name.startswith("file:"):
        return
    path = Path(name)
    if path.exists() and path.stat().st_size:
        return
    if relics := _list_relics(settings.data_dir):
        raise InstallationError(
            f"The database {path} is {'empty' if path.exists() else 'gone'}.",
            f"{settings.data_dir} still holds {' and '.join(relics)} of an installation, so this is no first start.",
            "Put back the last backup of the database. To begin anew instead, move those away first.",
        )
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _list_relics(folder: Path) -> list[str]:
    """List the names of files in the data folder that only an installation with a database leaves behind."""
    leftovers = {
        KEY_FILE: (folder / KEY_FILE).exists(),
        "spool": any(path.stat().st_size for path in (folder / "spool").glob("*/*.jsonl")),
        "statistics": any((folder / "statistics").glob("*.duckdb")),
    }
    return [name for name, is_there in leftovers.items() if is_there]

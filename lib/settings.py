"""Settings of one process, read once from the environment and `.env`; nothing else reads the environment."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lib.errors import InstallationError

_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
PROJECT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Settings:
    """`data_dir` is absolute; `database_url` is a SQLAlchemy URL; secrets are hidden from repr.

    `proxies` holds the environment's proxy variables where the operator wants them used, else nothing.
    """

    data_dir: Path
    database_url: str = field(repr=False)
    port: int = 8501
    admin_user: str | None = None
    admin_password: str | None = field(default=None, repr=False)
    master_key: str | None = field(default=None, repr=False)
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_sqlite(self) -> bool:
        """True when the store is the SQLite file of the data folder (or any other SQLite URL)."""
        return self.database_url.startswith("sqlite")

    @classmethod
    def from_environment(cls, environment: dict[str, str] | None = None) -> "Settings":
        """Settings from `environment` (default: the process's, after `.env`, which never overrides it)."""
        if environment is None:
            from dotenv import dotenv_values

            environment = {k: v for k, v in dotenv_values(PROJECT / ".env").items() if v is not None} | dict(os.environ)
        data_dir = (PROJECT / environment.get("LLM_MANAGER_DATA", "data")).resolve()
        return cls(
            data_dir=data_dir,
            database_url=environment.get("DATABASE_URL") or f"sqlite:///{data_dir / 'llm_manager.db'}",
            port=_parse_port(environment.get("PORT") or "8501"),
            admin_user=environment.get("LLM_MANAGER_ADMIN_USER") or None,
            admin_password=environment.get("LLM_MANAGER_ADMIN_PASSWORD") or None,
            master_key=environment.get("LLM_MANAGER_MASTER_KEY") or None,
            proxies=_read_proxies(environment),
        )

    def require_data_folder(self) -> None:
        """Make the data folder; InstallationError when it can't be made or written."""
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryFile(dir=self.data_dir) as probe:
                probe.write(b"x" * 4096)
        except OSError as error:
            raise InstallationError(
                f"The data folder {self.data_dir} can't be written.",
                f"The system says: {error.strerror}.",
                "Correct its permissions, free some space, or name another folder in LLM_MANAGER_DATA.",
            ) from error


def _read_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    if environment.get("LLM_MANAGER_USE_PROXY", "").strip().lower() not in ("1", "true", "yes", "on"):
        return {}
    return {name: value for name, value in environment.items() if name.lower() in _PROXY_VARIABLES}


def _parse_port(text: str) -> int:
    if text.isdecimal() and 0 < int(text) < 65536:
        return int(text)
    raise InstallationError("PORT is not a port number.", f"It reads {text!r}.", "Set it to a number from 1 to 65535.")

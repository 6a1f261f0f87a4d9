"""An installation on each of the two stores."""

from pathlib import Path

import pytest

from lib.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """An empty installation on SQLite, then on PostgreSQL."""
    return Settings(data_dir=tmp_path, database_url=database_url)

"""The calls' rig, for what stands on it; and an installation on each of the two stores."""

import sys
from pathlib import Path

import pytest

from lib.settings import Settings

sys.path[:0] = [str(Path(__file__).parents[1] / "calls")]


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """An empty installation on SQLite, then on PostgreSQL."""
    return Settings(data_dir=tmp_path, database_url=database_url)

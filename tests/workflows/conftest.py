"""An installation on each of the two stores, with a scripted provider."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.settings import Settings
from tests.workflows.rig import FlowRig


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """An empty installation on SQLite, then on PostgreSQL."""
    return Settings(data_dir=tmp_path, database_url=database_url)


@pytest.fixture
def rig(settings: Settings) -> Iterator[FlowRig]:
    made = FlowRig(settings)
    yield made
    made.services.close()

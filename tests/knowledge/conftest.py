"""An installation on each store, whose embedding model counts words."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.settings import Settings
from tests.knowledge.knowledge_rig import KnowledgeRig


@pytest.fixture
def rig(tmp_path: Path, database_url: str) -> Iterator[KnowledgeRig]:
    made = KnowledgeRig(Settings(data_dir=tmp_path, database_url=database_url))
    yield made
    made.services.close()

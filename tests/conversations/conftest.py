"""A rig on each store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.settings import Settings
from tests.conversations.talk_rig import TalkRig


@pytest.fixture
def rig(tmp_path: Path, database_url: str) -> Iterator[TalkRig]:
    made = TalkRig(Settings(data_dir=tmp_path, database_url=database_url))
    yield made
    made.services.close()

"""An installation with its tools, and a few tools of the tests' own."""

from collections.abc import Iterator

import pytest

from lib.settings import Settings
from tests.calls.rig import Rig


@pytest.fixture
def rig(settings: Settings) -> Iterator[Rig]:
    installation = Rig(settings)
    yield installation
    installation.services.close()

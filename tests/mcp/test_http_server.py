"""A server at an address: reached by our own client, signed in by a header, told apart from one that is away."""

from collections.abc import Iterator

import pytest

from lib.access.permissions import OPERATOR
from lib.errors import InvalidInput
from lib.mcp.server import ServerDraft
from lib.settings import Settings
from tests.gateway.live import Live, live
from tests.mcp.server_rig import ServerRig

pytestmark = [pytest.mark.feature("TOOL-4"), pytest.mark.filterwarnings("default")]


@pytest.fixture
def door(settings: Settings) -> Iterator[Live]:
    with live(settings) as server:
        yield server


@pytest.fixture
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerRig]:
    folder = tmp_path_factory.mktemp("other")
    rig = ServerRig(Settings(data_dir=folder, database_url=f"sqlite:///{folder / 'x.db'}"))
    yield rig
    rig.close()


def add(rig: ServerRig, url: str, name: str, **secrets: str) -> None:
    draft = ServerDraft(name, url=f"{url}/mcp", secrets=secrets, allow_private=True)
    rig.servers.approve(OPERATOR, name, rig.servers.add(OPERATOR, draft).approval_hash)
    rig.servers.start(OPERATOR, name)


def test_another_installation_is_a_server_for_who_has_its_key(door: Live, rig: ServerRig) -> None:
    token, _ = door.services.api_keys.create(door.jonas, app="bot", endpoints=["mcp"])
    add(rig, door.url, "other", Authorization=f"Bearer {token}")
    add(rig, door.url, "stranger")
    add(rig, "http://127.0.0.1:9", "away")
    server = rig.wait("other", "ready")
    assert server.state.protocol == "2026-07-28"
    result = rig.call("other", "code__analyse_python", source="import os")
    assert '"imports": ["os"]' in result["content"][0]["text"]
    assert "header" in rig.wait("stranger", "needs sign-in").state.reason
    assert rig.wait("away", "crashed").state.reason


def test_an_address_inside_the_network_has_to_be_allowed(rig: ServerRig) -> None:
    with pytest.raises(InvalidInput, match="private"):
        rig.servers.add(OPERATOR, ServerDraft("inside", url="http://127.0.0.1:9/mcp"))

"""Clients that were registered by hand, and where inside the network a sign-in may lead."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import select, update

from lib.access.permissions import OPERATOR
from lib.clock import utc_now
from lib.db.tables import mcp_sign_ins, metadata
from lib.errors import InvalidInput
from lib.mcp.clients.authorization import AuthorizationFailed
from lib.mcp.server import ServerDraft
from lib.settings import Settings
from tests.mcp.sign_in_server import SignInServer, run_sign_in_server
from tests.mcp.test_sign_ins import OURS, SignInRig
from tests.waiting import until

pytestmark = pytest.mark.feature("TOOL-4")
SECRET = "kept-by-the-vault-1"


@pytest.fixture
def rig(settings: Settings) -> Iterator[SignInRig]:
    with run_sign_in_server() as cloud:
        rig = SignInRig(settings, cloud)
        yield rig
        rig.close()


def change(rig: SignInRig, draft: ServerDraft) -> None:
    """Change the server, and wait until it is connected anew."""
    since = rig.servers.get(OPERATOR, "cloud").state.since
    rig.servers.update(OPERATOR, draft)
    until(lambda: rig.servers.get(OPERATOR, "cloud").state.since > since)
    rig.wait("cloud", "ready")


def draft_of(cloud: SignInServer) -> ServerDraft:
    """The server as an administrator sets it who has registered a client by hand."""
    url = f"{cloud.url}/mcp"
    return ServerDraft(
        "cloud", url=url, allow_private=True, issuer=cloud.issuer, client_id="by-hand", client_secret=SECRET
    )


def test_a_client_registered_by_hand_signs_people_in_where_none_registers_itself(rig: SignInRig) -> None:
    cloud = rig.cloud
    cloud.registers = False
    with pytest.raises(AuthorizationFailed) as refusal:
        rig.sign_in(rig.jonas)
    assert f"by hand with the address {OURS}/oauth/callback" in refusal.value.fix
    cloud.client = ("by-hand", SECRET)
    rig.servers.update(OPERATOR, draft_of(cloud))
    rig.sign_in(rig.jonas)
    rig.wait("cloud", "ready")
    assert rig.whoami(rig.jonas) == "jonas"
    assert cloud.registrations == 0
    with rig.services.store.read() as connection:
        holding = [n for n, t in metadata.tables.items() if SECRET in repr(connection.execute(select(t)).all())]
    assert holding == []


def test_a_changed_secret_renews_the_tokens_that_are_there(rig: SignInRig) -> None:
    cloud = rig.cloud
    cloud.client = ("by-hand", SECRET)
    rig.servers.update(OPERATOR, draft_of(cloud))
    rig.sign_in(rig.jonas)
    rig.wait("cloud", "ready")
    change(rig, replace(draft_of(cloud), client_secret="", title="An empty secret keeps the one before"))
    for secret in ("", "another-secret-2"):
        if secret:
            cloud.client = ("by-hand", secret)
            change(rig, replace(draft_of(cloud), client_secret=secret))
        before = cloud.refreshes
        with rig.services.store.write() as connection:
            connection.execute(update(mcp_sign_ins).values(expires_at=utc_now()))
        assert rig.whoami(rig.jonas) == "jonas"
        assert cloud.refreshes > before
    rig.servers.update(OPERATOR, replace(draft_of(cloud), client_id="another", client_secret=""))
    assert rig.servers.get(OPERATOR, "cloud").signed_in == frozenset()


def test_id_and_secret_go_to_the_authorization_server_that_was_set_alone(rig: SignInRig) -> None:
    with run_sign_in_server() as other:
        rig.servers.update(OPERATOR, draft_of(rig.cloud))
        rig.cloud.issuer = other.issuer
        with pytest.raises(AuthorizationFailed, match="names another authorization server"):
            rig.sign_in(rig.jonas)
        assert (other.looks, other.requests) == ([], [])


def test_a_private_server_leads_a_sign_in_to_itself_or_to_what_was_set(rig: SignInRig) -> None:
    url = f"{rig.cloud.url}/mcp"
    with run_sign_in_server() as inside:
        rig.cloud.issuer = inside.issuer
        with pytest.raises(AuthorizationFailed, match="leads into the network"):
            rig.sign_in(rig.jonas)
        assert (inside.looks, inside.requests) == ([], [])
        rig.servers.update(OPERATOR, ServerDraft("cloud", url=url, allow_private=True, issuer=inside.issuer))
        page = rig.sign_ins.begin(rig.jonas, "cloud", OURS)
        assert page.address.startswith(inside.issuer)
        inside.token_endpoint = "http://127.0.0.1:9/token"
        with pytest.raises(AuthorizationFailed) as refusal:
            rig.sign_ins.begin(rig.jonas, "cloud", OURS)
        assert "no place inside the network" in refusal.value.why


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"issuer": ""}, "issuer"),
        ({"issuer": "ftp://odd"}, "issuer"),
        ({"issuer": "http://127.0.0.1:9", "allow_private": False, "url": "https://example.com/mcp"}, "issuer"),
        ({"url": "", "command": ["true"]}, "issuer"),
        ({"client_id": ""}, "client_id"),
        ({"client_id": "line\nbreak"}, "client_id"),
        ({"client_secret": "x" * 2_001}, "client_id"),
    ],
)
def test_what_can_not_be_a_client_is_refused_by_its_field(changes: dict[str, object], field: str) -> None:
    draft = ServerDraft(
        "cloud", url="http://127.0.0.1:1/mcp", allow_private=True, issuer="http://127.0.0.1:1", client_id="a",
        client_secret="b",
    )  # fmt: skip
    draft.check()
    with pytest.raises(InvalidInput) as refusal:
        replace(draft, **changes).check()  # type: ignore[arg-type]
    assert refusal.value.field == field

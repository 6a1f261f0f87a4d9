"""People sign in at servers of tools, each for themselves; tokens stay sealed, are renewed, and go nowhere else."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select, update
from starlette.applications import Starlette
from starlette.testclient import TestClient

from lib import services as service_root
from lib.access.permissions import OPERATOR, Actor, Role, make_actor
from lib.clock import utc_now
from lib.db.tables import audit_log, mcp_sign_ins, metadata
from lib.errors import Conflict, InvalidInput, NotFound
from lib.gateway.serve.routes import build_middleware, routes
from lib.mcp.server import ServerDraft
from lib.mcp.socket_protocol import ServerUnreachable
from lib.settings import Settings
from tests.mcp.server_rig import ServerRig
from tests.mcp.sign_in_server import SignInServer, run_sign_in_server
from tests.workflows.rig import draw, finish, node, start

pytestmark = pytest.mark.feature("TOOL-4")
OURS = "http://127.0.0.1:8501"


class SignInRig(ServerRig):
    """The server that wants people to sign in, added, and two people."""

    def __init__(self, settings: Settings, cloud: SignInServer) -> None:
        super().__init__(settings)
        self.cloud = cloud
        self.sign_ins = self.services.server_sign_ins
        self.jonas, self.li = (self.add_person(name) for name in ("jonas", "li"))
        self.services.server_keeper.look()
        draft = ServerDraft("cloud", url=f"{cloud.url}/mcp", allow_private=True)
        self.servers.approve(OPERATOR, "cloud", self.servers.add(OPERATOR, draft).approval_hash)
        self.servers.start(OPERATOR, "cloud")

    def add_person(self, name: str) -> Actor:
        """A developer."""
        user = self.services.users.create(OPERATOR, name, "correct horse battery", Role.DEVELOPER)
        return make_actor(user.id, name, Role.DEVELOPER)

    def sign_in(self, actor: Actor) -> None:
        """Sign a person in, as their browser does."""
        page = self.sign_ins.begin(actor, "cloud", OURS)
        self.sign_ins.complete(actor, self.cloud.sign_in(page.address, actor.name))

    def whoami(self, actor: Actor) -> str:
        """Whom the server takes a call of a person for."""
        server = self.servers.get(OPERATOR, "cloud")
        result = asyncio.run(self.servers.ask(actor, server, "call", tool="whoami", arguments={}))
        return str(result["content"][0]["text"])

    def state(self, actor: Actor) -> str:
        """How a person's own sign-in is."""
        return self.sign_ins.list(actor)[0].state


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignInRig]:
    folder = tmp_path_factory.mktemp("signed")
    with run_sign_in_server() as cloud:
        rig = SignInRig(Settings(data_dir=folder, database_url=f"sqlite:///{folder / 'x.db'}"), cloud)
        yield rig
        service_root.use(None)
        rig.close()


def test_each_person_signs_in_and_is_who_the_server_sees(rig: SignInRig) -> None:
    assert "sign in" in rig.wait("cloud", "needs sign-in").state.reason
    tools = rig.services.tools
    assert "page Tools" in tools.toolset(rig.jonas, "general").absences["cloud"]
    assert rig.state(rig.jonas) == "not signed in"
    rig.sign_in(rig.jonas)
    rig.wait("cloud", "ready")
    rig.servers.approve_tools(OPERATOR, "cloud")
    assert rig.whoami(rig.jonas) == "jonas"
    assert "cloud__whoami" in tools.toolset(rig.jonas, "general").tools
    with pytest.raises(ServerUnreachable, match="wants you to sign in"):
        rig.whoami(rig.li)
    assert "cloud__whoami" not in tools.toolset(rig.li, "general").tools
    assert "sign in" in tools.toolset(rig.li, "general").absences["cloud"]
    rig.sign_in(rig.li)
    assert (rig.whoami(rig.li), rig.whoami(rig.jonas), rig.state(rig.li)) == ("li", "jonas", "signed in")
    assert rig.cloud.registrations == 1


def test_tokens_are_sealed_everywhere_and_go_to_the_server_alone(rig: SignInRig) -> None:
    issued = rig.cloud.issued
    with rig.services.store.read() as connection:
        for name, table in metadata.tables.items():
            text = repr(connection.execute(select(table)).all())
            assert [token for token in issued if token in text] == [], name
        actions = connection.scalars(select(audit_log.c.action).where(audit_log.c.user_id == rig.li.user_id)).all()
    assert actions == ["mcp.sign_in.begin", "mcp.sign_in"]
    assert {path for path, token in rig.cloud.requests if token} == {"/mcp"}


def test_a_token_that_ends_or_is_refused_is_renewed_once(rig: SignInRig) -> None:
    before = rig.cloud.refreshes
    with rig.services.store.write() as connection:
        connection.execute(update(mcp_sign_ins).values(expires_at=utc_now()))
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(rig.whoami, [rig.li] * 4)) == {"li"}
    assert rig.cloud.refreshes == before + 1
    for token in [token for token, person in rig.cloud.access.items() if person == "li"]:
        del rig.cloud.access[token]
    assert rig.whoami(rig.li) == "li"
    assert rig.cloud.refreshes == before + 2


def test_an_authorization_server_that_is_away_ends_no_sign_in(rig: SignInRig) -> None:
    rig.cloud.is_away = True
    for seconds in (10, -1):
        with rig.services.store.write() as connection:
            ends_at = utc_now() + timedelta(seconds=seconds)
            connection.execute(update(mcp_sign_ins).values(expires_at=ends_at))
        if seconds > 0:  # it is due, and still counts
            assert rig.whoami(rig.li) == "li"
        else:
            with pytest.raises(ServerUnreachable):
                rig.whoami(rig.li)
    assert rig.state(rig.li) == "signed in"
    rig.cloud.is_away = False
    assert rig.whoami(rig.li) == "li"


def test_who_can_not_be_renewed_is_asked_to_sign_in_again(rig: SignInRig) -> None:
    rig.cloud.access = {token: person for token, person in rig.cloud.access.items() if person != "li"}
    rig.cloud.refresh = {token: person for token, person in rig.cloud.refresh.items() if person != "li"}
    with pytest.raises(ServerUnreachable, match="sign in again"):
        rig.whoami(rig.li)
    assert rig.state(rig.li) == "ended"
    rig.sign_in(rig.li)
    assert rig.whoami(rig.li) == "li"


def test_an_answer_counts_for_who_began_once_and_from_the_right_place(rig: SignInRig) -> None:
    page = rig.sign_ins.begin(rig.jonas, "cloud", OURS)
    answer = rig.cloud.sign_in(page.address, "jonas")
    with pytest.raises(InvalidInput, match="somebody else's"):
        rig.sign_ins.complete(rig.li, answer)
    with pytest.raises(InvalidInput, match="another place"):
        rig.sign_ins.complete(rig.jonas, {**answer, "iss": "https://evil.example"})
    with pytest.raises(InvalidInput, match="nobody's last try"):
        rig.sign_ins.complete(rig.jonas, answer)
    page = rig.sign_ins.begin(rig.jonas, "cloud", OURS)
    refused = {**rig.cloud.sign_in(page.address, "jonas"), "code": "", "error": "access_denied"}
    with pytest.raises(InvalidInput, match="access_denied"):
        rig.sign_ins.complete(rig.jonas, refused)
    assert rig.whoami(rig.jonas) == "jonas"
    with pytest.raises(InvalidInput, match="Only a person"):
        rig.sign_ins.begin(OPERATOR, "cloud", OURS)


def test_the_browser_comes_back_to_the_person_who_began(rig: SignInRig) -> None:
    service_root.use(rig.services)
    guarded = Starlette(routes=routes, middleware=build_middleware(lambda: b""))
    token = rig.services.sessions.open_for(rig.jonas.user_id or "")
    page = rig.sign_ins.begin(rig.jonas, "cloud", OURS)
    answer = rig.cloud.sign_in(page.address, "jonas")
    with TestClient(guarded, follow_redirects=False) as browser:
        away = browser.get("/oauth/callback", params=answer, headers={"accept": "text/html"})
        assert away.headers["location"].startswith("/login?next=%2Foauth%2Fcallback")
        browser.cookies.set("llm_manager_session", token)
        assert browser.get("/oauth/callback", params=answer).headers["location"] == "/tools?tab=sign-ins"
        again = browser.get("/oauth/callback", params=answer)
        assert (again.status_code, "can&#x27;t be completed" in again.text) == (400, True)
        document = browser.get("/oauth/client.json", headers={"x-forwarded-proto": "https"}).json()
    assert document["client_id"] == "https://testserver/oauth/client.json"
    assert document["redirect_uris"] == ["https://testserver/oauth/callback"]


def test_runs_without_a_person_are_told_what_a_sign_in_means(rig: SignInRig) -> None:
    stranger = rig.add_person("mia")
    tools = rig.services.tools
    (own,) = tools.explain_unattended(rig.jonas, ["cloud__*", "calculate"])
    assert "your own sign-in" in own
    assert tools.explain_unattended(stranger, ["calculate"]) == []
    document = draw(start(), node("tool", "ask", tool="cloud__whoami"), finish("{{ask.text}}"))
    hints = rig.services.workflows.definitions.check(stranger, document)[1]
    assert [(hint.is_error, "you have not" in hint.message) for hint in hints] == [(False, True)]
    with pytest.raises(NotFound, match="cloud: It wants each person to sign in"):
        tools.find(stranger, "cloud__whoami")


def test_signing_out_erasing_and_another_address_take_the_tokens(rig: SignInRig) -> None:
    rig.sign_ins.sign_out(rig.jonas, "cloud")
    with pytest.raises(ServerUnreachable, match="wants you to sign in"):
        rig.whoami(rig.jonas)
    with pytest.raises(NotFound):
        rig.sign_ins.sign_out(rig.jonas, "cloud")
    assert rig.services.erasure.erase(OPERATOR, rig.li.user_id or "").counts["mcp_sign_ins"] == 1
    rig.sign_in(rig.jonas)
    rig.servers.update(OPERATOR, ServerDraft("cloud", url=f"{rig.cloud.url}/other", allow_private=True))
    with rig.services.store.read() as connection:
        assert connection.execute(select(mcp_sign_ins)).all() == []
    with pytest.raises(Conflict, match="not approved"):
        rig.sign_ins.begin(rig.jonas, "cloud", OURS)

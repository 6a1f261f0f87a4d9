"""Servers of others run in a process of their own, say why they don't, and leave nothing behind."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from lib.access.permissions import OPERATOR
from lib.db.tables import mcp_runners, mcp_states
from lib.errors import Conflict
from lib.mcp import processes, records
from lib.mcp.keeper import Keeper
from lib.mcp.offerings import list_prompts, list_resources, name_variables, read_files, write_template
from lib.mcp.server import ServerDraft
from lib.mcp.socket_protocol import ServerUnreachable
from lib.providers.redaction import MASK
from lib.settings import Settings
from tests.mcp.server_rig import ServerRig
from tests.waiting import until

pytestmark = pytest.mark.feature("TOOL-4")
SECRET = "sk-of-the-server-0123456789"


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerRig]:
    folder = tmp_path_factory.mktemp("servers")
    rig = ServerRig(Settings(data_dir=folder, database_url=f"sqlite:///{folder / 'x.db'}"))
    rig.add("plain", "garbage", secrets={"MY_KEY": SECRET})
    rig.add("crashing", "crash")
    rig.add("empty", "empty")
    rig.add("parent", "child")
    rig.add("offering", "offers")
    yield rig
    rig.close()


def token_of(rig: ServerRig, name: str) -> str:
    """What a server's process, and what it starts, carry."""
    with rig.services.store.read() as connection:
        server_id = rig.servers.get(OPERATOR, name).id
        return str(connection.scalar(select(mcp_states.c.token).where(mcp_states.c.server_id == server_id)))


def text_of(result: dict[str, object]) -> str:
    content = result["content"]
    assert isinstance(content, list)
    return str(content[0]["text"])


def test_what_a_running_server_offers_is_listed_and_read(rig: ServerRig) -> None:
    rig.wait("offering", "ready")
    offered = [server for server in rig.servers.offered(OPERATOR) if server.name == "offering"]
    (resource,) = list_resources(offered)
    assert (resource.server, resource.label) == ("offering", "Plan")
    assert read_files(rig.servers.read_resource(OPERATOR, "offering", resource.uri)) == [("plan.md", b"Buy milk")]
    (prompt,) = list_prompts(offered)
    variables = name_variables(prompt)
    assert variables == {"the-name": "{{the_name}}"}
    assert write_template(rig.servers.fill_prompt(OPERATOR, "offering", "greet", variables)) == "Greet {{the_name}}."


def test_a_server_of_the_older_protocol_answers_among_lines_that_are_none(rig: ServerRig) -> None:
    server = rig.wait("plain", "ready")
    assert (server.state.protocol, server.state.server_version) == ("2024-11-05", "odd 1.0")
    assert text_of(rig.call("plain", "echo", text="héllo")) == "héllo"
    until(lambda: "(on standard output) welcome!" in rig.servers.get(OPERATOR, "plain").state.error_text)


def test_a_server_has_a_scrubbed_environment_and_a_home_of_its_own(rig: ServerRig) -> None:
    rig.wait("plain", "ready")
    environment = json.loads(text_of(rig.call("plain", "environment")))
    assert environment["MY_KEY"] == MASK, "it has it, and whoever runs its tools is not told"
    assert Path(environment["HOME"]) == rig.services.settings.data_dir / "mcp" / "plain"
    known = {"PATH", "HOME", "TMPDIR", "LANG", "NO_COLOR", "MY_KEY", "LC_CTYPE", processes.TOKEN}
    assert set(environment) - known == set()


def test_an_answer_that_is_too_large_is_an_error_and_the_server_goes_on(rig: ServerRig) -> None:
    rig.wait("plain", "ready")
    with pytest.raises(ServerUnreachable, match="larger than"):
        rig.call("plain", "large", size=20_000_000)
    assert text_of(rig.call("plain", "echo", text="on")) == "on"


def test_a_call_that_is_cut_leaves_the_connection_as_it_was(rig: ServerRig) -> None:
    with pytest.raises(ServerUnreachable, match="in time"):
        rig.call(rig.wait("parent", "ready").name, "slow", seconds=0.2)
    assert rig.servers.get(OPERATOR, "parent").state.actual == "ready"


def test_a_server_that_dies_in_mid_call_is_lost_with_its_reason_and_comes_back(rig: ServerRig) -> None:
    rig.wait("plain", "ready")
    with pytest.raises(ServerUnreachable):
        rig.call("plain", "die")
    lost = rig.wait("plain", "lost")
    assert "ended with status 7" in lost.state.reason
    assert lost.state.is_stale
    assert len(lost.state.tools or ()) == 5
    rig.wait("plain", "ready")


def test_a_server_that_ends_at_its_start_says_why_and_is_given_up_after_a_while(rig: ServerRig) -> None:
    until(lambda: "no licence" in rig.servers.get(OPERATOR, "crashing").state.reason)
    assert rig.servers.get(OPERATOR, "crashing").state.actual in ("crashed", "restarting", "given up")
    assert rig.wait("empty", "no tools").absence == "It is no tools."


def test_stop_ends_a_server_with_what_it_has_started(rig: ServerRig) -> None:
    rig.wait("parent", "ready")
    token = token_of(rig, "parent")
    until(lambda: len(processes.find_marked(token)) == 2)
    rig.servers.stop(OPERATOR, "parent")
    rig.wait("parent", "off")
    assert processes.find_marked(token) == []
    with pytest.raises(ServerUnreachable, match="does not run"):
        rig.call("parent", "echo")


def test_one_process_of_a_machine_runs_the_servers_and_a_later_one_ends_what_a_kill_left(rig: ServerRig) -> None:
    rig.servers.start(OPERATOR, "parent")
    rig.wait("parent", "ready")
    token = token_of(rig, "parent")
    second = Keeper(rig.services.store, rig.services.settings)
    second.look()
    assert second._process is None  # the first one's runner lives
    with rig.services.store.read() as connection:
        (runner,) = connection.execute(select(mcp_runners)).all()
    os.kill(runner.pid, signal.SIGKILL)
    until(lambda: processes.is_gone(runner.pid))
    second.look()
    until(lambda: token_of(rig, "parent") != token and rig.servers.get(OPERATOR, "parent").state.actual == "ready")
    assert processes.find_marked(token) == []
    token = token_of(rig, "parent")
    second.stop()
    rig.keeper.stop()
    assert processes.find_marked(token) == []
    assert records.read_processes(rig.services.store) == {}


def test_a_command_runs_only_as_it_was_approved(rig: ServerRig) -> None:
    draft = ServerDraft("unseen", ["/bin/true"])
    shown = rig.servers.add(OPERATOR, draft)
    with pytest.raises(Conflict, match="not approved"):
        rig.servers.start(OPERATOR, "unseen")
    rig.servers.update(OPERATOR, ServerDraft("unseen", ["/bin/true", "--all"]))
    with pytest.raises(Conflict, match="changed"):
        rig.servers.approve(OPERATOR, "unseen", shown.approval_hash)
    approved = rig.servers.approve(OPERATOR, "unseen", rig.servers.get(OPERATOR, "unseen").approval_hash)
    assert approved.is_approved
    assert not rig.servers.update(OPERATOR, ServerDraft("unseen", ["/bin/false"])).is_approved
    rig.servers.remove(OPERATOR, "unseen")

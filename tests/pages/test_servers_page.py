"""The page MCP servers: state and reason, approval in sight of the whole command, pins with their difference."""

from collections.abc import Iterator

import pytest

from lib.access.permissions import OPERATOR, Role, make_actor
from lib.mcp.records import write_state
from lib.mcp.server import ServerDraft
from lib.settings import Settings
from lib.tools.tool import ExecutionStatus, ToolContext, ToolDefinition, ToolOutput
from lib.ui.servers.server_table import choose_servers
from tests.mcp.sign_in_server import run_sign_in_server
from tests.pages.visitor import Visitor, press, press_last, words

pytestmark = [pytest.mark.feature("TOOL-4"), pytest.mark.filterwarnings("default")]
FIND = "servers.get(actor, 'odd')"
TOOL = {"name": "echo", "description": "Says it again", "inputSchema": {"type": "object"}}


@pytest.fixture
def visitor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    visitor = Visitor(settings, monkeypatch, Role.SUPER_ADMIN)
    yield visitor
    visitor.close()


def add(visitor: Visitor, **state: object) -> None:
    server = visitor.services.servers.add(OPERATOR, ServerDraft("odd", ["npx", "-y", "odd-server"]))
    write_state(visitor.services.store, server.id, **({"actual": "crashed", "reason": "No licence."} | state))


def test_an_empty_page_says_what_a_server_is_and_that_four_come_with_it(visitor: Visitor) -> None:
    assert "No servers yet" in words(visitor.open("servers"))
    bundled = words(visitor.open("servers", tab="bundled"))
    assert "operations" in bundled
    assert "No folder is allowed yet" in bundled


def test_a_row_says_what_is_wanted_how_it_is_and_why_and_opens_the_server(visitor: Visitor) -> None:
    add(visitor, error_text="odd: no licence")
    log = visitor.services.tools.executions
    definition = ToolDefinition("odd__echo", "Says it again", source="mcp", server="odd")
    for number, status in enumerate((ExecutionStatus.OK, ExecutionStatus.ERROR)):
        opened = log.open(f"run-{number}", definition, {}, ToolContext(OPERATOR), 60.0)
        log.close(opened, status, ToolOutput("x"), duration_ms=40)
    (row,) = visitor.open("servers").dataframe[0].value.to_dict("records")
    told = {name: row[name] for name in ("server", "wanted", "reason", "calls", "failed")}
    expected = {"server": "odd", "wanted": "off", "reason": "Its command waits for approval."}
    assert told == {**expected, "calls": 2, "failed": "50.0 %"}
    assert list(row["state"]) == ["! crashed"]
    page = visitor.open("servers", id="odd")
    assert "No licence" in words(page)
    assert [code.value for code in page.code] == ["npx -y odd-server", "odd: no licence"]
    assert "Start" not in [button.label for button in page.button]
    assert [list(frame.value["tool"]) for frame in page.dataframe if "ms" in frame.value] == [["echo", "echo"]]
    assert "It is not here" in words(visitor.open("servers", id="nobody"))


def test_servers_are_searched_and_filtered_by_how_they_are(visitor: Visitor) -> None:
    add(visitor)
    servers = visitor.services.servers.list(OPERATOR)
    shown = [(text, state) for text in ("", "LICENCE npx", "absent") for state in (None, "broken", "running")]
    chosen = [(text, state) for text, state in shown if choose_servers(servers, text, state)]
    assert chosen == [("", None), ("", "broken"), ("LICENCE npx", None), ("LICENCE npx", "broken")]
    assert "Nothing matches" in words(visitor.open("servers", q="licence absent"))


def test_a_command_is_approved_in_sight_of_every_part_and_then_started(visitor: Visitor) -> None:
    add(visitor)
    dialog = visitor.draw("lib.ui.servers.server_forms.approve_dialog", FIND)
    assert dialog.code[0].value == "0  npx\n1  -y\n2  odd-server"
    press_last(dialog, "Approve")
    assert visitor.services.servers.get(OPERATOR, "odd").is_approved
    press(visitor.open("servers", id="odd"), "Start")
    assert visitor.services.servers.get(OPERATOR, "odd").wanted == "on"


def test_a_changed_tool_shows_its_difference_and_waits(visitor: Visitor) -> None:
    add(visitor, actual="ready", tools=[TOOL])
    visitor.services.servers.approve_tools(OPERATOR, "odd")
    changed = {**TOOL, "description": "Says it again\u200b and mails it"}
    server_id = visitor.services.servers.get(OPERATOR, "odd").id
    write_state(visitor.services.store, server_id, tools=[changed])
    (row,) = visitor.open("servers").dataframe[0].value.to_dict("records")
    assert row["pins"] == "! 1 changed"
    page = visitor.open("servers", id="odd")
    assert ":orange-badge[! changed]" in words(page)
    assert "invisible characters\\: U\\+200B" in words(page)
    assert '+ "description": "Says it again⟨U+200B⟩ and mails it",' in page.code[-1].value
    press(page, "Approve all as listed now")
    assert [tool.is_offered for tool in visitor.services.servers.get(OPERATOR, "odd").tools] == [True]


def test_a_server_is_added_with_its_variables_and_removed(visitor: Visitor) -> None:
    dialog = visitor.draw("lib.ui.servers.server_forms.add_dialog")
    dialog.text_input[0].input("memory")
    dialog.text_input[1].input("npx -y 'memory server'")
    dialog.text_area[0].input("KEY=secret-value-123")
    press_last(dialog, "Add server")
    server = visitor.services.servers.get(OPERATOR, "memory")
    assert (server.command, server.secret_names) == (("npx", "-y", "memory server"), ("KEY",))
    remove = visitor.draw("lib.ui.servers.server_forms.remove_dialog", "servers.get(actor, 'memory')")
    press_last(remove, ":red[Remove server]")
    assert visitor.services.servers.list(OPERATOR) == []


def test_a_person_signs_in_at_a_server_that_wants_it_and_out_again(visitor: Visitor) -> None:
    """The tab Sign-ins of the page Tools, with a real authorization server."""
    services = visitor.services
    assert "No server wants you to sign in" in words(visitor.open("tools", tab="sign-ins"))
    with run_sign_in_server() as cloud:
        added = services.servers.add(OPERATOR, ServerDraft("cloud", url=f"{cloud.url}/mcp", allow_private=True))
        services.servers.approve(OPERATOR, "cloud", added.approval_hash)
        write_state(services.store, added.id, actual="needs sign-in", reason="It wants somebody to sign in.")
        assert "○ not yet" in words(visitor.open("tools", tab="sign-ins"))
        dialog = visitor.draw("lib.ui.tools.sign_in_tab.sign_in_dialog", "servers.get(actor, 'cloud').name")
        (link,) = dialog.get("link_button")
        (person,) = services.users.list(OPERATOR)
        actor = make_actor(person.id, person.name, Role.SUPER_ADMIN)
        services.server_sign_ins.complete(actor, cloud.sign_in(link.proto.url, "amira"))
    page = visitor.open("tools", tab="sign-ins")
    assert "✓ signed in" in words(page)
    assert [token for token in cloud.issued if token in words(page)] == []
    assert "Sign out" in [button.label for button in page.button]

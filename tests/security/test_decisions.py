"""Decisions of people: whatever is asked is kept and shown, and what was granted to a tool is not another's."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from lib.access.permissions import OPERATOR, Role, make_actor
from lib.approvals.approval import ApprovalKind, ApprovalRequest, Deciders, Decision, GrantScope, Verdict
from lib.clock import utc_now
from lib.errors import InvalidInput, NotFound
from lib.mcp.server import ServerDraft
from lib.services import Services, build
from lib.settings import Settings

pytestmark = [pytest.mark.feature("FLOW-4"), pytest.mark.feature("TOOL-6")]
BEN = make_actor("u1", "ben", Role.DEVELOPER)
DATA: list[Any] = [{"a\0": "\0"}, {"\ud800": ["\ud800"]}, "\ud83d", 10**400, None, ["x" * 200_000]]


@pytest.fixture
def services(settings: Settings, database_url: str) -> Iterator[Services]:
    made = build(replace(settings, database_url=database_url))
    yield made
    made.close()


@pytest.mark.parametrize("data", DATA, ids=range(len(DATA)))
def test_whatever_a_tool_wants_to_do_waits_as_it_is(services: Services, data: Any) -> None:
    request = ApprovalRequest(
        kind=ApprovalKind.TOOL, title="a\0\ud800", reason="b\0\ud800", subject="tool:x", data=data
    )
    asked = services.approvals.ask(BEN, request)
    (waiting,) = services.approvals.waiting(BEN)
    assert (waiting.data, waiting.title) == (data, "a?")
    decision = Decision(verdict=Verdict.APPROVE, data=data, comment="c\0\ud800")
    assert services.approvals.decide(BEN, asked.id, decision).data == data


@pytest.mark.parametrize("data", [float("nan"), "x" * 300_000, object()], ids=["no number", "too long", "no JSON"])
def test_what_can_not_wait_is_refused(services: Services, data: Any) -> None:
    for request in (
        ApprovalRequest(kind=ApprovalKind.TOOL, title="a", data=data),
        ApprovalRequest(kind=ApprovalKind.TOOL, title="a", form_schema={"description": data}),
    ):
        with pytest.raises(InvalidInput):
            services.approvals.ask(BEN, request)


def grant(services: Services, subject: str) -> None:
    asked = services.approvals.ask(BEN, ApprovalRequest(kind=ApprovalKind.TOOL, title="a", subject=subject))
    services.approvals.decide(BEN, asked.id, Decision(verdict=Verdict.APPROVE, scope=GrantScope.ALWAYS))
    assert services.approvals.is_granted(BEN.user_id, subject)


def list_tool(services: Services, server_id: str, description: str) -> None:
    """Let the server's state on this machine list one tool."""
    from lib.mcp import records

    tools = [{"name": "send", "description": description, "inputSchema": {"type": "object"}}]
    records.write_state(services.store, server_id, tools=tools, actual="ready", server_version="1", tools_at=utc_now())


def test_what_was_granted_to_a_tool_is_not_another_ones(services: Services) -> None:
    subject = "tool:mail__send"
    server = services.servers.add(OPERATOR, ServerDraft("mail", ("a-program",)))
    list_tool(services, server.id, "Sends a mail.")
    services.servers.approve_tools(OPERATOR, "mail")
    grant(services, subject)
    services.servers.approve_tools(OPERATOR, "mail")
    assert services.approvals.is_granted(BEN.user_id, subject), "it is the same tool"
    list_tool(services, server.id, "Sends everything.")
    services.servers.approve_tools(OPERATOR, "mail")
    assert not services.approvals.is_granted(BEN.user_id, subject)
    grant(services, subject)
    services.servers.remove(OPERATOR, "mail")
    assert not services.approvals.is_granted(BEN.user_id, subject)


def test_a_key_without_an_owner_is_nobody_of_a_role(services: Services) -> None:
    secret, _ = services.api_keys.create(OPERATOR, app="bot", endpoints=["api"])
    key = services.api_keys.authenticate(secret)
    assert key is not None
    nobody = key.actor
    assert nobody is not None
    request = ApprovalRequest(
        kind=ApprovalKind.TOOL, title="a", data="a secret", deciders=Deciders(roles=(Role.ADMINISTRATOR,), teams=(1,))
    )
    asked = services.approvals.ask(BEN, request)
    assert nobody.role is Role.ADMINISTRATOR
    assert services.approvals.waiting(nobody) == []
    with pytest.raises(NotFound):
        services.approvals.get(nobody, asked.id)
    assert [each.id for each in services.approvals.waiting(make_actor("u2", "ada", Role.ADMINISTRATOR))] == [asked.id]

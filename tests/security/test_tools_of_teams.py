"""HTTP tools of teams, and runs that a person has to allow: no way into the network, no approval used twice."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as changed

from lib.access.permissions import OPERATOR, Permission, Role, make_actor
from lib.approvals.approval import ApprovalKind, ApprovalRequest, Decision, GrantScope, Verdict
from lib.errors import Conflict, InvalidInput, PermissionDenied
from lib.services import Services, build
from lib.settings import Settings
from lib.tools.http_request import HttpTemplate, fill
from lib.tools.http_tools import HttpToolDraft
from lib.tools.native import NativeTools
from lib.tools.tool import ToolAnnotations, ToolContext

pytestmark = pytest.mark.feature("TOOL-1")
PARAMETERS = {"type": "object", "properties": {"id": {"type": "string"}}}
DRAFT = HttpToolDraft("things", "Reads a thing.", HttpTemplate("https://1.1.1.1/things/{{id}}"), parameters=PARAMETERS)


@pytest.fixture
def services(settings: Settings, database_url: str) -> Iterator[Services]:
    made = build(replace(settings, database_url=database_url))
    yield made
    made.close()


def test_a_team_opens_no_host_inside_the_network(services: Services) -> None:
    of_a_team = make_actor("u1", "ben", Role.DEVELOPER, {1: Role.TEAM_ADMINISTRATOR})
    assert of_a_team.can(Permission.MANAGE_TOOLS)
    inside = changed(DRAFT, request=HttpTemplate("http://127.0.0.1:9/", allow_private=True))
    with pytest.raises(PermissionDenied):
        services.http_tools.create(of_a_team, inside)
    tool = services.http_tools.create(of_a_team, DRAFT)
    with pytest.raises(PermissionDenied):
        services.http_tools.update(of_a_team, inside_of("things"), tool.revision)
    with pytest.raises(InvalidInput, match="private"):
        services.http_tools.create(OPERATOR, changed(DRAFT, name="x", request=HttpTemplate("http://127.0.0.1:9/")))


def inside_of(name: str) -> HttpToolDraft:
    return changed(DRAFT, name=name, request=HttpTemplate("http://127.0.0.1:9/", allow_private=True))


def test_no_tool_takes_the_name_of_a_servers_tool(services: Services) -> None:
    with pytest.raises(InvalidInput):
        services.http_tools.create(OPERATOR, changed(DRAFT, name="mail__send"))


@pytest.mark.parametrize("text", ["", ".", "..", "../x", "a/../../b", "a\\..\\b", "a/."])
def test_an_argument_leads_to_no_other_path(text: str) -> None:
    with pytest.raises(InvalidInput):
        fill(DRAFT.request, {"id": text}, {})


def test_what_is_no_way_stays_one_part_of_the_path() -> None:
    assert fill(DRAFT.request, {"id": "a/b?c#d..e"}, {}).address == "https://1.1.1.1/things/a%2Fb%3Fc%23d..e"


def test_what_was_granted_for_good_is_asked_again_when_the_tool_changes(services: Services) -> None:
    ben = make_actor("u1", "ben", Role.DEVELOPER)
    subject = "tool:things"

    def grant() -> None:
        asked = services.approvals.ask(ben, ApprovalRequest(kind=ApprovalKind.TOOL, title="a", subject=subject))
        services.approvals.decide(ben, asked.id, Decision(verdict=Verdict.APPROVE, scope=GrantScope.ALWAYS))
        assert services.approvals.is_granted("u1", subject)

    tool = services.http_tools.create(OPERATOR, DRAFT)
    grant()
    services.http_tools.update(OPERATOR, changed(DRAFT, title=""), tool.revision)
    assert services.approvals.is_granted("u1", subject), "nothing has changed"
    tool = services.http_tools.get(OPERATOR, "things")
    services.http_tools.update(
        OPERATOR, changed(DRAFT, request=HttpTemplate("https://1.1.1.1/x/{{id}}")), tool.revision
    )
    assert not services.approvals.is_granted("u1", subject)
    grant()
    services.http_tools.delete(OPERATOR, "things")
    assert not services.approvals.is_granted("u1", subject)


def test_an_approval_is_used_once_however_many_come_at_once(services: Services) -> None:
    sent = list[str]()

    def send(to: str) -> str:
        """Send something."""
        sent.append(to)
        return "sent"

    native = NativeTools()
    native.register(send, ToolAnnotations())
    services.tools.sources.append(native)
    ben = make_actor("u1", "ben", Role.DEVELOPER)

    async def run(times: int) -> list[Any]:
        runs = (services.direct_runs.run(ben, "send", {"to": "a"}, ToolContext(ben)) for _ in range(times))
        return await asyncio.gather(*runs, return_exceptions=True)

    (refusal,) = asyncio.run(run(1))
    assert isinstance(refusal, PermissionDenied)
    (waiting,) = services.approvals.waiting(ben)
    services.approvals.decide(ben, waiting.id, Decision(verdict=Verdict.APPROVE))
    outcomes = asyncio.run(run(5))
    assert sent == ["a"]
    assert sum(isinstance(outcome, Conflict | PermissionDenied) for outcome in outcomes) == 4

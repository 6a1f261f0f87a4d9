"""Every function of the services and every address of programs, asked for each thing of another team: nothing of it.

The table of functions is that of the permissions, which is complete by construction, with the other team's ids and
names put where it has one that is nobody's. There are ten teams, and one attacker is in three of them.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from lib import services as service_root
from lib.access.grants import GatewayEndpoint
from lib.access.permissions import OPERATOR, Actor, Role
from lib.conversations.strategy import ContextStrategy
from lib.errors import LLMManagerError
from lib.gateway.api import calls
from lib.services import Services
from tests.counts import FULL, cases
from tests.gateway.api_rig import application
from tests.security import test_permission_matrix as matrix
from tests.security.teams_rig import MARK, PASSWORD, Rig, open_teams, person, state_of
from tests.workflows import permissions as workflow_permissions

pytestmark = [pytest.mark.feature("ACC-5"), pytest.mark.feature("ACC-1")]
KINDS = {  # of the ids that a service is asked for; in full every service is asked for every id
    **dict.fromkeys(("Configurations", "Overrides", "Cache", "Experiments", "Contexts"), ("configuration", "override")),
    **dict.fromkeys(("Prompts",), ("prompt",)),
    **dict.fromkeys(("ApiKeys",), ("key", "prefix")),
    **dict.fromkeys(("Budgets",), ("budget of team", "budget of key", "user", "key")),
    **dict.fromkeys(("Collections", "Documents", "Passages", "Answers"), ("collection", "document")),
    **dict.fromkeys(("QuestionSets", "Evaluations", "Optimiser", "Proposals"), ("question set", "collection")),
    **dict.fromkeys(("Tools", "HttpTools", "DirectRuns"), ("tool", "server tool")),
    **dict.fromkeys(("Servers", "SignIns"), ("server",)),
    **dict.fromkeys(("Conversations", "Talk", "Titles", "ConversationFiles", "Interchange"), ("conversation",)),
    **dict.fromkeys(("Turns", "ExecutionLog", "Metrics", "Approvals"), ("call", "execution", "approval")),
    **dict.fromkeys(("SavedViews", "Playground"), ("view", "run", "call")),
    **dict.fromkeys(
        ("Workflows", "Bench", "WorkflowSchedules", "WorkflowWebhooks"), ("workflow", "schedule", "webhook")
    ),
    **dict.fromkeys(("WorkflowRuns", "WorkflowBatches", "ConversationRuns"), ("workflow", "workflow run", "batch")),
}
IN_PATHS = {  # which things a part of an address may name; in full every part is given every id and name
    "call_id": ("call", "execution"),
    "slug": ("prompt", "workflow"),
    "run_id": ("workflow run",),
    "batch_id": ("batch",),
    "team": ("team", "team's name"),
    **{f"{kind}_id": (kind,) for kind in ("conversation", "collection", "document", "approval", "execution")},
}
OF_ALL = {"MasterKey.rotate"}  # seals everybody's secrets anew, and tells none


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with open_teams(tmp_path) as opened:
        yield opened


def gather_attackers(rig: Rig) -> dict[str, Actor]:
    """Those of the first team with the most rights, a program, and a person of three teams of ten."""
    services = rig.services
    slugs = [services.teams.create(OPERATOR, f"Team {number}").slug for number in range(8)]
    person(services, "cem", Role.TEAM_ADMINISTRATOR, services.teams.get(OPERATOR, slugs[0]).id)
    for slug in slugs[3:5]:
        services.teams.add(OPERATOR, services.teams.get(OPERATOR, slug).id, "cem", Role.MASTER_DEVELOPER)
    token = services.sessions.login("cem", PASSWORD, "192.0.2.1")
    services.teams.choose(cem_actor(services, token), services.teams.get(OPERATOR, slugs[3]).id)
    assert len(services.teams.list(OPERATOR)) == 10
    names = cases(Role.MASTER_DEVELOPER.value, full=(Role.TEAM_ADMINISTRATOR.value, f"key of {Role.DEVELOPER.value}"))
    return {"of three teams": cem_actor(services, token)} | {name: rig.attackers[name] for name in names}


def cem_actor(services: Services, token: str) -> Actor:
    actor = services.sessions.find_actor(token)
    assert actor is not None
    return actor


def name_things(rig: Rig) -> dict[str, str]:
    """The other team's ids, and the names that stand for ids."""
    names = {"prompt": "zebra-prompt", "tool": "zebra_get", "server tool": "zebra-farm__feed"}
    names["team's name"] = "zebra-research"
    return rig.ids | names


def list_cases(rig: Rig) -> Iterator[tuple[str, str]]:
    """Functions, each with the ids that it is asked for."""
    things = name_things(rig)
    for function in {**matrix.NEEDS, **matrix.TEAM_ADMINISTRATORS}.keys() - OF_ALL:
        kinds = things if FULL else KINDS.get(function.partition(".")[0], ("user",))
        for thing_id in {things[kind] for kind in kinds}:
            yield function, thing_id


def list_addresses(things: dict[str, str]) -> Iterator[tuple[str, str]]:
    """What programs may read, each address with what it names of the other team, or nothing."""
    for path in (path for path, methods in calls.OPERATIONS.items() if "GET" in methods):
        before, _, rest = path.partition("{")
        part, _, after = rest.partition("}")
        kinds = (things if FULL else IN_PATHS[part]) if part else ()
        yield from ((f"{before}{things[kind]}{after}", things[kind]) for kind in kinds)
        if not part:
            yield path, ""


def show(answer: Any) -> str:
    """All that an answer says."""
    if isinstance(answer, Iterator):
        answer = list(answer)
    return answer.to_csv() if hasattr(answer, "to_csv") else repr(answer)


def test_no_function_of_a_service_tells_or_changes_anything_of_another_team(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    attackers = gather_attackers(rig)
    functions = {name: deed for name, (_, deed) in matrix.NEEDS.items()} | matrix.TEAM_ADMINISTRATORS
    before = state_of(rig.services)
    leaks = list[tuple[str, str, str]]()
    for function, thing_id in list_cases(rig):
        thing = SimpleNamespace(id=thing_id, name=thing_id, team_id=rig.bea.team_id, strategy=ContextStrategy())
        monkeypatch.setattr(matrix, "NOBODY", thing_id)
        monkeypatch.setattr(matrix, "NOT_HERE", thing)
        monkeypatch.setattr(workflow_permissions, "NOBODY", thing_id)
        for name, actor in attackers.items():
            try:
                told = show(functions[function](rig.services, actor))
            except LLMManagerError as error:
                told = str(error)
            if MARK in told.replace(thing_id, ""):
                leaks.append((function, name, told[:200]))
    assert leaks == []
    assert state_of(rig.services) == before


def test_no_address_of_programs_tells_anything_of_another_team(rig: Rig) -> None:
    attackers = gather_attackers(rig)
    endpoints = [GatewayEndpoint.API, GatewayEndpoint.TEAMS]
    leaks = list[tuple[str, str]]()
    with ExitStack() as stack:
        service_root.use(rig.services)
        stack.callback(service_root.use, None)
        client = stack.enter_context(TestClient(application(rig.services.calls)))
        for name in ("of three teams", Role.MASTER_DEVELOPER.value):
            token, _ = rig.services.api_keys.create(attackers[name], app="zebra-app", endpoints=endpoints)
            for address, thing_id in list_addresses(name_things(rig)):
                answer = client.get(address, headers={"authorization": f"Bearer {token}"})
                assert answer.status_code < 500, address
                told = answer.text.replace(thing_id, "") if thing_id else answer.text
                if MARK in told:
                    leaks.append((address, told[:200]))
    assert leaks == []

"""An attacker in one team gets nothing of another: not at any function, by any name or id, with any role, by any key.

Everything of the other team says "zebra": no answer may. What is asked for by name or id is as unknown as what is not
there, and what is told to change stays as it is.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as changed

from lib.access.audit import AuditCriteria
from lib.access.grants import Limits
from lib.access.permissions import OPERATOR, Actor, Role
from lib.access.team_choices import StopKind
from lib.activity.call_filter import CUSTOM, ActivityFilter
from lib.budgets.budget import CallFacts
from lib.clock import make_id, utc_now
from lib.configs.overrides import OverrideDraft
from lib.errors import LLMManagerError, NotFound, PermissionDenied
from lib.mcp.server import ServerDraft
from lib.prompts.template import VersionDraft
from lib.services import Services
from lib.statistics.filters import Dimension, StatisticsFilter
from lib.statistics.measures import Measure
from lib.statistics.statement import make_statement
from lib.tools.tool import ToolContext
from lib.tools.tool_settings import ToolSettings
from tests.counts import cases
from tests.security.teams_rig import MARK, PASSWORD, ZEBRA_TOOL, Rig, open_teams, state_of

pytestmark = [pytest.mark.feature("ACC-5"), pytest.mark.feature("ACC-4")]
ALL = ActivityFilter(period=CUSTOM)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with open_teams(tmp_path_factory.mktemp("teams")) as opened:
        yield opened


Deed = Callable[[Services, Actor, dict[str, str]], Any]
LOOKS: dict[str, Deed] = {
    "configurations": lambda s, a, i: s.configurations.list(a),
    "configurations of the app": lambda s, a, i: s.configurations.list(a, "zebra-app"),
    "apps": lambda s, a, i: s.configurations.apps(a),
    "the default": lambda s, a, i: s.configurations.default_for(a, "zebra-app"),
    "configurations as a file": lambda s, a, i: s.configurations.export_json(a),
    "overrides": lambda s, a, i: s.overrides.list(a),
    "overrides of a call": lambda s, a, i: s.overrides.matching(a, "zebra-app", None, i["configuration"]),
    "prompts": lambda s, a, i: s.prompts.list(a),
    "prompts as a file": lambda s, a, i: s.prompts.export_json(a),
    "collections": lambda s, a, i: s.knowledge.collections.list(a),
    "saved views": lambda s, a, i: s.saved_views.list(a),
    "keys": lambda s, a, i: s.api_keys.list(replace(a, key=None)),
    "limits of apps": lambda s, a, i: s.limits.list_apps(a),
    "budgets": lambda s, a, i: s.budgets.list(a),
    "budgets near their limit": lambda s, a, i: s.budgets.attention(a),
    "notices": lambda s, a, i: s.budgets.notices(a),
    "what budgets may be about": lambda s, a, i: [
        s.budgets.choices(a, scope) for scope in ("configuration", "user", "key", "team")
    ],
    "would a call pass": lambda s, a, i: s.budgets.check(
        a, CallFacts("p", "zebra-app", i["configuration"], i["user"], i["key"], int(i["team"])), 1
    ),
    "conversations": lambda s, a, i: s.conversations.list(a),
    "search in conversations": lambda s, a, i: s.conversation_search.messages(a, "zebra"),
    "runs": lambda s, a, i: s.playground.recent(a),
    "experiments": lambda s, a, i: s.experiments.list(a),
    "calls": lambda s, a, i: s.activity.page(a, ALL),
    "calls of the team": lambda s, a, i: s.activity.page(a, replace(ALL, teams=(i["team"],))).rows,
    "calls with the word": lambda s, a, i: s.activity.page(a, replace(ALL, text="zebra")).rows,
    "filters of calls": lambda s, a, i: s.activity.options(a),
    "calls as CSV": lambda s, a, i: b"".join(s.activity.export_csv(a, ALL)),
    "calls as JSON": lambda s, a, i: b"".join(s.activity.export_json(a, ALL)),
    "calls as SQL": lambda s, a, i: b"".join(s.activity.export_sql(a, ALL)),
    "metrics": lambda s, a, i: s.metrics.statistics(a),
    "numbers of metrics": lambda s, a, i: s.metrics.numeric_keys(a),
    "statistics": lambda s, a, i: [s.statistics.choices(a, dimension) for dimension in Dimension],
    "statistics of the team": lambda s, a, i: s.statistics.pivot(
        a, StatisticsFilter(teams=(i["team"],)), [Dimension.APP], [Measure.CALLS]
    ).to_csv(),
    "the table of usage": lambda s, a, i: s.statistics.stats_table(a, ["app", "model", "team"], None, None).to_csv(),
    "the audit log": lambda s, a, i: s.audit.page(a, AuditCriteria()),
    "the audit log of the team": lambda s, a, i: s.audit.page(a, AuditCriteria(teams=(int(i["team"]),))),
    "filters of the audit log": lambda s, a, i: s.audit.options(a),
    "the audit log as CSV": lambda s, a, i: b"".join(s.audit.export_csv(a, AuditCriteria())),
    "teams": lambda s, a, i: s.teams.list(a),
    "what is stopped": lambda s, a, i: s.stops.list(a),
    "tools": lambda s, a, i: s.tools.definitions(a),
    "settings of tools": lambda s, a, i: s.tools.settings(a),
    "tools that may be used": lambda s, a, i: s.tools.toolset(a, "zebra-app"),
    "tools as a file": lambda s, a, i: s.tool_exchange.export_json(a),
    "what tools need of a person": lambda s, a, i: s.tools.explain_unattended(a, ["*"]),
    "runs of tools": lambda s, a, i: s.tools.executions.list(a),
    "figures of tools": lambda s, a, i: s.tools.executions.figures(a),
    "servers": lambda s, a, i: s.servers.list(a),
    "servers that are offered": lambda s, a, i: s.servers.offered(a),
    "servers to sign in at": lambda s, a, i: s.server_sign_ins.list(replace(a, key=None)),
    "questions that wait": lambda s, a, i: s.approvals.waiting(a),
    "what runs without a question": lambda s, a, i: s.approvals.standing(a),
    "statements": lambda s, a, i: make_statement(a, s.statistics, s.teams, f"{utc_now():%Y-%m}"),
}
ON_BUDGETS: dict[str, Callable[[Services, Actor, str], Any]] = {
    "see": lambda s, a, budget_id: s.budgets.get(a, budget_id),
    "change": lambda s, a, budget_id: s.budgets.update(a, budget_id, limit_nano=1),
    "delete": lambda s, a, budget_id: s.budgets.delete(a, budget_id),
}


def on_budget(do: Callable[[Services, Actor, str], Any], scope: str) -> Deed:
    """What is done to the budget of a scope."""
    return lambda s, a, i: do(s, a, i[f"budget of {scope}"])


def run_tool(name: str) -> Deed:
    """A run of a tool at once, as the interface for programs begins one."""
    return lambda s, a, i: asyncio.run(s.direct_runs.run(a, name, {}, ToolContext(a)))


def on_server(do: Callable[[Services, Actor, str], Any]) -> Deed:
    """What is done to the server."""
    return lambda s, a, i: do(s, a, i["server"])


BY_ID: dict[str, tuple[str, Deed]] = {
    "configuration": ("configuration", lambda s, a, i: s.configurations.get(a, i["configuration"])),
    "configuration by name": ("configuration", lambda s, a, i: s.configurations.get(a, "zebra-bot")),
    "change a configuration": (
        "configuration",
        lambda s, a, i: s.configurations.update(a, i["configuration"], 1, model="m"),
    ),
    "switch a configuration off": (
        "configuration",
        lambda s, a, i: s.configurations.set_active(a, i["configuration"], False),
    ),
    "make it the default": (
        "configuration",
        lambda s, a, i: s.configurations.set_default(a, i["configuration"], everywhere=True),
    ),
    "clone a configuration": ("configuration", lambda s, a, i: s.configurations.clone(a, i["configuration"], "mine")),
    "delete a configuration": ("configuration", lambda s, a, i: s.configurations.delete(a, i["configuration"])),
    "override": ("override", lambda s, a, i: s.overrides.get(a, i["override"])),
    "change an override": ("override", lambda s, a, i: s.overrides.set_active(a, i["override"], False)),
    "delete an override": ("override", lambda s, a, i: s.overrides.delete(a, i["override"])),
    "an override for their configuration": (
        "override",
        lambda s, a, i: s.overrides.create(a, OverrideDraft("x", configuration_id=i["configuration"])),
    ),
    "prompt": ("prompt", lambda s, a, i: s.prompts.version(a, "zebra-prompt")),
    "change a prompt": ("prompt", lambda s, a, i: s.prompts.save(a, "zebra-prompt", VersionDraft("Mine."), 1)),
    "label a prompt": ("prompt", lambda s, a, i: s.prompts.move_label(a, "zebra-prompt", "production", 1)),
    "delete a prompt": ("prompt", lambda s, a, i: s.prompts.delete(a, "zebra-prompt")),
    "collection": ("collection", lambda s, a, i: s.knowledge.collections.get(a, i["collection"])),
    "collection by name": ("collection", lambda s, a, i: s.knowledge.collections.get(a, "zebra papers")),
    "documents": ("collection", lambda s, a, i: s.knowledge.documents.list(a, i["collection"])),
    "search a collection": ("collection", lambda s, a, i: s.knowledge.passages.search(a, i["collection"], "zebra")),
    "add to a collection": ("collection", lambda s, a, i: s.knowledge.documents.add_text(a, i["collection"], "n", "b")),
    "delete a collection": ("collection", lambda s, a, i: s.knowledge.collections.delete(a, i["collection"])),
    "view": ("view", lambda s, a, i: s.saved_views.get(a, i["view"])),
    "delete a view": ("view", lambda s, a, i: s.saved_views.delete(a, i["view"])),
    "find a key": ("key", lambda s, a, i: s.api_keys.find(replace(a, key=None), i["prefix"])),
    "revoke a key": ("key", lambda s, a, i: s.api_keys.revoke(replace(a, key=None), i["key"])),
    "widen a key": (
        "key",
        lambda s, a, i: s.api_keys.update(
            replace(a, key=None), i["key"], name="x", models=[], endpoints=["chat"], limits=Limits(), expires_at=None
        ),
    ),
    "a key for their person": (
        "key",
        lambda s, a, i: s.api_keys.create(replace(a, key=None), app="x", owner_id=i["user"]),
    ),
    **{
        f"{verb} the budget of {scope}": ("budget", on_budget(do, scope))
        for scope in ("team", "key", "configuration", "app")
        for verb, do in ON_BUDGETS.items()
    },
    "budget by name": ("budget", lambda s, a, i: s.budgets.find(a, "team", "zebra-research", "month")),
    "a budget for their team": (
        "budget",
        lambda s, a, i: s.budgets.create(a, scope="team", subject="zebra-research", period="day", limit_nano=1),
    ),
    "a budget for everything": (
        "budget",
        lambda s, a, i: s.budgets.create(a, scope="global", period="day", limit_nano=1),
    ),
    "conversation": ("conversation", lambda s, a, i: s.conversations.get(a, i["conversation"])),
    "delete a conversation": ("conversation", lambda s, a, i: s.conversations.delete(a, i["conversation"])),
    "run": ("run", lambda s, a, i: s.playground.open(a, i["run"])),
    "delete a run": ("run", lambda s, a, i: s.playground.delete(a, i["run"])),
    "experiment": ("experiment", lambda s, a, i: s.experiments.get(a, i["experiment"])),
    "delete an experiment": ("experiment", lambda s, a, i: s.experiments.delete(a, i["experiment"])),
    "call": ("call", lambda s, a, i: s.activity.detail(a, i["call"])),
    "call's words": ("call", lambda s, a, i: s.runs.view(a, i["call"])),
    "metrics of a call": ("call", lambda s, a, i: s.metrics.list(a, i["call"])),
    "note about a call": ("call", lambda s, a, i: s.metrics.record(a, i["call"], "k", 1)),
    "members": ("team", lambda s, a, i: s.teams.members(a, int(i["team"]))),
    "join": ("team", lambda s, a, i: s.teams.add(a, int(i["team"]), a.name)),
    "take out": ("team", lambda s, a, i: s.teams.remove(a, int(i["team"]), i["user"])),
    "give a role": ("team", lambda s, a, i: s.teams.set_role(a, int(i["team"]), i["user"], "administrator")),
    "rename": ("team", lambda s, a, i: s.teams.rename(a, int(i["team"]), "mine")),
    "choose": ("team", lambda s, a, i: s.teams.choose(a, int(i["team"]))),
    "move": ("team", lambda s, a, i: s.teams.move(a, "configuration", "zebra-bot", 1)),
    "limit": ("team", lambda s, a, i: s.limits.set_team(a, int(i["team"]), Limits(1))),
    "invite": ("team", lambda s, a, i: s.access_links.invite(a, int(i["team"]))),
    "reset a password": ("team", lambda s, a, i: s.access_links.reset_password(a, i["user"])),
    "stop": ("team", lambda s, a, i: s.stops.stop(a, StopKind.TEAM, i["team"])),
    "stop their key": ("team", lambda s, a, i: s.stops.stop(a, StopKind.KEY, i["key"])),
    "stop everything": ("team", lambda s, a, i: s.stops.stop(a, StopKind.EVERYTHING)),
    "hand over": ("team", lambda s, a, i: s.hand_over.run(a, i["user"], a.user_id or "", int(i["team"]))),
    "a tool": ("tool", lambda s, a, i: s.tools.find(a, "zebra_get")),
    "a tool's request": ("tool", lambda s, a, i: s.http_tools.get(a, "zebra_get")),
    "change a tool": ("tool", lambda s, a, i: s.http_tools.update(a, changed(ZEBRA_TOOL, description="Mine."), 1)),
    "set a tool": ("tool", lambda s, a, i: s.tools.save_settings(a, "zebra_get", ToolSettings(revision=1))),
    "delete a tool": ("tool", lambda s, a, i: s.http_tools.delete(a, "zebra_get")),
    "run a tool": ("tool", run_tool("zebra_get")),
    "run a tool past the registry": (
        "tool",
        lambda s, a, i: asyncio.run(s.http_tools.run("zebra_get", {}, ToolContext(a))),
    ),
    "a server's tool": ("tool", lambda s, a, i: s.tools.find(a, "zebra-farm__feed")),
    "set a server's tool": ("tool", lambda s, a, i: s.tools.save_settings(a, "zebra-farm__feed", ToolSettings())),
    "run a server's tool": ("tool", run_tool("zebra-farm__feed")),
    **{
        f"{deed} a server": ("server", on_server(do))
        for deed, do in {
            "see": lambda s, a, name: s.servers.get(a, name),
            "change": lambda s, a, name: s.servers.update(a, ServerDraft(name, ["false"])),
            "approve": lambda s, a, name: s.servers.approve(a, name, ""),
            "start": lambda s, a, name: s.servers.start(a, name),
            "stop": lambda s, a, name: s.servers.stop(a, name),
            "restart": lambda s, a, name: s.servers.restart(a, name),
            "remove": lambda s, a, name: s.servers.remove(a, name),
            "approve tools of": lambda s, a, name: s.servers.approve_tools(a, name),
            "reject tools of": lambda s, a, name: s.servers.reject_tools(a, name, ["feed"]),
            "read a resource of": lambda s, a, name: s.servers.read_resource(a, name, "zebra://1"),
            "fill a prompt of": lambda s, a, name: s.servers.fill_prompt(a, name, "zebra", {}),
            "sign in at": lambda s, a, name: s.server_sign_ins.begin(replace(a, key=None), name, "http://a.test"),
            "sign out of": lambda s, a, name: s.server_sign_ins.sign_out(replace(a, key=None), name),
            "move": lambda s, a, name: s.teams.move(a, "server", name, 1),
            "halt": lambda s, a, name: s.stops.stop(a, StopKind.SERVER, name),
        }.items()
    },
    "ask a server": (
        "server",
        lambda s, a, i: asyncio.run(s.servers.ask(a, s.servers.list(OPERATOR)[0], "resource", uri="zebra://1")),
    ),
    "erase": ("team", lambda s, a, i: s.erasure.erase(a, i["user"])),
}


@pytest.mark.parametrize("look", LOOKS)
def test_no_list_figure_or_file_says_anything_of_another_team(rig: Rig, look: str) -> None:
    for name, actor in rig.attackers.items():
        try:
            shown = LOOKS[look](rig.services, actor, rig.ids)
        except LLMManagerError:
            continue
        assert MARK not in repr(shown), (look, name)


def test_what_is_of_another_team_is_as_unknown_as_nothing_and_stays(rig: Rig) -> None:
    before = state_of(rig.services)
    few = ("master-developer", "team-administrator", "key of developer")
    attackers = {name: rig.attackers[name] for name in cases(*few, full=rig.attackers)}
    for deed, (_, do) in BY_ID.items():
        for name, actor in attackers.items():
            with pytest.raises(LLMManagerError) as caught:
                do(rig.services, actor, rig.ids)
            refusal = caught.value
            assert isinstance(refusal, NotFound | PermissionDenied) or "There is no" in str(refusal), (
                deed,
                name,
                refusal,
            )
            unknown = {key: "0" if key == "team" else make_id() for key in rig.ids}  # no server has a name that long
            with pytest.raises(LLMManagerError) as nothing:
                do(rig.services, actor, unknown)
            assert type(nothing.value) is type(refusal), (deed, name, refusal, nothing.value)
    assert state_of(rig.services) == before


def test_the_team_itself_finds_all_of_it(rig: Rig) -> None:
    missing = set[str]()
    for look, deed in LOOKS.items():
        try:
            shown = repr(deed(rig.services, rig.bea, rig.ids))
        except LLMManagerError:
            shown = ""
        if MARK not in shown:
            missing.add(look)
    assert missing <= {
        "budgets near their limit",
        "notices",
        "numbers of metrics",
        "limits of apps",
        "what is stopped",
        "runs",
        "search in conversations",
        *("what tools need of a person", "figures of tools", "servers to sign in at", "what runs without a question"),
    }


def test_a_person_of_three_teams_acts_in_one_at_a_time(rig: Rig) -> None:
    services = rig.services
    user = services.users.create(OPERATOR, "cem", PASSWORD, Role.ADMINISTRATOR)
    third = services.teams.create(OPERATOR, "Third")
    services.teams.add(OPERATOR, int(rig.ids["team"]), "cem", Role.DEVELOPER)
    services.teams.add(OPERATOR, third.id, "cem", Role.TEAM_ADMINISTRATOR)
    token = services.sessions.login("cem", PASSWORD, "192.0.2.1")

    def acting() -> Actor:
        actor = services.sessions.find_actor(token)
        assert actor is not None
        return actor

    assert (acting().team_id, acting().role, acting().team_ids) == (
        1,
        Role.ADMINISTRATOR,
        (1, int(rig.ids["team"]), third.id),
    )
    services.teams.choose(acting(), int(rig.ids["team"]))
    assert acting().role is Role.DEVELOPER
    assert "zebra-bot" in {configuration.slug for configuration in services.configurations.list(acting())}
    services.teams.choose(acting(), third.id)
    assert acting().rules_team
    assert MARK not in repr(services.configurations.list(acting()))
    services.teams.remove(OPERATOR, third.id, user.id)
    assert acting().team_id == 1
    for team_id in (1, int(rig.ids["team"])):
        services.teams.remove(OPERATOR, team_id, user.id)
    assert acting().permissions == frozenset()
    with pytest.raises(PermissionDenied):
        services.configurations.list(acting())
    services.users.set_active(OPERATOR, user.id, False)


def test_tools_and_servers_move_between_teams_with_what_is_set_on_them(rig: Rig) -> None:
    services = rig.services
    amira = rig.attackers[Role.MASTER_DEVELOPER.value]
    move = services.teams.move

    def see() -> tuple[set[str], set[str], set[str]]:
        tools = {tool.name for tool in services.tools.definitions(amira)}
        servers = {server.name for server in services.servers.list(amira)}
        return tools & {"zebra_get", "zebra-farm__feed"}, servers, set(services.tools.settings(amira))

    services.http_tools.create(OPERATOR, changed(ZEBRA_TOOL, name="horse_get"))
    assert see() == (set(), set(), {"horse_get"})
    for kind, name in (("tool", "zebra_get"), ("server", "zebra-farm")):
        with pytest.raises(PermissionDenied):
            move(amira, kind, name, 1)
    move(OPERATOR, "server", "zebra-farm", 1)
    assert see() == ({"zebra-farm__feed"}, {"zebra-farm"}, {"horse_get", "zebra-farm__feed"})
    assert MARK not in repr(services.servers.list(rig.bea))
    services.servers.stop(amira, "zebra-farm")
    move(OPERATOR, "server", "zebra-farm", 0)
    assert see()[1] == {"zebra-farm"}
    with pytest.raises(PermissionDenied, match="belongs to all teams"):
        services.servers.start(amira, "zebra-farm")
    move(OPERATOR, "server", "zebra-farm", int(rig.ids["team"]))
    services.servers.start(OPERATOR, "zebra-farm")
    with pytest.raises(NotFound):
        move(OPERATOR, "tool", "zebra-farm__feed", 1)  # a server's tool goes with its server
    move(OPERATOR, "tool", "horse_get", int(rig.ids["team"]))
    assert see() == (set(), set(), set())
    services.http_tools.delete(OPERATOR, "horse_get")

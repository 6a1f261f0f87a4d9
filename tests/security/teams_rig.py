"""Two teams of one installation: the first, with attackers, and Zebra, with one of everything, which says "zebra"."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import insert, select

from lib.access.grants import GatewayEndpoint
from lib.access.membership import find_person
from lib.access.permissions import OPERATOR, Actor, Role
from lib.access.team_choices import StopKind
from lib.approvals.approval import ApprovalKind, ApprovalRequest
from lib.clock import make_id, utc_now
from lib.configs.overrides import OverrideDraft
from lib.db.tables import documents, experiments, metadata, playground_runs
from lib.mcp.records import write_state
from lib.mcp.server import ServerDraft
from lib.prompts.template import VersionDraft
from lib.services import Services, build
from lib.settings import Settings
from lib.tools.http_request import HttpTemplate
from lib.tools.http_tools import HttpToolDraft
from lib.tools.tool import ToolContext, ToolDefinition
from lib.tools.tool_settings import ToolSettings
from tests.activity.activity_rig import log
from tests.workflows.rig import draw, finish, start

MARK = "zebra"
PASSWORD = "a long enough phrase"
ZEBRA_TOOL = HttpToolDraft("zebra_get", "Reads zebras.", HttpTemplate("https://1.1.1.1/"))


@dataclass
class Rig:
    """Two teams of one installation: the first, with the attackers, and Zebra, with one of everything."""

    services: Services
    attackers: dict[str, Actor]
    bea: Actor
    ids: dict[str, str]


def person(services: Services, name: str, role: Role, team_id: int) -> Actor:
    user = services.users.create(OPERATOR, name, PASSWORD, role, team_id)
    with services.store.read() as connection:
        actor = find_person(connection, user.id)
    assert actor is not None
    return actor


@contextmanager
def open_teams(folder: Path) -> Iterator[Rig]:
    """The two teams in a new installation."""
    services = build(Settings(data_dir=folder, database_url=f"sqlite:///{folder / 'llm_manager.db'}"))
    services.users.create(OPERATOR, "root", PASSWORD, Role.SUPER_ADMIN)
    team = services.teams.create(OPERATOR, "Zebra research")
    bea = person(services, "bea-zebra", Role.TEAM_ADMINISTRATOR, team.id)
    attackers = {
        role.value: person(services, f"amira-{role.value}", role, 1) for role in Role if role is not Role.SUPER_ADMIN
    }
    for role, actor in list(attackers.items()):
        token, _ = services.api_keys.create(actor, app="horse-app", endpoints=list(GatewayEndpoint))
        key = services.api_keys.authenticate(token)
        assert key is not None
        assert key.actor is not None
        attackers[f"key of {role}"] = key.actor
    yield Rig(services, attackers, bea, furnish(services, bea, team.id))
    services.close()


def furnish(services: Services, bea: Actor, team_id: int) -> dict[str, str]:
    """One of everything in Zebra, as its administrator makes it; the ids."""
    ids = {"team": str(team_id), "user": bea.user_id or "", "server": "zebra-farm"}
    provider = services.providers.list(OPERATOR)[0].id
    ids["configuration"] = services.configurations.create(
        bea, slug="zebra-bot", app="zebra-app", model="m-zebra", provider=provider
    ).id
    services.configurations.set_default(bea, ids["configuration"])
    services.prompts.create(bea, "zebra-prompt", VersionDraft("Say zebra."), app="zebra-app")
    ids["override"] = services.overrides.create(
        bea, OverrideDraft("zebra rule", {"temperature": 1}, app="zebra-app")
    ).id
    ids["collection"] = services.knowledge.collections.create(bea, "zebra papers", is_shared=True).id
    ids["view"] = services.saved_views.save(bea, "zebra view", {"app": ["zebra-app"]}, shared=True, pinned=True).id
    _, key = services.api_keys.create(bea, app="zebra-app", name="zebra key")
    ids |= {"key": key.id, "prefix": key.prefix}
    for scope, subject in (
        ("team", team_id),
        ("key", key.id),
        ("configuration", ids["configuration"]),
        ("app", "zebra-app"),
    ):
        budget = services.budgets.create(OPERATOR, scope=scope, subject=str(subject), period="month", limit_nano=10**9)
        ids[f"budget of {scope}"] = budget.budget.id
    ids["conversation"] = services.conversations.create(bea, configuration="zebra-bot", title="zebra talk").id
    ids["call"] = log(
        services.store,
        bea,
        team_id=team_id,
        app="zebra-app",
        model="m-zebra",
        prompt_text="zebra",
        response_text="zebra",
    )
    services.metrics.record(bea, ids["call"], "zebra.metric", "zebra")
    furnish_tools(services, replace(OPERATOR, team_id=team_id))
    ids |= furnish_work(services, bea, ids["collection"])
    ids |= {"run": make_id(), "experiment": make_id()}
    own = {"user_id": bea.user_id, "team_id": team_id, "created_at": utc_now()}
    with services.store.write() as connection:
        connection.execute(insert(playground_runs).values(id=ids["run"], is_shared=True, **own))
        table = {"name": "zebra test", "state": "ready", "candidates": [], "scorers": [], "columns": [], "parallel": 1}
        connection.execute(insert(experiments).values(id=ids["experiment"], **table, **own))
    return ids


def furnish_tools(services: Services, operator: Actor) -> None:
    """A tool over HTTP and a server with a tool, which is ready, each with settings and stopped."""
    services.http_tools.create(operator, ZEBRA_TOOL)
    server = services.servers.add(operator, ServerDraft("zebra-farm", ["true"], secrets={"ZEBRA": "zebra"}))
    services.servers.approve(operator, server.name, server.approval_hash)
    services.servers.start(operator, server.name)
    listing = [{"name": "feed", "description": "Feeds zebras.", "inputSchema": {"type": "object"}}]
    offers = {"tools": listing, "resources": [{"uri": "zebra://1"}], "prompts": [{"name": "zebra"}]}
    write_state(services.store, server.id, actual="ready", error_text="zebra", tools_at=utc_now(), **offers)
    services.servers.approve_tools(operator, server.name)
    for name in ("zebra_get", "zebra-farm__feed"):
        revision = services.tools.settings(operator).get(name, ToolSettings()).revision
        services.tools.save_settings(operator, name, ToolSettings(timeout_s=5, revision=revision))
        services.stops.stop(operator, StopKind.TOOL, name)
    services.stops.stop(operator, StopKind.SERVER, "zebra-farm")


def furnish_work(services: Services, bea: Actor, collection_id: str) -> dict[str, str]:
    """A workflow with what begins it, a run and a table of runs, a question that waits, a run of a tool, questions of
    the knowledge base, and a document; the ids.
    """
    flows = services.workflows
    slug = flows.definitions.create(bea, "zebra-flow", draw(start("zebra"), finish("{{start.zebra}}"))).slug
    ids = {"workflow": slug, "schedule": flows.schedules.add(bea, slug, "0 3 * * *", "UTC").id}
    ids["webhook"] = flows.webhooks.add(bea, slug)[0].id
    ids["workflow run"] = flows.runs.start(bea, slug, {"zebra": "zebra"}, launches=False).id
    ids["batch"] = flows.batches.start(bea, slug, [{"zebra": "zebra"}], launches=False).id
    question = ApprovalRequest(kind=ApprovalKind.TOOL, title="zebra?", subject="tool:zebra_get", data={"to": "zebra"})
    ids["approval"] = services.approvals.ask(bea, question).id
    ids["execution"] = make_id()
    tool = ToolDefinition(name="zebra_get", description="", source="http")
    services.tools.executions.open(ids["execution"], tool, {"zebra": 1}, ToolContext(bea), 60)
    ids["question set"] = services.knowledge.question_sets.create(bea, collection_id, "zebra questions").id
    ids["document"] = make_id()
    paper = {"title": "zebra", "kind": "manual", "source": "paste", "media_type": "text/plain", "size": 1, "sha256": ""}
    paper |= {"state": "ready", "created_by": bea.user_id, "created_at": utc_now(), "updated_at": utc_now()}
    with services.store.write() as connection:
        connection.execute(insert(documents).values(id=ids["document"], collection_id=collection_id, **paper))
    return ids


def state_of(services: Services) -> str:
    """Everything that stands in the tables of things, to be compared: who looks or is refused changes nothing."""
    unwatched = {"audit_log", "sessions", "processes", "installation_settings", "users", "api_keys"}
    with services.store.read() as connection:
        rows = {
            name: [list(row) for row in connection.execute(select(table)) if MARK in repr(row)]
            for name, table in metadata.tables.items()
            if name not in unwatched
        }
    return json.dumps(rows, default=str, sort_keys=True)

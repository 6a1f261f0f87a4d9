"""Short ways to write workflows and to run them on an installation with a scripted provider."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from sqlalchemy import func, insert, select

from lib.access.membership import join_team
from lib.access.permissions import Actor
from lib.access.users import build_row
from lib.clock import make_id
from lib.db.tables import usage_logs, users
from lib.db.team_ids import FIRST_TEAM
from lib.services import Services
from lib.settings import Settings
from lib.workflows.run import Run, RunState, Step
from tests.calls.rig import AMIRA, JONAS, Rig
from tests.waiting import CEILING_S

Document = dict[str, Any]


def draw(*nodes: Mapping[str, Any], edges: str = "", **more: Any) -> Document:
    """A document whose nodes follow one another, or are joined by edges such as `a>b b:true>c`."""
    if edges:
        drawn = [_read_edge(edge) for edge in edges.split()]
    else:
        drawn = [{"from": a["id"], "to": b["id"]} for a, b in pairwise(nodes)]
    return {"nodes": [dict(node) for node in nodes], "edges": drawn, **more}


def _read_edge(text: str) -> dict[str, str]:
    source, _, target = text.partition(">")
    name, _, port = source.partition(":")
    return {"from": name, "to": target} | ({"port": port} if port else {})


def node(kind: str, id: str, **fields: Any) -> Document:
    """A node."""
    return {"kind": kind, "id": id, **fields}


def start(*names: str, **fields: Any) -> Document:
    """An input with text fields."""
    return node("input", "start", fields=[{"name": name} for name in names], **fields)


def finish(text: str) -> Document:
    """An output of words."""
    return node("output", "finish", text=text)


class FlowRig(Rig):
    """Makes workflows and runs them to their end."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.services: Services
        with self.services.store.write() as connection:
            for actor in (AMIRA, JONAS):  # a run goes on for whoever has an account
                row = build_row(actor.name, "correct horse battery", actor.role) | {"id": actor.user_id}
                connection.execute(insert(users), row)
                join_team(connection, row["id"], FIRST_TEAM)

    def configure(self, script: str) -> str:
        """A configuration whose model is the script; its slug."""
        slug = f"s-{make_id()[-12:]}"
        self.services.configurations.create(AMIRA, slug=slug, app="tests", provider="scripted", model=script)
        return slug

    def make(self, document: Document, slug: str = "") -> str:
        """A workflow; its slug."""
        return self.services.workflows.definitions.create(AMIRA, slug or f"w-{make_id()[-12:]}", document).slug

    def start(self, document: Document | str, actor: Actor = AMIRA, /, **inputs: Any) -> Run:
        """Begin a run."""
        slug = document if isinstance(document, str) else self.make(document)
        return self.services.workflows.runs.start(actor, slug, inputs)

    def finish(self, document: Document | str, actor: Actor = AMIRA, /, **inputs: Any) -> Run:
        """Begin a run and wait until it is over or waits."""
        return self.wait(self.start(document, actor, **inputs))

    def wait(self, run: Run) -> Run:
        """The run when nothing happens any more by itself."""
        ended = self.services.workflows.runs.wait(AMIRA, run.id, CEILING_S)
        assert not ended.state.is_at_work
        return ended

    def steps(self, run: Run) -> dict[str, Step]:
        """Steps by path."""
        return {step.path: step for step in self.services.workflows.runs.steps(AMIRA, run.id)}

    def count_calls(self) -> int:
        """Rows of the ledger."""
        self.services.calls.flush()
        with self.services.store.read() as connection:
            return connection.scalar(select(func.count()).select_from(usage_logs)) or 0


def states(steps: Mapping[str, Step], *paths: str) -> Sequence[str]:
    """The states of steps."""
    return [str(steps[path].state) for path in paths]


__all__ = ["AMIRA", "JONAS", "FlowRig", "RunState", "draw", "finish", "node", "start", "states"]

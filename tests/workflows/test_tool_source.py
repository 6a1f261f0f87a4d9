"""Workflows as tools: offered to who may run them, run to their end, never from within a workflow."""

import asyncio

import pytest

from lib.access.permissions import Role, make_actor
from lib.calls.request import Within
from lib.tools.tool import ToolContext
from lib.workflows.definition import parse_definition
from lib.workflows.run import Trigger
from lib.workflows.triggers.tool_source import describe_effects, name_tool
from tests.workflows.rig import AMIRA, JONAS, Document, FlowRig, draw, finish, node, start

pytestmark = [pytest.mark.feature("TOOL-1"), pytest.mark.feature("FLOW-9")]
OLA = make_actor(JONAS.user_id, "jonas", Role.ADMINISTRATOR)
SHOUT = draw(start("text"), node("transform", "shout", value="upper(start.text)"), finish("{{shout}}!"))


@pytest.mark.parametrize(
    ("document", "effects"),
    [
        (SHOUT, (True, False, False)),
        (draw(start(), node("prompt", "p", prompt="x"), finish("{{p}}")), (True, False, False)),
        (draw(start(), node("retrieve", "r", collection="c", question="q"), finish("x")), (True, False, True)),
        (draw(start(), node("prompt", "p", prompt="x", tools=["*"]), finish("{{p}}")), (False, True, True)),
        (draw(start(), node("wait", "w", seconds=1), finish("x")), (False, True, True)),
    ],
    ids=["words", "prompt", "search", "tools", "wait"],
)
def test_what_a_workflow_may_do_is_said_by_its_steps(document: Document, effects: tuple[bool, ...]) -> None:
    hints = describe_effects(parse_definition(document))
    assert (hints.read_only, hints.destructive, hints.open_world) == effects


def test_a_name_is_one_that_every_provider_takes() -> None:
    assert name_tool("bug.analysis-2_b") == "workflow__bug_analysis-2_b"
    assert len(name_tool("x" * 80)) == 64


def test_a_workflow_is_a_tool_for_who_may_run_it(rig: FlowRig) -> None:
    services = rig.services
    definitions = services.workflows.definitions
    definitions.create(AMIRA, "shout", SHOUT, description="Shouts.", runners={"roles": [Role.ADMINISTRATOR]})
    definitions.create(AMIRA, "hidden", SHOUT)
    definitions.create(AMIRA, "off", SHOUT, runners={"roles": [Role.ADMINISTRATOR]})
    definitions.describe(AMIRA, "off", is_active=False)
    ask = draw(start(), node("wait", "hold", signal="go"), finish("x"))
    definitions.create(AMIRA, "ask", ask, runners={"roles": [Role.ADMINISTRATOR]})
    listed = {tool.name: tool for tool in services.tools.definitions(OLA) if tool.source == "workflow"}
    assert list(listed) == ["workflow__ask", "workflow__shout"]
    assert listed["workflow__shout"].description == "Shouts."
    assert listed["workflow__shout"].parameters["required"] == ["text"]

    async def run(name: str, context: ToolContext, text: str) -> tuple[str, str]:
        execution = await services.tools.run(OLA, name, {"text": text} if text else {}, context)
        return execution.status, execution.output.text if execution.output else ""

    context = ToolContext(actor=OLA)
    assert asyncio.run(run("workflow__shout", context, "hi")) == ("ok", "HI!")
    (made,) = services.workflows.runs.list(OLA, "shout")
    assert (made.trigger, made.user_id) == (Trigger.TOOL, OLA.user_id)
    status, words = asyncio.run(run("workflow__ask", context, ""))
    assert (status, "is waiting" in words) == ("error", True)
    within = ToolContext(actor=OLA, within=Within(workflow_run_id=made.id))
    status, words = asyncio.run(run("workflow__shout", within, "hi"))
    assert (status, "no other one as a tool" in words) == ("failed", True)

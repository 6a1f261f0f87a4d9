"""`/api/tools`: the tools that the key may use, one run at once, and past runs."""

import asyncio
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, to_builtins

from lib.gateway.api.bodies import Body, Count, Moment, Name, Nothing, Object, Usd, fill, format_usd
from lib.gateway.api.operation import Asking, DirectOperation, Operation
from lib.tools.execution_log import ExecutionFilter
from lib.tools.tool import ToolContext, ToolDefinition, ToolExecution


class ToolBody(Struct, kw_only=True):
    """A tool. `parameters` and `result_schema` are JSON Schemas; `approval` says what happens before it runs."""

    name: str
    title: str
    description: str
    source: str
    server: str
    parameters: Object
    result_schema: Object | None
    read_only: bool
    destructive: bool
    idempotent: bool
    open_world: bool
    approval: Literal["auto", "ask", "deny"]


class ToolsBody(Struct):
    """Tools by name; `absences` are servers or tools that can't be had now, each with the reason."""

    tools: list[ToolBody]
    absences: dict[str, str]


class ToolRunBody(Body, forbid_unknown_fields=True):
    """What a tool is run with."""

    arguments: Annotated[Object, Meta(description="They fit the tool's parameters.")] = {}


class ExecutionBody(Struct, kw_only=True):
    """A run of a tool. `arguments` and `result` are null where they were not kept, or are not for the key's owner."""

    id: str
    tool: str
    source: str
    server: str
    status: str
    started_at: Moment
    duration_ms: Count | None
    arguments: Any
    result: Object | None
    error_message: str | None
    arguments_hash: str
    arguments_bytes: Count
    result_hash: str
    result_bytes: Count
    cost_usd: Usd | None
    app: str
    origin: str
    conversation_id: str | None
    call_id: str | None
    turn_id: str | None
    approval_id: str | None
    reason: str


class ExecutionsBody(Struct):
    """Runs, newest first; with as many as a page holds, ask for the next one."""

    executions: list[ExecutionBody]


class ExecutionsQuery(Body):
    """Which runs."""

    tool: Name | None = None
    status: Name | None = None
    call_id: Name | None = None
    turn_id: Name | None = None
    page: Annotated[int, Meta(ge=1, le=100_000)] = 1


def list_tools(asking: Asking[Nothing, Nothing]) -> ToolsBody:
    """The tools that the key's app and owner may use."""
    services = asking.services
    actor = asking.actor
    toolset = services.tools.toolset(actor, _read_app(asking))
    tools = [_describe(tool, services.tools.policy(actor, tool.name, None).value) for tool in toolset.tools.values()]
    return ToolsBody(tools, dict(toolset.absences))


def run_tool(asking: Asking[Nothing, ToolRunBody]) -> ExecutionBody:
    """Run a tool; how it ended stands in the status. One that has to be allowed is refused with the address."""
    context = ToolContext(asking.actor, app=_read_app(asking), origin="gateway")
    run = asking.services.direct_runs.run(asking.actor, asking.path["name"], asking.body.arguments, context)
    return _describe_run(asyncio.run(run))


def list_executions(asking: Asking[ExecutionsQuery, Nothing]) -> ExecutionsBody:
    """Runs of tools: of the key's owner, or of the team where the owner may view statistics."""
    query = asking.query
    criteria = ExecutionFilter(tool=query.tool, status=query.status, call_id=query.call_id, turn_id=query.turn_id)
    runs = asking.services.tools.executions.list(asking.actor, criteria, query.page)
    return ExecutionsBody([_describe_run(run) for run in runs])


def read_execution(asking: Asking[Nothing, Nothing]) -> ExecutionBody:
    """One run of a tool."""
    return _describe_run(asking.services.tools.executions.get(asking.actor, asking.path["execution_id"]))


def _read_app(asking: Asking[Any, Any]) -> str:
    return asking.actor.key.app if asking.actor.key is not None else "general"


def _describe(tool: ToolDefinition, approval: Any) -> ToolBody:
    hints = {name: getattr(tool.annotations, name) for name in tool.annotations.__struct_fields__}
    result_schema = None if tool.result_schema is None else dict(tool.result_schema)
    return fill(
        ToolBody,
        tool,
        **hints,
        parameters=dict(tool.parameters),
        result_schema=result_schema,
        approval=approval,
    )


def _describe_run(run: ToolExecution) -> ExecutionBody:
    result = None if run.output is None else to_builtins(run.output)
    return fill(ExecutionBody, run, result=result, cost_usd=format_usd(run.cost_nano_usd))


_RUNS = "/api/tool-executions"
OPERATIONS: dict[str, dict[str, Operation]] = {
    "/api/tools": {"GET": DirectOperation("listTools", "Tools that the key may use", list_tools)},
    "/api/tools/{name}/run": {"POST": DirectOperation("runTool", "Run a tool", run_tool, is_slow=True)},
    _RUNS: {"GET": DirectOperation("listToolExecutions", "Runs of tools", list_executions)},
    f"{_RUNS}/{{execution_id}}": {"GET": DirectOperation("toolExecution", "One run of a tool", read_execution)},
}

"""Tools of servers as sources of the registry: those of the bundled servers, and those of others.

A listing is what SQL says and never waits for a server. A server of others is listed with the tools that are approved
while it is there or is just being started again; otherwise it is an absence, with the reason. Descriptions reach models
without anything invisible.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lib.access.permissions import Actor, Permission
from lib.configs.tool_rules import ToolRules
from lib.errors import InvalidInput, NotFound
from lib.mcp import pins, records
from lib.mcp.bundled.servers import BundledServers
from lib.mcp.bundled.tool import BundledServer, BundledTool
from lib.mcp.pins import PinnedTool
from lib.mcp.server import RESERVED, ActualState, McpServer
from lib.mcp.servers import Servers
from lib.tools.tool import (
    SourceKind,
    ToolAnnotations,
    ToolContext,
    ToolDefinition,
    ToolImage,
    ToolOutput,
    ToolQuestion,
)
from lib.tools.tool_threads import run_in_thread

_OUTSIDE = frozenset({"filesystem", "database"})  # whose results are text of others
_CALL_S = 600.0  # the registry's own limit is shorter
_IN_PASSING = (ActualState.LOST, ActualState.RESTARTING, ActualState.STARTING)
_NO_QUESTION = "The tool asks for what can't be given here."
_LARGEST_PICTURE = 8 * 1024 * 1024


class BundledTools:
    """The tools of the four servers that come with the product; they run in this process, in a thread."""

    name = "bundled servers"

    def __init__(self, servers: BundledServers) -> None:
        self._servers = servers

    def may_offer(self, name: str) -> bool:
        """Whether a name begins with that of one of the four."""
        return name.partition("__")[0] in RESERVED

    def definitions(self, actor: Actor) -> Sequence[ToolDefinition]:
        """List the tools that the actor may see now."""
        if not actor.can(Permission.TEST_CONFIGS):
            return ()
        return [
            define_bundled(server, tool, f"{server.name}__{tool.name}")
            for server in self._servers.list(actor)
            for tool in server.tools
        ]

    def absences(self, actor: Actor) -> Mapping[str, str]:
        """List the servers that offer nothing, each with the reason."""
        if not actor.can(Permission.TEST_CONFIGS):
            return {}
        return {server.name: server.absence for server in self._servers.list(actor) if server.absence}

    async def run(self, name: str, arguments: Mapping[str, Any], context: ToolContext) -> ToolOutput:
        """Run a tool as the context's actor."""
        answer = await run_in_thread(self._run, name, arguments, context.actor)
        if isinstance(answer, str):
            return ToolOutput(answer)
        return ToolOutput(json.dumps(answer, ensure_ascii=False, default=str), structured=answer)

    def _run(self, name: str, arguments: Mapping[str, Any], actor: Actor) -> Any:
        server_name, _, tool_name = name.partition("__")
        tool = self._servers.find(actor, server_name).find(tool_name)
        if tool is None:
            raise NotFound(f"There is no tool {name[:64]}.")
        return tool.call(actor, arguments)


class ServerTools:
    """The approved tools of servers of others."""

    name = "servers of tools"

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._defined: tuple[Sequence[McpServer], dict[str, list[ToolDefinition]]] = ((), {})

    def may_offer(self, name: str) -> bool:
        """Whether a name has the two parts that tools of servers have."""
        return "__" in name

    def definitions(self, actor: Actor) -> Sequence[ToolDefinition]:
        """List the approved tools of servers that are there."""
        if not actor.can(Permission.TEST_CONFIGS):
            return ()
        servers = self._servers.offered(actor)
        by_server = self._define(servers)
        return [tool for server in servers if _is_listed(server, actor) for tool in by_server[server.id]]

    def _define(self, servers: Sequence[McpServer]) -> Mapping[str, Sequence[ToolDefinition]]:
        """Define the tools of servers, by the server's id; made once for as long as nothing has changed."""
        defined_servers, by_server = self._defined
        if defined_servers is not servers:
            by_server = {server.id: [define_tool(server.name, tool) for tool in server.offered] for server in servers}
            self._defined = (servers, by_server)
        return by_server

    def absences(self, actor: Actor) -> Mapping[str, str]:
        """List the servers whose tools can't be had, each with the reason."""
        if not actor.can(Permission.TEST_CONFIGS):
            return {}
        causes = {server.name: server.explain_absence(actor.user_id) for server in self._servers.offered(actor)}
        return {name: cause for name, cause in causes.items() if cause}

    def explain_unattended(self, actor: Actor, names: Sequence[str]) -> Mapping[str, str]:
        """Say of each server of these tools that wants people to sign in what that means without a person."""
        if not actor.can(Permission.TEST_CONFIGS):
            return {}
        rules = ToolRules(names=tuple(names))
        return {
            server.name: server.explain_unattended(actor.user_id)
            for server in self._servers.offered(actor)
            if server.requires_sign_in and rules.names_server(server.name)
        }

    async def run(self, name: str, arguments: Mapping[str, Any], context: ToolContext) -> ToolOutput:
        """Run a tool on its server; raises ServerUnreachable where that can't be asked."""
        servers = self._servers.get_known(context.actor)  # the registry has just asked for the newest
        server_of_tool = records.find_server_of(servers, name)
        if server_of_tool is None or not any(tool.name == name for tool in server_of_tool[0].offered):
            raise NotFound(f"There is no tool {name[:64]}.", "It is gone, or waits for approval.")
        server, tool = server_of_tool
        question = _answer_question(context)
        result = await self._servers.ask(
            context.actor, server, "call", tool=tool, arguments=dict(arguments), seconds=_CALL_S, **question
        )
        return read_result(result)


def define_tool(server: str, tool: PinnedTool) -> ToolDefinition:
    """A server's tool as models see it: without anything invisible."""
    cleaned = pins.clean(dict(tool.definition))
    hints = cleaned.get("annotations") or {}
    schema = cleaned.get("inputSchema") or {}
    return ToolDefinition(
        name=tool.name,
        description=str(cleaned.get("description") or ""),
        parameters={"type": "object", "properties": {}} | schema,
        title=str(cleaned.get("title") or hints.get("title") or ""),
        result_schema=tool.definition.get("outputSchema"),
        annotations=ToolAnnotations(
            read_only=bool(hints.get("readOnlyHint", False)),
            destructive=bool(hints.get("destructiveHint", True)),
            idempotent=bool(hints.get("idempotentHint", False)),
            open_world=bool(hints.get("openWorldHint", True)),
        ),
        source=SourceKind.MCP,
        server=server,
    )


def read_result(result: Mapping[str, Any]) -> ToolOutput:
    """Read a tool's result as the protocol writes it: texts, pictures, JSON, or the question that it asks."""
    if result.get("resultType") == "input_required":
        return ToolOutput(needs_input=_read_question(result))
    texts = list[str]()
    images = list[ToolImage]()
    for block in result.get("content") or []:
        if block.get("type") == "image" and len(block.get("data", "")) <= _LARGEST_PICTURE:
            images.append(ToolImage(str(block.get("mimeType", "image/png")), str(block["data"])))
        else:
            texts.append(_read_block(block))
    structured = result.get("structuredContent")
    if not texts and not images and structured is not None:
        texts.append(json.dumps(structured, ensure_ascii=False))
    return ToolOutput(
        "\n".join(text for text in texts if text),
        structured=structured,
        images=tuple(images),
        is_error=bool(result.get("isError")),
    )


def _is_listed(server: McpServer, actor: Actor) -> bool:
    """Whether the tools are offered: the server is there, or was and is being brought back, and the actor is signed in
    where that is each person's own.
    """
    if server.requires_sign_in and actor.user_id not in server.signed_in:
        return False
    state = server.state
    is_there = state.actual is ActualState.READY or (state.actual in _IN_PASSING and state.tools is not None)
    return server.wanted == "on" and is_there


def define_bundled(server: BundledServer, tool: BundledTool, name: str) -> ToolDefinition:
    """A tool of a bundled server, under a name."""
    return ToolDefinition(
        name=name,
        description=tool.description,
        parameters=tool.parameters,
        title=tool.title,
        annotations=ToolAnnotations(
            read_only=tool.read_only,
            destructive=not tool.read_only,
            idempotent=tool.idempotent,
            open_world=server.name in _OUTSIDE,
        ),
        source=SourceKind.MCP,
        server=server.name,
    )


def _read_block(block: Mapping[str, Any]) -> str:
    """A part of a result as text; what is no text is named."""
    match block.get("type"):
        case "text":
            return str(block.get("text", ""))
        case "resource":
            resource = block.get("resource") or {}
            return str(resource.get("text") or f"<{resource.get('uri', 'a resource')}: binary, not shown>")
        case "resource_link":
            return f"{block.get('title') or block.get('name', '')} {block.get('uri', '')}".strip()
        case kind:
            return f"<{kind}: not shown>"


def _read_question(result: Mapping[str, Any]) -> ToolQuestion:
    """The question of a tool; InvalidInput where it is none that a person can answer in a form."""
    requests = result.get("inputRequests") or {}
    if len(requests) != 1:
        raise InvalidInput(_NO_QUESTION, "It asks several things at once, or nothing that a person answers.")
    ((key, request),) = requests.items()
    parameters = request.get("params") or {}
    if request.get("method") != "elicitation/create" or "requestedSchema" not in parameters:
        raise InvalidInput(_NO_QUESTION, f"It is {str(request.get('method'))[:60]!r}.")
    state = json.dumps({"key": key, "state": result.get("requestState")})
    message = pins.strip_invisible(str(parameters.get("message", "")))[:2_000]
    return ToolQuestion(message, pins.clean(parameters["requestedSchema"]), state)


def _answer_question(context: ToolContext) -> dict[str, Any]:
    """A person's answer to the question of an earlier run, as the protocol takes it; empty without one."""
    if context.answer is None:
        return {}
    question = json.loads(context.answer_state)
    return {
        "responses": {question["key"]: {"action": "accept", "content": dict(context.answer)}},
        "state": question["state"],
    }

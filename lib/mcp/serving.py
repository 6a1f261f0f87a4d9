"""Tools offered to clients of the protocol, by its own server: over HTTP for whoever has a key, or over pipes.

`OfferedTools` says what there is and runs it; this module turns that into the protocol's forms. What goes wrong in a
tool is a result that says so, as models can act on it; what is not there, or may not be, is the protocol's error.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import mcp_types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

from lib.errors import LLMManagerError
from lib.providers.redaction import redact
from lib.tools.tool import ToolDefinition, ToolOutput

log = logging.getLogger(__name__)
_INVALID_PARAMETERS = -32602
_INSTRUCTIONS = "Tools of an LLM Manager: its own, and those of the servers that its administrators approved."


class OfferedTools(Protocol):
    """The tools that somebody may use."""

    async def list_tools(self) -> Sequence[ToolDefinition]:
        """List them, in a fixed order."""
        ...

    async def run(self, name: str, arguments: Mapping[str, Any]) -> ToolOutput:
        """Run one; raises LLMManagerError where it can't be run at all."""
        ...


def build_protocol_server(find_tools: Callable[[Any], OfferedTools]) -> Server[Any]:
    """Build the protocol's server; `find_tools` gets the HTTP request, or None where there is none."""

    async def list_tools(
        context: ServerRequestContext[Any, Any], _parameters: mcp_types.PaginatedRequestParams | None
    ) -> mcp_types.ListToolsResult:
        definitions = await find_tools(context.request).list_tools()
        return mcp_types.ListToolsResult(tools=[_write_tool(definition) for definition in definitions])

    async def call_tool(
        context: ServerRequestContext[Any, Any], parameters: mcp_types.CallToolRequestParams
    ) -> mcp_types.CallToolResult:
        try:
            output = await find_tools(context.request).run(parameters.name, parameters.arguments or {})
        except LLMManagerError as error:
            raise MCPError(_INVALID_PARAMETERS, redact(str(error))) from error
        return _write_result(output)

    return Server(
        "llm-manager",
        title="LLM Manager",
        instructions=_INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def serve_pipes(tools: OfferedTools) -> None:
    """Serve over standard input and output until the input ends."""
    server = build_protocol_server(lambda _request: tools)
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


def _write_tool(definition: ToolDefinition) -> mcp_types.Tool:
    hints = definition.annotations
    return mcp_types.Tool(
        name=definition.name,
        title=definition.title or None,
        description=definition.description,
        input_schema=dict(definition.parameters),
        output_schema=_find_result_schema(definition),
        annotations=mcp_types.ToolAnnotations(
            read_only_hint=hints.read_only,
            destructive_hint=hints.destructive,
            idempotent_hint=hints.idempotent,
            open_world_hint=hints.open_world,
        ),
    )


def _find_result_schema(definition: ToolDefinition) -> dict[str, Any] | None:
    """The schema of results; clients of the older era take none but an object's."""
    schema = definition.result_schema
    return dict(schema) if schema is not None and schema.get("type") == "object" else None


def _write_result(output: ToolOutput) -> mcp_types.CallToolResult:
    content: list[Any] = [mcp_types.TextContent(text=output.text)] if output.text or not output.images else []
    content += [mcp_types.ImageContent(data=image.base64, mime_type=image.media_type) for image in output.images]
    structured = output.structured if isinstance(output.structured, dict) else None
    return mcp_types.CallToolResult(content=content, structured_content=structured, is_error=output.is_error)

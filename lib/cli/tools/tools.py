"""`tools list`, `run`, `executions`, `export` and `import`."""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from lib.cli import output
from lib.cli.arguments import parse_count, read_text
from lib.cli.operator import OPERATOR, open_services
from lib.errors import InvalidInput


def add_commands(commands: Any) -> None:
    """Register the command `tools` with its actions."""
    actions = commands.add_parser("tools", help="tools that models run, and their runs").add_subparsers(
        metavar="ACTION", required=True
    )
    command = actions.add_parser("list", help="list the tools of every source")
    command.add_argument("--app", help="only those that this app may use")
    output.add_json_option(command)
    command.set_defaults(run=list_tools)
    command = actions.add_parser("run", help="run a tool and print what it returns")
    command.add_argument("name")
    command.add_argument("arguments", nargs="?", default="{}", metavar="JSON", help='like {"city": "Oslo"}; - reads it')
    command.add_argument("--app", default="general")
    output.add_json_option(command)
    command.set_defaults(run=run)
    command = actions.add_parser("executions", help="list runs of tools, newest first")
    command.add_argument("--tool")
    command.add_argument("--status")
    command.add_argument("--call", metavar="ID", help="of one call of a model")
    command.add_argument("--limit", type=parse_count, default=50)
    output.add_json_option(command)
    command.set_defaults(run=list_executions)
    command = actions.add_parser("export", help="HTTP tools and settings as JSON, without secrets")
    command.set_defaults(run=export)
    command = actions.add_parser("import", help="bring in an export; names that are taken stay as they are")
    command.add_argument("file", type=Path)
    command.set_defaults(run=import_file)


def list_tools(arguments: argparse.Namespace) -> None:
    """Print every tool with its settings."""
    with open_services() as services:
        settings = services.tools.settings(OPERATOR)
        tools = services.tools.definitions(OPERATOR)
        figures = {of_tool.tool: of_tool for of_tool in services.tools.executions.figures(OPERATOR)}
        if arguments.app:
            usable = services.tools.toolset(OPERATOR, arguments.app).tools
            tools = [tool for tool in tools if tool.name in usable]
        policies = {tool.name: services.tools.policy(OPERATOR, tool.name, None) for tool in tools}
    rows = [
        {
            "name": tool.name,
            "source": str(tool.source),
            "server": tool.server or None,
            "effects": "changes things" if tool.has_side_effects else "reads",
            "enabled": tool.name not in settings or settings[tool.name].is_enabled,
            "approval": policies[tool.name].value,
            "runs": figures[tool.name].runs if tool.name in figures else 0,
            "failed": figures[tool.name].failed if tool.name in figures else 0,
        }
        for tool in tools
    ]
    output.show(rows, as_json=arguments.json, empty="No tools.")


def run(arguments: argparse.Namespace) -> None:
    """Run a tool for the machine's operator; a run that brings no result is an error."""
    from lib.tools.tool import ToolContext

    text = read_text("-") if arguments.arguments == "-" else arguments.arguments
    with open_services() as services:
        context = ToolContext(OPERATOR, app=arguments.app)
        execution = asyncio.run(services.tools.run(OPERATOR, arguments.name, text, context))
    tool_output = execution.output
    if arguments.json:
        record = {
            "id": execution.id,
            "status": execution.status,
            "duration_ms": execution.duration_ms,
            "text": tool_output.text if tool_output else None,
            "structured": tool_output.structured if tool_output else None,
            "error": execution.error_message,
        }
        output.show_record(record, as_json=True)
    elif execution.is_ok and tool_output is not None:
        print(tool_output.text or json.dumps(tool_output.structured, ensure_ascii=False))
    if not execution.is_ok:
        why = (
            execution.error_message or "It needs to know more."
            if tool_output is None or tool_output.needs_input is None
            else ""
        )
        question = (
            tool_output.needs_input.message if tool_output is not None and tool_output.needs_input is not None else ""
        )
        raise InvalidInput(f"{arguments.name} ended as {execution.status}.", why or question)


def list_executions(arguments: argparse.Namespace) -> None:
    """Print runs of tools."""
    from lib.tools.execution_log import ExecutionFilter

    criteria = ExecutionFilter(tool=arguments.tool, status=arguments.status, call_id=arguments.call)
    with open_services() as services:
        executions = services.tools.executions.list(OPERATOR, criteria, size=arguments.limit)
    rows = [
        {
            "id": execution.id,
            "started_at": execution.started_at,
            "tool": execution.tool,
            "status": execution.status,
            "duration_ms": execution.duration_ms,
            "app": execution.app,
            "call_id": execution.call_id,
            "cost_nano_usd": execution.cost_nano_usd,
            "error": output.flatten_line(execution.error_message or "") or None,
        }
        for execution in executions
    ]
    output.show(rows, as_json=arguments.json, empty="No tool has run yet.")


def export(arguments: argparse.Namespace) -> None:
    """Print tools and settings as a JSON document."""
    with open_services() as services:
        print(services.tool_exchange.export_json(OPERATOR), end="")


def import_file(arguments: argparse.Namespace) -> None:
    """Import a JSON document of tools; names that exist stay as they are."""
    document = read_text(str(arguments.file))
    with open_services() as services:
        done = services.tool_exchange.import_json(OPERATOR, document)
    secrets = f" Enter the secret headers of {', '.join(done.without_secrets)}." if done.without_secrets else ""
    print(f"Imported {len(done.created)} tools; {len(done.skipped)} were there already.{secrets}")

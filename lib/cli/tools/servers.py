"""`mcp …`: servers of tools: listed, added, approved, started, stopped, tried, and served to a client over pipes."""

import argparse
import asyncio
import os
from typing import Any

from lib.cli import output
from lib.cli.access.teams import act_in
from lib.cli.arguments import parse_pair
from lib.cli.operator import OPERATOR, open_services
from lib.errors import Conflict, InvalidInput


def add_commands(commands: Any) -> None:
    """Register the command `mcp` with its actions."""
    actions = commands.add_parser("mcp", help="servers of tools (Model Context Protocol)").add_subparsers(
        metavar="ACTION", required=True
    )
    command = actions.add_parser("list", help="list servers with their state")
    output.add_json_option(command)
    command.set_defaults(run=list_servers)
    command = actions.add_parser(
        "add", help="add a server", description="A program here with --command, or an address with --url."
    )
    command.add_argument("name")
    command.add_argument("--url", default="", help="the address of a server that speaks streamable HTTP")
    command.add_argument(
        "--secret", type=parse_pair, action="append", default=[], metavar="NAME=VALUE", help="a variable, or a header"
    )
    command.add_argument("--allow-private", action="store_true", help="the address may be inside the network")
    command.add_argument("--issuer", default="", metavar="URL", help="the authorization server people sign in at")
    command.add_argument("--client-id", default="", metavar="ID", help="the client that was registered there by hand")
    command.add_argument(
        "--client-secret-env", default="", metavar="VARIABLE", help="the variable that holds the client's secret"
    )
    command.add_argument("--team", metavar="T", help="whose it is; default: the first team's")
    command.add_argument(
        "--command",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="PROGRAM",
        help="the program with all its arguments; the last option",
    )
    command.set_defaults(run=add)
    for name, run, text in (
        ("approve", approve, "approve the whole command of a server, which is printed"),
        ("start", start, "want a server on; the process that serves the pages runs it"),
        ("stop", stop, "want a server off; without a name all of them"),
        ("restart", restart, "start a server anew"),
        ("remove", remove, "forget a server"),
        ("logs", show_logs, "print what a server said on standard error"),
        ("test", test, "start a server once, here, and list what it offers"),
        ("tools", list_tools, "list a server's tools against what was approved"),
    ):
        command = actions.add_parser(name, help=text)
        command.add_argument("name", nargs="?" if name == "stop" else None)
        command.set_defaults(run=run)
        if name == "tools":
            command.add_argument("--approve", nargs="*", metavar="TOOL", help="approve these as they are, or all")
            output.add_json_option(command)
    command = actions.add_parser("serve", help="serve a bundled server over standard input and output")
    command.add_argument("name", choices=["filesystem", "database", "operations", "code"])
    command.add_argument("--root", action="append", default=[], metavar="FOLDER", help="a folder that may be read")
    command.add_argument("--write", action="store_true", help="files of the folders may be written")
    command.add_argument("--database", type=parse_pair, action="append", default=[], metavar="NAME=ADDRESS")
    command.set_defaults(run=serve)


def list_servers(arguments: argparse.Namespace) -> None:
    """Print every server: wanted, actual, since when and why."""
    with open_services() as services:
        team_names = services.teams.names()
        rows = [
            {
                "name": server.name,
                "team": team_names.get(str(server.team_id), "all teams"),
                "wanted": server.wanted,
                "actual": server.state.actual.value,
                "since": server.state.since,
                "tools": len(server.offered),
                "waiting": len(server.waiting),
                "approved": server.is_approved,
                "command": " ".join(server.command) or server.url,
                "reason": server.state.reason[:200],
            }
            for server in services.servers.list(OPERATOR)
        ]
    output.show(rows, as_json=arguments.json, empty="No servers yet. Add one: python -m lib mcp add --help")


def add(arguments: argparse.Namespace) -> None:
    """Add a server, switched off."""
    from lib.mcp.server import ServerDraft

    secrets = dict(arguments.secret)
    variable = arguments.client_secret_env
    client_secret = os.environ.get(variable, "").strip() if variable else ""
    if variable and not client_secret:
        why = "--client-secret-env names the variable that holds the client's secret."
        raise InvalidInput(f"{variable} is empty.", why, "Set it first.")
    draft = ServerDraft(
        arguments.name,
        arguments.command,
        arguments.url,
        secrets,
        allow_private=arguments.allow_private,
        issuer=arguments.issuer,
        client_id=arguments.client_id,
        client_secret=client_secret,
    )
    with open_services() as services:
        services.servers.add(act_in(services, arguments.team), draft)
    print(f"Added {arguments.name}. Next: python -m lib mcp approve {arguments.name}")


def approve(arguments: argparse.Namespace) -> None:
    """Approve a server's command, which is printed part by part."""
    with open_services() as services:
        server = services.servers.get(OPERATOR, arguments.name)
        for part in server.command or (server.url,):
            print(f"  {output.flatten_line(part)}")
        services.servers.approve(OPERATOR, server.name, server.approval_hash)
    print(f"Approved. Next: python -m lib mcp start {arguments.name}")


def start(arguments: argparse.Namespace) -> None:
    """Want a server on."""
    with open_services() as services:
        services.servers.start(OPERATOR, arguments.name)
    print(f"{arguments.name} is wanted. See python -m lib mcp list.")


def stop(arguments: argparse.Namespace) -> None:
    """Want a server, or all, off."""
    with open_services() as services:
        if arguments.name:
            services.servers.stop(OPERATOR, arguments.name)
            print(f"{arguments.name} ends within five seconds.")
        else:
            print(f"{services.servers.stop_all(OPERATOR)} servers end within five seconds.")


def restart(arguments: argparse.Namespace) -> None:
    """Start a server anew."""
    with open_services() as services:
        services.servers.restart(OPERATOR, arguments.name)
    print(f"{arguments.name} is started anew.")


def remove(arguments: argparse.Namespace) -> None:
    """Forget a server."""
    with open_services() as services:
        services.servers.remove(OPERATOR, arguments.name)
    print(f"Removed {arguments.name}.")


def show_logs(arguments: argparse.Namespace) -> None:
    """Print the last of a server's standard error."""
    with open_services() as services:
        text = services.servers.get(OPERATOR, arguments.name).state.error_text
    for line in text.splitlines():
        print(output.flatten_line(line))


def test(arguments: argparse.Namespace) -> None:
    """Start a server once in this process, and print what it offers."""
    from lib.mcp.clients.trial import try_server
    from lib.mcp.secrets import read_secrets

    with open_services() as services:
        server = services.servers.get(OPERATOR, arguments.name)
        if not server.is_approved:
            raise Conflict(f"The command of {server.name} is not approved.", "", "See python -m lib mcp approve.")
        secrets = read_secrets(services.store, services.vault, server.id)
        folder = services.settings.data_dir / "mcp" / server.name
        trial = asyncio.run(try_server(server, secrets, folder))
    listing = trial.listing
    who = output.flatten_line(f"{listing.name} {listing.version}".strip()) or server.name
    counts = f"{len(listing.tools)} tools, {len(listing.resources)} resources, {len(listing.prompts)} prompts"
    print(f"{who} speaks {listing.protocol} and offers {counts}.")
    for tool in listing.tools:
        print(f"  {output.flatten_line(str(tool.get('name')))}")


def list_tools(arguments: argparse.Namespace) -> None:
    """Print a server's tools against their pins; approve some or all as they are listed."""
    with open_services() as services:
        if arguments.approve is not None:
            services.servers.approve_tools(OPERATOR, arguments.name, arguments.approve or None)
        rows = [
            {
                "tool": tool.tool,
                "called": tool.name,
                "state": tool.drift.value,
                "warnings": list(tool.warnings),
                "changes": list(tool.diff),
            }
            for tool in services.servers.get(OPERATOR, arguments.name).tools
        ]
    if not arguments.json:
        rows = [{key: value for key, value in row.items() if key != "changes"} for row in rows]
    output.show(rows, as_json=arguments.json, empty="It has listed no tools yet.")


def serve(arguments: argparse.Namespace) -> None:
    """Serve a bundled server until standard input ends; nothing else is printed there."""
    from lib.mcp.serving import serve_pipes
    from lib.mcp.stdio import PipedTools, build_server

    if arguments.name in ("filesystem", "database"):
        if not (arguments.root or arguments.database):
            raise InvalidInput("There is nothing to serve.", "", "Give --root FOLDER or --database NAME=ADDRESS.")
        asyncio.run(serve_pipes(PipedTools(build_server(arguments))))
        return
    with open_services() as services:
        asyncio.run(serve_pipes(PipedTools(services.bundled_servers.find(OPERATOR, arguments.name))))

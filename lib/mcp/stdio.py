"""One bundled server over standard input and output, for a client that starts it: `python -m lib.mcp.stdio NAME …`.

`filesystem --root FOLDER [--write]`, `database --database NAME=ADDRESS`, `operations`, `code`; the latter two ask this
machine's installation as its operator. Nothing but the protocol is printed.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from lib.access.permissions import OPERATOR
from lib.errors import LLMManagerError, NotFound
from lib.mcp.bundled import database, filesystem
from lib.mcp.bundled.tool import BundledServer
from lib.mcp.serving import serve_pipes
from lib.mcp.sources import define_bundled
from lib.tools.tool import ToolDefinition, ToolOutput


class PipedTools:
    """The tools of one bundled server, under their own names."""

    def __init__(self, server: BundledServer) -> None:
        self._server = server

    async def list_tools(self) -> Sequence[ToolDefinition]:
        """List the tools that this server offers."""
        return [define_bundled(self._server, tool, tool.name) for tool in self._server.tools]

    async def run(self, name: str, arguments: Mapping[str, Any]) -> ToolOutput:
        """Run one as this machine's operator."""
        tool = self._server.find(name)
        if tool is None:
            raise NotFound(f"There is no tool {name[:64]}.")
        try:
            answer = await asyncio.to_thread(tool.call, OPERATOR, arguments)
        except LLMManagerError as error:
            return ToolOutput(str(error), is_error=True)
        if isinstance(answer, str):
            return ToolOutput(answer)
        return ToolOutput(json.dumps(answer, ensure_ascii=False, default=str), structured=answer)


def build_server(arguments: argparse.Namespace) -> BundledServer:
    """Build the server that the arguments name; raises LLMManagerError."""
    if arguments.name == "filesystem" and arguments.root:
        roots = filesystem.check_roots(arguments.root)
        return filesystem.build_server(filesystem.FilesystemSettings(roots, may_write=arguments.write))
    if arguments.name == "database" and arguments.database:
        for _, address in arguments.database:
            database.check_address(address)
        return database.build_server(database.DatabaseSettings(dict(arguments.database)))
    raise NotFound("There is nothing to serve.", "", "Give --root FOLDER or --database NAME=ADDRESS.")


def main() -> int:
    """Serve until standard input ends; 1 with a sentence on standard error where that can't begin."""
    parser = argparse.ArgumentParser(prog="python -m lib.mcp.stdio")
    parser.add_argument("name", choices=["filesystem", "database"])
    parser.add_argument("--root", action="append", default=[])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--database", action="append", default=[], type=lambda text: tuple(text.split("=", 1)))
    try:
        server = build_server(parser.parse_args())
    except LLMManagerError as error:
        print(error, file=sys.stderr)
        return 1
    asyncio.run(serve_pipes(PipedTools(server)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

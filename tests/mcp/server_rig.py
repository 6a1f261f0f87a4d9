"""An installation that runs the odd server, and waits for what its state becomes."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from lib import services as service_root
from lib.access.permissions import OPERATOR
from lib.mcp.server import McpServer, ServerDraft
from lib.settings import Settings
from tests.waiting import until

ODD = Path(__file__).with_name("odd_server.py")


class ServerRig:
    """Adds odd servers by mode, approves and starts them."""

    def __init__(self, settings: Settings) -> None:
        self.services = service_root.build(settings)
        self.servers = self.services.servers
        self.keeper = self.services.server_keeper

    def add(self, name: str, *modes: str, secrets: dict[str, str] | None = None) -> McpServer:
        """Add a server, approve its command, want it on."""
        draft = ServerDraft(name, [sys.executable, str(ODD), *modes], secrets=secrets or {})
        self.servers.approve(OPERATOR, name, self.servers.add(OPERATOR, draft).approval_hash)
        return self.servers.start(OPERATOR, name)

    def change(self, name: str, *modes: str) -> None:
        """Give a server other modes, approved; its tools keep their pins."""
        changed = self.servers.update(OPERATOR, ServerDraft(name, [sys.executable, str(ODD), *modes]))
        self.servers.approve(OPERATOR, name, changed.approval_hash)
        self.servers.restart(OPERATOR, name)

    def wait(self, name: str, actual: str) -> McpServer:
        """The server when it is in a state."""

        def is_there() -> bool:
            self.keeper.look()
            return self.servers.get(OPERATOR, name).state.actual == actual

        until(is_there)
        return self.servers.get(OPERATOR, name)

    def call(self, name: str, tool: str, seconds: float = 60.0, **arguments: Any) -> dict[str, Any]:
        """Run a tool of a server."""
        server = self.servers.get(OPERATOR, name)
        question = {"tool": tool, "arguments": arguments, "seconds": seconds}
        return dict(asyncio.run(self.servers.ask(OPERATOR, server, "call", **question)))

    def close(self) -> None:
        """End everything."""
        self.services.close()

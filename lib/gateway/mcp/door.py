"""`/mcp`: this installation's tools for clients of the Model Context Protocol, by API key, in both of its eras.

The requests come through the same guards as those of `/v1`; the SDK's session manager, stateless, answers them. It is
entered once by one task, at the first request, and ended by `close` in the lifespan. Bodies are read here, within the
limits of size and time of every other door, before the manager parses them. A page of another site is refused by its
Origin. There is no OAuth here: what asks for its documents is told so in JSON.
"""

import asyncio
import importlib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

from lib import services as service_root
from lib.access.grants import GatewayEndpoint
from lib.access.permissions import Actor
from lib.errors import PermissionDenied, Throttled
from lib.gateway.http.exchange import Exchange, RefusedRequest
from lib.gateway.http.refusals import Refusal
from lib.gateway.models.completions import authenticate, count_against_limits
from lib.services import Services
from lib.tools.tool import ToolContext, ToolDefinition, ToolOutput

PATH = "/mcp"
NO_OAUTH = ("/.well-known/oauth-", "/.well-known/openid-")
_LARGEST_BODY = 4 * 1024 * 1024  # bytes
_OF_THE_BODY = (b"content-encoding", b"content-length")  # as it came, not as the manager is given it
_ACTOR = "llm_manager.actor"
WAIT_HEADER = "x-llm-manager-wait"  # seconds that a call waits for a person's decision
LONGEST_WAIT_S = 600


class KeyTools:
    """The tools that an API key may use."""

    def __init__(self, services: Services, actor: Actor, wait_s: float = 0.0) -> None:
        self._services = services
        self._actor = actor
        self._wait_s = wait_s
        self._app = actor.key.app if actor.key is not None else "general"

    async def list_tools(self) -> Sequence[ToolDefinition]:
        """List them by name."""
        toolset = await asyncio.to_thread(self._services.tools.toolset, self._actor, self._app)
        return sorted(toolset.tools.values(), key=lambda tool: tool.name)

    async def run(self, name: str, arguments: Mapping[str, Any]) -> ToolOutput:
        """Run one as the key's owner; for one that asks a person first, after the decision or where that is asked."""
        context = ToolContext(actor=self._actor, app=self._app, origin="mcp")
        try:
            execution = await self._services.direct_runs.run(self._actor, name, arguments, context, wait_s=self._wait_s)
        except (PermissionDenied, Throttled) as error:  # also where a person is asked first: it says where
            return ToolOutput(str(error), is_error=True)
        return execution.output or ToolOutput(execution.error_message or "It gave no answer.", is_error=True)


class ProtocolDoor:
    """The session manager of one event loop and its owner task."""

    def __init__(self) -> None:
        self._manager: Any = None
        self._owner: asyncio.Task[None] | None = None
        self._opened = asyncio.Event()
        self._ending = asyncio.Event()

    async def open(self) -> Any:
        """The session manager, entered."""
        if self._owner is None:
            self._owner = asyncio.create_task(self._own(), name="mcp door")
        opening = asyncio.create_task(self._opened.wait())
        await asyncio.wait({opening, self._owner}, return_when=asyncio.FIRST_COMPLETED)
        opening.cancel()
        if self._owner.done():
            self._owner.result()
        return self._manager

    async def close(self) -> None:
        """End the manager with what it serves."""
        self._ending.set()
        if self._owner is not None:
            await asyncio.wait({self._owner}, timeout=2.0)

    async def _own(self) -> None:
        serving = await asyncio.to_thread(importlib.import_module, "lib.mcp.serving")  # a second of imports
        managers = await asyncio.to_thread(importlib.import_module, "mcp.server.streamable_http_manager")
        server = serving.build_protocol_server(_find_tools)
        self._manager = managers.StreamableHTTPSessionManager(
            server, stateless=True, max_request_body_size=_LARGEST_BODY
        )
        async with self._manager.run():
            self._opened.set()
            await self._ending.wait()


def _find_tools(request: Any) -> KeyTools:
    wait_s = read_wait(request.headers.get(WAIT_HEADER, ""))
    return KeyTools(service_root.current(), request.scope[_ACTOR], wait_s)


def read_wait(text: str) -> float:
    """Read how many seconds a client waits for a person's decision: at most ten minutes, 0 for what is no number."""
    text = text.strip()
    return float(min(int(text), LONGEST_WAIT_S)) if text.isascii() and text.isdecimal() and len(text) < 10 else 0.0


_doors: dict[asyncio.AbstractEventLoop, ProtocolDoor] = {}


async def answer(exchange: Exchange, scope: Scope, receive: Receive) -> None:
    """Answer a request to `/mcp`; raises RefusedRequest without a key for it."""
    if not _is_same_origin(exchange):
        raise RefusedRequest(Refusal(403, "permission_denied", "This request came from another site."))
    services = service_root.current()
    actor = (await authenticate(exchange, services, GatewayEndpoint.MCP)).with_origin(exchange.place)
    if scope["method"] != "POST":  # nothing is sent unasked, and there is no session to end
        raise HTTPException(405, headers={"allow": "POST"})
    await count_against_limits(services, actor)
    body = await exchange.body()
    if len(body) > _LARGEST_BODY:
        why = f"The body is larger than {_LARGEST_BODY:,} bytes. Send less."
        raise RefusedRequest(Refusal(413, "request_too_large", why))
    door = _doors.setdefault(asyncio.get_running_loop(), ProtocolDoor())
    manager = await door.open()
    headers = [line for line in scope["headers"] if line[0] not in _OF_THE_BODY]
    await manager.handle_request({**scope, "headers": headers, _ACTOR: actor}, _replay(body, receive), exchange.send)


def _replay(body: bytes, receive: Receive) -> Receive:
    """The channel of a request whose body has been read: the whole of it, then what follows."""
    parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return parts.pop() if parts else await receive()

    return receive_again


async def close() -> None:
    """End what this event loop serves."""
    door = _doors.pop(asyncio.get_running_loop(), None)
    if door is not None:
        await door.close()


def refuse_oauth() -> None:
    """Raise the refusal of who looks for an authorization server."""
    why = "There is no OAuth here. Send an API key of this installation, with the endpoint mcp, as a bearer token."
    raise RefusedRequest(Refusal(404, "not_found", why))


def _is_same_origin(exchange: Exchange) -> bool:
    """Whether no browser sent the request, or one from a page of this site."""
    origin = exchange.header("origin")
    if not origin:
        return True
    try:
        return urlsplit(origin).netloc.casefold() == exchange.header("host").casefold()
    except ValueError:
        return False

"""One start of a server, to see whether it works: connected, listed, ended, whatever came of it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lib.errors import LLMManagerError
from lib.mcp import processes
from lib.mcp.clients.child import Child, ErrorText
from lib.mcp.clients.connection import (
    GivenStreams,
    ServerListing,
    connect,
    end_sentence,
    explain,
    find_cause,
    open_http_transport,
)
from lib.mcp.server import McpServer
from lib.providers.redaction import redact

_TRIAL_S = 30.0


class TrialFailed(LLMManagerError):
    """The server did not come up."""


@dataclass(frozen=True)
class ServerTrial:
    """What a server offered, and what it said on standard error."""

    listing: ServerListing
    error_text: str


async def try_server(server: McpServer, secrets: Mapping[str, str], folder: Path) -> ServerTrial:
    """Start a server beside the one that may run, list what it offers, end it; raises TrialFailed with its words."""
    errors = ErrorText()
    try:
        async with asyncio.timeout(_TRIAL_S):
            listing = await _list_once(server, secrets, folder, errors)
    except Exception as error:  # the boundary of a stranger's program: whatever it does is a reason
        cause = find_cause(error)
        words = redact(errors.last_words)
        server_words = f" It says: {end_sentence(words)}" if words else ""
        raise TrialFailed(f"{server.name} did not start.", f"{end_sentence(explain(cause))}{server_words}") from error
    return ServerTrial(listing, redact(errors.text))


async def _list_once(server: McpServer, secrets: Mapping[str, str], folder: Path, errors: ErrorText) -> ServerListing:
    if server.transport == "http":
        async with (
            open_http_transport(server.url, secrets, allow_private=server.allow_private) as (transport, _),
            connect(transport, _ignore) as connection,
        ):
            return await connection.read_listing()
    child = Child(server.command, secrets, folder, {**processes.DEFAULT_LIMITS, **server.limits}, errors)
    try:
        await child.start()
        async with child.streams() as streams, connect(GivenStreams(streams), _ignore) as connection:
            return await connection.read_listing()
    finally:
        await asyncio.shield(asyncio.ensure_future(child.end()))


def _ignore() -> None:
    """Nothing follows from a change while it is tried."""

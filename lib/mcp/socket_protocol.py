"""How processes ask the runner: a question in a line of JSON, an answer in a line of JSON, one a connection."""

import asyncio
import json
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from lib.db.engine import Store
from lib.errors import LLMManagerError
from lib.mcp import records

_addresses: "WeakKeyDictionary[Store, str]" = WeakKeyDictionary()  # of the runner, where it was last reached
LARGEST_LINE = 32 * 1024 * 1024  # bytes; a message of a server has 8 MB


class ServerUnreachable(LLMManagerError):
    """The server can't be asked, or gave no answer."""


def encode_line(value: Any) -> bytes:
    """Write JSON as one line."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


async def ask(store: Store, question: Mapping[str, Any]) -> Any:
    """Ask the runner of this machine; raises ServerUnreachable. Cancelling takes the question back."""
    reader, writer = await _connect(store)
    try:
        writer.write(encode_line(question))
        await writer.drain()
        line = await reader.readline()
    except (OSError, ValueError) as error:
        raise ServerUnreachable("The server's answer was lost.", f"{error}", "Try again.") from error
    finally:
        writer.close()
    if not line:
        raise ServerUnreachable("The server's answer was lost.", "The process that runs it ended.", "Try again.")
    answer = json.loads(line)
    if (refusal := answer.get("error")) is not None:
        raise ServerUnreachable(refusal["title"], refusal["why"], refusal["fix"])
    return answer["value"]


async def _connect(store: Store) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Reach the runner where it last was, for who listens there is alive; else where the database says it is."""
    address = _addresses.get(store)
    if address is not None:
        with suppress(OSError):
            return await asyncio.open_unix_connection(address, limit=LARGEST_LINE)
        _addresses.pop(store, None)
    runner = await asyncio.to_thread(_find_runner, store)
    if runner is None or not runner.is_fresh:
        why = "No process runs servers of tools on this machine."
        raise ServerUnreachable("The server does not run.", why, "Start the server on the page MCP servers.")
    try:
        connection = await asyncio.open_unix_connection(runner.address, limit=LARGEST_LINE)
    except OSError as error:
        raise ServerUnreachable("The server can't be asked.", f"{error.strerror}.", "Try again in a moment.") from error
    _addresses[store] = runner.address
    return connection


def wake(store: Store) -> None:
    """Let the runner look at once at what is wanted; without one nothing happens."""

    runner = _find_runner(store)
    if runner is None or not runner.is_fresh:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        connection.connect(runner.address)
        connection.sendall(encode_line({"do": "wake"}))
        connection.recv(1024)


def _find_runner(store: Store) -> "records.RunnerRecord | None":
    with store.read() as connection:
        return records.read_runner(connection)

"""The process that runs the servers of tools of one machine: `python -m lib.mcp.runner`, started by `keeper`.

Its first line of standard input says where the installation is; the end of standard input means that whoever started
it is gone, and everything is ended. One runner at a time holds the machine's row in SQL and beats there; it ends what
an earlier one left behind before it starts anything. Each wanted server has one owner task, which alone opens and
closes its connection; questions come over a socket in a folder that nobody else may enter.
"""

import asyncio
import json
import logging
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from lib.clock import make_id
from lib.db.engine import Store
from lib.db.vault import Vault
from lib.errors import LLMManagerError
from lib.mcp import processes, records
from lib.mcp.clients.owner import ConnectionOwner
from lib.mcp.secrets import read_secrets
from lib.mcp.server import ActualState, McpServer
from lib.mcp.socket_protocol import LARGEST_LINE, encode_line
from lib.providers import safe_logs
from lib.providers.redaction import hide_known
from lib.settings import Settings

log = logging.getLogger(__name__)
_LOOK_S = 2.0  # who changes something here wakes it
_IDLE_S = 60.0  # without a wanted server it ends by itself
_STOP_S = 5.0
_LONGEST_CALL_S = 600.0


class ServerRunner:
    """The owners of this machine's servers. `run` returns when it has to end."""

    def __init__(self, settings: Settings) -> None:
        self._store = Store(settings.database_url)
        self._vault = Vault(self._store, settings)
        self._folder = settings.data_dir / "mcp"
        self._id = make_id()
        self._owners: dict[str, ConnectionOwner] = {}
        self._marks: Any = None
        self._woken = asyncio.Event()
        self._ended = asyncio.Event()

    async def run(self) -> bool:
        """Serve until standard input ends or the machine is taken over; False when another runner has it."""
        with tempfile.TemporaryDirectory(prefix="llmm-") as folder:  # short: addresses of sockets have 108 bytes
            address = str(Path(folder) / "s")
            if not await asyncio.to_thread(records.take_machine, self._store, self._id, os.getpid(), address):
                return False
            self._vault.open()
            await asyncio.to_thread(self._end_leftovers)
            server = await asyncio.start_unix_server(self._serve, address, limit=LARGEST_LINE)
            tasks = [asyncio.create_task(work) for work in (self._beat(), self._look_after(), self._wait_for_parent())]
            await self._ended.wait()
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*(owner.stop() for owner in self._owners.values()), return_exceptions=True)
            with suppress(LLMManagerError):
                await asyncio.to_thread(self._forget_ended)
                await asyncio.to_thread(records.leave_machine, self._store, self._id)
        self._store.dispose()
        return True

    def _end_leftovers(self) -> None:
        """End servers of a runner that was killed, with what they have started."""
        for server_id, mark in records.read_processes(self._store).items():
            count = processes.end_all(mark)
            if count:
                log.warning("Ended %d processes that an earlier runner left behind.", count)
            records.note_process(self._store, server_id, None)
            records.write_state(self._store, server_id, actual=ActualState.LOST, reason="The runner was ended.")

    def _forget_ended(self) -> None:
        """End and forget whatever an owner left that could not finish in time; not where another runner has begun."""
        if records.write_heartbeat(self._store, self._id):
            for server_id, mark in records.read_processes(self._store).items():
                processes.end_all(mark)
                records.note_process(self._store, server_id, None)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(records.BEAT_S)
            try:
                if not await asyncio.to_thread(records.write_heartbeat, self._store, self._id):
                    log.error("Another process runs the servers of this machine now; this one ends.")
                    self._ended.set()
            except LLMManagerError as error:
                log.warning("The runner can't beat: %s", error)

    async def _wait_for_parent(self) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while await reader.read(1024):
            pass
        self._ended.set()

    async def _look_after(self) -> None:
        """Follow what is wanted: an owner for each wanted server, at its newest revision, and none for others."""
        idle_since = asyncio.get_running_loop().time()
        while True:
            self._woken.clear()
            try:
                servers = await asyncio.to_thread(self._read_wanted)
                if servers is not None:
                    await self._follow(servers)
            except LLMManagerError as error:
                log.warning("The servers can't be read: %s", error)
            now = asyncio.get_running_loop().time()
            idle_since = now if self._owners else idle_since
            if now - idle_since > _IDLE_S:
                self._ended.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._woken.wait()

    def _read_wanted(self) -> dict[str, McpServer] | None:
        """The servers that are wanted and approved; None while nothing that matters here has changed."""
        with self._store.read() as connection:
            marks = records.read_marks(connection)
            if marks == self._marks:
                return None
            servers = records.read_servers(connection)
        self._marks = marks
        return {server.id: server for server in servers if server.wanted == "on" and server.is_approved}

    async def _follow(self, servers: dict[str, McpServer]) -> None:
        leaving = [
            server_id
            for server_id, owner in self._owners.items()
            if server_id not in servers or owner.server.revision != servers[server_id].revision
        ]
        await asyncio.gather(*(self._owners.pop(server_id).stop() for server_id in leaving))
        for server_id, server in servers.items():
            if server_id not in self._owners:
                secrets = await asyncio.to_thread(read_secrets, self._store, self._vault, server_id)
                owner = ConnectionOwner(self._store, self._vault, server, secrets, self._folder / server.name)
                owner.start()
                self._owners[server_id] = owner

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one question; who leaves before the answer cancels it."""
        try:
            line = await reader.readline()
            answering = asyncio.create_task(self._answer(json.loads(line)))
            leaving = asyncio.create_task(reader.read(1))
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                answering.cancel()
            leaving.cancel()
            answer = (await asyncio.gather(answering, return_exceptions=True))[0]
            if isinstance(answer, dict):
                writer.write(encode_line(answer))
                await writer.drain()
        except (OSError, ValueError):
            log.warning("A question to the runner could not be read.")
        finally:
            writer.close()

    async def _answer(self, question: dict[str, Any]) -> dict[str, Any]:
        if question["do"] == "wake":
            self._woken.set()
            return {"value": None}
        owner = self._owners.get(question["server_id"])
        if owner is None:
            return _refuse("The server does not run.", "It is switched off, or not approved.")
        try:
            async with asyncio.timeout(min(float(question.get("seconds") or 60.0), _LONGEST_CALL_S)):
                return {"value": await asyncio.to_thread(hide_secrets, await owner.ask(question))}
        except TimeoutError:
            return _refuse(f"{owner.server.name} did not answer in time.", "", kind="timeout")
        except LLMManagerError as error:
            return _refuse(error.title, error.why, error.fix)


def hide_secrets(value: Any) -> Any:
    """A server's answer without the secrets that it was given: whoever runs its tools is not who may know them."""
    match value:
        case str():
            return hide_known(value)
        case dict():
            return {name: hide_secrets(inner) for name, inner in value.items()}
        case list():
            return [hide_secrets(inner) for inner in value]
        case _:
            return value


def _refuse(title: str, why: str, fix: str = "", kind: str = "failed") -> dict[str, Any]:
    return {"error": {"title": title, "why": why, "fix": fix, "kind": kind}}


def _read_first_line() -> bytes:
    """The first line of standard input, unbuffered, since the rest is read later."""
    line = bytearray()
    while not line.endswith(b"\n") and (sign := os.read(0, 1)):
        line += sign
    return bytes(line)


def main() -> int:
    """Read where the installation is, and run."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    safe_logs.install()
    installation = json.loads(_read_first_line())
    settings = Settings(
        Path(installation["data_dir"]), installation["database_url"], master_key=installation["master_key"]
    )
    if shutil.which("sh") is None:
        log.warning("There is no shell on the path; some servers need one.")
    return 0 if asyncio.run(ServerRunner(settings).run()) else 3


if __name__ == "__main__":
    sys.exit(main())

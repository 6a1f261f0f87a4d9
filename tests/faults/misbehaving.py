"""An installation whose providers are servers on loopback that misbehave; what each was asked, and when."""

import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from lib.calls.live_call import CallView
from lib.calls.request import CallRequest
from lib.clock import make_id
from lib.settings import Settings
from tests.calls.rig import AMIRA, Rig
from tests.providers.wire import OPENAI_USAGE, Wire, WireServer, openai_delta, serving, sse

WORDS = ("One ", "two ", "three ", "four ", "five")
WHOLE = (*(openai_delta(word) for word in WORDS), openai_delta(None, "stop"), OPENAI_USAGE, sse("[DONE]"))
Script = Callable[[Wire], None]


class Faults(Rig):
    """Servers registered as providers, each with its script."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._stack = ExitStack()

    def serve(self, script: Script, name: str = "") -> tuple[str, WireServer]:
        """Register a server; its provider's id."""
        server = self._stack.enter_context(serving(script))
        provider = self.services.providers.create(
            AMIRA, name=name or f"p{make_id()[-6:]}", kind="custom", base_url=server.url + "/v1", allow_private=True
        )
        return provider.id, server

    def ask(self, provider_id: str, routing: dict[str, Any] | None = None, model: str = "m", **more: Any) -> CallView:
        """Ask through a configuration of this provider and wait for the end."""
        slug = f"f-{make_id()[-12:]}"
        self.services.configurations.create(
            AMIRA, slug=slug, app="tests", provider_id=provider_id, model=model, routing=routing or {}
        )
        return self.again(slug, **more)

    def again(self, slug: str, **more: Any) -> CallView:
        """Ask through a configuration that exists."""
        return self.services.calls.run(self.request_for(slug, **more))

    def request_for(self, slug: str, **more: Any) -> CallRequest:
        """A request for a configuration that exists."""
        messages = [{"role": "user", "content": "Count to five"}]
        return CallRequest(actor=AMIRA, messages=messages, configuration=slug, **more)

    def close(self) -> None:
        """Calls first, then the servers."""
        self.services.close()
        self._stack.close()


@contextmanager
def faults(settings: Settings) -> Iterator[Faults]:
    """A rig that leaves nothing behind."""
    made = Faults(settings)
    try:
        yield made
    finally:
        made.close()


def answers(*pieces: str | bytes) -> Script:
    """Send these pieces, then close."""

    def script(wire: Wire) -> None:
        wire.begin()
        wire.say(*pieces)

    return script


def refuses(status: int, body: str = '{"error": {"message": "no"}}', **headers: str) -> Script:
    """Answer with a status; HTML when the body is."""

    def script(wire: Wire) -> None:
        wire.begin("text/html" if body.startswith("<") else "application/json", status, **headers)
        wire.say(body)

    return script


def in_turn(*scripts: Script) -> Script:
    """One script for each request, the last one for all further."""
    left = list(scripts)

    def script(wire: Wire) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(wire)

    return script


def resets_after(count: int) -> Script:
    """Send so many words, then reset the connection."""

    def script(wire: Wire) -> None:
        wire.begin()
        wire.say(*WHOLE[:count])
        time.sleep(0.05)  # a reset discards what the client has not read yet
        wire.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(wire.connection.detach())

    return script


def goes_silent_after(count: int, *, headers: bool = True) -> Script:
    """Send so many words, then nothing until the client goes."""

    def script(wire: Wire) -> None:
        if headers:
            wire.begin()
            wire.say(*WHOLE[:count])
        wire.wait_for_the_client_to_go()

    return script


def drips(pause_s: float) -> Script:
    """A word at a time, for ever; notes when the client has gone."""

    def script(wire: Wire) -> None:
        wire.begin()
        try:
            for _ in range(1000):
                wire.say(openai_delta("drop "))
                time.sleep(pause_s)
        except OSError:
            wire.server.gone.append(True)
            wire.server.done.set()

    return script

"""A provider on loopback that speaks just enough of three protocols to be recorded, cut, slowed and made to fail."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.waiting import CEILING_S

Script = Callable[["Wire"], None]


class Wire(BaseHTTPRequestHandler):
    """One request; `server.script` answers it."""

    protocol_version = "HTTP/1.0"  # the connection's end is the body's end
    server: "WireServer"
    received: dict[str, Any]

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length", 0))
        self.received = {
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": json.loads(self.rfile.read(length) or b"{}"),
        }
        self.server.requests.append(self.received)
        self.server.script(self)

    def begin(self, content_type: str = "text/event-stream", status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def say(self, *pieces: str | bytes) -> None:
        for piece in pieces:
            self.wfile.write(piece.encode() if isinstance(piece, str) else piece)
            self.wfile.flush()

    def wait_for_the_client_to_go(self, seconds: float = 10) -> None:
        self.connection.settimeout(seconds)
        try:
            gone = self.connection.recv(1) == b""
        except TimeoutError:
            gone = False
        except OSError:
            gone = True
        self.server.gone.append(gone)
        self.server.done.set()

    def log_message(self, *args: Any) -> None:
        pass


class WireServer(ThreadingHTTPServer):
    """The listening side: what was asked, and whether clients hung up."""

    daemon_threads = True

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), Wire)
        self.script = script
        self.requests: list[dict[str, Any]] = []
        self.gone: list[bool] = []
        self.done = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serving(script: Script) -> Iterator[WireServer]:
    """A server that plays `script` for every request."""
    server = WireServer(script)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def sse(data: Any, event: str = "") -> str:
    return (f"event: {event}\n" if event else "") + f"data: {json.dumps(data) if data != '[DONE]' else data}\n\n"


def openai_delta(text: str | None = None, finish: str | None = None, **more: Any) -> str:
    choice = {"index": 0, "delta": {"content": text} if text is not None else {}, "finish_reason": finish}
    return sse(
        {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m-served", "choices": [choice], **more}
    )


OPENAI_USAGE = sse(
    {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m-served",
        "choices": [],
        "usage": {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "total_tokens": 120,
            "prompt_tokens_details": {"cached_tokens": 64},
            "completion_tokens_details": {"reasoning_tokens": 12},
        },
    }
)
ANTHROPIC_START = sse(
    {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "m-served",
            "content": [],
            "stop_reason": None,
            "usage": {
                "input_tokens": 10,
                "output_tokens": 1,
                "cache_read_input_tokens": 200,
                "cache_creation_input_tokens": 30,
            },
        },
    },
    "message_start",
) + sse(
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}, "content_block_start"
)


def stalled_by(gate: threading.Event) -> Script:
    """Begins to answer OpenAI's way, and says no more until the gate is set."""

    def script(wire: Wire) -> None:
        wire.begin("text/event-stream")
        wire.say(openai_delta("a"))
        gate.wait(CEILING_S)

    return script


def anthropic_text(text: str) -> str:
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    return sse(delta, "content_block_delta")


ANTHROPIC_END = (
    sse({"type": "content_block_stop", "index": 0}, "content_block_stop")
    + sse(
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}}, "message_delta"
    )
    + sse({"type": "message_stop"}, "message_stop")
)


def ollama_text(text: str, **more: Any) -> str:
    line = {
        "model": "m-served",
        "created_at": "2026-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": text},
    }
    return json.dumps(line | {"done": False} | more) + "\n"


OLLAMA_END = ollama_text("", done=True, done_reason="stop", prompt_eval_count=26, eval_count=9)

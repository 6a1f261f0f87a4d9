"""A model server that answers at once.

`python -m benchmarks.gateway_rig.upstream PORT [PAUSE_MS [FAULTS]]`, OpenAI's chat protocol.

FAULTS is the share of requests that fail, by turns with a status 500, a closed connection and a half stream.

HTTP/1.1 written by hand on an asyncio Protocol, so that it is not what is measured. A stream is a hundred chunks, one
write each, with a turn of the loop (or PAUSE_MS) between them, then the usage and [DONE]. A plain answer waits for
PAUSE_MS once.
"""

import asyncio
import json
import random
import sys
from typing import Any

import uvloop

CHUNKS = 100
USAGE = {"prompt_tokens": 25, "completion_tokens": CHUNKS, "total_tokens": 25 + CHUNKS}
_SHARED = {"id": "chatcmpl-bench", "created": 1_763_800_000, "model": "bench-model"}


def _event(choices: list[Any], **more: Any) -> bytes:
    return _chunk(b"data: %s\n\n" % _json({**_SHARED, "object": "chat.completion.chunk", "choices": choices, **more}))


def _json(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _delta(delta: dict[str, str], finish: str | None = None) -> bytes:
    return _event([{"index": 0, "delta": delta, "finish_reason": finish}])


def _plain() -> bytes:
    message = {"role": "assistant", "content": "lorem ipsum dolor sit amet " * 12}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = _json({**_SHARED, "object": "chat.completion", "choices": [choice], "usage": USAGE})
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


PLAIN = _plain()
FAILED = b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
WORDS = [_delta({"role": "assistant", "content": "word "})] + [_delta({"content": f"{n} "}) for n in range(1, CHUNKS)]
TAIL = _delta({}, "stop") + _event([], usage=USAGE) + _chunk(b"data: [DONE]\n\n") + _chunk(b"")


class Connection(asyncio.Protocol):
    """One client; requests come one after another."""

    def __init__(self, pause_s: float, faults: float = 0.0) -> None:
        self._pause_s, self._faults = pause_s, faults
        self._buffer, self._sent, self._cut_at = b"", 0, -1

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        at = head.find(b"content-length:")
        size = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._buffer) < end + 4 + size:
            return
        body, self._buffer = self._buffer[end + 4 : end + 4 + size], self._buffer[end + 4 + size :]
        streams, self._cut_at = bool(json.loads(body).get("stream")), -1
        if random.random() < self._faults and not self._goes_wrong(streams):
            return
        if streams:
            self._sent = 0
            self._transport.write(HEAD)
            self._step()
        elif self._pause_s:
            asyncio.get_running_loop().call_later(self._pause_s, self._write_plain)
        else:
            self._write_plain()

    def _goes_wrong(self, streams: bool) -> bool:
        """Fail one of the ways; whether an answer begins nevertheless."""
        way = random.choice(("status", "closed", "cut") if streams else ("status", "closed"))
        if way == "status":
            self._transport.write(FAILED)
        elif way == "closed":
            self._transport.abort()
        else:
            self._cut_at = CHUNKS // 2
        return way == "cut"

    def _write_plain(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(PLAIN)

    def _step(self) -> None:
        if self._transport.is_closing():
            return
        if self._sent == self._cut_at:
            self._transport.abort()
            return
        if self._sent == CHUNKS:
            self._transport.write(TAIL)
            return
        self._transport.write(WORDS[self._sent])
        self._sent += 1
        loop = asyncio.get_running_loop()
        if self._pause_s:
            loop.call_later(self._pause_s, self._step)
        else:
            loop.call_soon(self._step)


async def main(port: int, pause_s: float, faults: float = 0.0) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(pause_s, faults), "127.0.0.1", port, backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    port, pause_ms, faults, *_ = [*sys.argv[1:], "0", "0"]
    uvloop.run(main(int(port), float(pause_ms) / 1000, float(faults)))

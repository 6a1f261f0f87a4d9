"""The practical limit in Python: Starlette and aiohttp pass the bytes on, and the usage is read from the answer.

`python -m benchmarks.gateway_rig.bare PORT UPSTREAM_PORT [WORKERS]`. No key, no budget, no row, no deadline.
"""

import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

HEADERS = {"authorization": "Bearer upstream-key", "content-type": "application/json"}
TAIL_BYTES = 4096


def application(upstream: str) -> Starlette:
    """One route."""
    client: aiohttp.ClientSession
    seen = {"completion_tokens": 0}

    def note(document: bytes) -> None:
        seen["completion_tokens"] += json.loads(document)["usage"]["completion_tokens"]

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        nonlocal client
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
            yield

    async def chat(request: Request) -> Response:
        body = await request.body()
        answer = await client.post(upstream, data=body, headers=HEADERS)
        if not json.loads(body).get("stream"):
            data = await answer.read()
            note(data)
            return Response(data, media_type="application/json")

        async def events() -> AsyncIterator[bytes]:
            tail = b""
            async for data in answer.content.iter_any():
                tail = (tail + data)[-TAIL_BYTES:]
                yield data
            note(next(e for e in tail.split(b"\n\n") if b'"usage":{' in e).removeprefix(b"data: "))
            answer.release()

        return StreamingResponse(events(), media_type="text/event-stream")

    return Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])], lifespan=lifespan)


def main(port: int, upstream_port: int, workers: int) -> None:
    """Serve in `workers` processes, each with a socket of its own on the port."""
    for _ in range(workers - 1):
        if os.fork() == 0:
            break
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", port))
    app = application(f"http://127.0.0.1:{upstream_port}/v1/chat/completions")
    config = uvicorn.Config(app, loop="uvloop", http="httptools", log_level="error", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1)

"""What a call through our adapter costs in CPU, against the same call to a bare `litellm.acompletion`.

    .venv/bin/python benchmarks/translate.py [--calls 150] [--streams 15] [--pairs 5]

Each lane runs in a process of its own against an upstream on loopback that answers at once (a stream has 100 chunks);
pairs of runs are interleaved, figures are medians. The exit status is 1 when a ratio passes its limit.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

CHUNKS = 100
LIMIT = 1.3
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Tell me about the sea. " * 20}]
_USAGE = {"prompt_tokens": 100, "completion_tokens": CHUNKS, "total_tokens": 100 + CHUNKS}


def body(*, stream: bool) -> bytes:
    """An answer of 100 words."""
    common = {"id": "c1", "created": 1, "model": "m"}
    if not stream:
        choice = {"index": 0, "message": {"role": "assistant", "content": "word " * CHUNKS}, "finish_reason": "stop"}
        return json.dumps(common | {"object": "chat.completion", "choices": [choice], "usage": _USAGE}).encode()
    choices: list[dict[str, Any]] = [{"index": 0, "delta": {"content": "word "}, "finish_reason": None}] * CHUNKS
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    chunk = common | {"object": "chat.completion.chunk"}
    events = [chunk | {"choices": [choice]} for choice in choices] + [chunk | {"choices": [], "usage": _USAGE}]
    return "".join(f"data: {event}\n\n" for event in [*map(json.dumps, events), "[DONE]"]).encode()


def serve(ports: "multiprocessing.Queue[int]") -> None:
    """The upstream: keeps connections open, sends a stream event by event."""
    plain, streamed = body(stream=False), body(stream=True).split(b"\n\n")[:-1]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):  # the client has gone
            await converse(reader, writer)
        writer.close()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            if json.loads(await reader.readexactly(length)).get("stream"):
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
                )
                for event in streamed:
                    writer.write(b"%x\r\n%s\n\n\r\n" % (len(event) + 2, event))
                    await writer.drain()
                writer.write(b"0\r\n\r\n")
            else:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
                writer.write(b"content-length: %d\r\n\r\n%s" % (len(plain), plain))

    async def listen() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        ports.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(listen())


def bare(url: str) -> Callable[[bool], Awaitable[int]]:
    """`litellm.acompletion` as it comes; a call answers how many characters came."""
    import litellm

    litellm.suppress_debug_info = True

    async def call(stream: bool) -> int:
        asked = {"stream_options": {"include_usage": True}} if stream else {}
        answer = await litellm.acompletion(
            model="openai/m", messages=MESSAGES, api_base=url, api_key="k", stream=stream, num_retries=0, **asked
        )
        if not stream:
            return len(answer.choices[0].message.content)
        return sum([len(piece.choices[0].delta.content or "") async for piece in answer if piece.choices])

    return call


def ours(url: str) -> Callable[[bool], Awaitable[int]]:
    """The same through the adapter, with the usage it reads."""
    from lib.providers.adapters import select_adapter
    from lib.providers.chunks import Endpoint, ModelRequest, TextDelta

    endpoint = Endpoint("p", "bench", "custom", url, "k", allow_private=True)

    async def call(stream: bool) -> int:
        chunks = select_adapter("custom").stream(endpoint, ModelRequest("m", MESSAGES, stream=stream))
        return sum([len(chunk.text) async for chunk in chunks if isinstance(chunk, TextDelta)])

    return call


def lane(name: str, url: str, calls: int, streams: int) -> tuple[float, float]:
    """Milliseconds of CPU for a plain call and for a streamed one."""
    call = (bare if name == "bare" else ours)(url)

    async def spend(count: int, stream: bool) -> float:
        began = time.process_time()
        for _ in range(count):
            if await call(stream) != len("word ") * CHUNKS:
                raise SystemExit(f"{name}: the answer is not whole")
        return (time.process_time() - began) * 1000 / count

    async def run() -> tuple[float, float]:
        for stream in (False, True):
            await spend(5, stream)
        return await spend(calls, stream=False), await spend(streams, stream=True)

    return asyncio.run(run())


def main() -> int:
    """Start the upstream, run the lanes, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=150)
    parser.add_argument("--streams", type=int, default=15)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--lane", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.lane:
        print(json.dumps(lane(*given.lane, given.calls, given.streams)))
        return 0
    ports: multiprocessing.Queue[int] = multiprocessing.Queue()
    upstream = multiprocessing.Process(target=serve, args=(ports,), daemon=True)
    upstream.start()
    url = f"http://127.0.0.1:{ports.get(timeout=30)}/v1"
    spent: dict[str, list[list[float]]] = {"bare": [], "ours": []}
    for _ in range(given.pairs):
        for name, runs in spent.items():
            runs.append(run_lane(name, url, given))
    upstream.terminate()
    return table(spent)


def run_lane(name: str, url: str, given: argparse.Namespace) -> list[float]:
    """A lane in a fresh process, for litellm is changed when the adapter loads it."""
    sizes = ["--calls", str(given.calls), "--streams", str(given.streams)]
    command = [sys.executable, "-W", "ignore", __file__, "--lane", name, url, *sizes]
    offline = os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=offline)
    figures: list[float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def table(spent: dict[str, list[list[float]]]) -> int:
    """Print medians and ratios; 1 when a limit is passed."""
    kept = True
    print(f"{'':24}{'bare, ms CPU':>14}{'ours, ms CPU':>14}{'ratio':>8}{'limit':>8}")
    for place, (name, parts) in enumerate((("plain call", 1), (f"per chunk ({CHUNKS})", CHUNKS))):
        theirs, own = (statistics.median(run[place] for run in spent[lane]) / parts for lane in ("bare", "ours"))
        kept &= own <= LIMIT * theirs
        print(f"{name:24}{theirs:14.3f}{own:14.3f}{own / theirs:8.2f}{LIMIT:8.2f}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())

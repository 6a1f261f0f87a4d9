"""Whatever bytes come, a reader reads them or says in its own words that it can't.

In `make test` a few examples of each; `make fuzz` spends SECONDS on them, an equal share for each target, and what it
finds is shown as the least example that shows it.
"""

import io
import itertools
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib.errors import InvalidInput
from lib.gateway import unpacking
from lib.gateway.completions import DOORS
from lib.gateway.protocols.asked import read_json
from lib.providers.adapters.unpacking import Gunzip, RemoteProtocolError
from lib.providers.protocols import reader_for
from lib.providers.protocols.framing import Documents, Unreadable
from lib.providers.protocols.refusal import Refusal
from lib.providers.protocols.tool_calls import ToolCalls
from lib.settings import Settings
from lib.usage_files.source import Source
from lib.usage_files.table import LeftOut, look_at, rows_of, weighed
from tests.gateway.live import Live, live
from tests.providers.payloads import PAYLOADS
from tests.waiting import CEILING_S

pytestmark = [pytest.mark.feature("CALL-4"), pytest.mark.feature("OPS-4")]
SECONDS = float(os.environ.get("LLM_MANAGER_FUZZ_SECONDS", "0"))
TARGETS, FEW, AT_ONCE = 8, 25, 300
Change = tuple[int, str, bytes]
_TOKENS = [
    b"\n\n",
    b"\r",
    b"data: ",
    b"{",
    b"}",
    b"[",
    b'"',
    b"null",
    b"-1",
    b"1e999",
    b"\xff",
    b"\x00",
    b"\\ud800",
    b"[[" * 99,
]
_ODD = st.one_of(st.sampled_from(_TOKENS), st.binary(max_size=8))
CHANGES = st.lists(
    st.tuples(st.integers(0, 1 << 20), st.sampled_from(["put", "take", "twice", "end"]), _ODD), max_size=6
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


def spend(check: Callable[..., None], **drawn: Any) -> None:
    """A few examples, or as many as the target's share of the time allows."""
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run = settings(
        max_examples=AT_ONCE if SECONDS else FEW,
        deadline=None,
        database=None,
        derandomize=not SECONDS,
        suppress_health_check=quiet,
    )(given(**drawn)(check))
    ends = time.monotonic() + SECONDS / TARGETS
    run()
    while time.monotonic() < ends:
        run()


def changed(data: bytes, changes: list[Change]) -> bytes:
    """The bytes with something put in, taken out, told twice or cut off."""
    for at, kind, odd in changes:
        place = at % (len(data) + 1)
        if kind == "put":
            data = data[:place] + odd + data[place:]
        elif kind == "take":
            data = data[:place] + data[place + 1 + len(odd) :]
        elif kind == "twice":
            data = data[:place] + data[max(0, place - 40) :]
        else:
            data = data[:place]
    return data


def test_any_answer_of_a_provider_is_read_or_is_unreadable() -> None:
    def check(name: str, changes: list[Change], cuts: list[int], is_whole: bool) -> None:
        payload = PAYLOADS[name]
        reader, documents = reader_for(payload.path), Documents()
        assert reader is not None
        data = changed(payload.whole if is_whole else payload.streamed, changes)
        with suppress(Unreadable, Refusal):
            if is_whole:
                reader.read_whole(data)
            else:
                edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
                for start, stop in itertools.pairwise(edges):
                    for document in documents.feed(data[start:stop]):
                        reader.read(document)
                for document in documents.end():
                    reader.read(document)
            list(reader.end(is_done=documents.is_done))

    spend(
        check,
        name=st.sampled_from([*PAYLOADS]),
        changes=CHANGES,
        cuts=st.lists(st.integers(0, 9_999)),
        is_whole=st.booleans(),
    )


def test_any_document_in_the_place_of_another_is_read_or_refused() -> None:
    def check(name: str, path: list[int], odd: Any, is_whole: bool) -> None:
        reader = reader_for(PAYLOADS[name].path)
        assert reader is not None
        document = json.loads(PAYLOADS[name].whole)
        place, last = document, None
        for number in path:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            last = place, keys[number % len(keys)]
            if not isinstance(inner := place[last[1]], dict | list):
                break
            place = inner
        if last is not None:
            last[0][last[1]] = odd
        with suppress(Unreadable, Refusal):
            if is_whole:
                reader.read_whole(json.dumps(document).encode())
            else:
                reader.read(document)
            list(reader.end())

    path = st.lists(st.integers(0, 50), min_size=1, max_size=6)
    spend(check, name=st.sampled_from([*PAYLOADS]), path=path, odd=JSON, is_whole=st.booleans())


def test_any_pieces_of_tool_calls_are_put_together() -> None:
    text = st.sampled_from(["", "a", '{"x": 1}', '{"x', '": 1}', "{}", "}", "null", "[1", "\ud800"])
    step = st.tuples(
        st.sampled_from(["take", "begin", "add", "name", "settle", "close"]), st.integers(0, 2), text, text, text
    )

    def check(steps: list[tuple[str, int, str, str, str]], is_whole: bool) -> None:
        calls = ToolCalls()
        for kind, place, identity, name, arguments in steps:
            if kind in ("take", "begin"):
                getattr(calls, kind)(place, identity, name, arguments)
            elif kind == "name":
                calls.name(place, identity, name)
            elif kind == "close":
                calls.close(place)
            else:
                getattr(calls, kind)(place, arguments)
        for piece in calls.end(is_whole=is_whole):
            assert isinstance(piece.arguments, str)

    spend(check, steps=st.lists(step, max_size=9), is_whole=st.booleans())


def test_any_packed_body_is_unpacked_as_far_as_its_limit() -> None:
    import gzip
    import zlib

    seeds = {
        "gzip": gzip.compress(b"a" * 5_000, mtime=0),
        "deflate": zlib.compress(b"a" * 5_000),
        "zstd": b"\x28\xb5\x2f\xfd\x04\x00",
    }

    def check(coding: str, more: str, changes: list[Change]) -> None:
        with suppress(unpacking.Damaged, unpacking.TooLong, unpacking.UnknownCoding):
            assert len(unpacking.unpack(changed(seeds[coding], changes), coding + more, 2_000)) <= 2_000

    more = st.sampled_from(["", ", gzip", ",identity", ", br"])
    spend(check, coding=st.sampled_from([*seeds]), more=more, changes=CHANGES)


def test_any_packed_answer_is_unpacked_or_broken_off() -> None:
    import asyncio
    import gzip

    packed = gzip.compress(b"data: {}\n\n" * 400, mtime=0)

    async def unpack(pieces: Iterator[bytes]) -> None:
        async def receive() -> bytes:
            return next(pieces, b"")

        gunzip = Gunzip()
        while await gunzip.unpack(receive):
            pass

    def check(changes: list[Change], size: int) -> None:
        data = changed(packed, changes)
        with suppress(RemoteProtocolError):
            asyncio.run(unpack(data[at : at + size] for at in range(0, len(data), size)))

    spend(check, changes=CHANGES, size=st.integers(1, 99))


def test_any_usage_file_is_read_or_refused() -> None:
    seeds = [
        b"date,model,prompt_tokens,completion_tokens,cost_usd\n2026-01-02,gpt-4o,10,20,0.5\n",
        b'[{"startTime": "2026-01-02T03:04:05Z", "model": "m", "usage": {"input": 1, "output": 2}, "totalCost": 0.1}]',
        b"sep=;\nusage_date;model;cost\n02.01.2026;m;1,5\n",
    ]

    def check(seed: bytes, changes: list[Change]) -> None:
        source = Source(io.BytesIO(changed(seed, changes)), "usage.csv")
        with suppress(InvalidInput):
            table = weighed(look_at(source), source)
            for _, raw in rows_of(table, source):
                if not isinstance(raw, LeftOut):
                    with suppress(LeftOut):
                        table.count_of(raw, "prompt_tokens")
                        table.cost_of(raw)

    spend(check, seed=st.sampled_from(seeds), changes=CHANGES)


def test_any_request_of_a_program_is_read_or_refused() -> None:
    fields = [
        "model",
        "messages",
        "input",
        "tools",
        "stream",
        "metadata",
        "max_tokens",
        "stop",
        "system",
        "thinking",
        "user",
    ]

    def check(path: str, more: dict[str, Any], changes: list[Change]) -> None:
        body = {"model": "bot", "messages": [{"role": "user", "content": "hi"}], "input": "hi", "max_tokens": 5, **more}
        with suppress(InvalidInput):
            DOORS[path].read(read_json(changed(json.dumps(body).encode(), changes)))

    more = st.dictionaries(st.sampled_from(fields), JSON, max_size=3)
    spend(check, path=st.sampled_from([*DOORS]), more=more, changes=CHANGES)


@pytest.fixture
def rig(settings: Settings) -> Iterator[Live]:
    with live(settings) as made:
        yield made


def test_any_bytes_on_a_connection_are_answered_or_closed_and_the_next_is_served(rig: Live) -> None:
    body = b'{"model": "none", "messages": []}'
    whole = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\nContent-Length: %d\r\n\r\n%b"
        b"GET /v1/models HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        % (len(body), body)
    )

    def check(changes: list[Change]) -> None:
        with socket.create_connection(("127.0.0.1", rig.port), CEILING_S) as connection:
            data = b""
            with suppress(ConnectionError):
                connection.sendall(changed(whole, changes))
                connection.shutdown(socket.SHUT_WR)
                while more := connection.recv(65_536):
                    data += more
            assert data == b"" or data.startswith(b"HTTP/1.1 ")
            assert b"HTTP/1.1 500" not in data

    spend(check, changes=CHANGES)
    with socket.create_connection(("127.0.0.1", rig.port), CEILING_S) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")

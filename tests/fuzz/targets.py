"""What is fuzzed: each target runs one example, and raises AssertionError where a promise is broken.

The gateway is the real one on a loopback port, before providers on loopback. Promised for whatever comes: an answer
with a meaning (no 500), no error in the log, a server that goes on, no call left open.
"""

import json
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httptools
import httpx
from hypothesis import strategies as st
from sqlalchemy import func, select

from lib.access.grants import GatewayEndpoint
from lib.access.permissions import OPERATOR
from lib.db.tables import open_calls
from lib.gateway.http.request_encoding import Damaged, TooLong, UnknownCoding, unpack
from lib.providers.chunks import Chunk, Finish, UsageReport
from lib.providers.protocols import find_reader
from lib.providers.protocols.framing import DocumentFramer, Unreadable
from lib.providers.protocols.refusal import StatedFailure
from lib.settings import Settings
from tests.fuzz import mutations
from tests.gateway.live import Live, live
from tests.providers.payloads import PAYLOADS
from tests.providers.wire import Wire
from tests.waiting import CEILING_S

KINDS = {"bot": "custom", "claude": "anthropic", "gem": "gemini", "oll": "ollama"}  # by the configuration's name
_PROTOCOLS = {"bot": "openai", "claude": "anthropic", "gem": "gemini", "oll": "ollama"}
_LARGEST = 100_000


class _Errors(logging.Handler):
    """The errors that were logged."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


class Gateway:
    """A live gateway whose providers answer with whatever `upstream` holds."""

    def __init__(self, rig: Live, errors: _Errors) -> None:
        self._rig = rig
        self._errors = errors
        self._circuits = rig.services.circuits
        self.upstream: tuple[int, str, Sequence[bytes]] = (500, "", [])
        for name, kind in KINDS.items():
            rig.provider(name, kind, self._answer, base="" if kind in ("gemini", "ollama") else "/v1")
        self._key, _ = rig.services.api_keys.create(rig.jonas, app="bot", endpoints=list(GatewayEndpoint))
        self._client = httpx.Client(
            base_url=rig.url, timeout=CEILING_S, headers={"authorization": f"Bearer {self._key}"}
        )
        rig.at_end(self._client.close)

    def _answer(self, wire: Wire) -> None:
        status, content_type, pieces = self.upstream
        with suppress(BrokenPipeError):  # an answer that can't be read is not read to its end
            wire.begin(content_type, status)
            wire.say(*pieces)

    def post(self, path: str, body: Any) -> httpx.Response:
        """Send a body, and check what is promised of every answer."""
        headers = {"content-type": "application/json"}
        answer = self._client.post(path, content=json.dumps(body).encode(), headers=headers)
        self.check(f"{path} {answer.status_code} {answer.text[:300]}")
        assert answer.status_code != 500, answer.text
        return answer

    def close_circuits(self) -> None:
        """Let every provider be asked again, however often it has failed."""
        for circuit in self._circuits.list(OPERATOR):
            self._circuits.close(OPERATOR, circuit.provider_id, circuit.model)

    def check(self, about: str) -> None:
        """Nothing went wrong in the server since the last look."""
        texts, self._errors.texts = self._errors.texts, []
        assert texts == [], about

    def speak(self, data: bytes, pieces: Sequence[bytes]) -> list[int]:
        """Send bytes on a connection of their own, say no more, and read to the end: the statuses of the answers."""
        statuses = list[int]()
        with socket.create_connection(("127.0.0.1", self._rig.port), CEILING_S) as connection:
            answer = b""
            with suppress(OSError):  # it may close before all has been sent
                for piece in pieces:
                    connection.sendall(piece)
                connection.shutdown(socket.SHUT_WR)
                while more := connection.recv(65_536):
                    answer += more
        for part in answer.split(b"HTTP/1.1 ")[1:]:
            parser = httptools.HttpResponseParser(object())
            parser.feed_data(b"HTTP/1.1 " + part)
            statuses.append(parser.get_status_code())
        self.check(repr(data))
        assert 500 not in statuses, data
        assert self.is_alive(), data
        return statuses

    def is_alive(self) -> bool:
        """Whether the server answers a well-formed request."""
        return httpx.get(f"{self._rig.url}/healthz", timeout=CEILING_S).status_code == 200

    def open_calls(self) -> int:
        """How many rows of calls are open once nothing is under way."""
        self._rig.services.calls.flush()
        with self._rig.services.store.read() as connection:
            return connection.execute(select(func.count()).select_from(open_calls)).scalar_one()


@contextmanager
def serve(folder: Path) -> Iterator[Gateway]:
    """A gateway to be fuzzed, whose data is in a folder; at its end no call is left open."""
    errors = _Errors()
    errors.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logging.getLogger().addHandler(errors)
    try:
        settings = Settings(data_dir=folder, database_url=f"sqlite:///{folder / 'llm_manager.db'}")
        with live(settings) as rig:
            gateway = Gateway(rig, errors)
            yield gateway
            rig.eventually(lambda: gateway.open_calls() == 0)
    finally:
        logging.getLogger().removeHandler(errors)


def fuzz_heads(gateway: Gateway, data: st.DataObject) -> None:
    """Bytes on a connection: requests of many kinds, torn and cut anywhere."""
    written = data.draw(mutations.requests())
    gateway.speak(written, data.draw(mutations.cuts(written)))


def fuzz_bodies(gateway: Gateway, data: st.DataObject) -> None:
    """Bodies of every protocol with odd values, to providers of every kind."""
    path = data.draw(st.sampled_from(list(mutations.BODIES)))
    body = {**mutations.BODIES[path], "model": data.draw(st.sampled_from(list(KINDS)))}
    if path == "/api/generate":
        body = {**body, "configuration": body.pop("model")}
    name = body.get("model", body.get("configuration"))
    answer = mutations.VECTORS if path == "/v1/embeddings" else PAYLOADS[_PROTOCOLS[str(name)]].whole
    gateway.upstream = (200, "application/json", [answer])
    gateway.close_circuits()
    gateway.post(path, data.draw(mutations.changed(body)))


def fuzz_answers(gateway: Gateway, data: st.DataObject) -> None:
    """Answers of providers of every kind with odd values, torn and cut, to programs of every protocol."""
    name = data.draw(st.sampled_from(list(KINDS)))
    streamed = data.draw(st.booleans())
    body = data.draw(mutations.answers(_PROTOCOLS[name], streamed=streamed))
    status = data.draw(st.sampled_from([200, 200, 200, 200, 400, 429, 500]))
    content_type = data.draw(st.sampled_from(["text/event-stream", "application/json", "text/html", ""]))
    gateway.upstream = (status, content_type, data.draw(mutations.cuts(body)))
    gateway.close_circuits()
    path = data.draw(st.sampled_from(["/v1/chat/completions", "/v1/responses", "/v1/messages"]))
    words = {"messages": [{"role": "user", "content": "hi"}]} if path != "/v1/responses" else {"input": "hi"}
    limit = {"max_tokens": 20} if path == "/v1/messages" else {}
    gateway.post(path, {"model": name, "stream": streamed, **words, **limit})


def _read(protocol: str, pieces: Sequence[bytes]) -> list[Chunk] | str:
    """A stream's chunks, or why it can't be read."""
    reader = find_reader(PAYLOADS[protocol].path)
    assert reader is not None
    documents = DocumentFramer(reader.parse)
    chunks = list[Chunk]()
    try:
        for piece in pieces:
            chunks += [chunk for document in documents.feed(piece) for chunk in reader.read(document)]
        chunks += [chunk for document in documents.end() for chunk in reader.read(document)]
        return [*chunks, *reader.end(is_done=documents.is_done)]
    except (Unreadable, StatedFailure) as error:
        return type(error).__name__


def fuzz_readers(_: Gateway | None, data: st.DataObject) -> None:
    """Readers of all protocols: the same wherever a stream is cut, counts not below zero, one end at the end."""
    protocol = data.draw(st.sampled_from(list(PAYLOADS)))
    body = data.draw(mutations.answers(protocol, streamed=True))
    chunks = _read(protocol, [body])
    assert repr(chunks) == repr(_read(protocol, data.draw(mutations.cuts(body))))
    for chunk in chunks if isinstance(chunks, list) else ():
        if isinstance(chunk, UsageReport):
            usage = chunk.usage
            counts = (usage.prompt_tokens, usage.completion_tokens, usage.cache_read_tokens, usage.reasoning_tokens)
            assert min(counts) >= 0, chunk
            assert max(counts) < 2**63, chunk
            assert chunk.cost_nano_usd is None or 0 <= chunk.cost_nano_usd < 2**63, chunk
    assert sum(isinstance(chunk, Finish) for chunk in chunks) <= 1


def fuzz_packed(_: Gateway | None, data: st.DataObject) -> None:
    """Packed bodies: unpacked to no more than the limit, or refused."""
    import gzip
    import zlib

    import zstandard

    plain = data.draw(st.binary(max_size=40)) * data.draw(st.sampled_from([1, 100, 20_000]))
    ways: list[Callable[[bytes], bytes]] = [gzip.compress, zlib.compress, zstandard.compress]
    packed = data.draw(mutations.torn(data.draw(st.sampled_from(ways))(plain)))
    try:
        whole = unpack(
            packed, data.draw(st.sampled_from(["gzip", "deflate", "zstd", "gzip, gzip", "br", ""])), _LARGEST
        )
    except (Damaged, TooLong, UnknownCoding):
        return
    assert len(whole) <= max(_LARGEST, len(packed))


TARGETS = {
    "heads": fuzz_heads,
    "bodies": fuzz_bodies,
    "answers": fuzz_answers,
    "readers": fuzz_readers,
    "packed": fuzz_packed,
}

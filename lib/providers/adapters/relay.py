"""The relay lane: a program's own bytes go to a provider that speaks its protocol, and those of the answer come back.

Nothing is translated, so nothing is lost and little is spent: a field nobody here knows travels both ways. What passes
is read on the way by the same readers as in the other lane, so the ledger's row is the same. Changed are the model, the
key, the system prompt and parameters of the configuration, that the provider is asked for its counts, and reasons to
end that no client knows; where the program did not ask for counts, the event that holds them is taken out again. A
server that was asked for a stream and tells its answer at once is written as events, and the other way round.

Connections are kept, redirects are not followed, and the addresses a name resolves to are checked at connect.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from lib.fast_json import encode
from lib.patterns import compile_pattern
from lib.providers import own_words
from lib.providers.adapters import failures
from lib.providers.adapters.at_once import convert_to_events
from lib.providers.adapters.http_client import Client, Response
from lib.providers.adapters.known_reasons import Lines, replace_unknown_reasons
from lib.providers.adapters.tool_ids import fit_ids
from lib.providers.adapters.unpacking import RemoteProtocolError
from lib.providers.chunks import Chunk, EmbeddingRequest, Embeddings, Endpoint, ModelRequest, Passed, Piece, Wire
from lib.providers.kinds import Protocol, ProviderKind, look_up_facts
from lib.providers.parameter_rules import ALLOWED
from lib.providers.protocols import find_reader
from lib.providers.protocols.embeddings import EmbeddingsAnswer
from lib.providers.protocols.framing import BOM, DocumentFramer, Unreadable, is_events, parse
from lib.providers.protocols.openai_chat import OpenAIChat
from lib.providers.protocols.reader import Reader
from lib.providers.protocols.usage import count_images

_PATHS = {
    Protocol.CHAT: "/chat/completions",
    Protocol.RESPONSES: "/responses",
    Protocol.EMBEDDINGS: "/embeddings",
    Protocol.MESSAGES: "/v1/messages",
}
_MOST_BLANKS = 64 * 1024  # bytes
_MAY_BE_COUNTS = compile_pattern(rb'"usage"\s*:\s*\{')
_CEILINGS = ("max_completion_tokens", "max_tokens")
_ASKED = {Protocol.RESPONSES: "input", Protocol.MESSAGES: "messages"}
_CEILING = {Protocol.RESPONSES: "max_output_tokens", Protocol.MESSAGES: "max_tokens"}


class Relay:
    """The adapter for requests that have a `wire`; its connections belong to one event loop."""

    def __init__(self) -> None:
        self._kept = Client()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def stream(self, endpoint: Endpoint, request: ModelRequest) -> AsyncIterator[Piece]:
        """Pass the request on and yield the answer's bytes, with what they say."""
        wire = request.wire
        assert wire is not None  # noqa: S101 (`select_adapter` sends no other here)
        protocol = Protocol(wire.protocol)
        reader = _build_reader(protocol, request)
        try:
            response = await self._client().post(
                _build_address(endpoint, protocol),
                _build_headers(endpoint, protocol, wire),
                encode(build_body(endpoint, request)),
                allow_private=endpoint.allow_private or not endpoint.base_url,
            )
            try:
                if response.status >= 300:
                    await _fail(endpoint, request.model, response)
                reader.note_headers(response.headers)
                documents = DocumentFramer(reader.parse)
                first, is_document = await _read_document(response, request)
                document = _UnstreamedAnswer(first, reader.read_whole(first)) if is_document else None
                if document is None:
                    async for piece in _yield_pieces(first, response, reader, documents, _has_asked_for_counts(wire)):
                        yield piece
            finally:
                response.close()
            if not reader.has_begun and not (request.stream and _is_stream(response)):
                raise failures.explain_not_model_server(endpoint, "an answer without a model's words in it")
            for piece in _build_last_pieces(document, request, reader, is_done=documents.is_done):
                yield piece
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except Exception as error:  # the boundary to the network's exceptions
            raise failures.explain(error, endpoint, request.model, has_content=reader.has_begun) from None

    async def embed(self, endpoint: Endpoint, request: EmbeddingRequest) -> Embeddings:
        """Raise a ProviderError: a program's requests for embeddings are passed on by `stream`, not by this method."""
        raise failures.explain_missing_embeddings(endpoint)

    async def close(self) -> None:
        """Close the connections."""
        self._kept.close()

    def _client(self) -> Client:
        if self._loop is not (loop := asyncio.get_running_loop()):
            self._kept = Client()  # those of a loop that has ended can't be used or closed
            self._loop = loop
        return self._kept


class _UnstreamedAnswer(NamedTuple):
    """An answer that came whole: its bytes, and what they say."""

    data: bytes
    chunks: list[Chunk]


async def _read_document(response: Response, request: ModelRequest) -> tuple[bytes, bool]:
    """The whole body and True where it is one document; else the first bytes of a stream and False."""
    if not _is_streamed(request):
        return (await response.read()).removeprefix(BOM), True
    first = await _read_beginning(response)
    if first.lstrip()[:1] == b"{" and not _is_stream(response):
        first += await response.read()
        return first, _is_document(first)
    return first, False


def _build_last_pieces(
    document: _UnstreamedAnswer | None, request: ModelRequest, reader: Reader, *, is_done: bool
) -> list[Passed | Chunk]:
    """Build what is passed on after the last event, or the whole answer where it came as a document.

    A document stands in for a stream, or a stream for a document, where the provider answered in the other form: in
    the chat protocol it is written in the form that was asked for, else its chunks are passed on to be written anew.
    """
    wire = request.wire
    assert wire is not None  # noqa: S101
    is_chat = wire.protocol == Protocol.CHAT
    data, chunks = document or _UnstreamedAnswer(b"", [])
    stands_for_stream = document is not None and _is_streamed(request)
    stands_for_document = document is not None and not stands_for_stream and is_events(data)
    if stands_for_document or (stands_for_stream and not is_chat):
        return [*chunks, *reader.end()]
    if stands_for_stream:
        data = convert_to_events(data, with_counts=_has_asked_for_counts(wire))
    if is_chat:
        data = replace_unknown_reasons(data, is_stream=stands_for_stream)
    return [Passed(data, [*chunks, *reader.end(is_done=is_done)])]


def _is_streamed(request: ModelRequest) -> bool:
    return request.stream and request.wire is not None and request.wire.protocol != Protocol.EMBEDDINGS


def build_body(endpoint: Endpoint, request: ModelRequest) -> dict[str, Any]:
    """The program's body with what is ours in it."""
    wire = request.wire
    assert wire is not None  # noqa: S101
    body = {**wire.body, "model": request.model}
    match Protocol(wire.protocol):
        case Protocol.CHAT:
            return _build_chat_body(endpoint, request, wire, body)
        case Protocol.EMBEDDINGS:
            return body
        case protocol:
            return _build_turns_body(endpoint, request, wire, protocol, body)


def _build_chat_body(endpoint: Endpoint, request: ModelRequest, wire: Wire, body: dict[str, Any]) -> dict[str, Any]:
    for name in ALLOWED.intersection(body):
        if name not in request.parameters:
            del body[name]
    body |= request.parameters
    body["messages"] = fit_ids(request.messages, endpoint.kind, request.model)
    if request.stream and endpoint.kind != ProviderKind.MISTRAL:
        options = wire.body.get("stream_options")
        body["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    if endpoint.kind == ProviderKind.OPENROUTER:
        body["usage"] = {"include": True}  # the cost
    return body


def _build_turns_body(
    endpoint: Endpoint, request: ModelRequest, wire: Wire, protocol: Protocol, body: dict[str, Any]
) -> dict[str, Any]:
    """The body of the Responses and Messages protocols."""
    ceiling = _CEILING[protocol]
    max_tokens = next((request.parameters[name] for name in _CEILINGS if name in request.parameters), None)
    body = own_words.add(protocol, wire.configured, body)
    if protocol is Protocol.MESSAGES and own_words.is_system_role_unknown(endpoint.base_url):
        body = own_words.move_system_messages(body)
    if (turns := body.get(_ASKED[protocol])) is not None:
        turns = own_words.strip_foreign_thoughts(protocol, turns, endpoint.base_url)
        body[_ASKED[protocol]] = fit_ids(turns, endpoint.kind, request.model, protocol)
    if max_tokens is not None and body.get(ceiling) is None:
        body[ceiling] = max_tokens
    if wire.system.strip():
        name = "instructions" if protocol is Protocol.RESPONSES else "system"
        body[name] = _join_system_prompts(wire.system, body.get(name))
    return body


def _join_system_prompts(system: str, own: Any) -> Any:
    """The configuration's system prompt, then the program's own: a text, or Anthropic's blocks."""
    if isinstance(own, list):
        return [{"type": "text", "text": system}, *own]
    return f"{system}\n\n{own}" if isinstance(own, str) and own.strip() else system


def _has_asked_for_counts(wire: Wire) -> bool:
    """Whether the program asked for the event that holds the counts; other protocols always have them."""
    if wire.protocol != Protocol.CHAT:
        return True
    options = wire.body.get("stream_options")
    return isinstance(options, Mapping) and bool(options.get("include_usage"))


def _build_reader(protocol: Protocol, request: ModelRequest) -> Reader:
    if protocol is Protocol.EMBEDDINGS:
        return EmbeddingsAnswer()
    reader = find_reader(_PATHS[protocol], count_images(request.messages))
    assert reader is not None  # noqa: S101 (these protocols have one)
    return reader


async def _read_beginning(response: Response) -> bytes:
    """The first part of a body that is more than blanks or a byte order mark, which is left out; empty for none."""
    first = b""
    blanks = 0
    while part := await response.part():
        first += part
        if BOM.startswith(first):  # or a part of one
            continue
        first = first.removeprefix(BOM)
        if first.strip():
            return first
        first = b""
        blanks = blanks + len(part)
        if blanks > _MOST_BLANKS:
            raise RemoteProtocolError("The answer begins with nothing but blanks.")
    return b""


def _is_document(data: bytes) -> bool:
    """Whether a body is one JSON document, and not several."""
    try:
        parse(data)
    except Unreadable:
        return False
    return True


async def _yield_pieces(
    first: bytes, response: Response, reader: Reader, documents: DocumentFramer, keeps_counts: bool
) -> AsyncIterator[Piece]:
    is_chat = isinstance(reader, OpenAIChat)
    data = first
    events: _Events | Lines = Lines() if keeps_counts else _Events()
    chunks: list[Chunk] = []
    while data:
        for document in documents.feed(data):
            chunks += reader.read(document)
        yield Passed(replace_unknown_reasons(events.complete(data)) if is_chat else data, chunks)
        chunks = []
        data = await response.part()
    for document in documents.end():
        chunks += reader.read(document)
    if chunks or is_chat:
        yield Passed(replace_unknown_reasons(events.rest()) if is_chat else b"", chunks)


class _Events:
    """Takes the event with the counts out of a stream; an event is held back until its end has come."""

    def __init__(self) -> None:
        self._held: list[bytes] = []  # of an event whose end has not come
        self._cut = b""  # the first half of a line's end

    def complete(self, data: bytes) -> bytes:
        """The complete events so far, without the one that holds counts and no choices."""
        data = self._cut + data
        self._cut = b""
        if data.endswith(b"\r"):
            data = data[:-1]
            self._cut = b"\r"
        data = data.replace(b"\r\n", b"\n")
        if not data:
            return b""
        self._held.append(data)
        is_cut_between = len(self._held) > 1 and data.startswith(b"\n") and self._held[-2].endswith(b"\n")
        if b"\n\n" not in data and not is_cut_between:
            return b""
        whole, end, unfinished = b"".join(self._held).rpartition(b"\n\n")
        self._held = [unfinished] if unfinished else []
        if _MAY_BE_COUNTS.search(whole) is None:
            return whole + end
        return b"".join(event + end for event in whole.split(end) if not _is_only_counts(event))

    def rest(self) -> bytes:
        """Return the bytes of a last event that was still incomplete when the stream ended."""
        return b"".join(self._held) + self._cut


def _is_only_counts(event: bytes) -> bool:
    """Whether an event holds counts and nothing that was said: its `usage` is an object, and it has no choices."""
    if _MAY_BE_COUNTS.search(event) is None:
        return False
    try:
        document = next(iter([*(documents := DocumentFramer()).feed(event + b"\n\n"), *documents.end()]), None)
    except Unreadable:
        return False
    return isinstance(document, dict) and isinstance(document.get("usage"), dict) and not document.get("choices")


def _build_address(endpoint: Endpoint, protocol: Protocol) -> str:
    base = (endpoint.base_url or look_up_facts(endpoint.kind).base_url).rstrip("/")
    if protocol is Protocol.MESSAGES:
        base = base.removesuffix("/messages").removesuffix("/v1")
    return base + _PATHS[protocol]


def _build_headers(endpoint: Endpoint, protocol: Protocol, wire: Wire) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", **wire.headers}
    if protocol is Protocol.MESSAGES:
        headers.setdefault("anthropic-version", "2023-06-01")
        if endpoint.api_key:
            headers["x-api-key"] = endpoint.api_key
    elif endpoint.api_key:
        headers["Authorization"] = f"Bearer {endpoint.api_key}"
    if endpoint.organisation and endpoint.kind == ProviderKind.OPENAI:
        headers["OpenAI-Organization"] = endpoint.organisation
    headers.update(endpoint.headers)
    return headers


def _is_stream(response: Response) -> bool:
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind in ("text/event-stream", "application/x-ndjson")


@dataclass(frozen=True)
class _ErrorAnswer:
    """What `failures.explain_answer` reads."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace")


async def _fail(endpoint: Endpoint, model: str, response: Response) -> NoReturn:
    body = b""
    while part := await response.part():
        body += part
        if len(body) > failures.LARGEST_ERROR:
            break
    raise failures.explain_answer(endpoint, model, _ErrorAnswer(response.status, response.headers, body))

"""A connection to one server, in either era of the protocol, and what is asked over it, in plain JSON.

`connect` is a context manager that belongs to the task that enters it; questions may come from any task meanwhile.
Listings are read to their last page, within limits. Schemas that a server declares for results are not checked here:
the registry does that in a child with limits.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import httpx2
import mcp_types
from mcp.client._transport import Transport
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from lib.errors import InvalidInput, LLMManagerError
from lib.mcp.clients.child import LARGEST_MESSAGE
from lib.mcp.clients.guarded_http import GuardedTransport
from lib.mcp.clients.signed_http import PersonTokens, SignedTransport
from lib.mcp.pins import is_invisible

_MOST_PAGES = 50
_MOST_ENTRIES = 1_000
_LONGEST_ENTRY = 256 * 1024  # characters of JSON
_LONGEST_NAME = 200  # characters of a tool's own name
_MOST_LISTED = 4 * 1024 * 1024  # in all
_METHOD_NOT_FOUND = -32601
_LONGEST_REASON = 600


class Unanswered(LLMManagerError):
    """A server gave no usable answer."""


@dataclass
class ServerListing:
    """What a server says of itself and offers. Definitions are JSON as the protocol writes it."""

    protocol: str
    name: str
    version: str
    tools: list[dict[str, Any]]
    resources: list[dict[str, Any]] = field(default_factory=list)
    prompts: list[dict[str, Any]] = field(default_factory=list)


class ServerConnection:
    """An open connection. Errors are Unanswered, with the server's own words."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def read_listing(self) -> ServerListing:
        """Ask for everything that the server offers; resources and prompts are optional, tools may be none."""
        information = self._client.server_info
        return ServerListing(
            self._client.protocol_version,
            (information.name if information else "")[:200],
            (information.version if information else "")[:100],
            await self.list_tools(),
            await self._list(self._client.list_resources, "resources", self._client.server_capabilities.resources),
            await self._list(self._client.list_prompts, "prompts", self._client.server_capabilities.prompts),
        )

    async def list_tools(self) -> list[dict[str, Any]]:
        """Ask for the tools; a server that declares none has none. Unanswered where a name can't be kept."""
        tools = await self._list(self._client.list_tools, "tools", self._client.server_capabilities.tools)
        for tool in tools:
            name = str(tool.get("name", ""))
            if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable() or any(map(is_invisible, name)):
                why = f"A name has 1 to {_LONGEST_NAME} characters that can be seen; {name[:60]!a} has not."
                raise Unanswered("One of its tools can't be named.", why, "Rename it in the server.")
        return tools

    async def call_tool(
        self, name: str, arguments: Mapping[str, Any], responses: Any = None, state: str | None = None
    ) -> dict[str, Any]:
        """Run a tool; the result, or with `resultType` input_required what it asks."""
        with _translate_errors():
            result = await self._client.session.call_tool(
                name,
                dict(arguments),
                input_responses=_read_responses(responses),
                request_state=state,
                allow_input_required=True,
            )
        return _convert_to_json(result)

    async def read_resource(self, uri: str) -> dict[str, Any]:
        """Read a resource by its address."""
        with _translate_errors():
            return _convert_to_json(await self._client.read_resource(uri))

    async def get_prompt(self, name: str, arguments: Mapping[str, str]) -> dict[str, Any]:
        """Fill in a prompt."""
        with _translate_errors():
            return _convert_to_json(await self._client.get_prompt(name, dict(arguments)))

    async def _list(self, ask: Callable[..., Awaitable[Any]], kind: str, capability: Any) -> list[dict[str, Any]]:
        if capability is None and kind != "tools":
            return []
        entries = list[dict[str, Any]]()
        size = 0
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            try:
                with _translate_errors():
                    page = await ask(cursor=cursor)
            except Unanswered as error:
                if getattr(error.__cause__, "code", None) == _METHOD_NOT_FOUND:
                    return entries
                raise
            added = [_convert_to_json(entry) for entry in getattr(page, kind)]
            entries += added
            size += _measure_entries(added, kind)
            if size > _MOST_LISTED:
                _refuse_size(kind)
            cursor = page.next_cursor
            if cursor is None or len(entries) >= _MOST_ENTRIES:
                break
        return entries[:_MOST_ENTRIES]


def _measure_entries(entries: list[dict[str, Any]], kind: str) -> int:
    """The characters of a page's entries; Unanswered where one alone is too long."""
    sizes = [len(json.dumps(entry)) for entry in entries]
    if max(sizes, default=0) > _LONGEST_ENTRY:
        _refuse_size(kind)
    return sum(sizes)


def _refuse_size(kind: str) -> NoReturn:
    """Raise Unanswered for a list that would be too large to keep, to show and to send to a model."""
    why = f"One has at most {_LONGEST_ENTRY:,} characters, all have {_MOST_LISTED:,}."
    raise Unanswered(f"Its list of {kind} is too large.", why, "Offer fewer, or describe them shorter.")


class GivenStreams:
    """Streams that are open already, as the client's transport: who opened them closes them."""

    def __init__(self, streams: Any) -> None:
        self._streams = streams

    async def __aenter__(self) -> Any:
        """Return the streams as they are."""
        return self._streams

    async def __aexit__(self, *_: object) -> None:
        """Leave the streams open; their owner closes them."""


@asynccontextmanager
async def connect(transport: Transport, on_change: Callable[[], None]) -> AsyncIterator[ServerConnection]:
    """Open a connection over a transport; `on_change` is called when the server says that its tools changed."""

    async def hear(message: Any) -> None:
        if isinstance(message, mcp_types.ToolListChangedNotification):
            on_change()

    client = Client(
        transport,
        message_handler=hear,
        client_info=mcp_types.Implementation(name="llm-manager", version="1"),
        cache=None,
    )
    async with client:
        client.session.validate_tool_result = _leave_unchecked  # type: ignore[method-assign,assignment]
        yield ServerConnection(client)


@asynccontextmanager
async def open_http_transport(
    url: str, headers: Mapping[str, str], *, allow_private: bool, tokens: PersonTokens | None = None
) -> AsyncIterator[tuple[Transport, GuardedTransport]]:
    """The transport of streamable HTTP with our own client under it; `tokens` are those of who asks."""
    guarded = GuardedTransport(allow_private=allow_private)
    if tokens is not None:
        guarded = SignedTransport(tokens, allow_private=allow_private)
    async with AsyncExitStack() as stack:
        timeout = httpx2.Timeout(30.0, read=None)
        client = await stack.enter_async_context(
            httpx2.AsyncClient(transport=guarded, headers=dict(headers), timeout=timeout, trust_env=False)
        )
        yield streamable_http_client(url, http_client=client, max_sse_event_size=LARGEST_MESSAGE), guarded


def find_cause(error: BaseException) -> BaseException:
    """The first error inside a group of errors, however deep; an error that is no group is its own cause."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return error


def explain(error: BaseException) -> str:
    """The sentence inside an error, or a group of errors, of the protocol's client."""
    error = find_cause(error)
    if isinstance(error, TimeoutError):
        return "It did not answer in time."
    words = str(error).strip() or type(error).__name__
    return words[:_LONGEST_REASON]


def end_sentence(sentence: str) -> str:
    """Put a full stop behind a sentence of others that has no end."""
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


async def _leave_unchecked(_name: str, _result: Any) -> None:
    """Take a tool's result as it comes."""


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Turn the client's errors into Unanswered; cancellations and timeouts pass."""
    try:
        yield
    except (asyncio.CancelledError, LLMManagerError, TimeoutError):
        raise
    except MCPError as error:
        raise Unanswered("The server refused.", f"It says: {explain(error)}") from error
    except Exception as error:  # the boundary of a stranger's library and server: whatever it raises is its answer
        raise Unanswered("The server's answer can't be used.", explain(error)) from error


def _read_responses(responses: Any) -> Any:
    if responses is None:
        return None
    if not isinstance(responses, dict):
        raise InvalidInput("The answer to the tool's question can't be read.")
    return {str(key): mcp_types.ElicitResult.model_validate(value) for key, value in responses.items()}


def _convert_to_json(model: Any) -> dict[str, Any]:
    return dict(json.loads(model.model_dump_json(by_alias=True, exclude_none=True)))

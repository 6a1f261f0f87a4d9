"""What the lone gateway's protocol takes from the inside of uvicorn is there, and is what it was written against.

A version of uvicorn that changes any of it fails here: read the change, mend `lib/gateway/http/fast_http.py`, and write
the new signature and digest (of the source) down.
"""

import asyncio
import hashlib
import inspect
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.protocols.http import flow_control, httptools_impl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import Server, ServerState

from lib.gateway.http.fast_http import FastHttpProtocol

pytestmark = pytest.mark.feature("GATE-5")
METHODS = {
    "__init__": (
        "(self, config: 'Config', server_state: 'ServerState', app_state: 'dict[str, Any]', "
        "_loop: 'asyncio.AbstractEventLoop | None' = None) -> 'None'",
        "4f0899941034",
    ),
    "_start_asgi_task": ("(self, cycle: 'RequestResponseCycle', app: 'ASGI3Application') -> 'None'", "9c08c2571ae9"),
    "connection_lost": ("(self, exc: 'Exception | None') -> 'None'", "c91a4c9bf2e2"),
    "connection_made": ("(self, transport: 'asyncio.Transport') -> 'None'", "6efb565ff3d3"),
    "data_received": ("(self, data: 'bytes') -> 'None'", "010a7ae59a5d"),
    "eof_received": ("(self) -> 'None'", "5652627579a0"),
    "on_body": ("(self, body: 'bytes') -> 'None'", "dba9c32aeba3"),
    "on_header": ("(self, name: 'bytes', value: 'bytes') -> 'None'", "65d62c044f61"),
    "on_headers_complete": ("(self) -> 'None'", "1ea8589acfad"),
    "on_message_complete": ("(self) -> 'None'", "1fbad42dc31f"),
    "on_response_complete": ("(self) -> 'None'", "64e254f28e38"),
    "send_400_response": ("(self, msg: 'str') -> 'None'", "ae5a4a3782b6"),
    "shutdown": ("(self) -> 'None'", "d7351fa33f00"),
}
SOURCES = {flow_control: "d39d16560df5", RequestResponseCycle: "e67d470d435d", Server.shutdown: "9b33c5056299"}
ATTRIBUTES = {
    *("client", "cycle", "expect_100_continue", "flow", "headers", "loop", "parser", "pipeline", "server_state"),
    *("tasks", "timeout_keep_alive", "transport"),
}


def digest(member: Any) -> str:
    return hashlib.sha256(inspect.getsource(member).encode()).hexdigest()[:12]


def test_every_method_that_is_overridden_is_written_down() -> None:
    overridden = {name for name, member in vars(FastHttpProtocol).items() if inspect.isfunction(member)}
    assert overridden & set(vars(HttpToolsProtocol)) <= set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_as_it_was(name: str) -> None:
    method = getattr(HttpToolsProtocol, name)
    assert (str(inspect.signature(method)), digest(method)) == METHODS[name]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
def test_what_stands_beside_it_is_as_it_was(source: Any) -> None:
    assert digest(source) == SOURCES[source]


def test_the_names_that_it_reads_are_there() -> None:
    async def none(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    async def attributes() -> set[str]:
        config = Config(none, log_config=None)
        config.load()
        return set(vars(HttpToolsProtocol(config, ServerState(), {})))

    assert set(vars(ServerState())) >= {"default_headers", "tasks", "total_requests"}
    assert asyncio.run(attributes()) >= ATTRIBUTES
    assert httptools_impl.STATUS_LINE[200] == b"HTTP/1.1 200 OK\r\n"

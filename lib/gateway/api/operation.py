"""An operation of `/api`: one method of an address, from the request's bytes to the answer's.

What it takes and answers stands in its function's types, `Asking[Query, Body] -> Answer`: requests are checked against
them, and `/openapi.json` is made from them.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import cached_property, partial
from time import sleep
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, get_args, get_type_hints
from urllib.parse import parse_qsl

import msgspec
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from lib import services as service_root
from lib.access.grants import GatewayEndpoint
from lib.access.permissions import Actor
from lib.errors import InvalidInput, NotFound
from lib.fast_json import convert_struct, encode
from lib.gateway.http.exchange import Exchange, RefusedRequest
from lib.gateway.http.refusals import Refusal
from lib.gateway.models.background_call import EVENTS, follow
from lib.gateway.models.completions import authenticate
from lib.gateway.models.program_request import encode_event, read_json
from lib.patterns import compile_pattern
from lib.services import Services

Q = TypeVar("Q", bound=msgspec.Struct)
B = TypeVar("B", bound=msgspec.Struct)
_MOMENT_S = 0.1
_SLOW_THREADS = ThreadPoolExecutor(32, thread_name_prefix="slow operation")
_BEFORE_PATH = " - at `$"  # in an error of msgspec's
_QUOTED = compile_pattern(r"`([^`]*)`")
_WORDS = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


@dataclass(frozen=True)
class Asking(Generic[Q, B]):
    """Who asks, and what the address, the query and the body say; `raw` is the body before it was read."""

    services: Services
    actor: Actor
    path: Mapping[str, str]
    query: Q
    body: B
    raw: dict[str, Any]


class Types(NamedTuple):
    """The structs of a request and its answer."""

    query: type[msgspec.Struct]
    body: type[msgspec.Struct]
    answer: type[msgspec.Struct]


@dataclass(frozen=True)
class Operation(ABC):
    """One method of an address; `name` and `title` are the document's. `streams`: it answers with events."""

    name: str
    title: str
    streams: bool = field(default=False, kw_only=True)
    status: int = field(default=200, kw_only=True)
    endpoint: GatewayEndpoint = field(default=GatewayEndpoint.API, kw_only=True)  # that the key's scope holds
    makes_call: ClassVar[bool] = True

    @property
    @abstractmethod
    def types(self) -> Types:
        """The structs of the query, the body and the answer."""

    @abstractmethod
    async def answer(self, exchange: Exchange, asking: "Asking[Any, Any]") -> None:
        """Answer a request that was read."""

    def read_body(self, raw: dict[str, Any]) -> msgspec.Struct:
        """The body as its struct."""
        return read(self.types.body, raw)


@dataclass(frozen=True)
class DirectOperation(Operation):
    """Answers with what `work`, run in a thread, returns."""

    work: Callable[[Any], Any]
    is_slow: bool = field(default=False, kw_only=True)  # it may take minutes, in threads that nobody else needs
    makes_call = False

    @cached_property
    def types(self) -> Types:
        """The structs in the signature of `work`."""
        hints = get_type_hints(self.work)
        query, body = get_args(hints["asking"])
        return Types(query, body, hints["return"])

    async def answer(self, exchange: Exchange, asking: "Asking[Any, Any]") -> None:
        """Answer a request that was read."""
        threads = _SLOW_THREADS if self.is_slow else None
        work = partial(copy_context().run, _run_when_settled, self.work, asking)
        document = await asyncio.get_running_loop().run_in_executor(threads, work)
        await exchange.answer(self.status, encode(msgspec.to_builtins(document)), {"cache-control": "no-store"})


@dataclass(frozen=True)
class FollowedOperation(Operation):
    """Answers from a background call that `begin` starts: whole, or as events while it grows.

    `begin` returns a thing with `call_id` (None where no call is needed), which `finish` takes beside the request when
    the call has ended; it returns the answer, and why there is none.
    """

    begin: Callable[[Any], Any]
    finish: Callable[[Any, Any], tuple[Any, Refusal | None]]

    @cached_property
    def types(self) -> Types:
        """The structs in the signature of `finish`."""
        hints = get_type_hints(self.finish)
        query, body = get_args(hints["asking"])
        return Types(query, body, get_args(hints["return"])[0])

    async def answer(self, exchange: Exchange, asking: "Asking[Any, Any]") -> None:
        """Answer a request that was read."""
        begun = await asyncio.to_thread(self.begin, asking)
        if self.streams:
            await exchange.begin(200, EVENTS, "text/event-stream; charset=utf-8")
        if begun.call_id is not None:
            await follow(exchange, asking.services, asking.actor, begun.call_id, streams=self.streams)
        body, refusal = await asyncio.to_thread(self.finish, asking, begun)
        document = msgspec.to_builtins(body)
        if self.streams:
            error = refusal and encode_event({"message": refusal.message, "code": refusal.code}, "error")
            await exchange.end(error or encode_event(document, "done"))
        elif refusal is not None:
            raise RefusedRequest(refusal)
        else:
            await exchange.answer(self.status, encode(document), {"cache-control": "no-store"})


@dataclass(frozen=True)
class Resource:
    """An address; its operations by method."""

    operations: Mapping[str, Operation]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request: who asks, then what."""
        exchange = Exchange(scope, receive, send)
        services = service_root.current()
        is_post = scope["method"] == "POST"
        operation = self.operations["POST" if is_post else "GET"]
        actor = await _identify(exchange, services, operation.endpoint)
        raw = read_json(await exchange.body()) if is_post else {}
        parameters = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        query = read(operation.types.query, parameters, strict=False)
        asking = Asking(services, actor, scope["path_params"], query, operation.read_body(raw), raw)
        await operation.answer(exchange, asking)


async def _identify(exchange: Exchange, services: Services, endpoint: GatewayEndpoint) -> Actor:
    """Find for whom the key in the request's head acts: where teams are ruled, its owner as on the pages."""
    actor = await authenticate(exchange, services, endpoint)
    if endpoint is GatewayEndpoint.TEAMS and actor.key is not None:
        actor = await asyncio.to_thread(services.api_keys.find_ruler, actor.key.key_id)
    return actor.with_origin(exchange.place)


def build_routes(operations: Mapping[str, Mapping[str, Operation]]) -> list[BaseRoute]:
    """The routes of operations by address and method."""
    return [Route(path, Resource(methods), methods=list(methods)) for path, methods in operations.items()]


def read(kind: type[B], document: Mapping[str, Any], *, strict: bool = True) -> B:
    """A document as a struct; InvalidInput names the field that can't be used. Not `strict`: all values are texts."""
    try:
        return convert_struct(document, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise _explain(str(error)) from None


def _explain(message: str) -> InvalidInput:
    """msgspec's error in our words, with the body's field that it stands in."""
    reason, _, after = message.rpartition(_BEFORE_PATH)
    problem, path = (reason, after.removesuffix("`").removeprefix(".")) if reason else (message, "")
    words = _QUOTED.findall(problem)
    if problem.startswith("Object missing"):
        path = f"{path}.{words[0]}".strip(".")
        return InvalidInput(f"{path} is missing.", "", f"Add {path}.", field=_parse_field_name(path))
    if problem.startswith("Object contains unknown"):
        return InvalidInput(
            f"{path} can't hold {words[0]}.", "", f"Leave {words[0]} out.", field=_parse_field_name(path)
        )
    return InvalidInput(
        f"{path} can't be used.", _explain_problem(problem, words), f"Correct {path}.", field=_parse_field_name(path)
    )


def _explain_problem(problem: str, words: list[str]) -> str:
    if "regex" in problem:
        return "It must not be blank." if r"\\S" in problem else "It has another form."
    if problem.startswith("Expected") and "got" in problem and words:
        kinds = [_WORDS.get(word.strip(), word.strip()) for word in words[0].split("|") if word.strip() != "null"]
        return f"It must be {' or '.join(kinds)}."
    if problem.startswith("Expected"):
        limit = problem.partition("` ")[2] or problem
        limit = limit.replace("of length >= 1", "not empty").replace(">=", "at least").replace("<=", "at most")
        return f"It must be {limit.replace('of length', 'of a length of')}."
    return "It is no day; write it like 2026-10-31." if "date" in problem else "It is none of the values it can have."


def _parse_field_name(path: str) -> str:
    return path.partition(".")[0].partition("[")[0]


def _run_when_settled(work: Callable[[Any], Any], asking: "Asking[Any, Any]") -> Any:
    """The answer when every call that has ended is in the ledger; another worker's may take a moment longer."""
    asking.services.calls.flush()
    try:
        return work(asking)
    except NotFound:
        if "call_id" not in asking.path:
            raise
        sleep(_MOMENT_S)
        return work(asking)

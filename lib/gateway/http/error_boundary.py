"""The one place where an exception becomes an answer, in the form of the door that was asked.

Routes raise and catch nothing: a refusal or an error of ours is answered with its status, a database that is away with
503 and `Retry-After`, a bug with 500. What the log says of a bug is its trace without secrets; the client sees none of
it. An answer that has begun can't become another one: it is broken off, which the server does when a route returns
before its answer ends.
"""

import asyncio
import json
import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from lib.db.failures import is_unsayable, translate_error
from lib.errors import LLMManagerError
from lib.gateway.anthropic import messages_answer
from lib.gateway.api import native_protocol
from lib.gateway.http import refusals
from lib.gateway.http.exchange import JSON, ClientLeft, Exchange, RefusedRequest
from lib.gateway.http.refusals import Refusal
from lib.gateway.openai import chat_completions
from lib.gateway.site import login_forms
from lib.gateway.site.security_headers import build_security_headers
from lib.providers.redaction import redact

log = logging.getLogger(__name__)
_TEXT = "text/plain; charset=utf-8"
_CODES = {400: "invalid_request", 404: "not_found", 405: "method_not_allowed"}
_STOPPED = replace(refusals.STOPPED, headers={**refusals.STOPPED.headers, "connection": "close"})
_SENT_ANYWAY = (b"x-content-type-options",)
_AWAY = "The database does not answer. Try again in a moment."  # to people who may be strangers; the log says more


@dataclass(frozen=True)
class ErrorForm:
    """How a family of addresses says no: the body of a refusal and its type. `is_for_people`: a page, not a program."""

    body: Callable[[Refusal], bytes]
    content_type: str = JSON
    is_for_people: bool = False


def _build_json_form(document: Callable[[int, str, str, str | None], Any]) -> ErrorForm:
    def body(refusal: Refusal) -> bytes:
        shape = document(refusal.status, refusal.code, refusal.message, refusal.param)
        return json.dumps(shape, ensure_ascii=False).encode("utf-8", "replace")

    return ErrorForm(body)


def _encode_message(refusal: Refusal) -> bytes:
    return refusal.message.encode("utf-8", "replace")


def _build_page(refusal: Refusal) -> bytes:
    return login_forms.build_error_page(refusal.message).encode("utf-8", "replace")


OPENAI = _build_json_form(chat_completions.build_error_body)
ANTHROPIC = _build_json_form(messages_answer.build_error_body)
API = _build_json_form(native_protocol.build_error_body)
HEALTH = _build_json_form(lambda _status, _code, message, _param: {"status": "failed", "reason": message})
PROMETHEUS = ErrorForm(_encode_message, _TEXT)
SITE = ErrorForm(_encode_message, _TEXT, is_for_people=True)
PAGE = ErrorForm(_build_page, "text/html; charset=utf-8", is_for_people=True)
MCP = _build_json_form(
    lambda status, code, message, _param: {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": -32001, "message": message, "data": {"status": status, "code": code}},
    }
)
_ADDRESSES = {"/mcp": MCP, "/metrics": PROMETHEUS, "/openapi.json": API, "/healthz": HEALTH, "/readyz": HEALTH}
_FOLDERS = (("/v1/messages", ANTHROPIC), ("/v1/", OPENAI), ("/api/", API), ("/hooks/", API), ("/.well-known/o", API))


def find_form(path: str, headers: Mapping[bytes, bytes]) -> ErrorForm:
    """The form of an address; `/v1/models` speaks Anthropic's protocol to its clients, the site HTML to browsers."""
    if path.startswith("/v1/models") and headers.get(b"anthropic-version"):
        return ANTHROPIC
    form = _ADDRESSES.get(path) or next((form for folder, form in _FOLDERS if path.startswith(folder)), None)
    if form is not None:
        return form
    return PAGE if b"text/html" in headers.get(b"accept", b"") else SITE


async def answer_request(exchange: Exchange, form: ErrorForm, route: Callable[[], Awaitable[None]]) -> None:
    """Run a route that answers `exchange`; whatever it raises is answered in this form. Only a cancellation passes."""
    try:
        await route()
    except ClientLeft:
        return
    except asyncio.CancelledError:  # the server stops and can't wait any longer
        if not exchange.began:
            await refuse(exchange, form, _STOPPED)
        raise
    except Exception as error:  # of a request, so that one that fails harms no other
        refusal = make_refusal(error)
        if form.is_for_people and refusal.status == 503:
            log.error("a page can't be answered: %s", error)
            refusal = replace(refusal, message=_AWAY)
        if exchange.began:
            log.error("an answer broke off: %s", refusal.message)
        else:
            await refuse(exchange, form, refusal)


async def refuse(exchange: Exchange, form: ErrorForm, refusal: Refusal) -> None:
    """Answer with a refusal."""
    headers = dict(refusal.headers)
    if form.is_for_people:
        headers |= {
            name.decode(): value.decode() for name, value in build_security_headers() if name not in _SENT_ANYWAY
        }
        headers["cache-control"] = "no-store"
    await exchange.answer(refusal.status, form.body(refusal), headers, form.content_type)


def make_refusal(error: Exception) -> Refusal:
    """The refusal that a client gets for an exception; a bug is logged here, with its trace."""
    if isinstance(error, RefusedRequest):
        return error.refusal
    if isinstance(error, HTTPException):
        return _make_route_refusal(error)
    is_translated = isinstance(error, SQLAlchemyError) or is_unsayable(error)
    translated = translate_error(error, None) if is_translated else error
    if isinstance(translated, LLMManagerError):
        return refusals.refuse_error(translated)
    log.error("a request failed:\n%s", redact("".join(traceback.format_exception(error))))
    return refusals.INTERNAL


def _make_route_refusal(error: HTTPException) -> Refusal:
    """The refusal for Starlette's exception: a method that an address does not take, or a status that a route chose."""
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    message = f"This address takes {headers['allow']} alone." if "allow" in headers else str(error.detail)
    return Refusal(error.status_code, _CODES.get(error.status_code, "invalid_request"), message, headers=headers)

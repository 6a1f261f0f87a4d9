"""`/login`, `/setup`, `/link` and `/logout`: the routes that give and take a session.

Hashing a password takes a fifth of a second of CPU. It has two threads of its own, so that a flood of guesses keeps
nobody's page waiting.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar
from urllib.parse import parse_qs, quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from lib import services
from lib.access import session_cookie
from lib.access.users import User
from lib.errors import InvalidInput, LLMManagerError
from lib.gateway.http import refusals
from lib.gateway.site import login_forms
from lib.gateway.site.session_guard import sockets
from lib.services import Services

_LONGEST_FORM = 16_384
_NO_STORE = {"cache-control": "no-store"}
_LINK_HEADERS = _NO_STORE | {"referrer-policy": "no-referrer"}  # the address is a secret
_hashing = ThreadPoolExecutor(2, thread_name_prefix="passwords")
P = ParamSpec("P")
T = TypeVar("T")


async def serve_login(request: Request) -> Response:
    """Show the form; on POST open a session and go on to `next`."""
    target = choose_safe_next(request.query_params.get("next", ""))
    if await asyncio.to_thread(services.current().setup.is_needed):
        return RedirectResponse("/setup", 303, headers=_NO_STORE)
    if request.method != "POST":
        if await asyncio.to_thread(services.current().sessions.find_actor, _read_token(request)) is not None:
            return RedirectResponse(target, 303, headers=_NO_STORE)  # another tab has signed in meanwhile
        return HTMLResponse(login_forms.build_login_page(address=quote(target, safe="")), headers=_NO_STORE)
    form = await _read_form(request)
    name = form.get("name", "")
    try:
        token = await _run_hashing(
            services.current().sessions.login,
            name,
            form.get("password", ""),
            _read_address(request),
            _read_agent(request),
        )
    except LLMManagerError as error:
        return _show_refusal(login_forms.build_login_page(error, name, quote(target, safe="")), error)
    return await _sign_in(request, token, target)


async def serve_setup(request: Request) -> Response:
    """Show the form of the first account; on POST make it and sign in."""
    current = services.current()
    if not await asyncio.to_thread(current.setup.is_needed):
        return RedirectResponse("/login", 303, headers=_NO_STORE)
    if request.method != "POST":
        return HTMLResponse(login_forms.build_setup_page(), headers=_NO_STORE)
    form = await _read_form(request)
    code = form.get("code", "")
    name = form.get("name", "")
    password = form.get("password", "")
    try:
        if password != form.get("again", ""):
            raise InvalidInput("The two passwords differ.", field="again")
        user = await _run_hashing(_create_first_account, current, _read_address(request), code, name, password)
    except LLMManagerError as error:
        return _show_refusal(login_forms.build_setup_page(error, name, code), error)
    return await _sign_in(
        request, await asyncio.to_thread(current.sessions.open_for, user.id, _read_agent(request)), "/"
    )


def _create_first_account(current: Services, address: str, code: str, name: str, password: str) -> User:
    """The administrator; a wrong code is a wrong try of the address, a weak password is not."""
    current.sessions.count_try(address)
    try:
        user = current.setup.create_administrator(code, name, password, f"page {address}")
    except LLMManagerError as error:
        if getattr(error, "field", None) != "code":
            current.sessions.refund_try(address)
        raise
    current.sessions.refund_try(address)
    return user


async def serve_link(request: Request) -> Response:
    """Show what a link is for; on POST make the account, or set the password, and sign in."""
    current = services.current()
    token = request.query_params.get("token", "")
    try:
        about = await asyncio.to_thread(current.access_links.look, token)
    except LLMManagerError as error:
        return HTMLResponse(login_forms.build_error_page(str(error)), 404, headers=_LINK_HEADERS)
    if request.method != "POST":
        return HTMLResponse(login_forms.build_link_page(about, token), headers=_LINK_HEADERS)
    form = await _read_form(request)
    name = form.get("name", "")
    password = form.get("password", "")
    try:
        if password != form.get("again", ""):
            raise InvalidInput("The two passwords differ.", field="again")
        came_from = f"page {_read_address(request)}"
        user_id = await _run_hashing(current.access_links.accept, token, name, password, came_from)
    except LLMManagerError as error:
        return _show_refusal(login_forms.build_link_page(about, token, error, name), error)
    return await _sign_in(
        request, await asyncio.to_thread(current.sessions.open_for, user_id, _read_agent(request)), "/"
    )


async def serve_logout(request: Request) -> Response:
    """End the session in every tab."""
    if (token := _read_token(request)) is not None:
        await asyncio.to_thread(services.current().sessions.end, token)
        sockets.end([token])
    response = RedirectResponse("/login", 303, headers=_NO_STORE)
    response.headers.append("set-cookie", session_cookie.build_set_cookie("", secure=_is_https(request)))
    return response


def choose_safe_next(address: str) -> str:
    """An address on this site with its query, or `/`: another site's, or an odd one, is never followed."""
    if not address.startswith("/") or any(ord(sign) < 33 or sign == "\\" for sign in address):
        return "/"
    path = address.split("?", 1)[0].split("#", 1)[0]
    if "//" in path or path.rstrip("/") in ("/login", "/logout", "/setup", "/link"):
        return "/"
    return address


async def _sign_in(request: Request, token: str, target: str) -> Response:
    if (old := _read_token(request)) is not None:
        await asyncio.to_thread(services.current().sessions.end, old)
    response = RedirectResponse(target, 303, headers=_NO_STORE)
    response.headers.append("set-cookie", session_cookie.build_set_cookie(token, secure=_is_https(request)))
    return response


def _show_refusal(page: str, error: LLMManagerError) -> Response:
    refusal = refusals.refuse_error(error)
    status = refusal.status if refusal.status in (429, 503) else 400  # what was typed, which the page explains
    return HTMLResponse(page, status, headers=_NO_STORE | dict(refusal.headers))


async def _read_form(request: Request) -> dict[str, str]:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST_FORM:
            return {}
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        return {}
    return {name: values[-1] for name, values in fields.items()}


def _read_address(request: Request) -> str:
    return request.client.host if request.client else ""


def _read_agent(request: Request) -> str:
    return request.headers.get("user-agent", "")


def _read_token(request: Request) -> str | None:
    return session_cookie.parse_token(request.headers.get("cookie", ""), secure=_is_https(request))


def _is_https(request: Request) -> bool:
    return session_cookie.is_https(request.scope["scheme"], request.headers.get("x-forwarded-proto", ""))


async def _run_hashing(work: Callable[P, T], *args: P.args, **keywords: P.kwargs) -> T:
    return await asyncio.get_running_loop().run_in_executor(_hashing, partial(work, *args, **keywords))


routes = [
    Route("/login", serve_login, methods=["GET", "POST"]),
    Route("/setup", serve_setup, methods=["GET", "POST"]),
    Route("/link", serve_link, methods=["GET", "POST"]),
    Route("/logout", serve_logout, methods=["POST"]),
]

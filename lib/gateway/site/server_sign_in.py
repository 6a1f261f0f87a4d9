"""Where the browser comes back to after a sign-in at a server of tools, and the document that says who we are there.

The guard has let the request through, so it has a session: the person of that session has to be the one who began.
"""

import asyncio

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from lib import services
from lib.access import session_cookie
from lib.errors import LLMManagerError
from lib.gateway.site import login_forms
from lib.mcp.sign_ins import CALLBACK_PATH, CLIENT_PATH, write_client_document
from lib.providers.redaction import redact

_HEADERS = {"cache-control": "no-store", "referrer-policy": "no-referrer"}  # the address has a code
_FIELDS = ("code", "state", "iss", "error", "error_description")
_LONGEST = 4_000
_AFTERWARDS = "/tools?tab=sign-ins"


async def complete(request: Request) -> Response:
    """Complete the sign-in, and go on to the page that shows it."""
    current = services.current()
    secure = _is_https(request)
    token = session_cookie.parse_token(request.headers.get("cookie", ""), secure=secure)
    actor = await asyncio.to_thread(current.sessions.find_actor, token)
    if actor is None:
        return RedirectResponse("/login", 303, headers=_HEADERS)
    answer = {name: request.query_params.get(name, "")[:_LONGEST] for name in _FIELDS}
    address = request.client.host if request.client else ""
    try:
        await asyncio.to_thread(current.server_sign_ins.complete, actor.with_origin(f"page {address}"), answer)
    except LLMManagerError as error:
        return HTMLResponse(login_forms.build_error_page(redact(str(error))), 400, headers=_HEADERS)
    return RedirectResponse(_AFTERWARDS, 303, headers=_HEADERS)


async def describe(request: Request) -> Response:
    """The client document, for authorization servers that take one."""
    scheme = "https" if _is_https(request) else "http"
    document = await asyncio.to_thread(write_client_document, f"{scheme}://{request.headers.get('host', '')}")
    return JSONResponse(document, headers={"cache-control": "max-age=3600", "vary": "host"})


def _is_https(request: Request) -> bool:
    return session_cookie.is_https(request.scope["scheme"], request.headers.get("x-forwarded-proto", ""))


routes: list[BaseRoute] = [
    Route(CALLBACK_PATH, complete, methods=["GET"]),
    Route(CLIENT_PATH, describe, methods=["GET"]),
]

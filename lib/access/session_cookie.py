"""The session's cookie: HttpOnly, SameSite=Lax, and under https Secure with the `__Host-` prefix.

Under https only the prefixed name counts: a neighbouring subdomain can plant the plain one, never that.
"""

from collections.abc import Iterable, Mapping

from starlette.requests import cookie_parser

from lib.access.sessions import LIFETIME

Headers = list[tuple[bytes, bytes]]
NAME = "llm_manager_session"
SECURE_NAME = "__Host-llm_manager_session"


def find_token(cookies: Mapping[str, str]) -> str | None:
    """The session's token among the cookies of a connection that the guard has let through."""
    return cookies.get(SECURE_NAME) or cookies.get(NAME)


def parse_token(header: str, *, secure: bool) -> str | None:
    """The session's token in a Cookie header; other sites' odd cookies on the same host are read over."""
    return cookie_parser(header).get(SECURE_NAME if secure else NAME) or None


def drop_other_session(headers: Iterable[tuple[bytes, bytes]], *, secure: bool) -> Headers:
    """The request's headers without the session cookie of the other scheme, so that the page reads the guard's one."""
    other = NAME if secure else SECURE_NAME
    return [(name, _remove_cookie(value, other) if name == b"cookie" else value) for name, value in headers]


def _remove_cookie(header: bytes, name: str) -> bytes:
    cookies = (part for part in header.decode("latin-1").split(";") if part.split("=", 1)[0].strip() != name)
    return ";".join(cookies).strip().encode("latin-1")


def is_https(scheme: str, forwarded: str) -> bool:
    """Whether the browser speaks https, to this process or to the proxy before it (`X-Forwarded-Proto`)."""
    return scheme in ("https", "wss") or forwarded.split(",")[0].strip().lower() == "https"


def build_set_cookie(token: str, *, secure: bool) -> str:
    """The Set-Cookie header that keeps a token; an empty token removes it."""
    name = SECURE_NAME if secure else NAME
    age = int(LIFETIME.total_seconds()) if token else 0
    return f"{name}={token}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")

"""The session's cookie: HttpOnly, SameSite=Lax, and under https Secure with the `__Host-` prefix."""

from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie

from lib.access.sessions import LIFETIME

NAME, SECURE_NAME = "llm_manager_session", "__Host-llm_manager_session"


def token_from(cookies: Mapping[str, str]) -> str | None:
    """The session's token among a request's cookies."""
    return cookies.get(SECURE_NAME) or cookies.get(NAME)


def token_from_header(header: str) -> str | None:
    """The session's token in a Cookie header."""
    try:
        return token_from({name: morsel.value for name, morsel in SimpleCookie(header).items()})
    except CookieError:
        return None


def setting(token: str, *, secure: bool) -> str:
    """The Set-Cookie header that keeps a token; an empty token removes it."""
    name, age = (SECURE_NAME if secure else NAME), (int(LIFETIME.total_seconds()) if token else 0)
    return f"{name}={token}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")

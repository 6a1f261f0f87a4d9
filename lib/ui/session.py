"""Who looks at the page: every page begins with `actor = session.require(Permission.X)`.

The cookie's token is asked in SQL at each run, because Streamlit keeps the cookies of the moment when the page was
opened. Pages find each other through `page(name)`.
"""

from typing import Any

import streamlit as st

from lib import services as service_root
from lib.access.permissions import Actor, Permission
from lib.access.session_cookie import find_token
from lib.errors import PermissionDenied
from lib.services import Services
from lib.ui import blocks, session_keys


def ensure_services() -> Services:
    """The process's services."""
    return service_root.current()


def read_token() -> str | None:
    """The session's token from the browser's cookie."""
    return find_token(st.context.cookies)


def require_actor() -> Actor:
    """Whose session this is; without one the script stops here and the browser goes to the login page."""
    signed_in = ensure_services().sessions.find_actor(read_token())
    if signed_in is None:
        redirect_to_login()
    return signed_in.with_origin(describe_place())  # type: ignore[union-attr]  # to_login never returns


def describe_place() -> str:
    """From where the browser comes, for the audit log; a proxy's word counts where uvicorn trusts the proxy."""
    return f"page {st.context.ip_address or 'localhost'}"


def require(permission: Permission) -> Actor:
    """The actor, if they hold the permission; otherwise the page says what is missing and stops."""
    signed_in = require_actor()
    try:
        signed_in.require(permission)
    except PermissionDenied as error:
        blocks.show_error(error)
        st.stop()
    return signed_in


def require_administrator() -> Actor:
    """The actor, if they administer their team; otherwise the page says so and stops."""
    signed_in = require_actor()
    return signed_in if signed_in.rules_team else require_super_admin()


def require_super_admin() -> Actor:
    """The actor, if they may manage people; otherwise the page says so and stops."""
    signed_in = require_actor()
    try:
        signed_in.require_super_admin()
    except PermissionDenied as error:
        blocks.show_error(error)
        st.stop()
    return signed_in


def show_pause(signed_in: Actor) -> None:
    """Say on a page from which models are called that calls are stopped or paused, why, and who can change it."""
    stops = ensure_services().stops
    stops.refresh()
    if (refusal := stops.find_refusal(signed_in)) is None:
        return
    text = refusal.body
    if signed_in.sees_every_team:
        text = f"{refusal.why.rstrip('.')}. Start them again on Access, Teams."
    st.warning(
        blocks.escape_markdown(text), title=blocks.escape_markdown(refusal.title), icon=":material/pause_circle:"
    )


def redirect_to_login() -> None:
    """Send the browser to the login page and end the script."""
    from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    message = ForwardMsg()
    message.auth_redirect.url = "/login"
    if (context := get_script_run_ctx()) is not None:
        context.enqueue(message)
    st.stop()


def sign_out() -> None:
    """End the session in every tab."""
    if (current := read_token()) is not None:
        ensure_services().sessions.end(current)
    redirect_to_login()


def register(pages: dict[str, Any]) -> None:
    """Keep the pages of this run, by name."""
    st.session_state[session_keys.PAGES] = pages


def page(name: str) -> Any:
    """The page of a name, for links and switches."""
    return st.session_state[session_keys.PAGES][name]

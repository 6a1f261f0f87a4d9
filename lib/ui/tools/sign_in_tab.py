"""The sign-ins of who looks at the page Tools: servers that want each person to sign in, and a way in and out."""

from typing import Any
from urllib.parse import urlsplit

import streamlit as st

from lib.access.permissions import Actor
from lib.errors import LLMManagerError
from lib.mcp.sign_ins import ServerSignIn
from lib.services import Services
from lib.ui import blocks, grammar

_BADGES: dict[str, tuple[str, Any]] = {
    "signed in": ("✓ signed in", "green"),
    "ended": ("! ended", "orange"),
    "not signed in": ("○ not yet", "gray"),
}


def draw(services: Services, actor: Actor) -> None:
    """Draw the servers, each with one's own sign-in."""
    entries = services.server_sign_ins.list(actor)
    if not entries:
        sentence = "Servers of tools that want each person to sign in stand here, with your own sign-in."
        with blocks.show_empty_state("login", "No server wants you to sign in", sentence):
            st.button("See the tools", icon=":material/build:", on_click=_open_registry)
        return
    st.caption("Tools of these servers act as you there. Your sign-in is encrypted, and used for your calls alone.")
    for entry in entries:
        with st.container(border=True):
            name, title = (blocks.escape_markdown(text) for text in (entry.server.name, entry.server.title))
            draw_sign_in(services, actor, entry, f"**{name}** {title}")


def draw_sign_in(services: Services, actor: Actor, entry: ServerSignIn, heading: str) -> None:
    """Draw one server's sign-in under a heading in Markdown: its state, why it has ended, the button in or out."""
    name = entry.server.name
    label, colour = _BADGES[entry.state]
    with blocks.start_row(gap="xsmall"):
        st.markdown(heading, width="stretch")
        st.badge(label, color=colour)
    sign_in = entry.sign_in
    if entry.is_signed_in and sign_in is not None:
        st.caption(
            blocks.escape_markdown(f"At {sign_in.issuer}" + (f", for {sign_in.scope}." if sign_in.scope else "."))
        )
        if st.button("Sign out", icon=":material/logout:", type="tertiary", key=f"sign-out-{name}"):
            grammar.confirm(
                f"Sign out of {name}?",
                "Your tokens are deleted here. Runs of yours that use its tools fail until you sign in again.",
                keep="Stay signed in",
                act="Sign out",
                icon="logout",
                undo="Signing in again takes it back.",
                action=lambda: services.server_sign_ins.sign_out(actor, name),
            )
        return
    if sign_in is not None and sign_in.reason:
        st.caption(blocks.escape_markdown(sign_in.reason))
    if st.button("Sign in", icon=":material/login:", key=f"sign-in-{name}"):
        st.dialog(f"Sign in at {name}")(sign_in_dialog)(services, actor, name)


def sign_in_dialog(services: Services, actor: Actor, name: str) -> None:
    """Find out where the person signs in, and offer the way there."""
    try:
        with st.spinner("Asking where you sign in"):
            page = services.server_sign_ins.begin(actor, name, find_base_url())
    except LLMManagerError as error:
        blocks.show_error(error)
        return
    st.markdown(f"You sign in at **{blocks.escape_markdown(page.host)}**, and come back here.")
    if page.scope:
        st.caption(blocks.escape_markdown(f"{name} asks to be allowed: {page.scope}."))
    st.link_button(
        f"Go to {blocks.escape_markdown(page.host)}", page.address, icon=":material/open_in_new:", type="primary"
    )


def find_base_url() -> str:
    """Find the address of this installation as the browser has it."""
    parts = urlsplit(st.context.url or "http://127.0.0.1:8501")
    return f"{parts.scheme}://{parts.netloc}"


def _open_registry() -> None:
    st.query_params.pop("tab", None)

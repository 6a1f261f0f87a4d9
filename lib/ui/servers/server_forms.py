"""The dialogs of the page MCP servers: add one, approve its command, change it, remove it, stop them all."""

import shlex
from collections.abc import Mapping
from typing import Any

import streamlit as st

from lib.access.permissions import Actor
from lib.errors import InvalidInput, LLMManagerError
from lib.mcp.server import McpServer, ServerDraft
from lib.mcp.sign_ins import CALLBACK_PATH
from lib.services import Services
from lib.ui import blocks
from lib.ui.configurations.configuration_form import show_in_form
from lib.ui.tools.sign_in_tab import find_base_url

_PROGRAM = "A program here"
_ADDRESS = "An address"


def add_dialog(services: Services, actor: Actor) -> None:
    """The form of a new server; its command is approved afterwards, in sight of the whole of it."""
    spots: dict[str | None, Any] = {}
    name = st.text_input("Name", placeholder="for example weather", help="Its tools are called name__tool.")
    spots["name"] = st.empty()
    _ask(services, actor, name, None, spots, "Add server")


def edit_dialog(services: Services, actor: Actor, server: McpServer) -> None:
    """The form that changes a server. Another command or address has to be approved again."""
    st.caption("Values of variables and headers are not shown; leave them empty to keep none.")
    _ask(services, actor, server.name, server, {}, "Save server")


def _ask(
    services: Services, actor: Actor, name: str, server: McpServer | None, spots: dict[str | None, Any], label: str
) -> None:
    """Draw the fields and, when the button is pressed, save them."""
    kinds = [_PROGRAM, _ADDRESS]
    first = _ADDRESS if server is not None and server.url else _PROGRAM
    kind = st.segmented_control("It is", kinds, default=first, required=True)
    fields: dict[str, Any] = {}
    if kind == _PROGRAM:
        command_line = shlex.join(server.command) if server is not None else ""
        line = st.text_input("Command", command_line, placeholder="npx -y @modelcontextprotocol/server-memory")
        spots["command"] = st.empty()
        fields["memory_mb"] = st.number_input("Memory, MB", 64, 65_536, _read_memory_mb(server))
        fields["command_line"] = line
    else:
        fields["url"] = st.text_input("Address", server.url if server else "", placeholder="https://example.com/mcp")
        spots["base_url"] = st.empty()
        fields["allow_private"] = st.checkbox("Allow private hosts", server.allow_private if server else False)
        fields |= _ask_sign_in(server, spots)
    noun = "Variables" if kind == _PROGRAM else "Headers"
    names = "\n".join(f"{secret}=" for secret in server.secret_names) if server else ""
    secrets = st.text_area(f"{noun}, one NAME=value a line", names, help="Encrypted; nobody sees the values again.")
    spots["secrets"] = st.empty()
    title = st.text_input("What it is for", server.title if server else "")
    if st.button(label, type="primary"):
        try:
            draft = _build_draft(name, title, fields, secrets)
            (services.servers.update if server is not None else services.servers.add)(actor, draft)
        except LLMManagerError as error:
            show_in_form(error, spots)
            return
        st.rerun()


def _ask_sign_in(server: McpServer | None, spots: dict[str | None, Any]) -> dict[str, str]:
    """Draw the fields of an authorization server that takes no clients by itself, or that is inside the network."""
    is_set = server is not None and bool(server.issuer)
    with st.expander("Sign-in (OAuth)", icon=":material/login:", expanded=is_set):
        st.caption("Empty where the server says it all. A client registered by hand comes back to:")
        st.code(find_base_url() + CALLBACK_PATH, language=None, wrap_lines=True)
        issuer = st.text_input(
            "Authorization server",
            server.issuer if server else "",
            placeholder="https://login.example.com",
            help="People sign in there and nowhere else. With private hosts allowed it may be inside the network.",
        )
        spots["issuer"] = st.empty()
        client_id = st.text_input("Client id", server.client_id if server else "")
        spots["client_id"] = st.empty()
        has_client = server is not None and bool(server.client_id)
        secret_help = "Encrypted." + (" Empty keeps what is stored." if has_client else " Empty where it has none.")
        secret = st.text_input("Client secret", type="password", help=secret_help)
    return {"issuer": issuer.strip(), "client_id": client_id.strip(), "client_secret": secret.strip()}


def _read_memory_mb(server: McpServer | None) -> int:
    return server.limits.get("DATA", 2048 * 1024 * 1024) // (1024 * 1024) if server is not None else 2048


def _build_draft(name: str, title: str, fields: Mapping[str, Any], secrets: str) -> ServerDraft:
    """The draft of what was typed; raises InvalidInput for a command that can't be taken apart."""
    try:
        command = shlex.split(fields.get("command_line", ""))
    except ValueError as error:
        raise InvalidInput("The command can't be read.", f"{error}.", "Close its quotes.", field="command") from None
    pairs = [line.partition("=") for line in secrets.splitlines() if line.strip()]
    return ServerDraft(
        name.strip(),
        command,
        fields.get("url", "").strip(),
        {key.strip(): value for key, _, value in pairs},
        title.strip(),
        bool(fields.get("allow_private")),
        int(fields.get("memory_mb", 2048)),
        fields.get("issuer", ""),
        fields.get("client_id", ""),
        fields.get("client_secret", ""),
    )


def approve_dialog(services: Services, actor: Actor, server: McpServer) -> None:
    """The whole command, part by part, before it may run."""
    if server.command:
        st.markdown("This program runs on the server, as its user, with these arguments:")
        st.code("\n".join(f"{number}  {part}" for number, part in enumerate(server.command)), language=None)
    else:
        st.markdown("What models write is sent to this address:")
        st.code(server.url, language=None, wrap_lines=True)
    if server.secret_names:
        st.caption(f"It is given {blocks.escape_markdown(', '.join(server.secret_names))}.")
    spot = st.container()
    if st.button("Approve", type="primary"):
        try:
            services.servers.approve(actor, server.name, server.approval_hash)
        except LLMManagerError as error:
            with spot:
                blocks.show_error(error)
            return
        st.rerun()


def remove_dialog(services: Services, actor: Actor, server: McpServer) -> None:
    """Ask before a server is removed; says what goes and what stays."""
    st.markdown("Its approvals and its variables are gone. What its tools were asked stays in the log.")
    spot = st.container()
    with blocks.start_row():
        if st.button("Keep server"):
            st.rerun()
        if st.button(":red[Remove server]"):
            try:
                services.servers.remove(actor, server.name)
            except LLMManagerError as error:
                with spot:
                    blocks.show_error(error)
                return
            st.rerun()


def stop_all_dialog(services: Services, actor: Actor) -> None:
    """Ask before every server is stopped."""
    st.markdown("All end within five seconds, with what runs in them. Each can be started again.")
    if st.button(":red[Stop every server]"):
        services.servers.stop_all(actor)
        st.rerun()

"""The servers that come with the product: what each offers, and what an administrator lets two of them reach."""

import streamlit as st

from lib.access.permissions import Actor
from lib.errors import LLMManagerError
from lib.mcp.bundled.tool import BundledServer
from lib.services import Services
from lib.ui import blocks

_ASKED = "database-to-remove"


def show(services: Services, actor: Actor) -> None:
    """A card for each."""
    st.caption("They run inside this process and answer as the person who asks. Outside clients reach them at /mcp.")
    with st.grid(1 if blocks.is_compact() else 2, min_column_width=340, gap="small"):
        for server in services.bundled_servers.list(actor):
            with st.container(border=True, height="stretch"):
                _show_server(services, actor, server)


def _show_server(services: Services, actor: Actor, server: BundledServer) -> None:
    with blocks.start_row(gap="xsmall"):
        st.subheader(server.name, anchor=False, width="content")
        st.caption(server.title, width="stretch")
        st.badge("○ off" if server.absence else "✓ ready", color="gray" if server.absence else "green")
    st.markdown(blocks.escape_markdown(server.absence or ", ".join(tool.name for tool in server.tools)))
    if server.name == "filesystem" and st.button("Folders", icon=":material/folder:", type="tertiary"):
        st.dialog("Allowed folders", width="medium")(show_folders_dialog)(services, actor)
    if server.name == "database" and st.button("Databases", icon=":material/database:", type="tertiary"):
        st.dialog("Registered databases", width="medium")(show_databases_dialog)(services, actor)


def show_folders_dialog(services: Services, actor: Actor) -> None:
    """Which folders, extensions and writing are allowed."""
    settings = services.bundled_servers.files(actor)
    roots = st.text_area("Folders, one a line", "\n".join(map(str, settings.roots.values())))
    extensions = st.text_input("Extensions", " ".join(settings.extensions))
    may_write = st.checkbox("Files may be written", settings.may_write)
    if st.button("Save folders", type="primary"):
        try:
            services.bundled_servers.set_files(actor, roots.splitlines(), extensions.split(), may_write=may_write)
        except LLMManagerError as error:
            blocks.show_error(error)
            return
        st.rerun()


def show_databases_dialog(services: Services, actor: Actor) -> None:
    """The registered databases, and a form for another."""
    for name, address in services.bundled_servers.databases(actor).items():
        with blocks.start_row(gap="xsmall"):
            st.markdown(f"**{blocks.escape_markdown(name)}** {blocks.escape_markdown(address)}", width="stretch")
            is_asked = st.session_state.get(_ASKED) == name
            label = f":red[Remove {blocks.escape_markdown(name)}]" if is_asked else ":red[Remove]"
            if st.button(label, type="tertiary", key=f"remove-{name}"):
                st.session_state[_ASKED] = None if is_asked else name
                if is_asked:
                    services.bundled_servers.remove_database(actor, name)
                st.rerun(scope="fragment")
        if is_asked:
            st.caption("Models can't ask it any more, and its address is forgotten. Press again to remove it.")
    name = st.text_input("Name", placeholder="for example shop")
    address = st.text_input("Address", placeholder="postgresql://reader:…@host/shop", type="password")
    st.caption("PostgreSQL with a role that only reads, or sqlite:////folder/file.db. It is connected to once.")
    if st.button("Register database", type="primary"):
        try:
            services.bundled_servers.register_database(actor, name, address)
        except LLMManagerError as error:
            blocks.show_error(error)
            return
        st.rerun()

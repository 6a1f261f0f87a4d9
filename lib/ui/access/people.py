"""The parts of the Access page: the table of people with its panel, dialogs, and the table of permissions."""

from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import ROLE_PERMISSIONS, Actor, Permission, Role
from lib.access.users import User
from lib.errors import LLMManagerError
from lib.services import Services
from lib.ui import blocks, format, grammar


def show_people(services: Services, actor: Actor, people: list[User], zone: ZoneInfo) -> None:
    """Draw everybody; the opened person's panel stands beside the table."""
    rows = [
        grammar.ThingRow(
            user,
            user.id,
            user.name,
            {
                "Name": user.name,
                "Role": user.role.value,
                "State": "✓ active" if user.is_active else "■ disabled",
                "Last login": format.format_moment(user.last_login_at, zone) if user.last_login_at else None,
            },
        )
        for user in people
    ]
    text = st.column_config.TextColumn
    columns = {
        "Name": text(width=166 if blocks.is_compact() else 300),
        "Role": text(width=150),
        "State": text(width=110),
        "Last login": text(width=186, help="— means never"),
    }
    grammar.show_rows_beside(
        "people",
        rows,
        columns,
        lambda user: _show_person(services, actor, user, zone),
        narrow=["Name", "Role"],
        alt="People",
        parameter="person",
        caption=f"{len(people)} {'person' if len(people) == 1 else 'people'} · times in {zone.key}",
    )


def _show_person(services: Services, actor: Actor, user: User, zone: ZoneInfo) -> None:
    with st.container():
        st.badge("✓ active" if user.is_active else "■ disabled", color="green" if user.is_active else "gray")
        st.caption(f"Since {format.format_moment(user.created_at, zone)}")
        roles = list(Role)
        role = st.selectbox("Role", roles, index=roles.index(user.role), key=f"role-{user.id}")
        st.caption(f"{len(ROLE_PERMISSIONS[role])} of {len(Permission)} permissions, as Roles lists them")
        if st.button("Change role", disabled=role is user.role, key=f"set-{user.id}"):
            with blocks.show_errors():
                services.users.set_role(actor, user.id, role)
                st.toast(f"{user.name} is now {role.value} and signs in again.")
                st.rerun()
        with blocks.start_row():
            if st.button("New password", icon=":material/password:", key=f"password-{user.id}"):
                _show_password_dialog(services, actor, user)
            if not user.is_active:
                if st.button("Enable", icon=":material/check:", key=f"enable-{user.id}"):
                    services.users.set_active(actor, user.id, True)
                    st.rerun()
            elif st.button(":red[Disable]", icon=":material/block:", key=f"disable-{user.id}"):
                _disable_dialog(services, actor, user)
        with blocks.start_row():
            if user.is_active and st.button("Reset link", icon=":material/link:", key=f"reset-{user.id}"):
                _reset_dialog(services, actor, user)
            if st.button("Hand over", icon=":material/move_up:", key=f"hand-over-{user.id}"):
                _hand_over_dialog(services, actor, user)
            if user.id != actor.user_id and st.button(":red[Erase]", icon=":material/delete:", key=f"erase-{user.id}"):
                _erase_dialog(services, actor, user)


@st.dialog("Add a person")
def add_dialog(services: Services, actor: Actor) -> None:
    """A new account with a first password."""
    with st.form("add-person", border=False):
        name = st.text_input("User name", placeholder="for example amira", autocomplete="off")
        role = st.selectbox("Role", list(Role), index=list(Role).index(Role.DEVELOPER))
        password = st.text_input("First password, 12 characters or more", type="password", autocomplete="new-password")
        st.caption("They can change it after signing in.")
        sent = st.form_submit_button("Add person", type="primary")
    if sent:
        with blocks.show_errors():
            services.users.create(actor, name, password, role or Role.DEVELOPER)
            st.rerun()


@st.dialog("New password")
def _show_password_dialog(services: Services, actor: Actor, user: User) -> None:
    st.markdown(f"**{blocks.escape_markdown(user.name)}** will be signed out everywhere.")
    with st.form("new-password", border=False):
        password = st.text_input("New password, 12 characters or more", type="password", autocomplete="new-password")
        sent = st.form_submit_button("Set password", type="primary")
    if sent:
        with blocks.show_errors():
            services.users.set_password(actor, user.id, password)
            st.rerun()


@st.dialog("A link for a new password")
def _reset_dialog(services: Services, actor: Actor, user: User) -> None:
    st.markdown(f"**{blocks.escape_markdown(user.name)}** sets a new password with it. Good for a day, and for once.")
    if st.button("Make link", type="primary"):
        with blocks.show_errors():
            st.code(make_link(services.access_links.reset_password(actor, user.id)), language=None, wrap_lines=True)


@st.dialog("Hand over everything?")
def _hand_over_dialog(services: Services, actor: Actor, user: User) -> None:
    counts = services.hand_over.preview(actor, user.id)
    listed = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "nothing"
    st.markdown(f"**{blocks.escape_markdown(user.name)}** has {listed}. Keys go on, and act as whoever has them.")
    heirs = {other.id: other.name for other in services.users.list(actor) if other.id != user.id and other.is_active}
    to_id = st.selectbox("To", list(heirs), index=None, format_func=heirs.__getitem__, placeholder="Choose somebody")
    if st.button("Hand over", type="primary", disabled=not (to_id and counts)):
        try:
            services.hand_over.run(actor, user.id, to_id or "")
        except LLMManagerError as error:
            blocks.show_error(error)
            return
        st.rerun()


@st.dialog("Erase this person?")
def _erase_dialog(services: Services, actor: Actor, user: User) -> None:
    st.markdown(
        f"Conversations, prompts, answers, documents and runs of **{blocks.escape_markdown(user.name)}** are deleted "
        "for good, their account is closed and their keys are revoked. The figures of their calls stay. This can't be "
        "undone."
    )
    typed = st.text_input("Their name, to go on", autocomplete="off")
    if st.button(":red[Erase for good]", icon=":material/delete:", disabled=typed != user.name):
        with blocks.show_errors():
            st.success(blocks.escape_markdown(services.erasure.erase(actor, user.id).backup_note))


@st.dialog("Disable this account?")
def _disable_dialog(services: Services, actor: Actor, user: User) -> None:
    st.markdown(
        f"**{blocks.escape_markdown(user.name)}** is signed out at once in every tab and can't sign in. "
        "Their calls and figures stay. You can enable the account again."
    )
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Keep account"):
            st.rerun()
        if st.button(":red[Disable account]", icon=":material/block:"):
            try:
                services.users.set_active(actor, user.id, False)
            except LLMManagerError as error:
                blocks.show_error(error)
                return
            st.rerun()


def make_link(token: str) -> str:
    """The address of a link that lets somebody in, at this installation."""
    address = st.context.url or ""
    origin = "/".join(address.split("/", 3)[:3]) if "://" in address else ""
    return f"{origin}/link?token={token}"


def show_roles() -> None:
    """Twelve permissions by five roles."""
    rows = [
        {"Permission": permission.value}
        | {role.value: "✓" if permission in ROLE_PERMISSIONS[role] else "" for role in Role}
        for permission in Permission
    ]
    st.table(rows, border="horizontal", hide_index=True)
    st.caption("The checks stand in the library, so pages, commands and programs are refused alike.")

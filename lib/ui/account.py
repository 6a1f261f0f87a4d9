"""The account menu at the foot of the sidebar: who is signed in, preferences, password, sign out."""

import streamlit as st

from lib.access.permissions import Actor
from lib.errors import LLMManagerError
from lib.services import Services
from lib.ui import blocks, session, session_keys


def draw_menu(services: Services, actor: Actor) -> None:
    """Draw the menu; its dialogs open over the page."""
    with st.sidebar:
        choose_team(services, actor)
        st.space("stretch")
        choice = st.menu_button(
            actor.name,
            ["Preferences", "Change password", "Sign out"],
            icon=":material/account_circle:",
            type="tertiary",
            help=f"Signed in as {blocks.escape_markdown(actor.name)}, {actor.role.value}",
            key="account",
        )
    if choice == "Preferences":
        from lib.ui.preferences import show_preferences_dialog

        show_preferences_dialog(services, actor)
    elif choice == "Change password":
        _draw_password_dialog(services, actor)
    elif choice == "Sign out":
        session.sign_out()


def choose_team(services: Services, actor: Actor) -> None:
    """Draw the choice of the team that the person acts in, where they have several."""
    names = {team.id: team.name for team in services.teams.list(actor)}
    if len(names) < 2:
        return
    key = "acting-team"
    if st.session_state.get(session_keys.ACTING_TEAM_KNOWN) != actor.team_id or st.session_state.get(key) not in names:
        st.session_state[session_keys.ACTING_TEAM_KNOWN] = actor.team_id  # perhaps chosen in another tab
        st.session_state[key] = actor.team_id if actor.team_id in names else next(iter(names))
    team_id = st.selectbox(
        "Team", list(names), format_func=names.__getitem__, key=key, help="What you do is this team's"
    )
    if team_id is not None and team_id != actor.team_id:
        services.teams.choose(actor, team_id)
        st.rerun()


@st.dialog("Change your password")
def _draw_password_dialog(services: Services, actor: Actor) -> None:
    with st.form("password", border=False):
        old = st.text_input("Current password", type="password", autocomplete="current-password")
        new = st.text_input("New password, 12 characters or more", type="password", autocomplete="new-password")
        again = st.text_input("New password again", type="password", autocomplete="new-password")
        st.caption("You will be signed out everywhere and sign in again with the new password.")
        sent = st.form_submit_button("Change password", type="primary")
    if not sent:
        return
    if new != again:
        st.error("Type the same new password twice.", title="The two passwords differ")
        return
    try:
        services.users.change_own_password(actor, old, new)
    except LLMManagerError as error:
        blocks.show_error(error)
        return
    session.redirect_to_login()

"""The main script of every page: the session, the navigation, the account menu; then the page itself.

It lies away from `pages/` so that Streamlit never runs a page's file by itself; and alone, for Streamlit puts its
folder before the standard library: beside it, `lib/ui/statistics/figure_cards.py` would answer to `import statistics`.
"""

from functools import partial
from pathlib import Path

import streamlit as st

from lib.access.permissions import Actor, Permission
from lib.errors import InstallationError
from lib.ui import account, blocks, forbidden, session
from lib.ui.approvals import inbox_title

_UI = Path(__file__).parent.parent
_PAGES = _UI.parent.parent / "pages"
_P = Permission
# group → (file, title, icon, permission); None: for who administers a team
_NAVIGATION: dict[str, list[tuple[str, str, str, Permission | None]]] = {
    "Work": [
        ("playground", "Playground", "play_circle", _P.TEST_CONFIGS),
        ("conversations", "Conversations", "forum", _P.VIEW_CONVERSATIONS),
        ("experiments", "Experiments", "science", _P.TEST_CONFIGS),
        ("workflows", "Workflows", "account_tree", _P.TEST_CONFIGS),
        ("knowledge", "Knowledge base", "menu_book", _P.TEST_CONFIGS),
        ("approvals", "Approvals", "fact_check", _P.TEST_CONFIGS),
    ],
    "Insight": [
        ("dashboard", "Dashboard", "space_dashboard", _P.VIEW_STATS),
        ("statistics", "Statistics", "query_stats", _P.VIEW_STATS),
        ("activity", "Activity", "receipt_long", _P.TEST_CONFIGS),
    ],
    "Setup": [
        ("configurations", "Configurations", "tune", _P.VIEW_CONFIGS),
        ("prompts", "Prompts", "edit_note", _P.VIEW_CONFIGS),
        ("tools", "Tools", "build", _P.VIEW_CONFIGS),
        ("overrides", "Overrides", "layers", _P.VIEW_CONFIGS),
        ("providers", "Providers", "dns", _P.VIEW_CONFIGS),
        ("servers", "MCP servers", "hub", _P.MANAGE_TOOLS),
        ("prices", "Prices", "sell", _P.VIEW_CONFIGS),
        ("cache", "Cache", "cached", _P.VIEW_STATS),
        ("budgets", "Budgets", "account_balance_wallet", _P.VIEW_STATS),
        ("keys", "API keys", "vpn_key", _P.TEST_CONFIGS),
        ("connect", "Connect your app", "cable", _P.TEST_CONFIGS),
        ("access", "Access", "group", None),
        ("settings", "Settings", "settings", _P.MANAGE_ENCRYPTION_KEYS),
    ],
}
# A white label on the accent is hard to read in the dark theme, and no theme option changes it.
_PRIMARY_LABEL = (
    "<style>[data-testid='stBaseButton-primary'],[data-testid='stBaseButton-primaryFormSubmit']"
    "{color:oklch(from currentcolor calc((0.5 - l)*100) 0 0)}</style>"
)


def build_navigation(actor: Actor) -> dict[str, list[st.Page]]:
    """Every page by group: those the actor may open, registered by name for links, and hidden ones that say why not."""
    groups: dict[str, list[st.Page]] = {}
    by_name: dict[str, st.Page] = {}
    for group, entries in _NAVIGATION.items():
        for name, title, icon, permission in entries:
            if not (actor.rules_team if permission is None else actor.can(permission)):
                groups.setdefault(group, []).append(
                    st.Page(
                        partial(forbidden.draw_page, actor, title, permission),
                        title=title,
                        url_path=name,
                        visibility="hidden",
                    )
                )
                continue
            page = st.Page(
                _PAGES / f"{name}.py",
                title=inbox_title.add_count(session.ensure_services(), actor, title) if name == "approvals" else title,
                icon=f":material/{icon}:",
                url_path=name,
                default=name == "dashboard",
            )
            groups.setdefault(group, []).append(page)
            by_name[name] = page
    session.register(by_name)
    return groups


st.set_page_config(
    page_title="LLM Manager", page_icon=str(_UI / "assets" / "mark.svg"), layout="wide", initial_sidebar_state=228
)
st.html(_PRIMARY_LABEL)
try:
    current = session.require_actor()
    selected_page = st.navigation(build_navigation(current), expanded=True)
    st.logo(str(_UI / "assets" / "logo.svg"), icon_image=str(_UI / "assets" / "mark.svg"))
    account.draw_menu(session.ensure_services(), current)
    selected_page.run()
except InstallationError as error:  # a database that is away, a full disk: a sentence, and no trace
    blocks.show_error(error)

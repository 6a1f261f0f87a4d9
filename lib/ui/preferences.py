"""The preferences dialog: the zone in which one reads dates, and what the playground opens with."""

from zoneinfo import available_timezones

import streamlit as st

from lib.access.permissions import Actor, Permission
from lib.access.preferences import PLAYGROUND_CONFIGURATION, REPORT_ZONE
from lib.errors import LLMManagerError
from lib.services import Services
from lib.ui import blocks


@st.dialog("Preferences")
def show_preferences_dialog(services: Services, actor: Actor) -> None:
    """Show and save the actor's own preferences."""
    zone = services.preferences.report_zone(actor).key
    slugs = _list_configurations(services, actor)
    preferred_slug = services.preferences.get(actor, PLAYGROUND_CONFIGURATION, None)
    with st.form("preferences", border=False):
        names = list_zone_names(zone)
        new_zone = st.selectbox(
            "Report time zone",
            names,
            index=names.index(zone),
            help="Dates and days on every page and in every chart are those of this zone. Type to search.",
        )
        configuration = st.selectbox(
            "The playground opens with",
            slugs,
            index=slugs.index(preferred_slug) if preferred_slug in slugs else None,
            placeholder="The default configuration",
            disabled=not slugs,
            help="The playground also remembers the configuration that you used last.",
        )
        sent = st.form_submit_button("Save preferences")
    if not sent:
        return
    try:
        services.preferences.set(actor, REPORT_ZONE, new_zone)
        services.preferences.set(actor, PLAYGROUND_CONFIGURATION, configuration)
    except LLMManagerError as error:
        blocks.show_error(error)
        return
    st.rerun()


def list_zone_names(current: str) -> list[str]:
    """Names people look for, UTC first, then by continent; the current one is always there."""
    zones = {name for name in available_timezones() if "/" in name and not name.startswith(("Etc/", "SystemV/"))}
    other_zones = (zones | {current}) - {"UTC"}
    return ["UTC", *sorted(other_zones)]


def _list_configurations(services: Services, actor: Actor) -> list[str]:
    if not actor.can(Permission.VIEW_CONFIGS):
        return []
    return [c.slug for c in services.configurations.list(actor) if c.is_active]

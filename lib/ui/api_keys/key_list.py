"""The table of keys, and the opened one as a half page beside it."""

from collections.abc import Sequence
from functools import partial
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.api_key import ApiKey
from lib.access.permissions import Actor
from lib.services import Services
from lib.ui import blocks, grammar
from lib.ui import names as ids
from lib.ui.api_keys import key_table


def show(services: Services, actor: Actor, keys: Sequence[ApiKey], zone: ZoneInfo) -> None:
    """Draw the keys; the address names the opened one."""
    use = key_table.load_recent_use(services, actor)
    opened = next((key for key in keys if key.id == grammar.get_opened()), None)

    def draw_rows() -> None:
        teams = ids.name_teams(services, actor)
        everybody = actor.rules_team
        key_table.show_table(keys, use, zone, everybody=everybody, compact=blocks.is_compact(), teams=teams)
        st.caption(f"{len(keys)} {'key' if len(keys) == 1 else 'keys'} · times in {zone.key}")

    detail = None
    if opened is not None:
        panel = partial(key_table.show_panel, services, actor, opened, zone)
        detail = grammar.Detail(grammar.escape_markdown(opened.name), panel)
    grammar.show_beside(draw_rows, detail)

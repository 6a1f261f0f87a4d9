"""What tokens cost: the price list, the models without a price, and past calls priced again."""

import streamlit as st

from lib.access.permissions import Permission
from lib.ui import blocks, session
from lib.ui.prices import price_table, repricing_dialog

actor = session.require(Permission.VIEW_CONFIGS)
services = session.ensure_services()
compact = blocks.is_compact()
may_change = actor.can(Permission.MANAGE_PROVIDERS)

with blocks.show_header("Prices"):
    if may_change and st.button("" if compact else "Import", icon=":material/upload:", help="Take a price list in"):
        st.dialog("Import prices", width="large")(price_table.import_dialog)(services, actor)
    price_table.show_downloads(services, actor, compact=compact)
    if st.button("Set price", icon=":material/add:", type="primary", disabled=not may_change):
        st.dialog("Set a price")(price_table.edit_price)(services, actor, None)

st.caption(
    "Dollars per million tokens. A model without a price costs “—”, never $0; calls keep the price of their day."
)

if actor.can(Permission.VIEW_STATS):
    price_table.show_unpriced(services, actor)
price_table.show_prices(services, actor, compact=compact)
if may_change:
    repricing_dialog.show_section(services, actor)

"""What tokens cost: the price list, the models without a price, and past calls priced again."""

import streamlit as st

from lib.access.permissions import Permission
from lib.ui import blocks, prices, repricing, session

actor = session.require(Permission.VIEW_CONFIGS)
services = session.services()
compact = blocks.compact()
may_change = actor.can(Permission.MANAGE_PROVIDERS)

with blocks.header("Prices"):
    if may_change and st.button("" if compact else "Import", icon=":material/upload:", help="Take a price list in"):
        st.dialog("Import prices", width="large")(prices.import_dialog)(services, actor)
    prices.download(services, actor, compact=compact)
    if st.button("Set price", icon=":material/add:", type="primary", disabled=not may_change):
        st.dialog("Set a price")(prices.editor)(services, actor, None)

st.caption(
    "Dollars per million tokens. A model without a price costs “—”, never $0; calls keep the price of their day."
)

if actor.can(Permission.VIEW_STATS):
    prices.unpriced(services, actor)
prices.listing(services, actor, compact=compact)
if may_change:
    repricing.section(services, actor)

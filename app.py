"""Process entry: `streamlit run app.py` serves the pages and the HTTP routes from one process on one port.

Streamlit reads this file's syntax tree to find `app = st.App(...)`, so it has to stand here literally. The main script
lies away from `pages/`: beside it, a fresh process would run a page's file without the main script and its login.
"""

import streamlit as st

from lib.gateway.serve.lifespan import lifespan
from lib.gateway.serve.routes import build_middleware, routes
from lib.ui.farewell import build_farewell

app = st.App("lib/ui/script/main.py", routes=routes, middleware=build_middleware(build_farewell), lifespan=lifespan)

"""The mark above the message that a search led to; it brings itself into sight, once for each time a hit is opened."""

import streamlit as st

_HTML = """
<div class="mark"><svg viewBox="0 0 24 24" aria-hidden="true"><path d="M10 4a6 6 0 0 1 4.7 9.7l5 5-1.4 1.4-5-5A6 6 0 1 1
10 4zm0 2a4 4 0 1 0 0 8 4 4 0 0 0 0-8z"/></svg>Found here</div>
"""
_CSS = """
.mark { display: inline-flex; align-items: center; gap: 0.35rem; padding: 0.1rem 0.5rem; border-radius: 6px;
  font-size: 0.875rem; color: var(--st-yellow-text-color); background: var(--st-yellow-background-color); }
svg { width: 16px; height: 16px; fill: currentColor; }
"""
_SCRIPT = """
let shown = null;
export default function ({ parentElement, data }) {
  if (shown === data.opened) return;
  shown = data.opened;
  const mark = parentElement.querySelector(".mark");
  requestAnimationFrame(() => mark.scrollIntoView({ block: "start" }));
}
"""


def draw_found_mark(opened: int) -> None:
    """Draw the mark; `opened` is how many hits were opened so far."""
    mark = st.components.v2.component("found_mark", html=_HTML, css=_CSS, js=_SCRIPT)
    mark(key="found-mark", data={"opened": opened}, width="content", height="content")

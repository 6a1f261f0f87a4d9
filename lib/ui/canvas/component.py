"""Mounts the drawing: React Flow, built into one file that our own address serves (`/canvas/canvas.<digest>.js`).

What it returns is the graph as it was last drawn, with the `base` version it was drawn on, and the selected node.
`load_ahead` lets a page from which drawings and charts are opened load what draws them while nobody waits for it.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

_BUILT = Path(__file__).with_name("built")
# Chunks of Streamlit's own that draw a chart: three quarters of a megabyte of script that it loads at the first one.
_CHART_CHUNKS = ("ArrowVegaLiteChart.*.js", "embed.*.js", "vega-interpreter.*.js", "recordbatch.*.js")
_HTML = "<div id='workflow-canvas' style='height:{height}px'></div>\n"


@cache
def find_built(kind: str) -> Path:
    """The one built file of a kind, `js` or `css`."""
    return next(_BUILT.glob(f"canvas.*.{kind}"))


def _make_loader() -> str:
    """The few lines that run inline: they come from a blob, so an address of ours has to be whole."""
    return (
        "// the drawing of workflows\n"
        "let made;\n"
        "export default async function (component) {\n"
        f"  made ||= await import(location.origin + '/canvas/{find_built('js').name}');\n"
        "  return made.default(component);\n"
        "}\n"
    )


@cache
def _make_ahead_loader() -> str:
    """The lines that load the scripts once the browser is idle; what a version of Streamlit has not is left out."""
    chunks = Path(st.__file__).parent / "static" / "static" / "js"
    names = [f"/static/js/{chunk.name}" for pattern in _CHART_CHUNKS for chunk in chunks.glob(pattern)]
    paths = json.dumps([f"/canvas/{find_built('js').name}", *names])
    return (
        "// loads ahead what a drawing and a chart need\n"
        f"const load = () => {paths}.forEach(path => import(location.origin + path).catch(() => {{}}));\n"
        "export default function () { (window.requestIdleCallback || setTimeout)(load); }\n"
    )


def load_ahead() -> None:
    """Let the browser load what draws workflows and charts as soon as it has nothing else to do."""
    st.components.v2.component("drawing_ahead", js=_make_ahead_loader())(key="drawing-ahead")


def draw_canvas(data: Mapping[str, Any], key: str, height: int) -> Mapping[str, Any]:
    """Draw a graph; returns {"graph": … or None, "selected": … or None}."""
    style = find_built("css").read_text(encoding="utf-8") + "\n"
    html = _HTML.format(height=height - 10)
    component = st.components.v2.component(f"workflow_canvas_{height}", html=html, css=style, js=_make_loader())
    result = component(
        key=key, data=dict(data), height=height, on_graph_change=lambda: None, on_selected_change=lambda: None
    )
    return {"graph": getattr(result, "graph", None), "selected": getattr(result, "selected", None)}

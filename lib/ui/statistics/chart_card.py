"""Draws a chart of `lib.statistics.charts.figure_charts` on a page and says which of its marks was clicked.

Altair takes longer to write a chart's specification than the ledger's copy takes to answer every question of a page, so
finished ones are kept, each under a fingerprint of all it was drawn from.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import streamlit as st

from lib.statistics.charts import figure_charts

if TYPE_CHECKING:
    import pandas as pd

_MOST_SPECIFICATIONS = 300


def draw(
    chart: Callable[..., Any], frame: "pd.DataFrame", *options: Any, key: str, alt: str, **keywords: Any
) -> dict[str, str] | None:
    """Draw `chart(frame, *options, **keywords)`; returns the fields of the mark that was clicked, once, or None."""
    specification = _write_specification(
        _compute_fingerprint(chart, frame, options, keywords), chart, frame, options, keywords
    )
    state = st.vega_lite_chart(specification, on_select="rerun", selection_mode=figure_charts.MARK, key=key, alt=alt)
    picked = list(state.selection.get(figure_charts.MARK) or [])
    return {name: value for name, value in picked[0].items() if isinstance(value, str)} if picked else None


def show(chart: Callable[..., Any], frame: "pd.DataFrame", *options: Any, key: str, alt: str, **keywords: Any) -> None:
    """Draw `chart(frame, *options, **keywords)` without selection: a click on a mark does nothing."""
    specification = _write_specification(
        _compute_fingerprint(chart, frame, options, keywords), chart, frame, options, keywords
    )
    st.vega_lite_chart(specification, key=key, alt=alt)


@st.cache_data(max_entries=_MOST_SPECIFICATIONS, show_spinner=False)
def _write_specification(
    fingerprint: str,  # alone it names what is kept
    _chart: Callable[..., Any],
    _frame: "pd.DataFrame",
    _options: tuple[Any, ...],
    _keywords: dict[str, Any],
) -> dict[str, Any]:
    specification: dict[str, Any] = _chart(_frame, *_options, **_keywords).to_dict(validate=False)  # the tests validate
    return specification


def _compute_fingerprint(chart: Callable[..., Any], frame: "pd.DataFrame", *options: Any) -> str:
    import pandas as pd

    digest = blake2b(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes(), digest_size=16)
    digest.update(repr((chart.__qualname__, list(frame.columns), options)).encode())
    return digest.hexdigest()

"""A table as files, noted in the audit log when they are made."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from lib.ui import blocks
from lib.ui.statistics.models_table import write_file

if TYPE_CHECKING:
    import pandas as pd


def show_row(table: "pd.DataFrame", file_name: str, note: Callable[..., None], *, key: str) -> None:
    """How many rows there are, and buttons for CSV and JSON of exactly them; `note(form, rows=…)` is told."""
    from lib.statistics.export import WRITERS

    with blocks.start_row():
        st.caption(f"{len(table)} {'row' if len(table) == 1 else 'rows'}", width="stretch")
        for kind, label in (("csv", "CSV"), ("json", "JSON")):
            st.download_button(
                label,
                data=partial(write_file, table, kind, note),
                file_name=f"{file_name}.{kind}",
                mime=WRITERS[kind][1],
                type="tertiary",
                icon=":material/download:",
                on_click="ignore",
                key=f"{key}-{kind}",
            )

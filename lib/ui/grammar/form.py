"""Errors of a form at their fields: a place below each field, and one at the form's end for everything else."""

from typing import Any

import streamlit as st

from lib.errors import LLMManagerError
from lib.ui import blocks


class FieldErrors:
    """Make one at a form's start; call `below(name)` after each field, and `at_end()` before the button."""

    def __init__(self) -> None:
        self._places: dict[str, Any] = {}
        self._end: Any = None

    def below(self, field: str, column: Any = st) -> None:
        """Keep a place for the error of the field that was just drawn."""
        self._places[field] = column.empty()

    def at_end(self) -> None:
        """Keep a place for errors that name no field of this form."""
        self._end = st.container()

    def show(self, error: LLMManagerError) -> None:
        """Draw an error at the field it names, else at the form's end."""
        field = getattr(error, "field", None)
        if field is not None and field in self._places:
            self._places[field].markdown(f":red[{blocks.escape_markdown(str(error))}]")
            return
        with self._end or st.container():
            blocks.show_error(error)

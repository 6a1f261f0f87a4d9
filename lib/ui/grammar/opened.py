"""Which row of a page is open: the address says it, and nothing else does."""

import streamlit as st


def get_opened(parameter: str = "id") -> str | None:
    """Get the id of the row that the address opens; None when none is."""
    return st.query_params.get(parameter) or None


def open_row(row_id: str, parameter: str = "id") -> None:
    """Open a row: write its id into the address."""
    st.query_params[parameter] = row_id


def close(parameter: str = "id") -> None:
    """Close what is open. The table is made anew, for its own mark of the row can't be taken away."""
    st.query_params.pop(parameter, None)
    st.session_state[_name_closings(parameter)] = count_closings(parameter) + 1


def count_closings(parameter: str) -> int:
    """Count how often something was closed here."""
    return int(st.session_state.get(_name_closings(parameter), 0))


def _name_closings(parameter: str) -> str:
    return f"closed-{parameter}"

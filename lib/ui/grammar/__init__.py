"""The grammar of pages: the parts that every page speaks in, so that what is learnt on one page holds on all.

A page is a header with one control, a filter row, a table whose rows open by a click in any cell or by the keyboard,
the opened one as a half page beside it with an address of its own, an empty state with its action, forms whose errors
stand at their fields, and a question before anything is lost. New pages use these parts and nothing else.
"""

from lib.clock import shorten_id
from lib.money import format_cost, format_sum
from lib.ui.blocks import (
    escape_markdown,
    show_empty_state,
    show_errors,
    show_facts,
    show_header,
    show_progress,
    show_tabs,
)
from lib.ui.format import format_count, format_duration, format_minute, format_moment, format_share
from lib.ui.grammar.confirm import confirm
from lib.ui.grammar.detail import Detail, show_beside, show_detail_head
from lib.ui.grammar.filters import SEARCH, clear_filters, filter_row
from lib.ui.grammar.form import FieldErrors
from lib.ui.grammar.opened import close, get_opened, open_row
from lib.ui.grammar.rows_beside import ThingRow, show_rows_beside
from lib.ui.grammar.table import ROW_HEIGHT, TABLE_HEIGHT, choose_row, make_state_column, open_table

UNKNOWN = "—"

__all__ = [
    "ROW_HEIGHT",
    "SEARCH",
    "TABLE_HEIGHT",
    "UNKNOWN",
    "Detail",
    "FieldErrors",
    "ThingRow",
    "choose_row",
    "clear_filters",
    "close",
    "confirm",
    "escape_markdown",
    "filter_row",
    "format_cost",
    "format_count",
    "format_duration",
    "format_minute",
    "format_moment",
    "format_share",
    "format_sum",
    "get_opened",
    "make_state_column",
    "open_row",
    "open_table",
    "shorten_id",
    "show_beside",
    "show_detail_head",
    "show_empty_state",
    "show_errors",
    "show_facts",
    "show_header",
    "show_progress",
    "show_rows_beside",
    "show_tabs",
]

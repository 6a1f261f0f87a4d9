"""The grammar of pages: the parts that every page speaks in, so that what is learnt on one page holds on all.

A page is a header with one control, a filter row, a table whose rows open by a click in any cell or by the keyboard,
the opened one as a half page beside it with an address of its own, an empty state with its action, forms whose errors
stand at their fields, and a question before anything is lost. New pages use these parts and nothing else.
"""

from lib.clock import short_id
from lib.money import format_cost, format_sum
from lib.ui.blocks import empty_state, errors_shown, facts, header, plain, progress, tabs
from lib.ui.format import count, duration, minute, moment, share
from lib.ui.grammar.confirm import confirm
from lib.ui.grammar.detail import Detail, detail_head, show_beside
from lib.ui.grammar.filters import SEARCH, clear_filters, filter_row
from lib.ui.grammar.form import FieldErrors
from lib.ui.grammar.opened import close, get_opened, open_row
from lib.ui.grammar.table import ROW_HEIGHT, TABLE_HEIGHT, choose_row, open_table

UNKNOWN = "—"

__all__ = [
    "ROW_HEIGHT",
    "SEARCH",
    "TABLE_HEIGHT",
    "UNKNOWN",
    "Detail",
    "FieldErrors",
    "choose_row",
    "clear_filters",
    "close",
    "confirm",
    "count",
    "detail_head",
    "duration",
    "empty_state",
    "errors_shown",
    "facts",
    "filter_row",
    "format_cost",
    "format_sum",
    "get_opened",
    "header",
    "minute",
    "moment",
    "open_row",
    "open_table",
    "plain",
    "progress",
    "share",
    "short_id",
    "show_beside",
    "tabs",
]

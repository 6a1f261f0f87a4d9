"""The pieces every page is made of, so that the same thing looks the same: header, error, empty state, facts."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import streamlit as st

from lib.errors import LLMManagerError
from lib.patterns import compile_pattern

_FENCE = compile_pattern(r" {0,3}(`{3,}|~{3,})")
_IMAGE = compile_pattern(r"!\[")
_DOLLAR_AMOUNT = compile_pattern(r"(?<!\\)\$(?=\d)")
_WORD = compile_pattern(r"\w+")
_MARKDOWN_SIGNS = frozenset("\\`*_{}[]()<>#+-!|~$:@")


def is_compact() -> bool:
    """Whether a phone asks (layout only, never access): `Sec-CH-UA-Mobile` or `Mobi` in the user agent."""
    headers = st.context.headers
    return headers.get("Sec-Ch-Ua-Mobile") == "?1" or "Mobi" in (headers.get("User-Agent") or "")


@contextmanager
def show_header(title: str) -> Iterator[None]:
    """The page's title; what is drawn inside the `with` stands at its right (always at least one control)."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.title(title, anchor=False, width="stretch")
        yield


def show_tabs(labels: Sequence[str], parameter: str = "tab") -> tuple[str, Any]:
    """Tabs of which the open one stands in the address as `?tab=what-if`: its label, and where it is drawn.

    The address is the only state. The widget is told what it says and keeps its identity: a default that followed the
    clicks would make a new widget of it, and each second click would be lost.
    """
    key = f"tabs-{parameter}"
    by_name = {label.lower(): label for label in labels}
    opened = by_name.get(st.query_params.get(parameter, "").lower(), labels[0])
    if st.session_state.get(key) != opened:
        st.session_state[key] = opened
    places = st.tabs(labels, key=key, on_change=_write_tab, args=(key, parameter, labels[0]))
    return opened, places[labels.index(opened)]


def _write_tab(key: str, parameter: str, first: str) -> None:
    opened = str(st.session_state[key])
    if opened == first:
        st.query_params.pop(parameter, None)
    else:
        st.query_params[parameter] = opened.lower()


def start_row(**options: Any) -> Any:
    """A horizontal container in the product's spacing: filter bars, scope lines, footers."""
    return st.container(horizontal=True, **({"vertical_alignment": "center", "gap": "small"} | options))


def leave_room_for_toolbar() -> None:
    """Leave a band above a table where the screen is touched: the table's toolbar always lies on what stands there."""
    if is_compact():
        st.space("medium")


def escape_markdown(text: str) -> str:
    """`text` with Markdown's signs escaped: for data where Streamlit reads Markdown (labels, captions, errors)."""
    joined = text.replace("\n", " ").replace("://", "://\u2060")  # a word joiner: addresses don't become links
    return "".join("\\" + sign if sign in _MARKDOWN_SIGNS else sign for sign in joined)


def mark_words(text: str, words: str) -> str:
    """`text` escaped for Markdown, with the words that were searched for (or begin so) on a yellow ground."""
    searched = [word.lower() for word in _WORD.findall(words)]
    pieces: list[str] = []
    end = 0
    for word in _WORD.finditer(text):
        pieces.append(escape_markdown(text[end : word.start()]))
        is_searched = any(word[0].lower().startswith(term) for term in searched)
        pieces.append(f":yellow-background[{escape_markdown(word[0])}]" if is_searched else escape_markdown(word[0]))
        end = word.end()
    return "".join([*pieces, escape_markdown(text[end:])])


def show_error(error: LLMManagerError) -> None:
    """Draw a product error: what happened as the title, why and what to do below it."""
    st.error(escape_markdown(error.body) or "Try again.", title=escape_markdown(error.title), icon=":material/error:")


@contextmanager
def show_errors() -> Iterator[None]:
    """Draw a product error in place instead of a trace; anything else is a bug and passes."""
    try:
        yield
    except LLMManagerError as error:
        show_error(error)


@contextmanager
def show_empty_state(icon: str, fact: str, sentence: str, *, wide: bool = False) -> Iterator[None]:
    """A centred card: a grey icon, a fact, a sentence on what will be here; actions are drawn inside the `with`."""
    _, middle, _ = (None, st.container(), None) if wide or is_compact() else st.columns([1, 1.7, 1])
    with middle.container(border=True, horizontal_alignment="center"):
        st.space("small")
        st.markdown(f"# :gray[:material/{icon}:]", text_alignment="center")
        st.subheader(fact, anchor=False, text_alignment="center", width="content")
        st.markdown(sentence, text_alignment="center")
        with st.container(horizontal=True, horizontal_alignment="center", gap="small"):
            yield
        st.space("small")


def show_facts(pairs: Sequence[tuple[str, str]], columns: int = 2) -> None:
    """Label over value in a grid; values are Markdown, so escape data with `plain`."""
    with st.grid(columns, min_column_width=74 if columns > 3 else 120, gap="xsmall"):
        for label, value in pairs:
            with st.container(gap=None):
                st.caption(label)
                st.markdown(f"**{value}**")


class Fresh:
    """Keys of a form's fields: what was typed stays when it is refused, and goes with `clear` when it was taken."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = f"{name}-count"

    def __call__(self, field: str) -> str:
        """The key of a field."""
        return f"{self._name}-{field}-{st.session_state.get(self._count, 0)}"

    def clear(self) -> None:
        """Empty the fields from the next run on."""
        st.session_state[self._count] = st.session_state.get(self._count, 0) + 1


def show_progress(unit: str) -> Callable[[int, int], None]:
    """A bar below what was asked for; call it with how much is done, of how much."""
    bar = st.progress(0.0, unit.capitalize())

    def note(done: int, of: int) -> None:
        bar.progress(done / max(of, 1), f"{done:,} of {of:,} {unit}")

    return note


def redraw_page() -> None:
    """In a fragment that redraws itself: what it watched has ended, draw the whole page.

    While the page itself is being drawn, the fragment's next turn does it: starting over there would lose what was
    just typed or pressed, since only the first start tells of it.
    """
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    if (context := get_script_run_ctx()) is not None and context.fragment_ids_this_run:
        st.rerun()


def show_failure(message: str) -> None:
    """A stored error message, whose first sentence says what happened."""
    title, _, explanation = message.partition(". ")
    st.error(
        escape_markdown(explanation) or "There is no further detail.",
        title=escape_markdown(title.rstrip(".")),
        icon=":material/error:",
    )


def sanitise_markdown(text: str) -> str:
    """Model output as Markdown that loads nothing: images become links, dollar amounts are not read as formulas.

    A line ends where the model ended it: poems, addresses and logs stay in their lines.
    """
    text = _IMAGE.sub("[", text)
    return _keep_line_ends(_DOLLAR_AMOUNT.sub(r"\\$", text))


def _keep_line_ends(text: str) -> str:
    """Two blanks at the end of each line that another follows, Markdown's sign for a break; code stays as it is."""
    lines = text.split("\n")
    fence = ""
    for number, line in enumerate(lines[:-1]):
        mark = _FENCE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence) and not line.strip().strip(fence[0]):
            fence = ""
        elif not fence and line.strip() and lines[number + 1].strip():
            lines[number] = line.rstrip() + "  "
    return "\n".join(lines)

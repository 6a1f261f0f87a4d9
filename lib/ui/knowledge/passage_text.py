"""A passage as people read it: headings bold, tables in lines, and the words of the question on a yellow ground.

A passage is text from outside: every sign that Markdown reads is escaped, so nothing in it loads, links or draws.
"""

from lib.knowledge.frequent_words import FREQUENT_WORDS
from lib.patterns import compile_pattern
from lib.ui import blocks

_WORD = compile_pattern(r"\w+")
_RULE = compile_pattern(r"[|\s:=-]+")  # a line of signs: a table's second line, the line under a heading
_FREQUENT = frozenset(word for words in FREQUENT_WORDS.values() for word in words.split())


def choose_marked_words(question: str) -> str:
    """The words of a question that say what is looked for; all of them where each is a frequent one."""
    words = _WORD.findall(question)
    telling = [word for word in words if word.lower() not in _FREQUENT and (len(word) > 2 or not word.isascii())]
    return " ".join(telling or words)


def format_passage(text: str, question: str) -> str:
    """Format a passage as Markdown, line by line, with the question's words marked."""
    marked = choose_marked_words(question)
    lines = (_format_line(line, marked) for line in text.splitlines())
    return "  \n".join(line for line in lines if line is not None)


def format_beginning(text: str, question: str, length: int = 240) -> str:
    """Format the beginning of a passage on one line, without the signs of its form."""
    plain = " ".join(" ".join(_strip_form(line)[0] for line in text.splitlines() if not _is_rule(line)).split())
    cut = plain if len(plain) <= length else plain[:length].rpartition(" ")[0] + " …"
    return blocks.mark_words(cut, choose_marked_words(question))


def _format_line(line: str, marked: str) -> str | None:
    if _is_rule(line):
        return None if line.strip() else ""
    plain, is_heading = _strip_form(line)
    words = blocks.mark_words(plain, marked)
    return f"**{words}**" if is_heading else words


def _strip_form(line: str) -> tuple[str, bool]:
    """A line without a heading's or a table's signs, and whether it is a heading."""
    line = line.strip()
    if line.startswith("#"):
        return line.lstrip("#").strip(), True
    if line.startswith("|"):
        return " · ".join(cell.strip() for cell in line.strip("|").split("|") if cell.strip()), False
    return line, False


def _is_rule(line: str) -> bool:
    return not line.strip() or _RULE.fullmatch(line) is not None

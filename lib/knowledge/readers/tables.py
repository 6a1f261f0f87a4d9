"""A table in a text file (CSV, TSV and their kin) as lines of `head: value`.

Quotes are RFC 4180's throughout: within quotes a doubled quote is one. The sign between cells is the one that cuts the
first rows into the most even ones; nothing else is concluded from them.
"""

import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterator

from lib.knowledge.readers.limits import MOST_TEXT, join_limited, yield_row_lines
from lib.patterns import compile_pattern

_SEPARATORS = ",;\t|"
_LOOKED_AT = 100  # rows
_NAMED = compile_pattern(r"sep=([,;\t|])\r?\n", re.IGNORECASE)


def read_table(text: str, name: str) -> str:
    """The rows as lines."""
    csv.field_size_limit(max(csv.field_size_limit(), MOST_TEXT))
    separator_line = _NAMED.match(text)
    if separator_line is not None:
        text = drop_separator_line(text)
        sign = separator_line[1]
    else:
        sign = _detect_separator(text, "\t" if name.lower().endswith(".tsv") else ",")
    return join_limited(f"{line}\n" for line in yield_row_lines(_parse_rows(text, sign)))


def drop_separator_line(text: str) -> str:
    """The table without the line in which Excel names the sign between cells."""
    return text[separator_line.end() :] if (separator_line := _NAMED.match(text)) is not None else text


def _parse_rows(text: str, sign: str) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(text, newline=""), delimiter=sign, doublequote=True, skipinitialspace=sign != "\t")


def _detect_separator(text: str, usual: str) -> str:
    """The sign by which most of the first rows have the same number of cells, and more than one."""
    best = usual
    most = 0.0
    for sign in dict.fromkeys(usual + _SEPARATORS):
        widths = Counter(len(row) for row in itertools.islice(_parse_rows(text, sign), _LOOKED_AT) if row)
        if not widths:
            continue
        width, often = widths.most_common(1)[0]
        evenness = often / widths.total() if width > 1 else 0.0
        if evenness > most:
            best = sign
            most = evenness
    return best

"""What a document may be at most, and why one is refused."""

import io
from collections.abc import Iterable, Iterator

MOST_TEXT = 20_000_000  # characters
TOO_LONG = f"It has more than {MOST_TEXT:,} characters. Split it."


class Refused(Exception):
    """Why a file has no text for us, in a sentence for the person who brought it."""


def join_limited(parts: Iterable[str]) -> str:
    """All of them, as long as they are no more than a document may have."""
    out = io.StringIO()
    size = 0
    for part in parts:
        size += out.write(part)
        if size > MOST_TEXT:
            raise Refused(TOO_LONG)
    return out.getvalue()


def yield_row_lines(rows: Iterable[list[str]]) -> Iterator[str]:
    """Lines of `head: value`, with the first row as the heads."""
    heads: list[str] | None = None
    for row in rows:
        cells = [" ".join(cell.split()) for cell in row]
        if heads is None:
            heads = cells
            yield " | ".join(cells)
            continue
        cells_with_heads = ((heads[n] if n < len(heads) else "", cell) for n, cell in enumerate(cells))
        yield " · ".join(f"{head}: {cell}" if head else cell for head, cell in cells_with_heads if cell)

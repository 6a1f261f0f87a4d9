"""Cutting a text into passages, each with its exact place: `text[start:end]` is the passage, character for character.

Sizes are characters (about four to a token of English). `fixed` cuts by length, at a word's end; `recursive` at the
largest break that fits: sections, paragraphs, lines, sentences, words; `heading` keeps each section whole where it
fits and cuts the others as `recursive`; `semantic` begins a new passage where the meaning turns: between sentences
whose vectors are less alike than is usual in the text, by a standard deviation. Consecutive passages of one section
overlap by up to `overlap`, at a sentence or word.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import mean, pstdev
from typing import Any

from lib.errors import InvalidInput

LEAST = 100
MOST = 8000
_HEADING = re.compile(r"^(#{1,6})[ \t]+(.{1,300}?)[ \t]*#*$", re.MULTILINE)
_BREAKS = (r"\n\s*\n", r"\n", r"(?<=[.!?。！？])\s+", r"\s+")
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n\s*\n")


class Strategy(StrEnum):
    """Where a text is cut."""

    RECURSIVE = "recursive"
    FIXED = "fixed"
    HEADING = "heading"
    SEMANTIC = "semantic"


@dataclass(frozen=True)
class Chunking:
    """How the documents of a collection are cut; `size` and `overlap` in characters."""

    strategy: Strategy = Strategy.RECURSIVE
    size: int = 1000
    overlap: int = 150

    def __post_init__(self) -> None:
        """One form, however it was written."""
        try:
            object.__setattr__(self, "strategy", Strategy(self.strategy))
        except ValueError as error:
            known = ", ".join(Strategy)
            raise InvalidInput(
                f"There is no strategy {self.strategy}.", "", f"Choose of {known}.", "chunking"
            ) from error
        self.checked()

    def checked(self) -> "Chunking":
        """Itself; InvalidInput when its sizes make no sense."""
        if not LEAST <= self.size <= MOST:
            raise InvalidInput(
                f"Passages of {self.size} characters won't do.", "", f"Choose {LEAST} to {MOST}.", "size"
            )
        if not 0 <= self.overlap <= self.size // 2:
            raise InvalidInput("The overlap is too large.", "", "Choose up to half of the size.", "overlap")
        return self


@dataclass(frozen=True)
class Piece:
    """A passage: where it stands, and under which heading."""

    start: int
    end: int
    heading: str = ""


Embed = Callable[[Sequence[str]], Any]  # texts → a matrix of vectors of length one


def cut(text: str, chunking: Chunking, embed: Embed | None = None) -> list[Piece]:
    """The passages of a text in order; `embed` is needed by `semantic` alone."""
    sections = list(_sections(text))
    if chunking.strategy is Strategy.FIXED:
        found = _fixed(text, 0, len(text), chunking)
        return [Piece(start, end, _heading_at(sections, start)) for start, end in found]
    pieces: list[Piece] = []
    for start, end, heading in sections if chunking.strategy is not Strategy.RECURSIVE else _joined(sections, chunking):
        if chunking.strategy is Strategy.SEMANTIC and embed is not None:
            spans = _semantic(text, start, end, chunking, embed)
        else:
            spans = _recursive(text, start, end, chunking)
        pieces += [Piece(one, last, heading or _heading_at(sections, one)) for one, last in spans]
    return pieces


def pages_of(piece: Piece, page_starts: Sequence[int] | None) -> tuple[int | None, int | None]:
    """The first and the last page (from 1) that a passage touches."""
    if not page_starts:
        return None, None
    return bisect_right(page_starts, piece.start), bisect_right(page_starts, max(piece.start, piece.end - 1))


def _sections(text: str) -> Iterator[tuple[int, int, str]]:
    """Stretches from one heading (as Markdown marks them) to the next."""
    marks = [(match.start(), match[2].strip()) for match in _HEADING.finditer(text)]
    if not marks or marks[0][0] > 0:
        marks.insert(0, (0, ""))
    for number, (start, heading) in enumerate(marks):
        yield start, marks[number + 1][0] if number + 1 < len(marks) else len(text), heading


def _joined(sections: list[tuple[int, int, str]], chunking: Chunking) -> list[tuple[int, int, str]]:
    """Neighbouring sections put together as long as they fit into one passage, under the first one's heading."""
    found: list[tuple[int, int, str]] = []
    for start, end, heading in sections:
        if found and end - found[-1][0] <= chunking.size:
            found[-1] = (found[-1][0], end, found[-1][2] or heading)
        else:
            found.append((start, end, heading))
    return found


def _heading_at(sections: Sequence[tuple[int, int, str]], place: int) -> str:
    return sections[bisect_right([start for start, _, _ in sections], place) - 1][2]


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _fixed(text: str, start: int, end: int, chunking: Chunking) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    while (start := _trimmed(text, start, end)[0]) < end:
        stop = min(start + chunking.size, end)
        if stop < end and (space := text.rfind(" ", start + chunking.size // 2, stop)) > 0:
            stop = space
        found.append(_trimmed(text, start, stop))
        if stop >= end:
            break
        start = _overlapped(text, start, stop, chunking.overlap)
    return found


def _recursive(text: str, start: int, end: int, chunking: Chunking) -> list[tuple[int, int]]:
    parts = list(_parts(text, *_trimmed(text, start, end), chunking.size, 0))
    return _packed(text, parts, chunking)


def _packed(text: str, parts: Sequence[tuple[int, int]], chunking: Chunking) -> list[tuple[int, int]]:
    """Consecutive parts put together up to the size; each passage begins with the overlap of the one before."""
    found: list[tuple[int, int]] = []
    for start, end in parts:
        if found and end - found[-1][0] <= chunking.size:
            found[-1] = (found[-1][0], end)
            continue
        if found and chunking.overlap:
            room = chunking.size - (end - start)
            start = min(
                start, max(_overlapped(text, *found[-1], min(chunking.overlap, max(room, 0))), found[-1][0] + 1)
            )
        found.append((start, end))
    trimmed = [_trimmed(text, start, end) for start, end in found]
    return [(start, end) for start, end in trimmed if start < end]


def _overlapped(text: str, start: int, stop: int, overlap: int) -> int:
    """Where the next passage begins: at a sentence or word within the last `overlap` characters of this one."""
    if overlap <= 0:
        return stop
    earliest = max(start + 1, stop - overlap)
    tail = text[earliest:stop]
    for pattern in (_SENTENCE, re.compile(r"\s+")):
        if (match := pattern.search(tail)) is not None and match.end() < len(tail):
            return earliest + match.end()
    return earliest if not tail.strip() or " " not in text[start:stop] else stop


def _parts(text: str, start: int, end: int, size: int, level: int) -> Iterator[tuple[int, int]]:
    """Stretches of at most `size`, cut at the largest breaks that are there."""
    if end - start <= size:
        if start < end:
            yield start, end
        return
    if level >= len(_BREAKS):  # no break at all: by length
        for place in range(start, end, size):
            yield place, min(place + size, end)
        return
    place = start
    for match in re.finditer(_BREAKS[level], text[start:end]):
        stop = start + match.end()
        if stop > place:
            yield from _parts(text, place, stop, size, level + 1)
            place = stop
    if place < end:
        yield from _parts(text, place, end, size, level + 1)


def _semantic(text: str, start: int, end: int, chunking: Chunking, embed: Embed) -> list[tuple[int, int]]:
    """Sentences together until the meaning turns or the size is reached."""
    sentences = list(_sentences(text, start, end, chunking.size))
    if len(sentences) < 3:
        return _packed(text, sentences, chunking)
    vectors = embed([text[one:last] for one, last in sentences])
    alike = [float(vectors[n] @ vectors[n + 1]) for n in range(len(sentences) - 1)]
    turn = mean(alike) - pstdev(alike)
    groups: list[list[tuple[int, int]]] = [[sentences[0]]]
    for sentence, near in zip(sentences[1:], alike, strict=True):
        if near < turn and groups[-1][-1][1] - groups[-1][0][0] >= LEAST:
            groups.append([])
        groups[-1].append(sentence)
    whole = Chunking(chunking.strategy, chunking.size, 0)
    return [span for group in groups for span in _packed(text, group, whole)]


def _sentences(text: str, start: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    place = start
    for match in _SENTENCE.finditer(text, start, end):
        yield from _parts(text, place, match.end(), size, 2)
        place = match.end()
    yield from _parts(text, place, end, size, 2)

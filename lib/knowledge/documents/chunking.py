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
from lib.patterns import compile_pattern

LEAST = 100
MOST = 8000
_HEADING = compile_pattern(r"^#{1,6}[ \t]++([^\n]++)$", re.MULTILINE)
_LONGEST_HEADING = 300
_PARAGRAPH = compile_pattern(r"\n\s*\n")
_LINE = compile_pattern(r"\n")
_SENTENCE_END = compile_pattern(r"(?<=[.!?。！？])\s+")
_SPACE = compile_pattern(r"\s+")
_BREAKS = (_PARAGRAPH, _LINE, _SENTENCE_END, _SPACE)
_SENTENCE = compile_pattern(r"(?<=[.!?。！？])\s+|\n\s*\n")


class ChunkingStrategy(StrEnum):
    """Where a text is cut."""

    RECURSIVE = "recursive"
    FIXED = "fixed"
    HEADING = "heading"
    SEMANTIC = "semantic"


@dataclass(frozen=True)
class Chunking:
    """How the documents of a collection are cut; `size` and `overlap` in characters."""

    strategy: ChunkingStrategy = ChunkingStrategy.RECURSIVE
    size: int = 1000
    overlap: int = 150

    def __post_init__(self) -> None:
        """One form, however it was written."""
        try:
            object.__setattr__(self, "strategy", ChunkingStrategy(self.strategy))
        except ValueError as error:
            strategies = ", ".join(ChunkingStrategy)
            raise InvalidInput(
                f"There is no strategy {self.strategy}.", "", f"Choose of {strategies}.", "chunking"
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
    sections = list(_find_sections(text))
    if chunking.strategy is ChunkingStrategy.FIXED:
        fixed_spans = _cut_fixed(text, 0, len(text), chunking)
        return [Piece(start, end, _find_heading(sections, start)) for start, end in fixed_spans]
    pieces: list[Piece] = []
    for start, end, heading in (
        sections if chunking.strategy is not ChunkingStrategy.RECURSIVE else _join_sections(sections, chunking)
    ):
        if chunking.strategy is ChunkingStrategy.SEMANTIC and embed is not None:
            spans = _cut_semantic(text, start, end, chunking, embed)
        else:
            spans = _cut_recursive(text, start, end, chunking)
        pieces += [
            Piece(span_start, span_end, heading or _find_heading(sections, span_start))
            for span_start, span_end in spans
        ]
    return pieces


def find_pages(piece: Piece, page_starts: Sequence[int] | None) -> tuple[int | None, int | None]:
    """The first and the last page (from 1) that a passage touches."""
    if not page_starts:
        return None, None
    return bisect_right(page_starts, piece.start), bisect_right(page_starts, max(piece.start, piece.end - 1))


def _find_sections(text: str) -> Iterator[tuple[int, int, str]]:
    """Stretches from one heading (as Markdown marks them) to the next."""
    titles = [(match.start(), match[1].rstrip("#").strip() or "#") for match in _HEADING.finditer(text)]
    marks = [(start, title) for start, title in titles if len(title) <= _LONGEST_HEADING]
    if not marks or marks[0][0] > 0:
        marks.insert(0, (0, ""))
    for number, (start, heading) in enumerate(marks):
        yield start, marks[number + 1][0] if number + 1 < len(marks) else len(text), heading


def _join_sections(sections: list[tuple[int, int, str]], chunking: Chunking) -> list[tuple[int, int, str]]:
    """Neighbouring sections put together as long as they fit into one passage, under the first one's heading."""
    joined: list[tuple[int, int, str]] = []
    for start, end, heading in sections:
        if joined and end - joined[-1][0] <= chunking.size:
            joined[-1] = (joined[-1][0], end, joined[-1][2] or heading)
        else:
            joined.append((start, end, heading))
    return joined


def _find_heading(sections: Sequence[tuple[int, int, str]], offset: int) -> str:
    return sections[bisect_right([start for start, _, _ in sections], offset) - 1][2]


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _cut_fixed(text: str, start: int, end: int, chunking: Chunking) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    while (start := _trim(text, start, end)[0]) < end:
        stop = min(start + chunking.size, end)
        if stop < end and (space := text.rfind(" ", start + chunking.size // 2, stop)) > 0:
            stop = space
        spans.append(_trim(text, start, stop))
        if stop >= end:
            break
        start = _find_overlap(text, start, stop, chunking.overlap)
    return spans


def _cut_recursive(text: str, start: int, end: int, chunking: Chunking) -> list[tuple[int, int]]:
    parts = list(_split(text, *_trim(text, start, end), chunking.size, 0))
    return _pack(text, parts, chunking)


def _pack(text: str, parts: Sequence[tuple[int, int]], chunking: Chunking) -> list[tuple[int, int]]:
    """Consecutive parts put together up to the size; each passage begins with the overlap of the one before."""
    spans: list[tuple[int, int]] = []
    for start, end in parts:
        if spans and end - spans[-1][0] <= chunking.size:
            spans[-1] = (spans[-1][0], end)
            continue
        if spans and chunking.overlap:
            room = chunking.size - (end - start)
            start = min(
                start, max(_find_overlap(text, *spans[-1], min(chunking.overlap, max(room, 0))), spans[-1][0] + 1)
            )
        spans.append((start, end))
    trimmed = [_trim(text, start, end) for start, end in spans]
    return [(start, end) for start, end in trimmed if start < end]


def _find_overlap(text: str, start: int, stop: int, overlap: int) -> int:
    """Where the next passage begins: at a sentence or word within the last `overlap` characters of this one."""
    if overlap <= 0:
        return stop
    earliest = max(start + 1, stop - overlap)
    tail = text[earliest:stop]
    for pattern in (_SENTENCE, _SPACE):
        if (match := pattern.search(tail)) is not None and match.end() < len(tail):
            return earliest + match.end()
    return earliest if not tail.strip() or " " not in text[start:stop] else stop


def _split(text: str, start: int, end: int, size: int, level: int) -> Iterator[tuple[int, int]]:
    """Stretches of at most `size`, cut at the largest breaks that are there."""
    if end - start <= size:
        if start < end:
            yield start, end
        return
    if level >= len(_BREAKS):  # no break at all: by length
        for position in range(start, end, size):
            yield position, min(position + size, end)
        return
    position = start
    for match in _BREAKS[level].finditer(text[start:end]):
        stop = start + match.end()
        if stop > position:
            yield from _split(text, position, stop, size, level + 1)
            position = stop
    if position < end:
        yield from _split(text, position, end, size, level + 1)


def _cut_semantic(text: str, start: int, end: int, chunking: Chunking, embed: Embed) -> list[tuple[int, int]]:
    """Sentences together until the meaning turns or the size is reached."""
    sentences = list(_split_sentences(text, start, end, chunking.size))
    if len(sentences) < 3:
        return _pack(text, sentences, chunking)
    vectors = embed([text[first:last] for first, last in sentences])
    alike = [float(vectors[n] @ vectors[n + 1]) for n in range(len(sentences) - 1)]
    turn = mean(alike) - pstdev(alike)
    groups: list[list[tuple[int, int]]] = [[sentences[0]]]
    for sentence, near in zip(sentences[1:], alike, strict=True):
        if near < turn and groups[-1][-1][1] - groups[-1][0][0] >= LEAST:
            groups.append([])
        groups[-1].append(sentence)
    whole = Chunking(chunking.strategy, chunking.size, 0)
    return [span for group in groups for span in _pack(text, group, whole)]


def _split_sentences(text: str, start: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    position = start
    for match in _SENTENCE.finditer(text, start, end):
        yield from _split(text, position, match.end(), size, 2)
        position = match.end()
    yield from _split(text, position, end, size, 2)

"""Documents read and drawn in limited children, two at once: `parsing`, `text_recognition` and `page_image`.

Pages that are pictures are read where the packages of requirements-ocr.txt are installed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from typing import Any

from lib.access.permissions import Actor
from lib.errors import InvalidInput
from lib.knowledge.unread_pages import describe_unread_pages
from lib.limited.child import NotComputed, ProcessLimits, run
from lib.limited.slots import Slots

MEMORY = 1_500 * 1024 * 1024
CPU_S = 60
WALL_S = 120
DRAWING = ProcessLimits(700 * 1024 * 1024, 10, 30)
RECOGNISED_PAGES = 100  # of a document
RECOGNISED_AT_SIGHT = 3  # where somebody waits
RECOGNITION_MEMORY = 3 * 1024**3
RECOGNITION_CPU_S = 25  # a page; dense ones take ten
AT_ONCE = 2
_NOT_INSTALLED = "Text recognition is not installed: `make ocr` adds it."
PATIENCE_S = 60.0
PARSER = Path(__file__).with_name("parsing.py")
_RECOGNISER = Path(__file__).with_name("text_recognition.py")
_DRAWER = Path(__file__).with_name("page_image.py")
_turns = Slots(AT_ONCE)


@dataclass(frozen=True)
class Parsed:
    """The text of a file; `page_starts` has the offset of each page where there are pages.

    `note` says what share of its words was read; None where it is all of them.
    """

    text: str
    page_starts: list[int] | None
    media_type: str
    note: str | None = None


def parse(name: str, data: bytes, actor: Actor | None = None, parser: Path = PARSER, wall_s: float = WALL_S) -> Parsed:
    """The text; InvalidInput with the reason where there is none to be had.

    An actor who waits for it in front of a page gives up after a minute without a turn (Throttled).
    `parser` is the program that reads it, within `wall_s` seconds.
    """
    try:
        with _turns.take(_name_holder(actor), PATIENCE_S if actor else None):
            answer = json.loads(run(parser, (name,), data, ProcessLimits(MEMORY, CPU_S, wall_s)))
            if answer.get("pictures") and can_recognise():
                answer = _recognise(answer, data, RECOGNISED_AT_SIGHT if actor else RECOGNISED_PAGES)
    except NotComputed as error:
        raise _make_refusal_error(name, error.why) from error
    if "refused" in answer:
        raise _make_refusal_error(name, answer["refused"])
    if not answer["text"].strip():
        raise _make_refusal_error(name, f"It is a picture, without text. {_explain_unread()}")
    note = answer["note"]
    if note and answer["pictures"] and not can_recognise():
        note = f"{note} {_NOT_INSTALLED}"
    return Parsed(answer["text"], answer["page_starts"], answer["media_type"], note)


def can_recognise() -> bool:
    """Whether text recognition is installed."""
    return find_spec("rapidocr") is not None and find_spec("onnxruntime") is not None


def _explain_unread() -> str:
    return "Text recognition found no words in it." if can_recognise() else _NOT_INSTALLED


def _recognise(answer: Mapping[str, Any], data: bytes, most: int) -> dict[str, Any]:
    """The parser's answer with the words of its pictures at the end of their pages, up to `most` pages."""
    pictures = answer["pictures"][:most]
    seconds = RECOGNITION_CPU_S * (1 + len(pictures))
    limits = ProcessLimits(RECOGNITION_MEMORY, seconds, 4 * seconds)
    try:
        texts = json.loads(run(_RECOGNISER, (json.dumps(pictures),), data, limits))
    except NotComputed:
        if answer["text"].strip():
            return dict(answer)  # its note says which pages have no text
        raise
    starts = answer["page_starts"] or [0]
    ends = [*starts[1:], len(answer["text"])]
    pages = [answer["text"][start:end] for start, end in zip(starts, ends, strict=True)]
    for number, text in zip(pictures, texts, strict=True):
        text_layer = "" if answer["page_starts"] is None else pages[number]  # its signs keep their places
        pages[number] = text_layer + (f"{text}\n" if text else "")
    unread = describe_unread_pages(len(answer["pictures"]) - len(pictures), answer["pages"])
    was_of_pages = answer["note"] == describe_unread_pages(len(answer["pictures"]), answer["pages"])
    places = list(accumulate((len(page) for page in pages[:-1]), initial=0))
    return {
        **answer,
        "text": "".join(pages),
        "page_starts": None if answer["page_starts"] is None else places,
        "note": unread if was_of_pages else answer["note"],
    }


def draw(data: bytes, page_number: int, start: int, count: int, scale: float, actor: Actor) -> bytes:
    """PNG of a page of a PDF (from 0), `count` characters from `start` on marked.

    InvalidInput where it can't be drawn within its limits, Throttled where the actor gets no turn.
    """
    arguments = [str(number) for number in (page_number, start, count, scale)]
    try:
        with _turns.take(_name_holder(actor), PATIENCE_S):
            return run(_DRAWER, arguments, data, DRAWING)
    except NotComputed as error:
        raise InvalidInput("The page can't be drawn.", error.why, "Read it as text.") from error


def _name_holder(actor: Actor | None) -> str:
    """Name whoever holds a turn: the actor, or the empty name for the queue of documents that are taken in."""
    return "" if actor is None else str(actor.user_id or actor.name)


def _make_refusal_error(name: str, why: str) -> InvalidInput:
    return InvalidInput(f"{name} can't be read.", why)

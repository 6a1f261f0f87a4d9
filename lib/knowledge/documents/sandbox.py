"""Documents read and drawn in limited children: `parsing` and `page_image`, two at once in a process."""

import json
from dataclasses import dataclass
from pathlib import Path

from lib.access.permissions import Actor
from lib.errors import InvalidInput
from lib.limited.child import NotComputed, ProcessLimits, run
from lib.limited.slots import Slots

MEMORY = 1_500 * 1024 * 1024
CPU_S = 60
WALL_S = 120
DRAWING = ProcessLimits(700 * 1024 * 1024, 10, 30)
AT_ONCE = 2
PATIENCE_S = 60.0
_PARSER = Path(__file__).with_name("parsing.py")
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


def parse(name: str, data: bytes, actor: Actor | None = None) -> Parsed:
    """The text; InvalidInput with the reason where there is none to be had.

    An actor who waits for it in front of a page gives up after a minute without a turn (Throttled).
    """
    try:
        with _turns.take(_name_holder(actor), PATIENCE_S if actor else None):
            answer = json.loads(run(_PARSER, (name,), data, ProcessLimits(MEMORY, CPU_S, WALL_S)))
    except NotComputed as error:
        raise _refusal_error(name, error.why) from error
    if "refused" in answer:
        raise _refusal_error(name, answer["refused"])
    return Parsed(answer["text"], answer["page_starts"], answer["media_type"], answer["note"])


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


def _refusal_error(name: str, why: str) -> InvalidInput:
    return InvalidInput(f"{name} can't be read.", why)

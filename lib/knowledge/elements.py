"""Elements of a marked-up text taken out whole, in time that grows with the text and no faster.

An expression that looks for an element's end behind each beginning is quadratic where the ends are missing; here all
ends are listed first.
"""

import re
from bisect import bisect_left
from typing import AnyStr


def remove_elements(
    text: AnyStr, opening: "re.Pattern[AnyStr]", closing: "re.Pattern[AnyStr]", blank: AnyStr
) -> AnyStr:
    """The text with `blank` for each stretch from an opening tag to the next closing tag of its name.

    Group 1 of both patterns is the name, in any case. An element that is left open stays.
    """
    starts: dict[AnyStr, list[int]] = {}
    ends: dict[AnyStr, list[int]] = {}
    for tag in closing.finditer(text):
        starts.setdefault(tag[1].lower(), []).append(tag.start())
        ends.setdefault(tag[1].lower(), []).append(tag.end())
    stretches: list[AnyStr] = []
    position = 0
    for tag in opening.finditer(text) if starts else ():
        name = tag[1].lower()
        number = bisect_left(starts.get(name, ()), tag.end())
        if tag.start() >= position and number < len(starts.get(name, ())):
            stretches += [text[position : tag.start()], blank]
            position = ends[name][number]
    stretches.append(text[position:])
    return text[:0].join(stretches)

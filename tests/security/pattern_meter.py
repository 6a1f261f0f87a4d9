"""Measures how the work of regular expressions grows with their text, in processor time of this process:
`python -m tests.security.pattern_meter LEAST_S TIMES [thorough] < {"module:CONSTANT": whole}`, where `whole` says that
a pattern is only matched at a start.

Prints {name: [growth, text's length, seconds, adversary]} for texts twice as long; what is registered without
being a constant (one of a tuple) is measured, too, under its expression.
"""

import importlib
import json
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from lib.patterns import REGISTRY
from tests.security.pattern_adversaries import Adversary, adversaries, text_of

NO_END = 1_000.0
MUCH_TOO_LONG_S = 0.015  # for some thousand characters: what is linear takes a fiftieth
CONTROLS = {  # each was in use once, and stopped the process for seconds
    "control.fence": r"\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*",
    "control.web_token": r"(?<![A-Za-z0-9])eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*",
    "control.heading": r"^(#{1,6})[ \t]+(.{1,300}?)[ \t]*#*$",
    "control.message": r"""["'](?:message|error)["']:\s*["'](.+?)["'](?=\s*[,}])""",
}
SCREENED, LONGEST = 3_000, 4_000_000  # characters
SURELY_LINEAR = 2.5  # growth of the work where a text is doubled
SCREENED_LINEAR = 3.2  # the same for short texts, whose times waver; what is quadratic shows 8 there


def load(names: Iterable[str]) -> dict[str, "re.Pattern[Any]"]:
    """The patterns of these names, those of the controls, and whatever else their modules registered."""
    patterns = dict[str, Any]()
    for name in names:
        module, _, constant = name.partition(":")
        patterns[name] = getattr(importlib.import_module(module), constant)
    patterns |= {repr(pattern.pattern): pattern for pattern in REGISTRY.difference(patterns.values())}
    controls = {name: re.compile(text, re.DOTALL | re.MULTILINE) for name, text in CONTROLS.items()}
    return patterns | controls


def run_of(pattern: Any, whole: bool) -> Callable[[Any], None]:
    """What is measured: `fullmatch` where no more is used, else every match in the text."""
    if whole:

        def match_whole(text: Any) -> None:
            pattern.match(text)
            pattern.fullmatch(text)

        return match_whole

    def find_all(text: Any) -> None:
        for _ in pattern.finditer(text):
            pass

    return find_all


def seconds(run: Callable[[Any], None], text: Any, times: int) -> float:
    """The least of some passes."""
    passes = []
    for _ in range(times):
        began = time.thread_time()
        run(text)
        passes.append(time.thread_time() - began)
    return min(passes)


def measure(pattern: "re.Pattern[Any]", whole: bool, least_s: float, times: int, thorough: bool) -> list[Any]:
    """The growth of a pattern's work from n to 2n, by the worst of its adversaries.

    All are screened with a short text, the slowest three with longer ones; that is all, unless `thorough`. A pattern
    that takes much too long for a few thousand characters counts as growing without end.
    """
    run = run_of(pattern, whole)

    def text(adversary: Adversary, length: int) -> Any:
        made = text_of(adversary, length)
        return made.encode("utf-8", "replace") if isinstance(pattern.pattern, bytes) else made

    def screened(adversary: Adversary, length: int, passes: int) -> float:
        return seconds(run, text(adversary, length), passes)

    def growth_of(adversary: Adversary) -> float:
        return screened(adversary, SCREENED * 8, 3) / max(screened(adversary, SCREENED * 2, 5), 1e-6) / 2

    known = adversaries(pattern)[:: 1 if thorough else 2]
    first = dict[Adversary, float]()
    for adversary in known:
        first[adversary] = screened(adversary, SCREENED, 1)
        if first[adversary] > MUCH_TOO_LONG_S:
            break
    slowest = sorted(first, key=first.__getitem__)[-3:]
    if screened(slowest[-1], SCREENED * 2, 3) > MUCH_TOO_LONG_S:
        return [NO_END, SCREENED, first[slowest[-1]], slowest[-1]]
    growth = {one: growth_of(one) for one in slowest}
    worst = max(slowest, key=growth.__getitem__)
    if not thorough:
        least = growth[worst]
        for _ in range(8):  # a machine that is busy with others makes one look slow, not eight
            least = least if least <= SCREENED_LINEAR else min(least, growth_of(worst))
        return [max(least - SCREENED_LINEAR, 0) + min(least, SURELY_LINEAR), SCREENED * 4, first[worst], worst]
    return _measure_long(run, worst, text, least_s, times)


def _measure_long(
    run: Callable[[Any], None],
    worst: Adversary,
    text: Callable[[Adversary, int], Any],
    least_s: float,
    times: int,
) -> list[Any]:
    """The growth with a text so long that one pass takes `least_s`."""
    length = SCREENED * 2
    while length < LONGEST and seconds(run, text(worst, length), 2) < least_s:
        length *= 2
    for _ in range(3):  # a machine that is busy with others makes one look slow, not three
        once, twice = (seconds(run, text(worst, length * n), times) for n in (1, 2))
        if twice <= SURELY_LINEAR * once or twice < least_s:  # the second: of millions of characters
            return [min(twice / max(once, 1e-3), SURELY_LINEAR), length, once, worst]
    return [twice / max(once, 1e-3), length, once, worst]


def main() -> None:
    """Measure all; a pattern that takes longer than some seconds for one text is `null`."""
    least_s, times, thorough = float(sys.argv[1]), int(sys.argv[2]), "thorough" in sys.argv[3:]
    is_whole = json.load(sys.stdin)
    patterns = load(is_whole)

    def stop(*_: Any) -> None:
        raise TimeoutError

    signal.signal(signal.SIGPROF, stop)
    growths: dict[str, Any] = {}
    for name in sorted(patterns):
        signal.setitimer(signal.ITIMER_PROF, 30 if thorough else 3)
        try:
            growths[name] = measure(patterns[name], is_whole.get(name, False), least_s, times, thorough)
        except TimeoutError:
            growths[name] = None
        signal.setitimer(signal.ITIMER_PROF, 0)
    print(json.dumps(growths))


if __name__ == "__main__":
    main()

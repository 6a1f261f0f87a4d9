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

SLOW_S = 0.003  # for some hundred characters: growth is then measured on shorter texts, which are enough
CONTROLS = {  # each was in use once, and stopped the process for seconds
    "control.fence": r"\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*",
    "control.web_token": r"(?<![A-Za-z0-9])eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*",
    "control.heading": r"^(#{1,6})[ \t]+(.{1,300}?)[ \t]*#*$",
    "control.message": r"""["'](?:message|error)["']:\s*["'](.+?)["'](?=\s*[,}])""",
}
SCREENED, LONGEST = 800, 4_000_000  # characters
SURELY_LINEAR = 2.5  # growth of the work where a text is doubled
SCREENED_LINEAR = 3.2  # the same for short texts, whose times waver; what is quadratic shows 8 there
MOST_TRIES = 8  # a stall makes one measurement steep, not eight of them; growth makes all of them


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


def seconds(run: Callable[[Any], None], *texts: Any, times: int) -> list[float]:
    """The least processor time of each text over some passes, taken in turn so that a stall does not stay with one."""
    least = [float("inf")] * len(texts)
    for _ in range(times):
        for index, text in enumerate(texts):
            began = time.thread_time()
            run(text)
            least[index] = min(least[index], time.thread_time() - began)
    return [max(passed, 1e-6) for passed in least]


def measure(pattern: "re.Pattern[Any]", whole: bool, least_s: float, times: int, thorough: bool) -> list[Any]:
    """The growth of a pattern's work from n to 2n, by the worst of its adversaries.

    All are screened with a short text; the slowest, and two more where they are slow as well, with a longer one; that
    is all, unless `thorough`. No verdict rests on a time, only on the ratio of two: a slow machine changes neither.
    """
    run = run_of(pattern, whole)

    def text(adversary: Adversary, length: int) -> Any:
        made = text_of(adversary, length)
        return made.encode("utf-8", "replace") if isinstance(pattern.pattern, bytes) else made

    known = adversaries(pattern)[:: 1 if thorough else 2]
    first = dict[Adversary, float]()
    for adversary in known:
        [first[adversary]] = seconds(run, text(adversary, SCREENED), times=1)
        if first[adversary] > SLOW_S:
            break
    slowest = sorted(first, key=first.__getitem__, reverse=True)[:3]
    slowest = [slowest[0], *(other for other in slowest[1:] if thorough or first[other] > SLOW_S / 20)]
    growths = {
        adversary: growth_of(run, text, adversary, SCREENED // 4 if first[adversary] > SLOW_S else SCREENED * 4)
        for adversary in slowest
    }
    worst = max(slowest, key=growths.__getitem__)
    if not thorough or growths[worst] > SCREENED_LINEAR:
        growth = growths[worst]
        return [growth if growth > SCREENED_LINEAR else min(growth, SURELY_LINEAR), SCREENED, first[worst], worst]
    return _measure_long(run, worst, text, least_s, times)


def _measure_long(
    run: Callable[[Any], None],
    worst: Adversary,
    text: Callable[[Adversary, int], Any],
    least_s: float,
    times: int,
) -> list[Any]:
    """The growth with a text so long that one pass takes `least_s`."""
    length = SCREENED * 8
    while length < LONGEST and seconds(run, text(worst, length), times=2)[0] < least_s:
        length *= 2
    for _ in range(MOST_TRIES):
        once, twice = seconds(run, text(worst, length), text(worst, length * 2), times=times)
        if twice <= SURELY_LINEAR * once or twice < least_s:  # the second: of millions of characters
            return [min(twice / once, SURELY_LINEAR), length, once, worst]
    return [twice / once, length, once, worst]


def growth_of(
    run: Callable[[Any], None], text: Callable[[Adversary, int], Any], adversary: Adversary, length: int
) -> float:
    """The growth of the work where a short text is doubled: half of that where it is four times as long."""
    growth = float("inf")
    for attempt in range(MOST_TRIES):
        short, long = seconds(run, text(adversary, length), text(adversary, length * 4), times=3)
        growth = min(growth, long / short / 2)
        if growth <= SURELY_LINEAR or (attempt > 1 and growth > 2 * SURELY_LINEAR):
            break
    return growth


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
        signal.setitimer(signal.ITIMER_PROF, 1 if name in CONTROLS else 60 if thorough else 10)
        try:
            growths[name] = measure(patterns[name], is_whole.get(name, False), least_s, times, thorough)
        except TimeoutError:
            growths[name] = None
        signal.setitimer(signal.ITIMER_PROF, 0)
    print(json.dumps(growths))


if __name__ == "__main__":
    main()

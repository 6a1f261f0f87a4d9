"""Texts that drive a regular expression into its worst case, made from the expression itself.

A text is a head, a unit that is repeated to any length, and a tail. Heads and units are samples of what the expression
takes, cut off anywhere, with one of its repetitions pumped; the tail makes the whole fail.
"""

import itertools
import random
import re
from collections.abc import Iterator
from re import _constants as ops  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

MOST = 160
Adversary = tuple[str, str, str]  # head, unit, tail
_SIGNS = "a1 \n\t-_.:/@\"'()[]{}<>#+,;=%$\\`Zé漢\x00"
_OF_CATEGORY = {"WORD": "a_1", "DIGIT": "1", "SPACE": " \n", "NOT_WORD": " -", "NOT_DIGIT": "a ", "NOT_SPACE": "a-"}


def adversaries(pattern: "re.Pattern[Any]", seed: int = 7) -> list[Adversary]:
    """At most `MOST` for a pattern, always the same ones."""
    expression = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    tree, chance = parser.parse(expression, pattern.flags), random.Random(seed)
    samples = {_sample(tree, chance, None) for _ in range(30)}
    tokens = _tokens(tree)
    found = {("", one, tail) for one in tokens for tail in ("", "\x00")}
    found |= {("", "".join(pair), "\x00") for pair in itertools.product(tokens[:10], repeat=2)}
    for sample in sorted(samples):
        cuts = range(1, len(sample) + 1) if len(sample) < 12 else chance.sample(range(1, len(sample) + 1), 12)
        found |= {("", sample[:cut], "\x00") for cut in cuts}
        found |= {("", chance.choice(tokens) + sample[:cut], "\x00") for cut in cuts}
    for pumped in range(_repeats(tree)):
        for _ in range(8):
            text = _sample(tree, chance, pumped)
            head, mark, rest = text.partition("\ue000")
            unit, _, tail = rest.partition("\ue001")
            if mark and unit:
                found |= {(head, unit, ending) for ending in (tail, "\x00", "")} | {("", head + unit, "\x00")}
    listed = sorted(found)
    return listed if len(listed) <= MOST else sorted(chance.sample(listed, MOST))


def text_of(adversary: Adversary, length: int) -> str:
    """The text of about a length."""
    head, unit, tail = adversary
    return head + unit * max(1, length // len(unit)) + tail


def _walk(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every step of an expression, those inside others too."""
    for op, argument in tree:
        yield op, argument
        for inner in _inside(op, argument):
            yield from _walk(inner)


def _inside(op: Any, argument: Any) -> list[Any]:
    if op in (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT):
        return [argument[2]]
    if op in (ops.SUBPATTERN, ops.ASSERT, ops.ASSERT_NOT):
        return [argument[-1]]
    if op is ops.ATOMIC_GROUP:
        return [argument]
    return list(argument[1]) if op is ops.BRANCH else []


def _tokens(tree: Any) -> list[str]:
    """Signs and words that the expression speaks of."""
    found, word = list[str](), ""
    for op, argument in [*_walk(tree), (ops.ANY, None)]:
        if op is ops.LITERAL:
            word += chr(argument)
            continue
        found += [word, word[0]] if word else []
        word = ""
        found += list(_members(argument))[:4] if op is ops.IN else []
    return list(dict.fromkeys([*found, " ", "a", "1", "\n"]))[:24]


def _members(members: Any) -> str:
    """Signs of a class."""
    negated = bool(members) and members[0][0] is ops.NEGATE
    signs = ""
    for op, argument in members:
        if op is ops.LITERAL:
            signs += chr(argument)
        elif op is ops.RANGE:
            signs += chr(argument[0]) + chr(argument[1])
        elif op is ops.CATEGORY:
            signs += _OF_CATEGORY[str(argument).rpartition("CATEGORY_")[2].replace("UNI_", "")]
    return "".join(sign for sign in _SIGNS if sign not in signs) if negated else signs


def _repeats(tree: Any) -> int:
    """How many repetitions there are."""
    return sum(op in (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT) for op, _ in _walk(tree))


def _sample(tree: Any, chance: random.Random, pumped: int | None) -> str:
    """A text that the expression might take; the repetition `pumped` stands between U+E000 and U+E001."""
    return _Sampler(chance, pumped).write(tree)


class _Sampler:
    """Writes a text from the tree of an expression."""

    def __init__(self, chance: random.Random, pumped: int | None) -> None:
        self._chance = chance
        self._pumped = pumped
        self._repetitions = 0

    def write(self, steps: Any) -> str:
        return "".join(self._write_step(op, argument) for op, argument in steps)

    def _write_step(self, op: Any, argument: Any) -> str:
        if op is ops.LITERAL:
            return chr(argument)
        if op is ops.NOT_LITERAL:
            return "a" if argument != ord("a") else "b"
        if op is ops.ANY:
            return self._chance.choice('a "<')
        if op is ops.IN:
            return self._chance.choice(_members(argument) or "a")
        if op is ops.BRANCH:
            return [self.write(branch) for branch in argument[1]][self._chance.randrange(len(argument[1]))]
        if op in (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT):
            return self._repeat(*argument)
        if op in (ops.SUBPATTERN, ops.ATOMIC_GROUP):
            return self.write(argument[-1] if op is ops.SUBPATTERN else argument)
        return ""

    def _repeat(self, least: int, most: Any, inner: Any) -> str:
        repetition = self._repetitions
        self._repetitions += 1
        text = self.write(inner)
        if repetition == self._pumped:
            return f"\ue000{text}\ue001"
        counts = (least, least, least + 1, least + 3, int(most) + 1 if int(most) <= 400 else least + 2)
        return text * self._chance.choice(counts)

"""Refusals of the semantic tier: what two questions may not differ in, however near their vectors are.

Vectors of questions that share a form are nearest where one slot differs ("in miles", "in kilometers"), so a
similarity alone serves another question's answer. Each guard names a class of words, or of text, whose members have to
be the same in both. None of them proves that two questions are equal: they only refuse. Word lists don't know every
word, so what they let pass still needs a judge or a proof.

Classes of words stand in `data/guards`, by language.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lib.cache import wording
from lib.patterns import compile_pattern

VERSION = 1
_DIGITS = compile_pattern(r"\d+(?:[.,:/]\d+)*")
_SPAN = compile_pattern(r"`[^`]*`|\"[^\"]*\"|“[^“”]*”|«[^«»]*»|„[^„“]*“")
_CODE_SIGNS = frozenset("{}[]<>=\\|_#$%^~@&*+/")
_MOST_DIFFERENT_LENGTHS = 2.0
_CLASSES = (
    ("negation", "negation"),
    ("quantity", "quantity"),
    ("comparison", "comparison"),
    ("direction", "direction"),
    ("date", "time"),
    ("number word", "number"),
    ("unit", "unit"),
    ("person", "pronoun"),
)


def find_refusal(question: str, candidate: str, language: str) -> str | None:
    """The guard that tells the two apart, or None. Both are in `language`; their order does not matter."""
    lexicon = wording.load_lexicon(language)
    question_words = wording.split(question)
    candidate_words = wording.split(candidate)
    for name, guard in _GUARDS:
        if guard(question, candidate, question_words, candidate_words):
            return name
    lowered = [word.lower() for word in question_words], [word.lower() for word in candidate_words]
    for name, words in _CLASSES:
        if _pick(lowered[0], lexicon[words]) != _pick(lowered[1], lexicon[words]):
            return name
    if _has_opposites(*lowered, lexicon):
        return "opposite"
    if _list_names(question_words, lexicon) != _list_names(candidate_words, lexicon):
        return "name"
    return "order" if _is_reordered(*lowered, lexicon) else None


def _build_pattern_guard(pattern: Any) -> Callable[[str, str, Sequence[str], Sequence[str]], bool]:
    return lambda question, candidate, _question_words, _candidate_words: (
        pattern.findall(question) != pattern.findall(candidate)
    )


def _differ_in_length(
    question: str, candidate: str, question_words: Sequence[str], candidate_words: Sequence[str]
) -> bool:
    shorter, longer = sorted((len(question_words), len(candidate_words)))
    return longer > _MOST_DIFFERENT_LENGTHS * max(shorter, 3)


def _differ_in_signs(
    question: str, candidate: str, question_words: Sequence[str], candidate_words: Sequence[str]
) -> bool:
    return [sign for sign in question if sign in _CODE_SIGNS] != [sign for sign in candidate if sign in _CODE_SIGNS]


_GUARDS: tuple[tuple[str, Callable[[str, str, Sequence[str], Sequence[str]], bool]], ...] = (
    ("number", _build_pattern_guard(_DIGITS)),
    ("quotation", _build_pattern_guard(_SPAN)),
    ("code", _differ_in_signs),
    ("length", _differ_in_length),
)


def _pick(words: Sequence[str], of: frozenset[str]) -> list[str]:
    return sorted(word for word in words if word in of)


def _has_opposites(question_words: Sequence[str], candidate_words: Sequence[str], lexicon: Mapping[str, Any]) -> bool:
    only_here = set(question_words) - set(candidate_words)
    only_there = set(candidate_words) - set(question_words)
    return any(
        (first in only_here and second in only_there) or (second in only_here and first in only_there)
        for first, second in lexicon["opposites"]
    )


def _list_names(words: Sequence[str], lexicon: Mapping[str, Any]) -> list[str]:
    """Words with a capital letter that does not begin a sentence, in their order."""
    names = []
    is_first = True
    for word in words:
        if not word[:1].isalnum():
            is_first = is_first or word in (".", "!", "?", ":")
            continue
        is_plain = word.lower() in lexicon["common"] or word.lower() in lexicon["asked"]
        if word[:1].isupper() and not is_plain and not (is_first and word[1:].islower()):
            names.append(word)
        is_first = False
    return names


def _is_reordered(question_words: Sequence[str], candidate_words: Sequence[str], lexicon: Mapping[str, Any]) -> bool:
    """Whether the words that both have, common ones apart, come in another order: who does what to whom."""
    shared = {
        word for word in set(question_words) & set(candidate_words) if word.isalpha() and word not in lexicon["common"]
    }
    first, second = ([word for word in words if word in shared] for words in (question_words, candidate_words))
    return sorted(first) == sorted(second) and first != second and not _is_rotation_of_topic(first, second)


def _is_rotation_of_topic(first: Sequence[str], second: Sequence[str]) -> bool:
    """Two words that changed places are told apart; one long stretch moved as a whole is not."""
    count = len(first) - 1  # of the longest stretch that both can share: they have the same words
    starts = ((0, 0), (0, 1), (1, 0), (1, 1))
    return count >= 3 and any(first[i : i + count] == second[j : j + count] for i, j in starts)

"""Refusals of the semantic tier: what two questions may not differ in, however near their vectors are.

Vectors of questions that share a form are nearest where one slot differs ("in miles", "in kilometers"), so a
similarity alone serves another question's answer. Each guard names a class of words, or of text, whose members have to
be the same in both. None of them proves that two questions are equal: they only refuse. Word lists don't know every
word, so where no judge decides the form itself is looked at, too: one word in another's place, a word more, another
question word, or a word that is denied or counted in one and not in the other. That refuses many a rewording as well.

Classes of words stand in `data/guards`, by language.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lib.cache import wording
from lib.patterns import compile_pattern

VERSION = 2
_DIGITS = compile_pattern(r"[-−+]?\d++(?:[.,:/]\d++)*+\w*+")  # with what is written to it: a sign, 5kg, 2nd
_SPAN = compile_pattern(r"`[^`]*`|\"[^\"]*\"|“[^“”]*”|«[^«»]*»|„[^„“]*“")
_CODE_SIGNS = frozenset("{}[]<>=\\|_#$%^~@&*+/€£¥°§")
_OPEN_QUESTION_WORDS = frozenset(  # that stand for each other: "what is the weather", "how is the weather"
    {
        "che", "come", "comment", "como", "cosa", "cuál", "cuáles", "cómo", "how", "qual", "quale", "quali", "quais",
        "que", "quel", "quelle", "quelles", "quels", "quoi", "qué", "was", "welche", "welcher", "welches", "what",
        "which", "wie",
    }
)  # fmt: skip
_LONGEST_SLOT = 3
_MOST_ALIGNED = 60
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


def find_refusal(question: str, candidate: str, language: str, *, has_judge: bool = False) -> str | None:
    """The guard that tells the two apart, or None. Both are in `language`; their order does not matter.

    `has_judge`: a judge looks at what passes, so the guards of form are left out.
    """
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
    if _is_reordered(*lowered, lexicon):
        return "order"
    return None if has_judge else _find_form_refusal(question_words, candidate_words, lexicon)


def _find_form_refusal(
    question_words: Sequence[str], candidate_words: Sequence[str], lexicon: Mapping[str, Any]
) -> str | None:
    first, second = (_fold_firsts(words) for words in (question_words, candidate_words))
    if max(len(first), len(second)) > _MOST_ALIGNED:  # aligning takes the square of their number
        return "long"
    interrogatives = [[word for word in words if word in lexicon["asked"]] for words in (first, second)]
    if ("?" in question_words) != ("?" in candidate_words) and not all(interrogatives):
        return "statement"
    if _pick(interrogatives[0], lexicon["asked"] - _OPEN_QUESTION_WORDS) != _pick(
        interrogatives[1], lexicon["asked"] - _OPEN_QUESTION_WORDS
    ):
        return "question word"
    if _list_scopes(first, lexicon) != _list_scopes(second, lexicon):
        return "scope"
    changes = _list_changes(first, second)
    if any(_is_slot(first_side, second_side) for first_side, second_side in changes):
        return "replaced word"
    has_more = [any(word not in lexicon["common"] for word in side) for side in _join_sides(changes)]
    is_longer = any(not any(change[side] for change in changes) for side in (0, 1))
    return "added word" if is_longer and any(has_more) else None


def _fold_firsts(words: Sequence[str]) -> list[str]:
    """The words without signs; one that begins a sentence in small letters, for there a capital says nothing."""
    return [word.lower() if is_first else word for word, is_first in wording.mark_firsts(words) if word[:1].isalnum()]


def _list_changes(first: Sequence[str], second: Sequence[str]) -> list[tuple[list[str], list[str]]]:
    """List the words of each side between those that both have in common order."""
    common = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]  # of what follows: the most words in order
    for i in reversed(range(len(first))):
        for j in reversed(range(len(second))):
            is_same = first[i] == second[j]
            common[i][j] = common[i + 1][j + 1] + 1 if is_same else max(common[i + 1][j], common[i][j + 1])
    changes: list[tuple[list[str], list[str]]] = [([], [])]
    i = j = 0
    while i < len(first) or j < len(second):
        if i < len(first) and j < len(second) and first[i] == second[j]:
            changes.append(([], []))
            i += 1
            j += 1
        elif j == len(second) or (i < len(first) and common[i + 1][j] >= common[i][j + 1]):
            changes[-1][0].append(first[i])
            i += 1
        else:
            changes[-1][1].append(second[j])
            j += 1
    return [change for change in changes if any(change)]


def _is_slot(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether words stand in the place of as many others: a form that is filled in another way."""
    if not 0 < len(first) == len(second) <= _LONGEST_SLOT:
        return False
    return any(not {word, other} <= _OPEN_QUESTION_WORDS for word, other in zip(first, second, strict=True))


def _join_sides(changes: Sequence[tuple[Sequence[str], Sequence[str]]]) -> tuple[list[str], list[str]]:
    return [word for first, _ in changes for word in first], [word for _, second in changes for word in second]


def _list_scopes(words: Sequence[str], lexicon: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each word that denies or counts, with the word behind it: "not all are", "all are not"."""
    scoping = lexicon["negation"] | lexicon["quantity"]
    return sorted(
        (word.lower(), following.lower())
        for word, following in zip(words, [*words[1:], ""], strict=True)
        if word.lower() in scoping
    )


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
        is_short_for = word.isupper() and len(word) > 1  # IT, US: other words than it, us
        is_plain = not is_short_for and (word.lower() in lexicon["common"] or word.lower() in lexicon["asked"])
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

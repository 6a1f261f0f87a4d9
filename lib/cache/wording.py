"""A question's significant words, in their order: greetings and thanks around it are left out, nothing within it is.

Two questions with the same significant words ask for the same, so the loose tier needs no judgement. It says so only
where it is sure: phrases of politeness are taken off the two ends alone, set apart as people set them apart, and never
from a question that speaks of words itself ("how do you say thank you"); a text with code, quotations or several lines
is compared sign by sign, which is the exact tier's work. A language that nobody here knows has no significant words.

The words of each language stand in `data/guards`; another version of them is another namespace.
"""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from lib.patterns import compile_pattern

VERSION = 1
_FOLDER = Path(__file__).resolve().parent.parent.parent / "data" / "guards"
_WORD = compile_pattern(r"[^\W_]+(?:['’\-.][^\W_]+)*|[^\w\s]|_")
_RUN = compile_pattern(r"[^\W_]+")
_RUNS = bytes(ord(chr(code).lower()) if chr(code).isalnum() else ord(" ") for code in range(128)) + bytes(128)
_SIGN_FOR_SIGN = compile_pattern(r"[`\"“”„«»‹›{}<>\[\]=\\|]|\n")
_MOST_PHRASES = 4  # of politeness, at each end
_LEAST_COMMON = 0.2  # of the words: how many the commonest words of a language have to be


@cache
def list_languages() -> tuple[str, ...]:
    """Codes of the languages that are known, such as `de`."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


@cache
def load_lexicon(language: str) -> Mapping[str, Any]:
    """Sets of words by class, and lists of phrases, of one language."""
    lists = json.loads((_FOLDER / f"{language}.json").read_text(encoding="utf-8"))
    phrases = ("openings", "closings", "opposites")
    lists |= {name: sorted(lists[name], key=lambda phrase: -len(split(phrase))) for name in ("openings", "closings")}
    return {
        name: [tuple(split(phrase.lower())) if isinstance(phrase, str) else tuple(phrase) for phrase in words]
        if name in phrases
        else frozenset(words)
        for name, words in lists.items()
    }


@cache
def _index_common_words() -> Mapping[str, tuple[str, ...]]:
    """The commonest words, each with the languages in which it is one."""
    words = {word for code in list_languages() for word in load_lexicon(code)["common"]}
    return {word: tuple(code for code in list_languages() if word in load_lexicon(code)["common"]) for word in words}


def split(text: str) -> list[str]:
    """Words and signs of a text, in one form of Unicode and with plain apostrophes."""
    return _WORD.findall(unicodedata.normalize("NFC", text).replace("’", "'"))


def find_language(text: str) -> str | None:
    """The known language whose commonest words make up most of a text; None where none or two do."""
    words = [word.lower() for word in split(text) if word[:1].isalpha()]
    if not words:
        return None
    counts = dict.fromkeys(list_languages(), 0)
    languages_of = _index_common_words()
    for word in words:
        for code in languages_of.get(word, ()):
            counts[code] += 1
    (most, language), (next_most, _) = sorted(((count, code) for code, count in counts.items()), reverse=True)[:2]
    return language if most > next_most and most >= _LEAST_COMMON * len(words) else None


@cache
def _list_polite_words() -> frozenset[bytes]:
    """Every word of a phrase that may be taken off an end, in any language."""
    lexicons = [load_lexicon(code) for code in list_languages()]
    phrases = [phrase for lexicon in lexicons for name in ("openings", "closings") for phrase in lexicon[name]]
    return frozenset(run for phrase in phrases for run in _split_runs(" ".join(phrase)))


def make_sketch(text: str) -> bytes:
    """Make what all questions with the same significant words share, at a tenth of the price of knowing these.

    Lower-case words in their order, in UTF-8, without any that politeness is made of: others may have the same sketch.
    """
    polite_words = _list_polite_words()
    return b" ".join([word for word in _split_runs(text) if word not in polite_words])


def _split_runs(text: str) -> list[bytes]:
    """Split off the runs of letters and digits of a text, in lower case and UTF-8."""
    if text.isascii():
        return text.encode().translate(_RUNS).split()  # bytes: one look into a table for each sign
    runs = " ".join(_RUN.findall(unicodedata.normalize("NFC", text.lower())))
    return runs.encode("utf-8", "surrogatepass").split(b" ") if runs else []


def list_significant_words(text: str, language: str) -> list[str] | None:
    """List the words in which two equal questions must agree, in order; None where every sign counts."""
    if _SIGN_FOR_SIGN.search(text.strip()):
        return None
    words = split(text)
    words_of_language = load_lexicon(language)
    if not any(word.lower() in words_of_language["mentions"] for word in words):
        words = _strip_politeness(words, words_of_language)
    words = _strip_last_sign(words, words_of_language)
    if len([word for word in words if word[:1].isalnum()]) < 2:
        return None
    return [word.lower() if is_first else word for word, is_first in mark_firsts(words)]


def _strip_politeness(words: list[str], words_of_language: Mapping[str, Any]) -> list[str]:
    for _ in range(_MOST_PHRASES):
        shorter = _strip_opening(words, words_of_language["openings"]) or words
        shorter = _strip_closing(shorter, words_of_language["closings"]) or shorter
        if shorter == words:
            break
        words = shorter
    return words


def _strip_opening(words: list[str], phrases: list[tuple[str, ...]]) -> list[str]:
    """Without the longest phrase at the start; a greeting is one only with a comma, stop or exclamation behind it."""
    lowered = [word.lower() for word in words[:8]]
    for phrase in phrases:
        if tuple(lowered[: len(phrase)]) != phrase:
            continue
        remaining = words[len(phrase) :]
        if remaining and remaining[0] in (",", "!", ".", ":"):
            return remaining[1:]
        if len(phrase) > 2 or phrase[-1] in _JOINED:  # "could you tell me what …", "please list …"
            return remaining
    return []


def _strip_closing(words: list[str], phrases: list[tuple[str, ...]]) -> list[str]:
    """Without thanks at the end, which a comma, a stop or a question mark sets apart."""
    end = len(words)
    asks = words[-1:] == ["?"]
    while end and words[end - 1] in (".", "!", "?"):
        end -= 1
    lowered = [word.lower() for word in words[:end]]
    for phrase in phrases:
        start = end - len(phrase)
        if start > 1 and tuple(lowered[start:]) == phrase and words[start - 1] in (",", ".", "!", "?"):
            remaining = words[:start] if words[start - 1] != "," else words[: start - 1]
            return [*remaining, "?"] if asks and remaining[-1] != "?" else remaining
    return []


_JOINED = frozenset({"please", "bitte"})


def _strip_last_sign(words: list[str], words_of_language: Mapping[str, Any]) -> list[str]:
    """Without a stop or exclamation at the end, and without the question mark of what is a question anyway."""
    asks = any(word.lower() in words_of_language["asked"] for word in words)
    while words and (words[-1] in (".", "!") or (words[-1] == "?" and asks)):
        words = words[:-1]
    return words[1:] if words and words[0] in ("¿", "¡") and asks else words


def mark_firsts(words: Sequence[str]) -> list[tuple[str, bool]]:
    """Each word with whether it begins a sentence, where a capital letter says nothing."""
    marked = []
    is_first = True
    for word in words:
        marked.append((word, is_first))
        if word[:1].isalnum():
            is_first = False
        elif word in (".", "!", "?", "¿", "¡", ":"):
            is_first = True
    return marked

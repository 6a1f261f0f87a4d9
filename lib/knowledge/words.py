"""Words of a text as the search by words knows them: folded, without stop words, stemmed in the text's language.

Stemmers are Snowball's (snowballstemmer, https://snowballstem.org); the language is told by the share of its most
frequent words. Accents, points and harakat are taken off. Other marks belong to their word, as in Unicode's annex 29:
vowel signs and viramas of India, tones of Thailand, the breve of the Russian й, the dots of kana. Text without spaces
between words (Chinese, Japanese, Thai, Khmer) goes as pairs of signs, and so does Korean, which writes particles at the
end of a word.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from itertools import groupby
from typing import Any

from lib.knowledge.frequent_words import FREQUENT_WORDS
from lib.patterns import compile_pattern


def _build_mark_ranges() -> str:
    """The marks of the basic plane as ranges of a character class."""
    marks = [code for code in range(0x10000) if unicodedata.category(chr(code)).startswith("M")]
    runs = [[code for _, code in run] for _, run in groupby(enumerate(marks), lambda pair: pair[1] - pair[0])]
    return "".join(f"\\u{run[0]:04x}-\\u{run[-1]:04x}" for run in runs)


_WORD = compile_pattern(rf"[^\W_]++(?:[{_build_mark_ranges()}]++[^\W_]*+)*+", re.UNICODE)
_ACCENTS = compile_pattern(r"[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed]+")
_DENSE_SIGNS = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff"
)
_STRETCH = compile_pattern(rf"[{_DENSE_SIGNS}]++|[^{_DENSE_SIGNS}]++")
_DENSE = compile_pattern(rf"[{_DENSE_SIGNS}]")
# a word over two lines: found whole and in parts
_BROKEN = compile_pattern(r"(?<![^\W\d_])([^\W\d_]++)[-\u2010\u00ad] ?\n ?([^\W\d_]++)")
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))  # within words, which they don't end
_DIGITS = {
    code: str(unicodedata.decimal(chr(code)))
    for code in range(0x80, 0x20000)  # none are beyond
    if unicodedata.category(chr(code)) == "Nd"
}
_TABLE: dict[int, str | None] = {**_INVISIBLE, **_DIGITS}
_SHORT_I = "\u0438\u0306"  # \u0439, a letter of its own in Russian
FORM = 2  # of words as they are stored; raised when the same text gives others
_ENOUGH_WORDS = 2_000  # words are enough
_LEAST_SHARE = 0.08
_LEAST_DIFFERENT = 3  # a table that repeats one letter is in no language
_LEAST_FREQUENT_WORDS = 2  # different ones: tables have single letters and names that are words somewhere


def detect_language(texts: Iterable[str]) -> str:
    """Snowball's name of the language (`english`), or empty where none is recognised."""
    words: list[str] = []
    for text in texts:
        words += _split_words(text)[: _ENOUGH_WORDS - len(words)]
        if len(words) >= _ENOUGH_WORDS:
            break
    if not words:
        return ""
    shares = {name: sum(word in frequent for word in words) / len(words) for name, frequent in FREQUENT.items()}
    best = max(shares, key=lambda name: shares[name])
    different = len(FREQUENT[best].intersection(words))
    is_recognised = shares[best] >= _LEAST_SHARE and different >= min(_LEAST_DIFFERENT, 1 + len(words) // 10)
    return best if is_recognised else ""


def prepare(text: str, language: str) -> list[str]:
    """The stems of a text, in order; repeated as often as they stand there."""
    stem = _find_stemmer(language)
    if stem is None:  # of Vietnamese without its tones, rare words look like frequent ones
        return _split_words(text)
    dull = FREQUENT[language]
    return [stem(word) for word in _split_words(text) if word not in dull]


def join_stems(title: str, heading: str, text: str, language: str) -> str:
    """A passage's stems, with those of its document's title and its heading, joined by blanks for the index."""
    return " ".join(prepare(f"{title}\n{heading}\n{text}", language))


def _split_words(text: str) -> list[str]:
    broken = [f"{begin}{end}" for begin, end in _BROKEN.findall(text)]
    folded = _fold(" ".join([text, *broken]))
    if folded.isascii():
        return _WORD.findall(folded)
    words: list[str] = []
    for word in _WORD.findall(folded):
        if word.isascii() or not _DENSE.search(word):
            words.append(word)
        else:
            words += [pair for stretch in _STRETCH.findall(word) for pair in _split_into_pairs(stretch)]
    return words


def _fold(text: str) -> str:
    """The text in small letters, without accents and signs that nobody sees; digits of every script are 0 to 9."""
    if text.isascii():
        return text.lower()
    parted = unicodedata.normalize("NFKD", text.translate(_TABLE).lower()).replace(_SHORT_I, "\u0439")
    return unicodedata.normalize("NFC", _ACCENTS.sub("", parted))


def _split_into_pairs(stretch: str) -> list[str]:
    if len(stretch) < 2 or not _DENSE.match(stretch):
        return [stretch]
    return [stretch[n : n + 2] for n in range(len(stretch) - 1)]


@cache
def _find_stemmer(language: str) -> Any:
    import snowballstemmer

    if language not in snowballstemmer.algorithms():
        return None
    return lru_cache(maxsize=200_000)(snowballstemmer.stemmer(language).stemWord)


FREQUENT = {name: frozenset(_split_words(words)) for name, words in FREQUENT_WORDS.items()}

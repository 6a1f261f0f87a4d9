"""Words of a text as the search by words knows them: folded, without stop words, stemmed in the text's language.

Stemmers are Snowball's (snowballstemmer, https://snowballstem.org); the language is told by the share of its most
frequent words. Text without spaces between words (Chinese, Japanese, Thai) goes as pairs of signs.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any

from lib.patterns import compile_pattern

_WORD = compile_pattern(r"[^\W_]+", re.UNICODE)
_DENSE = compile_pattern(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
# a word over two lines: found whole and in parts
_BROKEN = compile_pattern(r"(?<![^\W\d_])([^\W\d_]++)[-\u2010\u00ad] ?\n ?([^\W\d_]++)")
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))  # within words, which they don't end
_ENOUGH_WORDS = 2_000  # words are enough
_LEAST_SHARE = 0.08
FREQUENT: dict[str, frozenset[str]] = {
    name: frozenset(words.split())
    for name, words in {
        "english": "a about after all also an and any are as at be because been but by can could do does for from had "
        "has have he her his how i if in into is it its may more most my no not of on one only or other our out over "
        "she should so some such than that the their them then there these they this to up was we were what when "
        "where which who why will with would you your",
        "spanish": "a al algo ante aunque bajo cada como con contra cual cuando de del desde donde dos durante e el "
        "ella ellas ellos en entre era es esa ese eso esta este esto fue ha han hasta hay la las le les lo los mas me "
        "mi muy no nos o otra otro para pero por porque que quien se ser si sin sobre son su sus tambien te tiene "
        "todo todos tu un una uno unos y ya yo",
        "french": "a alors au aux avec ce ces cette comme dans de des donc du elle elles en est et etaient etait ete "
        "etre eu il ils je la le les leur leurs lui mais me meme mes moi mon ne nos notre nous on ont ou par pas plus "
        "pour qu que qui sa sans se ses si son sont sur ta te tes tout tres tu un une vos votre vous y",
        "german": "aber alle als also am an auch auf aus bei bin bis das dass dem den der des dich die dies diese dir "
        "doch du durch ein eine einem einen einer eines er es fur hat hatte hier ich ihm ihn ihr im in ist ja kann "
        "kein keine man mehr mein mich mit nach nicht noch nun nur ob oder ohne sehr sein sich sie sind so uber um "
        "und uns unter vom von vor war was weil wenn wer werden wie wir wird wo zu zum zur",
        "italian": "a ad ai al alla alle allo anche avere aveva che chi ci come con cosa da dal dalla dei del della "
        "delle dello di dove e ed era essere fra gli ha hanno ho i il in io la le lei lo loro lui ma mi mio ne nei "
        "nel nella noi non o per perche piu quale quando questa questo se sei si sia sono su sua sul suo tra tu tutti "
        "tutto un una uno vi voi",
        "portuguese": "a ao aos as ate com como da das de dela dele do dos e ela elas ele eles em entre era essa esse "
        "esta este eu foi ha isso isto ja lhe mais mas me mesmo meu minha muito na nao nas nem no nos o os ou para "
        "pela pelo por qual quando que quem se sem ser seu sua suas so tambem te tem um uma voce",
        "dutch": "aan al als altijd ben bij daar dan dat de der deze die dit doch doen door dus een en er geen haar "
        "had heb hebben heeft hem het hier hij hoe hun iemand ik in is ja je kan maar me meer met mij mijn naar niet "
        "nog nu of om ons ook op over te tegen toch toen tot uit uw van veel voor want waren was wat we wel wie wij "
        "wil worden zal ze zei zelf zich zij zijn zo zonder zou",
    }.items()
}


def language_of(texts: Iterable[str]) -> str:
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
    return best if shares[best] >= _LEAST_SHARE else ""


def prepare(text: str, language: str) -> list[str]:
    """The stems of a text, in order; repeated as often as they stand there."""
    dull = FREQUENT.get(language, frozenset())
    stem = _stem_in(language)
    return [stem(word) for word in _split_words(text) if word not in dull]


def join_stems(title: str, heading: str, text: str, language: str) -> str:
    """A passage's stems, with those of its document's title and its heading, joined by blanks for the index."""
    return " ".join(prepare(f"{title}\n{heading}\n{text}", language))


def _split_words(text: str) -> list[str]:
    broken = [f"{begin}{end}" for begin, end in _BROKEN.findall(text)]
    folded = unicodedata.normalize("NFKD", " ".join([text.translate(_INVISIBLE), *broken]).lower())
    folded = "".join(sign for sign in folded if not unicodedata.combining(sign)) if not folded.isascii() else folded
    words: list[str] = []
    for word in _WORD.findall(folded):
        if word.isascii() or not _DENSE.fullmatch(word) or len(word) < 2:
            words.append(word)
        else:
            words += [word[n : n + 2] for n in range(len(word) - 1)]
    return words


@cache
def _stem_in(language: str) -> Any:
    if not language:
        return lambda word: word
    import snowballstemmer

    return lru_cache(maxsize=200_000)(snowballstemmer.stemmer(language).stemWord)

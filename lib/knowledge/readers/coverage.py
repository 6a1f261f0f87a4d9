"""How much of a file's words was read: the file is counted in another way than it is read, and the two are compared.

An Office file is searched for the elements that hold text, in every part and whatever wraps them; a page tag by tag,
without a tree; a PDF sign by sign. Words weigh by their length. Repeated words count as often as they stand in the
file, except where parts repeat themselves (charts, cells).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from lib.knowledge.elements import remove_elements
from lib.knowledge.readers.office import Package
from lib.knowledge.readers.web import PageWords
from lib.knowledge.unread_pages import describe_unread_pages, format_percent
from lib.patterns import compile_pattern

WHOLE = 0.98  # a share from which a document counts as read
_WORD = compile_pattern(r"[^\W_]+")
_NO_WORDS = compile_pattern(
    r"/(glossary|theme|slideLayouts|slideMasters|notesMasters|handoutMasters|externalLinks|pivotCache|_rels)/"
    r"|/diagrams/(layout|quickStyle|colors|drawing)|/(styles|settings|numbering|fontTable|webSettings|people)\.xml$",
)
_OUT = compile_pattern(
    r"<((?:\w+:)?(?:Fallback|moveFrom|rPh|rt)(?=[\s>])|c:(?:val|xVal|yVal|bubbleSize)(?=>))[^<>]*+(?<!/)>",
)
_OUT_END = compile_pattern(
    r"</((?:\w+:)?(?:Fallback|moveFrom|rPh|rt)|c:(?:val|xVal|yVal|bubbleSize))>",
)
_TEXT = compile_pattern(
    r"<((?:\w+:)?(?:t|text|pt))(?:\s[^<>]*+)?+(?<!/)>([^<]*+)</|<c:(v)>([^<]*+)</"
    r"|(</(?:\w+:)?(?:p|si|is|comment|num|den)>|<(?:\w+:)?(?:tab|br|cr|p|ptab)(?:\s[^<>]*+)?+/?>)",
)
_NUMBERED_SIGN = compile_pattern(r"&#(x?)([0-9a-fA-F]{1,6});")
_RUNS = frozenset(("t", "w:t", "a:t"))  # of which several may make a word
_LARGEST_PAGE = 10_000_000
_MOST_SOUGHT = 300
_ENTITIES = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'"}


@dataclass
class Coverage:
    """What a file holds, as it is counted while it is read."""

    words: Counter[str] = field(default_factory=Counter)
    pages: int = 0
    signs: int = 0
    signs_read: int = 0
    pictures: list[int] = field(default_factory=list)

    def add_page(self, number: int, *, is_read: bool) -> None:
        """Count a page (from 0) that has something on it, which without text is a picture."""
        self.pages += 1
        if not is_read:
            self.pictures.append(number)

    def note(self, text: str) -> str | None:
        """A sentence that says what share of the file's words a text has; None where it has all of them."""
        share = compute_share(self.words, text)
        if share < WHOLE:
            return f"{format_percent(share)} of the words were read."
        if self.signs_read < WHOLE * self.signs:
            why = "The file does not say which letters the others are: it needs text recognition."
            return f"{format_percent(self.signs_read / self.signs)} of the words were read. {why}"
        return describe_unread_pages(len(self.pictures), self.pages)


def compute_share(held: Counter[str], text: str) -> float:
    """The share of words that a text has, each weighing its length; 1 where none are held."""
    total = sum(len(word) * count for word, count in held.items())
    if not total:
        return 1.0
    missing = held - Counter(list_words(text))
    if not missing:
        return 1.0
    dense = "".join(list_words(text))  # where the two cut words otherwise, they are there all the same
    for word in [*missing][:_MOST_SOUGHT]:
        if dense.count(word) >= held[word]:
            del missing[word]
    return 1 - sum(len(word) * count for word, count in missing.items()) / total


def list_words(text: str) -> list[str]:
    """The words of a text, for comparing."""
    return _WORD.findall(text.replace("\u00ad", "").replace("\u200b", ""))


def count_office_words(data: bytes) -> Counter[str]:
    """The words of a Word, PowerPoint or Excel file."""
    package = Package(data)
    counts = Counter[str]()
    for name in package.names:
        if not name.endswith(".xml") or _NO_WORDS.search("/" + name) or name.startswith(("docProps/", "customXml/")):
            continue
        words = Counter(list_words("".join(_yield_stretches(package.text(name)))))
        is_repeating = "charts/" in name or name.startswith("xl/")
        counts += Counter({word: 1 for word in words if not word.isdecimal()}) if is_repeating else words
    return counts


def _yield_stretches(xml: str) -> Iterable[str]:
    for match in _TEXT.finditer(remove_elements(xml, _OUT, _OUT_END, " ")):
        if match[5]:
            yield " "
            continue
        text = match[2] if match[1] else match[4]
        yield _unescape_text(text) if match[1] in _RUNS else f" {_unescape_text(text)} "


def _unescape_text(text: str) -> str:
    if "&" not in text:
        return text
    for entity, sign in _ENTITIES.items():
        text = text.replace(entity, sign)
    text = _NUMBERED_SIGN.sub(lambda m: chr(min(0x10FFFF, int(m[2], 16 if m[1] else 10))), text)
    return text.replace("&amp;", "&")


def list_page_words(text: str) -> Counter[str]:
    """The words that an HTML page shows; none for a page too large to be read twice."""
    if len(text) > _LARGEST_PAGE:
        return Counter()
    parser = PageWords()
    parser.feed(text)
    parser.close()
    return Counter(list_words("".join(parser.stretches)))

"""Bytes → text, whatever they were written in: marks, UTF-8 with a flaw, wide letters, Cyrillic, else a guess."""

import codecs
import re
from collections import Counter

from lib.files.text import find_marked_encoding
from lib.knowledge.elements import remove_elements
from lib.patterns import compile_pattern

_ESCAPED = b"\x1b$B"  # here Japanese begins in ISO-2022
_LOOKED_AT = 200_000
_DECLARED = compile_pattern(
    rb"""(?:<meta[^>]{0,200}charset|<\?xml[^>]{0,100}encoding)\s*=\s*["']?([\w-]{2,30})""",
    re.IGNORECASE,
)
_MEANT = {  # what pages mean by a name is more than the name says (https://encoding.spec.whatwg.org/#names-and-labels)
    **dict.fromkeys(("iso8859-1", "ascii"), "cp1252"),
    **{"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "big5hkscs"},
    **{"iso8859-9": "cp1254", "iso8859-11": "cp874", "tis-620": "cp874"},
}
_UNSHOWN = compile_pattern(rb"<(script|style)\b", re.IGNORECASE)
_UNSHOWN_END = compile_pattern(rb"</(script|style)\s*+>", re.IGNORECASE)
_TAG = compile_pattern(rb"<[^<>]{0,2000}+>")
_FOREIGN_RUN = compile_pattern(rb"[\x80-\xff]{3,}")
_CYRILLIC = ("cp1251", "koi8-r", "cp866", "iso8859-5")
_WESTERN = "àáâãäåæçèéêëìíîïñòóôõöøùúûüÿœßÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜŒ«»¿¡°§ªº€£·–—‘’“”„…•\u00a0\u00ad"
_LATIN = (("cp1252", frozenset(_WESTERN)), ("cp1254", frozenset(_WESTERN + "ğşıĞŞİ")))
_FREQUENT = frozenset("оеаинтсрвлкмдпуяії")  # five of six letters of a text in Russian, most in its neighbours


def decode_text(data: bytes) -> str:
    """Text of any encoding; what can't be told becomes U+FFFD."""
    if (marked := find_marked_encoding(data)) is not None:
        return data.decode(marked, "replace")
    if data.isascii() and _ESCAPED in data:
        return data.decode("iso2022_jp_2", "replace")
    if (wide := detect_wide_encoding(data)) is not None:
        return data.decode(wide, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        flawed = data.decode("utf-8", "replace")
        wrong = flawed.count("\ufffd")
        if 20 * wrong < sum(sign > "\x7f" for sign in flawed) - wrong:
            return flawed  # UTF-8 that was cut off, or has a stray byte
        return data.decode(_guess_encoding(data, error.start), "replace")


def detect_wide_encoding(data: bytes) -> str | None:
    """UTF-16 without a mark: one byte (mostly zero) rules every second place, and all of it can be shown."""
    some = data[:_LOOKED_AT]
    if len(data) % 2 or b"\x00" not in some:
        return None
    for encoding, ruled, free in (("utf-16-le", some[1::2], some[::2]), ("utf-16-be", some[::2], some[1::2])):
        often = Counter(ruled).most_common(1)[0][1]
        if 20 * free.count(0) >= len(free) or 3 * often < len(ruled):
            continue
        text = some.decode(encoding, "replace")
        if sum(sign.isprintable() or sign in "\r\n\t" for sign in text) > 0.98 * len(text):
            return encoding
    return None


def _guess_encoding(data: bytes, first: int) -> str:
    """The encoding of what is not UTF-8; `first` is where that shows."""
    if (declared := _find_declared_encoding(data)) is not None:
        return declared
    some = _remove_markup(data[max(0, first - 1000) :][:_LOOKED_AT])
    foreign = bytes(byte for byte in some if byte > 127)
    is_latin = _is_latin(some)
    if not is_latin:
        for encoding in _CYRILLIC:
            if sum(sign in _FREQUENT for sign in foreign.decode(encoding, "replace")) > 0.8 * len(foreign):
                return encoding
    for encoding, alphabet in _LATIN if is_latin else ():
        if sum(sign in alphabet for sign in foreign.decode(encoding, "replace")) > 0.97 * len(foreign):
            return encoding
    from charset_normalizer import from_bytes

    best = from_bytes(some).best()
    return best.encoding if best is not None and best.encoding != "ascii" else "cp1252"


def _find_declared_encoding(data: bytes) -> str | None:
    """The encoding that a page names, unless its bytes belie it."""
    declaration = _DECLARED.search(data[:4096])
    try:
        encoding = "" if declaration is None else codecs.lookup(declaration[1].decode()).name
        encoding = _MEANT.get(encoding, encoding)
        if not encoding or encoding.startswith("utf"):
            return None
        text = data[:_LOOKED_AT].decode(encoding, "strict" if len(data) <= _LOOKED_AT else "ignore")
    except (LookupError, UnicodeError):
        return None
    foreign = [sign for sign in text if sign > "\x7f"]
    alphabet = dict(_LATIN).get(encoding)
    usual = sum(sign in alphabet if alphabet else not sign.isspace() for sign in foreign)
    is_belied = alphabet is not None and not _is_latin(_remove_markup(data[:_LOOKED_AT]))
    return encoding if usual > 0.97 * len(foreign) and not is_belied else None


def _remove_markup(data: bytes) -> bytes:
    """A page's bytes without its tags, scripts and styles."""
    return _TAG.sub(b" ", remove_elements(data, _UNSHOWN, _UNSHOWN_END, b" "))


def _is_latin(some: bytes) -> bool:
    """Whether bytes above ASCII stand alone among ASCII's letters, and not in words of their own."""
    return 2 * sum(map(len, _FOREIGN_RUN.findall(some))) < sum(byte > 127 for byte in some)

"""Bytes → text, whatever they were written in: marks, UTF-8 with a flaw, wide letters, Cyrillic, else a guess."""

import codecs
import re
from collections import Counter
from contextlib import suppress

from lib.files.text import marked_encoding

_ESCAPED = b"\x1b$B"  # here Japanese begins in ISO-2022
_LOOKED_AT = 200_000
_DECLARED = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?([\w-]{2,30})""", re.IGNORECASE)
_CYRILLIC = ("cp1251", "koi8-r", "cp866", "iso8859-5")
_WESTERN = "àáâãäåæçèéêëìíîïñòóôõöøùúûüÿœßÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜŒ«»¿¡°§ªº€£·–—‘’“”„…•\u00a0\u00ad"
_LATIN = (("cp1252", frozenset(_WESTERN)), ("cp1254", frozenset(_WESTERN + "ğşıĞŞİ")))
_FREQUENT = frozenset("оеаинтсрвлкмдпуяії")  # five of six letters of a text in Russian, most in its neighbours


def decoded(data: bytes) -> str:
    """Text of any encoding; what can't be told becomes U+FFFD."""
    if (marked := marked_encoding(data)) is not None:
        return data.decode(marked, "replace")
    if data.isascii() and _ESCAPED in data:
        return data.decode("iso2022_jp_2", "replace")
    if (wide := wide_encoding(data)) is not None:
        return data.decode(wide, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        flawed = data.decode("utf-8", "replace")
        wrong = flawed.count("\ufffd")
        if 20 * wrong < sum(sign > "\x7f" for sign in flawed) - wrong:
            return flawed  # UTF-8 that was cut off, or has a stray byte
        return data.decode(_guessed(data, error.start), "replace")


def wide_encoding(data: bytes) -> str | None:
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


def _guessed(data: bytes, first: int) -> str:
    """The encoding of what is not UTF-8; `first` is where that shows."""
    if (declared := _DECLARED.search(data[:2048])) is not None:
        with suppress(LookupError):
            return codecs.lookup(declared[1].decode()).name
    some = data[max(0, first - 1000) :][:_LOOKED_AT]
    foreign = bytes(byte for byte in some if byte > 127)
    letters = sum(chr(byte).isalpha() for byte in some if byte < 128)
    if len(foreign) > letters:
        for encoding in _CYRILLIC:
            if sum(sign in _FREQUENT for sign in foreign.decode(encoding, "replace")) > 0.8 * len(foreign):
                return encoding
    for encoding, alphabet in _LATIN if len(foreign) <= letters else ():
        if sum(sign in alphabet for sign in foreign.decode(encoding, "replace")) > 0.97 * len(foreign):
            return encoding
    from charset_normalizer import from_bytes

    best = from_bytes(some).best()
    return best.encoding if best is not None and best.encoding != "ascii" else "cp1252"

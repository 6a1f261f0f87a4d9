"""Masking what is private in a text: `mask(text)`.

E-mail addresses, phone numbers, IBANs (checked modulo 97), payment cards (checked by Luhn's formula), IPv4 and IPv6
addresses; besides, everything that `redact` hides: keys by their shape and this installation's own. A mask names its
kind. Where a number can't be told apart the mask takes more rather than less.
"""

import ipaddress
import re
from collections.abc import Callable

from lib.patterns import compile_pattern
from lib.providers.redaction import redact

_EMAIL = compile_pattern(
    r"(?<![\w.%+\-])[\w.%+\-]++(?:@|＠|\s?\(at\)\s?|\s?\[at\]\s?)[\w\-]++(?:\.[\w\-]++)++",
)
_IBAN = compile_pattern(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ \-\u00a0]?[A-Za-z0-9]){11,30}")
_DIGITS = compile_pattern(r"(?<!\d)\d(?:[ \-.\u00a0]?\d){12,}+")
_GROUP = compile_pattern(r"\d+")
_IPV4 = compile_pattern(
    r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d]|\.\d)",
)
_IPV6 = compile_pattern(
    r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}(?:[0-9A-Fa-f]{1,4}|(?:\d{1,3}\.){3}\d{1,3})?(?![\w:])",
)
_PHONE = compile_pattern(
    r"""
    (?<![\w.\-])(?:\+|00)[\ \-]?\d(?:[\ \-./()\u00a0]{0,2}\d){6,14}(?!\d)         # +49 30 1234567, 0049 (0)30 …
    | (?<![\w.,\-/])\(?0\d{1,5}\)?[\ \-/.\u00a0]{1,3}\d{2,}+(?:[\ \-.\u00a0]?\d{2,}+)*+(?!\d)  # 030 1234567, (030) 12
    | (?<![\w.,\-/])0\d{8,12}(?![\w.])                                           # 01701234567
    | (?<![\w.,\-])(?:1[\ \-.])?(?:\(\d{3}\)\ ?|\d{3}[\ \-.])\d{3}[\ \-.]\d{4}(?![\d\-])  # (415) 555-2671
    """,
    re.VERBOSE,
)
_LONGEST_CARD = 19
_SHORTEST_CARD = 13
_SHORTEST_IBAN = 15


def mask(text: str) -> str:
    """`text` with what is private replaced by `[e-mail]`, `[iban]`, `[card]`, `[ip]`, `[phone]` and `[hidden]`."""
    text = redact(text)
    text = _EMAIL.sub("[e-mail]", text)
    text = _IBAN.sub(_mask_iban, text)
    text = _DIGITS.sub(_mask_card, text)
    text = _IPV4.sub("[ip]", text)
    text = _IPV6.sub(_mask_ipv6, text)
    return _PHONE.sub("[phone]", text)


def is_iban(text: str) -> bool:
    """ISO 13616: the first four signs moved to the end, letters as numbers, modulo 97 is 1."""
    return int("".join(str(int(sign, 36)) for sign in text[4:] + text[:4])) % 97 == 1


def is_card(digits: str) -> bool:
    """A payment card's beginning and Luhn's check digit."""
    doubled = [int(digit) * (2 if position % 2 else 1) for position, digit in enumerate(reversed(digits))]
    return digits[0] in "23456" and sum(number // 10 + number % 10 for number in doubled) % 10 == 0


def _mask_iban(match: re.Match[str]) -> str:
    """The longest beginning that is an IBAN; words may have been taken for its end."""
    text = match[0]
    ends = _find_ends(match[0], str.isalnum)
    for length in range(len(ends), _SHORTEST_IBAN - 1, -1):
        if is_iban("".join(filter(str.isalnum, text[: ends[length - 1]]))):
            return "[iban]" + text[ends[length - 1] :]
    return text


def _mask_card(match: re.Match[str]) -> str:
    """Every stretch of whole groups that together are a card's number of 13 to 19 digits, the longest first."""
    groups = list(_GROUP.finditer(match[0]))
    pieces = []
    last = 0
    first = 0
    while first < len(groups):
        digits = ""
        end = 0
        for number in range(first + 1, min(first + _LONGEST_CARD, len(groups)) + 1):
            digits += groups[number - 1][0]
            if len(digits) > _LONGEST_CARD:
                break
            if len(digits) >= _SHORTEST_CARD and is_card(digits):
                end = number
        if end:
            pieces.append(match[0][last : groups[first].start()])
            last = groups[end - 1].end()
        first = max(end, first + 1)
    return "[card]".join([*pieces, match[0][last:]])


def _find_ends(text: str, counts: Callable[[str], bool]) -> list[int]:
    """Where the first, second, third … of the counted signs ends."""
    return [position + 1 for position, sign in enumerate(text) if counts(sign)]


def _mask_ipv6(match: re.Match[str]) -> str:
    try:
        ipaddress.IPv6Address(match[0])
    except ValueError:
        return match[0]
    return match[0] if match[0] == "::" else "[ip]"

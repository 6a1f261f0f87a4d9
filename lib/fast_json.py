"""JSON where a call passes thousands of times a second: msgspec's, and the standard library's where that is stricter.

msgspec refuses what JSON does not allow but Python's module takes and gives: lone surrogates, NaN, broken UTF-8.

msgspec learns what a struct's fields are when it first meets the struct. A second thread that meets it meanwhile takes
what the first has not finished, and the process dies of a segmentation fault (msgspec 0.22). `convert_struct` and
`decode_struct` let one thread learn at a time; nothing else here reads structs while threads run.
"""

import hashlib
import json
import math
import threading
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_decode_exact = msgspec.json.Decoder(float_hook=Decimal).decode
_strictly = json.JSONEncoder(separators=(",", ":"), default=str, allow_nan=False).encode
_encode_sorted = msgspec.json.Encoder(enc_hook=str, order="sorted").encode
_strictly_sorted = json.JSONEncoder(separators=(",", ":"), default=str, sort_keys=True).encode
S = TypeVar("S", bound=msgspec.Struct)
_learning = threading.Lock()
_decoders: dict[type, Any] = {}
_FAILURES = (msgspec.MsgspecError, UnicodeError, TypeError, OverflowError)


def encode(value: Any) -> bytes:
    r"""Encode a value as JSON in UTF-8; what UTF-8 can't hold is escaped as in \ud800."""
    try:
        return _encode(value)
    except _FAILURES:
        return _encode_slowly(value).encode()


def encode_text(value: Any) -> str:
    """Encode a value as JSON text."""
    try:
        return _encode(value).decode()
    except _FAILURES:
        return _encode_slowly(value)


def hash_json(value: Any) -> str:
    """Compute the SHA-256, in hexadecimal, of a value as JSON with sorted keys, whatever its texts hold."""
    try:
        written = _encode_sorted(value)
    except _FAILURES:
        written = _strictly_sorted(value).encode()
    return hashlib.sha256(written).hexdigest()


def _encode_slowly(value: Any) -> str:
    """Encode what msgspec refuses; numbers that JSON has no word for become null, as with msgspec."""
    try:
        return _strictly(value)
    except ValueError:
        return _strictly(_make_finite(value))


def _make_finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _make_finite(member) for name, member in value.items()}
    return [_make_finite(member) for member in value] if isinstance(value, list | tuple) else value


def decode(data: bytes | str, *, exact: bool = False) -> Any:
    """Decode a JSON document; raises ValueError or RecursionError for anything else. `exact`: fractions as Decimal."""
    fast: Callable[[bytes | str], Any] = _decode_exact if exact else _decode
    try:
        return fast(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
        return json.loads(text, parse_float=Decimal if exact else None)


def convert_struct(document: Mapping[str, Any], kind: type[S], *, strict: bool = True) -> S:
    """Convert a decoded document to a struct; raises msgspec.ValidationError. Not `strict`: texts count as numbers."""
    _get_decoder(kind)
    return msgspec.convert(document, kind, strict=strict)


def decode_struct(text: bytes | str, kind: type[S]) -> S:
    """Decode JSON as a struct; raises msgspec.DecodeError, or ValidationError for JSON that is none of this kind."""
    struct: S = _get_decoder(kind).decode(text)
    return struct


def _get_decoder(kind: type[S]) -> Any:
    decoder = _decoders.get(kind)
    if decoder is None:
        with _learning:
            decoder = _decoders[kind] = _decoders.get(kind) or msgspec.json.Decoder(kind)
    return decoder

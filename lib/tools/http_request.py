"""An HTTP tool's request: templates for path, query and body, filled with a run's arguments.

A place is written `{{city}}`. In the path a value is percent-encoded, and may not lead to another one (`..`); the host
holds no place. A query's or body's text that is one place alone stands for the value itself, and is left out where the
argument is; within other words it is written as text. Without a body template, POST, PUT and PATCH send the arguments
that stand nowhere else as JSON.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import Struct, field

from lib.errors import InvalidInput
from lib.fast_json import encode, encode_text
from lib.patterns import compile_pattern
from lib.providers import hosts

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")
WITH_BODY = ("POST", "PUT", "PATCH")
LONGEST_ADDRESS = 8_000
_PLACE = compile_pattern(r"\{\{[ \t]{0,9}([^\W\d]\w{0,63})[ \t]{0,9}\}\}")
_HEADER_NAME = compile_pattern(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,100}")
_OWN_HEADERS = frozenset(("host", "content-length", "transfer-encoding", "connection", "upgrade", "accept-encoding"))
_MOST_HEADERS = 20
_MOST_QUERIES = 50
_ABSENT = object()


class HttpTemplate(Struct, frozen=True):
    """The request of an HTTP tool. `url` ends before the query; `body` is any JSON, None for no template."""

    url: str
    method: str = "GET"
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)  # that are no secret
    allow_private: bool = False


class FilledRequest(Struct, frozen=True):
    """A request ready to be sent."""

    method: str
    address: str
    headers: Mapping[str, str]
    body: bytes


def check_template(template: HttpTemplate, parameters: Mapping[str, Any]) -> HttpTemplate:
    """Check a request and that its places name parameters; raises InvalidInput with the field."""
    if template.method not in METHODS:
        raise InvalidInput(f"{template.method[:20]!r} is no method.", "", f"Use {', '.join(METHODS)}.", field="method")
    head, slashes, location = template.url.strip().partition("://")
    host, _, path = location.partition("/")
    if _PLACE.search(host) or "{" in host or not slashes:
        raise InvalidInput("The address can't be used.", "A host is fixed.", "Put places into the path.", field="url")
    hosts.check(f"{head}://{host}/" + _PLACE.sub("x", path), allow_private=template.allow_private)
    if len(template.query) > _MOST_QUERIES:
        raise InvalidInput(f"A query has at most {_MOST_QUERIES} parts.", field="query")
    check_headers(template.headers)
    parameter_names = set(parameters.get("properties", {}))
    if unknown := sorted(_list_places(template) - parameter_names):
        why = f"{', '.join(unknown)[:100]} is none of the tool's parameters."
        raise InvalidInput("A place has no parameter.", why, "Add it to the parameters.", field="parameters")
    return template


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Check headers that a tool sends; raises InvalidInput (field `headers`)."""
    for name, text in headers.items():
        is_usable = _HEADER_NAME.fullmatch(name) and name.lower() not in _OWN_HEADERS
        if not is_usable or any(sign in text for sign in "\r\n\0") or len(text) > LONGEST_ADDRESS:
            raise InvalidInput(f"The header {name[:60]} can't be sent.", "", "Correct it.", field="headers")
    if len(headers) > _MOST_HEADERS:
        raise InvalidInput(f"A tool sends at most {_MOST_HEADERS} headers.", field="headers")
    return dict(headers)


def fill(template: HttpTemplate, arguments: Mapping[str, Any], secrets: Mapping[str, str]) -> FilledRequest:
    """Fill a request with arguments; InvalidInput where a path's value is missing or leads elsewhere."""
    address = _PLACE.sub(lambda placeholder: _fill_path(placeholder[1], arguments), template.url.strip())
    pairs = [(name, _fill(text, arguments)) for name, text in template.query.items()]
    query = urlencode([pair for name, filled in pairs for pair in _build_query_pairs(name, filled)])
    if query:
        address += "?" + query
    if len(address) > LONGEST_ADDRESS:
        raise InvalidInput("The address is too long.", f"It may have {LONGEST_ADDRESS:,} characters.")
    headers = {"user-agent": "llm-manager", "accept": "*/*", **template.headers, **secrets}
    body = b""
    if (document := _fill_body(template, arguments)) is not _ABSENT:
        body = encode(document)
        headers.setdefault("content-type", "application/json")
    return FilledRequest(template.method, address, headers, body)


def _fill_body(template: HttpTemplate, arguments: Mapping[str, Any]) -> Any:
    if template.body is not None:
        return _fill(template.body, arguments)
    if template.method not in WITH_BODY:
        return _ABSENT
    used = _list_places(template)
    return {name: argument for name, argument in arguments.items() if name not in used}


def _fill_path(name: str, arguments: Mapping[str, Any]) -> str:
    if name not in arguments:
        raise InvalidInput(f"The argument {name} is missing.", "It stands in the address.")
    text = _convert_to_text(arguments[name])
    parts = text.replace("\\", "/").split("/")
    if not text or any(part in (".", "..") for part in parts):
        raise InvalidInput(f"The argument {name} can't stand in an address.", "It is empty or leads elsewhere.")
    return quote(text, safe="")


def _fill(part: Any, arguments: Mapping[str, Any]) -> Any:
    match part:
        case str():
            if (whole := _PLACE.fullmatch(part.strip())) is not None:
                return arguments.get(whole[1], _ABSENT)
            return _PLACE.sub(lambda placeholder: _convert_to_text(arguments.get(placeholder[1], "")), part)
        case Mapping():
            filled = {str(name): _fill(inner, arguments) for name, inner in part.items()}
            return {name: inner for name, inner in filled.items() if inner is not _ABSENT}
        case list():
            return [inner for inner in (_fill(element, arguments) for element in part) if inner is not _ABSENT]
        case _:
            return part


def _build_query_pairs(name: str, filled: Any) -> list[tuple[str, str]]:
    """A part of the query, one for each of a list."""
    if filled is _ABSENT or filled is None:
        return []
    return [(name, _convert_to_text(part)) for part in (filled if isinstance(filled, list) else [filled])]


def _convert_to_text(argument: Any) -> str:
    if isinstance(argument, str):
        return argument
    return "" if argument is None else encode_text(argument)


def _list_places(part: Any) -> set[str]:
    match part:
        case HttpTemplate():
            return _list_places([part.url, part.query, part.body])
        case str():
            return set(_PLACE.findall(part))
        case Mapping():
            return _list_places(list(part.values()))
        case list():
            return {name for inner in part for name in _list_places(inner)}
        case _:
            return set()

"""The proxies that lead outside: none, unless the operator says that those of the environment are to be used.

A proxy resolves names itself, so that what was judged here need not be what it connects to: using one hands the rules
for private addresses to whoever runs it. Therefore `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` count only where
`LLM_MANAGER_USE_PROXY` is set (docs/configuration.md).
"""

import base64
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from lib.errors import InstallationError


class Proxy(NamedTuple):
    """Where a proxy listens, in plain HTTP; `authorization` is the header's value, or empty."""

    host: str
    port: int
    authorization: str


class _Proxies(NamedTuple):
    plain: Proxy | None
    tls: Proxy | None
    exempt: tuple[str, ...]


_NONE = _Proxies(None, None, ())
_used = _NONE


def use_proxies(environment: Mapping[str, str]) -> None:
    """Use the proxies of these variables from now on (none: an empty mapping); InstallationError for a bad one."""
    global _used
    values = {name.lower(): value.strip() for name, value in environment.items() if value.strip()}
    entries = [entry.strip().lower() for entry in values.get("no_proxy", "").split(",")]
    exempt = tuple(entry.lstrip("*.") for entry in entries if entry)
    for_all = values.get("all_proxy", "")
    _used = _Proxies(_parse(values.get("http_proxy", for_all)), _parse(values.get("https_proxy", for_all)), exempt)


def find_proxy(is_tls: bool, host: str, port: int) -> Proxy | None:
    """The proxy to reach a host by, or None to connect to it directly."""
    if _used is _NONE:
        return None
    name = host.lower()
    for entry in _used.exempt:
        if entry in ("", f"{name}:{port}", name) or name.endswith("." + entry):  # "*" stands as an empty entry
            return None
    return _used.tls if is_tls else _used.plain


def _parse(text: str) -> Proxy | None:
    if not text:
        return None
    parts = urlsplit(text if "://" in text else f"http://{text}")
    try:
        port = parts.port or 3128
    except ValueError:
        port = 0
    if parts.scheme != "http" or not parts.hostname or not port:
        raise InstallationError(
            "A proxy's address can't be used.",
            "Only proxies that are spoken to in plain HTTP are.",
            "Write it like http://proxy.example.com:3128, or unset LLM_MANAGER_USE_PROXY.",
        )
    authorization = ""
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    return Proxy(parts.hostname, port, authorization)

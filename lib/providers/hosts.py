"""Where a base URL may point: public hosts, and private ones only where an administrator allowed them.

Without this, a provider's address would be a way to reach the server's own network (cloud metadata, databases, admin
pages). Checked when an address is saved, and again at every connection, which goes to the very addresses that were
judged (`adapters/http_client.py`): a name asked twice may answer twice. IPv4 addresses hidden in IPv6 forms (mapped,
NAT64, 6to4, Teredo) are taken out and judged themselves.
"""

import ipaddress
import socket
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from lib.errors import InvalidInput
from lib.patterns import compile_pattern

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_SIGNS = compile_pattern(r"[A-Za-z0-9:/?#\[\]@!$&'()*+,;=._~%\-]+")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_PRIVATE_BY_RULE = (ipaddress.ip_network("192.0.0.0/24"), ipaddress.ip_network("64:ff9b:1::/48"))


def check(base_url: str, *, allow_private: bool) -> str:
    """The host of a base URL that may be used; InvalidInput (field `base_url`) otherwise. Resolves the name."""
    parts = parse(base_url)
    host = parts.hostname or ""
    if allow_private:
        return host
    refuse_private(host, _resolve(host))
    return host


def refuse_private(host: str, addresses: Sequence[str]) -> None:
    """InvalidInput (field `base_url`) when one of a name's addresses is private, or the name is a private host's."""
    private = any(is_private(ipaddress.ip_address(address.partition("%")[0])) for address in addresses)
    if private or host.lower() == "localhost" or host.lower().endswith((".localhost", ".internal", ".local")):
        raise InvalidInput(
            f"{host} is a private address.",
            "A provider on this machine or inside your network must be allowed by name.",
            "Tick “Allow private hosts” for this provider if the address is meant.",
            field="base_url",
        )


def parse(base_url: str) -> SplitResult:
    """The parts of a base URL; InvalidInput when it is not an http(s) address, or carries a name and password."""
    try:
        parts = urlsplit(base_url.strip())
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or not _SIGNS.fullmatch(base_url.strip()):
        raise InvalidInput(
            "The base URL can't be read.", "", "Write it like https://api.example.com/v1.", field="base_url"
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InvalidInput(
            "The base URL holds more than an address.",
            "User names, passwords, queries and fragments would end up in logs.",
            "Put the key into the key field.",
            field="base_url",
        )
    return parts


def parse_host(base_url: str) -> str:
    """`host:port` in lower case: what a key is bound to."""
    parts = parse(base_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}"


def is_private(address: _Address) -> bool:
    """Whether an address is anything but public, embedded IPv4 addresses included."""
    inner = _find_embedded(address)
    if inner is not None:
        return is_private(inner)
    if any(address in network for network in _PRIVATE_BY_RULE if network.version == address.version):
        return True
    return not address.is_global or address.is_multicast


def _find_embedded(address: _Address) -> ipaddress.IPv4Address | None:
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


def _resolve(host: str) -> list[str]:
    """Every address of a name now; none when it can't be resolved (the connection will say so itself)."""
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [str(entry[4][0]) for entry in entries]

"""`Cache-Control` of a request, as RFC 9111 defines its directives, and what an answer says of where it came from.

`no-store` neither reads nor keeps a remembered answer, `no-cache` asks the model and keeps what it says, `max-age=N`
takes an answer that is at most N seconds old. Whatever else stands there is passed over.
"""

from collections.abc import Mapping

from lib.calls.request import CachePolicy
from lib.patterns import read_whole_number

HEADER = b"cache-control"
_LARGEST_AGE = 366 * 86_400


def read_cache_policy(headers: Mapping[bytes, bytes]) -> CachePolicy | None:
    """Read the request's `Cache-Control` header as a policy for remembered answers; None without one."""
    if not (line := headers.get(HEADER)):
        return None
    reads: bool | None = None
    writes: bool | None = None
    ttl_s: float | None = None
    for directive in line.decode("latin-1").lower().split(",")[:20]:
        name, _, number = directive.strip().partition("=")
        if name == "no-store":
            reads = writes = False
        elif name == "no-cache":
            reads = False
        elif name == "max-age" and (seconds := read_whole_number(number.strip('"'))) is not None:
            ttl_s = min(seconds, _LARGEST_AGE)
    return None if (reads, writes, ttl_s) == (None, None, None) else CachePolicy(reads, writes, ttl_s)

"""Fetches a document from a public address; every hop of a redirect is judged like the first."""

from urllib.parse import urljoin, urlsplit

from lib.errors import InvalidInput
from lib.providers import hosts

_MOST_HOPS, _SLOWEST_S = 5, 30.0


def fetch(url: str, most: int) -> bytes:
    """The bytes at an http(s) address; InvalidInput for private addresses, failures and more than `most` bytes."""
    import httpx

    with httpx.Client(follow_redirects=False, timeout=_SLOWEST_S, headers={"user-agent": "llm-manager"}) as client:
        for _ in range(_MOST_HOPS + 1):
            _check(url)
            try:
                with client.stream("GET", url) as response:
                    if response.is_redirect:
                        url = urljoin(url, response.headers.get("location", ""))
                        continue
                    if response.status_code != 200:
                        raise _failed(url, f"It answered with status {response.status_code}.")
                    data = bytearray()
                    for part in response.iter_bytes():
                        data += part
                        if len(data) > most:
                            raise _failed(url, f"It has more than {most // 1024**2} MB.")
                    return bytes(data)
            except httpx.HTTPError as error:
                raise _failed(url, f"The connection failed: {type(error).__name__}.") from error
    raise _failed(url, f"It redirects more than {_MOST_HOPS} times.")


def _check(url: str) -> None:
    parts = urlsplit(url)
    try:
        hosts.check(parts._replace(query="", fragment="").geturl(), allow_private=False)
    except InvalidInput as error:
        raise _failed(url, error.title if "private" in error.title else "It is no public http(s) address.") from error


def _failed(url: str, why: str) -> InvalidInput:
    return InvalidInput(f"{url[:200]} can't be fetched.", why, "", "url")

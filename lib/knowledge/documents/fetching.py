"""Fetches a document from a public address; every hop of a redirect is judged like the first.

The whole of it has a minute, however slowly it comes, and what is packed is unpacked no further than a document may be
long: the limits and the judgement of addresses are those of the HTTP client that everything uses.
"""

import asyncio
import socket
from urllib.parse import quote, urljoin

from lib.errors import InvalidInput
from lib.providers.adapters.asking import HttpResponse, ask
from lib.providers.adapters.http_client import Client
from lib.providers.adapters.unpacking import AnswerTooLarge

_MOST_HOPS = 5
WHOLE_S = 60.0
_HEADERS = {"user-agent": "llm-manager", "accept": "*/*"}
_REDIRECTS = (301, 302, 303, 307, 308)


def fetch(url: str, most: int) -> bytes:
    """The bytes at an http(s) address; InvalidInput for private addresses, failures and more than `most` bytes.

    It has an event loop of its own: call it from a thread that runs none.
    """
    return asyncio.run(_fetch_within(url, most))


async def _fetch_within(url: str, most: int) -> bytes:
    client = Client()
    loop = asyncio.get_running_loop()
    until = loop.time() + WHOLE_S
    try:
        for _ in range(_MOST_HOPS + 1):
            answer = await _ask(client, url, most, until - loop.time())
            if answer.status in _REDIRECTS:
                url = urljoin(url, answer.headers.get("location", ""))
                continue
            if answer.status != 200:
                raise _fetch_error(url, f"It answered with status {answer.status}.")
            return answer.body
    finally:
        client.close()
    raise _fetch_error(url, f"It redirects more than {_MOST_HOPS} times.")


async def _ask(client: Client, url: str, most: int, seconds: float) -> HttpResponse:
    try:
        return await ask(client, "GET", _encode_ascii(url), _HEADERS, seconds=seconds, most=most)
    except InvalidInput as error:
        is_private = "private" in error.title
        raise _fetch_error(url, error.title if is_private else "It is no public http(s) address.") from error
    except AnswerTooLarge as error:
        raise _fetch_error(url, f"It has more than {most // 1024**2} MB.") from error
    except TimeoutError as error:
        raise _fetch_error(url, f"It took longer than {WHOLE_S:.0f} seconds.") from error
    except (OSError, UnicodeError) as error:
        why = "Its host was not found." if isinstance(error.__cause__, socket.gaierror) else ""
        raise _fetch_error(url, why or f"The connection failed: {type(error).__name__}.") from error


def _encode_ascii(url: str) -> str:
    """With a host in letters of its own as names are looked up, and a path as paths are sent."""
    head, slashes, location = url.strip().partition("://")
    host, slash, path = location.partition("/")
    if not host.isascii():
        host = host.encode("idna").decode()
    return head + slashes + host + slash + quote(path, safe="%/:?#[]@!$&'()*+,;=~-._")


def _fetch_error(url: str, why: str) -> InvalidInput:
    return InvalidInput(f"{url[:200]} can't be fetched.", why, "", "url")

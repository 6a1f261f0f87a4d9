"""Documents from addresses: public ones are fetched, wherever a name or a redirect leads is judged, all has an end."""

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from lib.errors import InvalidInput
from lib.knowledge.documents import fetching
from lib.providers import hosts

pytestmark = pytest.mark.feature("RAG-1")
MOST = 1024 * 1024
BOMB = gzip.compress(b"\0" * 20 * MOST)
PACKED = gzip.compress(b"packed words " * 20)

PAGE = b"<html><body><p>Some words.</p></body></html>"
ANSWERS: dict[str, tuple[int, dict[str, str], bytes]] = {  # by the last part of the path; a page for any other
    "gone": (404, {}, PAGE),
    "loop": (302, {"location": "/loop"}, PAGE),
    "moved": (301, {"location": "/page"}, PAGE),
    "inside": (302, {"location": "http://127.0.0.2:9/admin"}, PAGE),
    "file": (302, {"location": "file:///etc/passwd"}, PAGE),
    "large": (200, {}, b"x" * (MOST + 1)),
    "packed": (200, {"content-encoding": "gzip"}, PACKED),
    "cut": (200, {"content-encoding": "gzip"}, PACKED[:-9]),
    "bomb": (200, {"content-encoding": "gzip"}, BOMB),
    "twice": (200, {"content-encoding": "gzip, gzip"}, gzip.compress(gzip.compress(b"\0" * MOST))),
    "slow": (200, {}, b""),
}


class Site(BaseHTTPRequestHandler):
    """Answers by path, and remembers which host was asked for."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.headers["host"])
        status, headers, body = ANSWERS.get(self.path.rpartition("/")[2], (200, {}, PAGE))
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            while self.path == "/slow":
                self.wfile.write(b".")
                time.sleep(0.05)
        except OSError:
            pass  # whoever asked has had enough

    def log_message(self, *given: object) -> None:
        """Say nothing."""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A site at docs.example.com, a name that leads here but for this fixture leads nowhere."""
    Site.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    lead = {"docs.example.com": "127.0.0.1", "127.0.0.2": "127.0.0.2", "inside.example.com": "10.0.0.7"}

    def resolve(host: str, port: int, **_: Any) -> Any:
        if host not in lead:
            raise socket.gaierror("Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (lead[host], port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(hosts, "is_private", lambda address: str(address) != "127.0.0.1")
    yield f"http://docs.example.com:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("path", ["page", "moved", "Größe"])
def test_a_public_page_is_fetched_by_the_address_that_was_judged(site: str, path: str) -> None:
    assert b"Some words" in fetching.fetch(f"{site}/{path}", MOST)
    assert set(Site.asked) == {site.removeprefix("http://")}


def test_what_is_packed_is_unpacked(site: str) -> None:
    assert fetching.fetch(f"{site}/packed", MOST) == b"packed words " * 20


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("gone", "status 404"),
        ("loop", "redirects more than"),
        ("inside", "127.0.0.2 is a private address"),
        ("file", "no public"),
        ("large", "more than 1 MB"),
        ("bomb", "more than 1 MB"),
        ("cut", "connection failed"),
        ("twice", "connection failed"),
    ],
)
def test_what_is_not_fetched_says_why(site: str, path: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        fetching.fetch(f"{site}/{path}", MOST)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://inside.example.com/", "inside.example.com is a private address"),
        ("http://nowhere.example.com/", "was not found"),
        ("file:///etc/passwd", "no public"),
        ("http://name:word@docs.example.com/", "no public"),
        ("http://[::1", "no public"),
        ("words", "no public"),
    ],
)
def test_addresses_that_are_not_public_are_not_asked(site: str, url: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        fetching.fetch(url, MOST)
    assert Site.asked == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "169.254.169.254", "2130706433", "[::ffff:10.0.0.1]", "0"])
def test_no_spelling_of_a_private_address_is_asked(host: str) -> None:
    with pytest.raises(InvalidInput, match="private address"):
        fetching.fetch(f"http://{host}/latest/meta-data", MOST)


def test_a_body_that_drips_has_an_end(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "WHOLE_S", 0.3)
    with pytest.raises(InvalidInput, match="took longer"):
        fetching.fetch(f"{site}/slow", MOST)

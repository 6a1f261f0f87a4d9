"""The relay's HTTP: answers in every framing and cut anywhere, connections kept and given up, addresses judged."""

import asyncio
import itertools
import ssl
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.clock import utc_now
from lib.errors import InvalidInput
from lib.providers.adapters import http_client
from lib.providers.adapters.dialling import ConnectError
from lib.providers.adapters.http_client import Client
from lib.providers.adapters.unpacking import RemoteProtocolError
from tests.waiting import CEILING_S

pytestmark = [pytest.mark.feature("GATE-1"), pytest.mark.feature("CFG-3")]
BODY = bytes(range(256)) * 40
DAY = timedelta(days=1)
Script = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Reads requests whole and lets a script answer them; `heads` and `connections` tell what came."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.script, self.tls = script, tls
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self.ended = asyncio.Event()

    async def __aenter__(self) -> "Server":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
                self.heads.append(head)
                self.bodies.append(await reader.readexactly(length))
                await self.script(self.bodies[-1], writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.ended.set()
            writer.close()


def answers(*parts: bytes, closes: bool = False) -> Script:
    """Sends the parts, each by itself."""

    async def script(_body: bytes, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        if closes:
            writer.close()

    return script


def sized(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    framed = b"".join(b"%x\r\n" % len(piece) + piece + b"\r\n" for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


async def ask(server: Server, client: Client, body: bytes = b"{}", **headers: str) -> tuple[int, bytes]:
    response = await client.post(f"http://127.0.0.1:{server.port}/v1/x", headers, body, allow_private=True)
    try:
        return response.status, await response.read()
    finally:
        response.close()


def run(script: Script, work: Callable[[Server, Client], Awaitable[None]]) -> None:
    async def scenario() -> None:
        async with Server(script) as server, asyncio.timeout(CEILING_S):
            client = Client()
            try:
                await work(server, client)
            finally:
                client.close()

    asyncio.run(scenario())


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["sized", "chunked", "until closed"]),
    st.integers(1, 4000),
    st.lists(st.integers(1, len(BODY) + 200), max_size=6),
)
def test_an_answer_is_whole_however_it_is_framed_and_cut(framing: str, size: int, cuts: list[int]) -> None:
    made = {"sized": sized(BODY), "chunked": chunked(BODY, size), "until closed": b"HTTP/1.1 200 OK\r\n\r\n" + BODY}
    whole, ends = made[framing], framing == "until closed"
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    parts = [whole[a:b] for a, b in itertools.pairwise(places)]

    async def work(server: Server, client: Client) -> None:
        for _ in range(2):
            assert await ask(server, client) == (200, BODY)
        assert server.connections == (2 if ends else 1)

    run(answers(*parts, closes=ends), work)


def test_a_request_arrives_as_it_was_given() -> None:
    async def work(server: Server, client: Client) -> None:
        large = b"x" * 3_000_000
        await ask(server, client, large, Authorization="Bearer sk-1", **{"X-Given": "über"})
        assert server.bodies == [large]
        assert server.heads[0].startswith(b"POST /v1/x HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % server.port)
        assert b"Authorization: Bearer sk-1\r\n" in server.heads[0]
        with pytest.raises(InvalidInput, match="header"):
            await ask(server, client, b"{}", **{"X-Given": "a\r\nX-More: b"})
        assert len(server.heads) == 1

    run(answers(sized(b"{}")), work)


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [sized(BODY)[:-1]],
        [chunked(BODY, 100)[:-9]],
        [b"HTTP/1.1 200 OK\r\nContent-"],
        [b"SSH-2.0-OpenSSH_9.2\r\n"],
        [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
        [b"HTTP/1.1 200 OK\r\n", *[b"X-Long: " + b"a" * 9000 + b"\r\n"] * 20],
    ],
)
def test_what_breaks_off_or_is_no_http_is_said(parts: list[bytes]) -> None:
    async def work(server: Server, client: Client) -> None:
        for _ in range(2):  # and the connection is not used again
            with pytest.raises(RemoteProtocolError):
                await ask(server, client)
        assert server.connections == 2

    run(answers(*parts, closes=True), work)


def test_hints_before_the_answer_are_passed_over() -> None:
    async def work(server: Server, client: Client) -> None:
        assert await ask(server, client) == (200, b"{}")

    run(answers(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", sized(b"{}")), work)


def test_a_connection_is_kept_only_after_a_whole_answer() -> None:
    async def work(server: Server, client: Client) -> None:
        await ask(server, client)
        await ask(server, client)
        assert server.connections == 1
        response = await client.post(f"http://127.0.0.1:{server.port}/", {}, b"{}", allow_private=True)
        response.close()  # with its body unread
        await ask(server, client)
        assert server.connections == 2

    run(answers(sized(BODY)[:200], sized(BODY)[200:]), work)


def test_a_connection_that_the_provider_closed_is_not_used_again() -> None:
    async def work(server: Server, client: Client) -> None:
        await ask(server, client)
        await asyncio.sleep(0.05)  # the end arrives
        await ask(server, client)
        assert server.connections == 2

    run(answers(sized(b"{}"), closes=True), work)


def test_a_reader_that_is_slow_slows_the_provider() -> None:
    sent = 0

    async def endless(_body: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while sent < 64_000_000:
            writer.write(b"x" * 64_000)
            await writer.drain()
            sent += 64_000

    async def work(server: Server, client: Client) -> None:
        response = await client.post(f"http://127.0.0.1:{server.port}/", {}, b"{}", allow_private=True)
        assert await response.part()
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 32_000_000
        response.close()

    run(endless, work)


def test_a_stopped_request_ends_its_connection() -> None:
    asked = asyncio.Event()

    async def silent(_body: bytes, _writer: asyncio.StreamWriter) -> None:
        asked.set()

    async def work(server: Server, client: Client) -> None:
        task = asyncio.create_task(ask(server, client))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.ended.wait()

    run(silent, work)


def test_private_addresses_and_closed_ports_are_refused_by_name() -> None:
    async def work(server: Server, client: Client) -> None:
        for host in ("127.0.0.1", "localhost", "[::1]", "169.254.169.254"):
            with pytest.raises(InvalidInput, match="private"):
                await client.post(f"http://{host}:{server.port}/", {}, b"{}")
        with pytest.raises(ConnectError):
            await client.post("http://127.0.0.1:1/", {}, b"{}", allow_private=True)
        with pytest.raises(ConnectError):
            await client.post("http://no-such-host.invalid/", {}, b"{}")
        assert server.connections == 0

    run(answers(sized(b"{}")), work)


def self_signed(name: str) -> bytes:
    """A key and its certificate, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = utc_now()
    made = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), now, now + DAY)
    named = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    pem = serialization.Encoding.PEM
    form, locked = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(pem, form, locked) + named.sign(key, hashes.SHA256()).public_bytes(pem)


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = tmp_path / "localhost.pem"
    certificate.write_bytes(self_signed("localhost"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)

    async def scenario() -> None:
        async with Server(answers(sized(b"{}")), tls) as server, asyncio.timeout(CEILING_S):
            client, address = Client(), f"https://localhost:{server.port}/"
            with pytest.raises(ConnectError):
                await client.post(address, {}, b"{}", allow_private=True)
            trusting = ssl.create_default_context(cafile=str(certificate))
            monkeypatch.setattr(http_client, "build_tls_context", lambda: trusting)
            response = await client.post(address, {}, b"{}", allow_private=True)
            assert await response.read() == b"{}"
            response.close()
            with pytest.raises(ConnectError):  # vouched for, but for another name
                await client.post(address.replace("localhost", "127.0.0.1"), {}, b"{}", allow_private=True)
            client.close()

    asyncio.run(scenario())

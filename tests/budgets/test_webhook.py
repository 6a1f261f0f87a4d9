"""The webhook: signed messages, sent once they are due, again when they fail, never along a redirect or into hiding."""

import hashlib
import hmac
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from lib.access.permissions import OPERATOR
from lib.budgets import outbox
from lib.budgets.webhook import Webhook
from lib.db.engine import Store
from lib.db.tables import installation_settings, webhook_outbox
from lib.db.vault import Vault
from lib.errors import InvalidInput, NotFound
from lib.settings import Settings
from tests.budgets.budget_rig import DOLLAR, NOW, Rig

pytestmark = pytest.mark.feature("COST-2")
SECRET = "a shared secret of the team"


class Receiver(HTTPServer):
    """Keeps what it is sent; answers with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.received = 200, []  # type: ignore[var-annotated]
        self.url = f"http://127.0.0.1:{self.server_port}/hook/t0ken"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, dict(self.headers), body))
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def vault(store: Store, tmp_path: Path) -> Vault:
    made = Vault(store, Settings(data_dir=tmp_path, database_url=""))
    made.open()
    return made


@pytest.fixture
def webhook(store: Store, vault: Vault, receiver: Receiver) -> Webhook:
    made = Webhook(store, vault)
    made.set(OPERATOR, url=receiver.url, secret=SECRET, allow_private=True)
    return made


def outbox_rows(store: Store) -> list[tuple[str, int, bool]]:
    with store.read() as connection:
        rows = connection.execute(select(webhook_outbox).order_by(webhook_outbox.c.id)).all()
    return [(row.event, row.attempts, row.due_at is not None) for row in rows]


def test_a_crossed_threshold_is_told_once_and_signed(store: Store, webhook: Webhook, receiver: Receiver) -> None:
    rig = Rig(store)
    rig.budget()
    rig.settle(rig.reserve(DOLLAR)[0], None)
    rig.settle(rig.reserve(6 * DOLLAR)[0], 6 * DOLLAR)
    assert webhook.deliver_due(NOW) == 1
    assert webhook.deliver_due(NOW + timedelta(days=1)) == 0
    ((path, headers, body),) = receiver.received
    assert path == "/hook/t0ken"
    assert headers["X-LLM-Manager-Event"] == "budget.threshold"
    seconds, signed = (part.partition("=")[2] for part in headers["X-LLM-Manager-Signature"].split(","))
    assert int(seconds) == int(NOW.timestamp())
    assert signed == hmac.new(SECRET.encode(), seconds.encode() + b"." + body, hashlib.sha256).hexdigest()
    told = json.loads(body)
    assert (told["threshold_percent"], told["spent_usd"], told["limit_usd"]) == (50, "6", "10")
    assert (told["spent_text"], told["unpriced_calls"]) == ("≥ $6.00 of $10.00", 1)
    assert told["budget"]["label"] == "tests"
    assert told["window"] == "October 2026"


@pytest.mark.parametrize("status", [302, 400, 503])
def test_what_is_not_taken_is_tried_again_later_and_later_then_given_up(
    store: Store, webhook: Webhook, receiver: Receiver, status: int
) -> None:
    receiver.status = status
    assert webhook.test(OPERATOR) == f"The receiver answered {status}."
    assert outbox_rows(store) == [("webhook.test", 1, True)]
    with store.read() as connection:
        first = connection.scalar(select(webhook_outbox.c.created_at))
    assert first is not None
    assert webhook.deliver_due(first + timedelta(seconds=29)) == 0
    assert len(receiver.received) == 1
    moment = first
    for tried in range(2, outbox.TRIES + 1):
        moment += timedelta(hours=6, seconds=1)
        webhook.deliver_due(moment)
        assert len(receiver.received) == tried
    assert outbox_rows(store) == [("webhook.test", outbox.TRIES, False)]
    assert {path for path, _, _ in receiver.received} == {"/hook/t0ken"}  # the redirect was not followed
    state = webhook.state(OPERATOR)
    assert state is not None
    assert (state.waiting, state.given_up, state.error) == (0, 1, f"The receiver answered {status}.")


def test_a_receiver_that_comes_back_gets_what_waited(store: Store, webhook: Webhook, receiver: Receiver) -> None:
    receiver.status = 503
    webhook.test(OPERATOR)
    receiver.status = 204
    with store.read() as connection:
        first = connection.scalar(select(webhook_outbox.c.created_at))
    assert first is not None
    assert webhook.deliver_due(first + timedelta(seconds=31)) == 1
    ids = [json.loads(body)["id"] for _, _, body in receiver.received]
    assert ids[0] == ids[1]  # the receiver can tell that it is the same message


def test_two_processes_do_not_send_the_same_message(store: Store, webhook: Webhook) -> None:
    with store.write() as connection:
        outbox.enqueue(connection, "webhook.test", {}, NOW)
    with store.write() as connection:
        assert len(outbox.claim(connection, NOW, 10)) == 1
    with store.write() as connection:
        assert outbox.claim(connection, NOW, 10) == []
        assert len(outbox.claim(connection, NOW + timedelta(minutes=3), 10)) == 1  # its process died


def test_address_and_secret_are_sealed_and_survive_a_new_master_key(
    store: Store, vault: Vault, webhook: Webhook, receiver: Receiver
) -> None:
    with store.read() as connection:
        stored = json.dumps(connection.scalar(select(installation_settings.c.value)))
    assert SECRET not in stored
    assert "t0ken" not in stored
    state = webhook.state(OPERATOR)
    assert state is not None
    assert "t0ken" not in repr(state)
    assert vault.reencrypt() == 1
    assert webhook.test(OPERATOR) is None
    assert len(receiver.received) == 1


def test_a_private_address_a_short_secret_and_no_webhook_are_refused(
    store: Store, vault: Vault, receiver: Receiver
) -> None:
    webhook = Webhook(store, vault)
    with pytest.raises(InvalidInput, match="private"):
        webhook.set(OPERATOR, url=receiver.url, secret=SECRET)
    with pytest.raises(InvalidInput) as caught:
        webhook.set(OPERATOR, url=receiver.url, secret="short", allow_private=True)
    assert caught.value.field == "secret"
    with pytest.raises(NotFound):
        webhook.test(OPERATOR)
    assert webhook.state(OPERATOR) is None
    rig = Rig(store)
    rig.budget()
    rig.settle(rig.reserve(9 * DOLLAR)[0], 9 * DOLLAR)
    assert outbox_rows(store) == []  # nobody to tell: nothing piles up


def test_a_name_that_leads_to_a_private_address_later_is_not_followed(
    store: Store, vault: Vault, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook, port = Webhook(store, vault), receiver.server_port
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [_entry("93.184.216.34", port)])
    webhook.set(OPERATOR, url=f"http://hooks.example.com:{port}/", secret=SECRET)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [_entry("127.0.0.1", port)])
    assert webhook.test(OPERATOR) == "hooks.example.com is a private address."
    assert receiver.received == []


def _entry(address: str, port: int) -> Any:
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))


@pytest.mark.feature("OPS-4")
def test_a_receiver_whose_answer_never_begins_or_never_ends_has_its_ten_seconds(store: Store, vault: Vault) -> None:
    made = Webhook(store, vault, whole_s=0.2)
    with drip(b"HTTP/1.1 200 OK\r\nX: ") as port:  # a head without end
        made.set(OPERATOR, url=f"http://127.0.0.1:{port}/", secret=SECRET, allow_private=True)
        assert made.test(OPERATOR) == "The receiver took longer than 0.2 s."
    with drip(b"HTTP/1.1 200 OK\r\n\r\n") as port:  # a body without end, which nobody reads
        made.set(OPERATOR, url=f"http://127.0.0.1:{port}/", secret=SECRET, allow_private=True)
        assert made.test(OPERATOR) is None


@contextmanager
def drip(beginning: bytes) -> Iterator[int]:
    """A server that sends these bytes and then one letter after the other; its port."""
    listener, ended = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def serve() -> None:
        with listener.accept()[0] as connection, suppress(OSError):  # whoever has heard enough hangs up
            connection.sendall(beginning)
            while not ended.wait(0.01):
                connection.sendall(b"x")

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1]
    ended.set()
    listener.close()
    thread.join()


def test_removing_it_drops_what_waits(store: Store, webhook: Webhook, receiver: Receiver) -> None:
    receiver.status = 500
    webhook.test(OPERATOR)
    webhook.remove(OPERATOR)
    assert outbox_rows(store) == []
    assert webhook.state(OPERATOR) is None

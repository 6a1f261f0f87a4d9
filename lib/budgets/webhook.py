"""The installation's webhook: one address that is told what budgets notice, signed so that it can trust the sender.

Each message is a POST of JSON with two headers: `X-LLM-Manager-Event`, and `X-LLM-Manager-Signature: t=SECONDS,v1=HEX`,
where HEX is the HMAC-SHA256 of `SECONDS.BODY` under the shared secret; a receiver should refuse old timestamps and
message ids it has seen. The address and the secret are sealed together, for addresses often hold a token themselves.
It is sent by the HTTP client that everything uses, which judges the host at every send; redirects are not followed, and
only 2xx counts as taken. A message has ten seconds in all, until the head of the answer is here.
"""

import asyncio
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from lib.access import audit
from lib.access.permissions import Actor, Permission
from lib.budgets import outbox
from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import installation_settings, webhook_outbox
from lib.db.vault import Vault
from lib.errors import InvalidInput, LLMManagerError, NotFound
from lib.providers import hosts
from lib.providers.adapters.http_client import Client

SHORTEST_SECRET = 16
_AT_ONCE = 10  # messages; slower than this they come due again, see `outbox`
_S = installation_settings.c
_O = webhook_outbox.c


@dataclass(frozen=True)
class WebhookState:
    """`host` as `https://example.com:443`; `error` is that of the newest message that is not delivered."""

    host: str
    allow_private: bool
    delivered_at: datetime | None
    waiting: int
    given_up: int
    error: str | None


class Webhook:
    """Sets the address, and sends what waits for it."""

    def __init__(self, store: Store, vault: Vault, whole_s: float = 10.0) -> None:
        """`whole_s`: seconds for a message, until the head of its answer is here."""
        self._whole_s = whole_s
        self._store = store
        self._vault = vault

    def state(self, actor: Actor) -> WebhookState | None:
        """Where messages go and how they get there, or None when no webhook is set."""
        actor.require(Permission.VIEW_STATS)
        with self._store.read() as connection:
            value = connection.scalar(select(_S.value).where(_S.name == outbox.SETTING))
            if value is None:
                return None
            delivered_at = connection.scalar(select(func.max(_O.delivered_at)))
            undelivered = connection.execute(
                select(_O.due_at, _O.error).where(_O.delivered_at.is_(None)).order_by(_O.id)
            )
            rows = undelivered.all()
        errors = [row.error for row in rows if row.error]
        waiting = sum(row.due_at is not None for row in rows)
        return WebhookState(
            value["host"],
            value["allow_private"],
            delivered_at,
            waiting,
            len(rows) - waiting,
            errors[-1] if errors else None,
        )

    def set(self, actor: Actor, *, url: str, secret: str, allow_private: bool = False) -> None:
        """Send to this address from now on; InvalidInput names the field that can't be used."""
        actor.require(Permission.MANAGE_PROVIDERS)
        url = url.strip()
        secret = secret.strip()
        hosts.check(url, allow_private=allow_private)
        if len(secret) < SHORTEST_SECRET:
            raise InvalidInput(
                "The secret is too short.",
                f"It signs every message; it needs {SHORTEST_SECRET} characters or more.",
                "Use a random one, and give it to the receiver too.",
                field="secret",
            )
        host = hosts.parse_host(url)
        insert = sqlite.insert if self._store.is_sqlite else postgresql.insert
        with self._store.write() as connection:
            sealed = self._vault.encrypt(json.dumps({"url": url, "secret": secret}), within=connection)
            value = {"host": host, "allow_private": allow_private, "sealed": sealed}
            values = {"value": value, "updated_at": utc_now()}
            statement = insert(installation_settings).values(name=outbox.SETTING, **values)
            connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=values))
            audit.record(connection, actor, "webhook.set", host, allow_private=allow_private)

    def remove(self, actor: Actor) -> None:
        """Tell nobody any more; what waits is dropped."""
        actor.require(Permission.MANAGE_PROVIDERS)
        with self._store.write() as connection:
            connection.execute(delete(installation_settings).where(_S.name == outbox.SETTING))
            connection.execute(delete(webhook_outbox).where(_O.delivered_at.is_(None)))
            audit.record(connection, actor, "webhook.remove", outbox.SETTING)

    def test(self, actor: Actor) -> str | None:
        """Send a test message now; why it was not taken, or None when it was."""
        actor.require(Permission.MANAGE_PROVIDERS)
        now = utc_now()
        with self._store.write() as connection:
            message_id = outbox.enqueue(connection, "webhook.test", {"sent_by": actor.name, "at": now.isoformat()}, now)
            if message_id is None:
                raise NotFound("There is no webhook.", "", "Set its address first.")
        with self._store.write() as connection:
            messages = outbox.claim(connection, now, 1, message_id)
        self._deliver(messages, now)
        with self._store.read() as connection:
            return connection.scalar(select(_O.error).where(_O.id == message_id))

    def deliver_due(self, now: datetime | None = None) -> int:
        """Send the messages that are due; how many were taken. For a job that runs every few seconds.

        A message is claimed before it is sent, so that several processes may do this at once; no transaction is open
        while it is. A process that dies in between leaves it due again: the receiver may see an id twice.
        """
        moment = now or utc_now()
        with self._store.read() as connection:
            if not outbox.has_due(connection, moment):
                return 0
        with self._store.write() as connection:
            messages = outbox.claim(connection, moment, _AT_ONCE)
        return self._deliver(messages, moment)

    def _deliver(self, messages: list[Any], moment: datetime) -> int:
        delivered = 0
        for message in messages:
            error = self._send(message, moment)
            with self._store.write() as connection:
                if error is None:
                    outbox.note_delivery(connection, message.id, moment)
                    delivered += 1
                else:
                    outbox.note_failure(connection, message.id, message.attempts + 1, error, moment)
        return delivered

    def _send(self, message: Any, now: datetime) -> str | None:
        """POST one message; what went wrong in a sentence without secrets, or None."""
        with self._store.read() as connection:
            value = connection.scalar(select(_S.value).where(_S.name == outbox.SETTING))
        if value is None:
            return "The webhook was removed."
        try:
            opened = json.loads(self._vault.decrypt(value["sealed"]))
        except LLMManagerError as error:
            return error.title
        sent = {"id": message.id, "event": message.event, **message.body}
        body = json.dumps(sent, separators=(",", ":"), ensure_ascii=False).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "llm-manager",
            "X-LLM-Manager-Event": message.event,
            "X-LLM-Manager-Signature": compute_signature(opened["secret"], int(now.timestamp()), body),
        }
        try:
            status = _post(opened["url"], body, headers, self._whole_s, allow_private=value["allow_private"])
        except InvalidInput as error:
            return error.title
        except TimeoutError:
            return f"The receiver took longer than {self._whole_s:g} s."
        except OSError as error:
            return f"The receiver could not be reached ({type(error).__name__})."
        return None if 200 <= status < 300 else f"The receiver answered {status}."


def compute_signature(secret: str, seconds: int, body: bytes) -> str:
    """The header's value: when it was signed (Unix seconds), and the HMAC-SHA256 over that and the body."""
    signed = hmac.new(secret.encode(), str(seconds).encode() + b"." + body, hashlib.sha256)
    return f"t={seconds},v1={signed.hexdigest()}"


def _post(url: str, body: bytes, headers: dict[str, str], whole_s: float, *, allow_private: bool) -> int:
    """The status of the answer, whose body is not read."""

    async def exchange() -> int:
        client = Client()
        async with asyncio.timeout(whole_s):
            response = await client.post(url, headers, body, allow_private=allow_private)
            response.close()
            client.close()
            return response.status

    return asyncio.run(exchange())

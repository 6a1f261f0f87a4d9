"""Rows of sign-ins, on both databases: an attempt counts once, one process renews, and what is sealed stays sealed."""

from dataclasses import replace

import pytest
from sqlalchemy import insert, select, update

from lib.access.permissions import Role
from lib.access.users import build_row
from lib.db.engine import Store
from lib.db.tables import mcp_sign_ins, users
from lib.db.vault import Vault
from lib.mcp import sign_in_records
from lib.mcp.sign_in_records import Credentials, RegisteredClient
from lib.settings import Settings

pytestmark = pytest.mark.feature("TOOL-4")
URL = "https://cloud.example/mcp"
CLIENT = RegisteredClient("client-1", "client-secret-123", "client_secret_basic")
ISSUER = "https://as.example"
TOKENS = Credentials(
    "access-token-123", "renewing-token-123", URL, f"{ISSUER}/token", CLIENT, ISSUER, URL, "a", expires_at=None
)


def test_a_sign_in_from_its_attempt_to_its_end(store: Store, settings: Settings) -> None:
    vault = Vault(store, settings)
    vault.open()
    person = build_row("li", "correct horse battery", Role.DEVELOPER)
    user_id = str(person["id"])
    with store.write() as writing:
        writing.execute(insert(users).values(**person))
        sign_in_records.begin_attempt(writing, vault, "s", user_id, "old state", {"n": 1})
        sign_in_records.begin_attempt(writing, vault, "s", user_id, "state", {"n": 2})
    assert sign_in_records.take_attempt(store, vault, user_id, "old state") is None
    assert sign_in_records.take_attempt(store, vault, "somebody else", "state") is None
    assert sign_in_records.take_attempt(store, vault, user_id, "state") == ("s", {"n": 2})
    assert sign_in_records.take_attempt(store, vault, user_id, "state") is None

    with store.write() as writing:
        sign_in_records.write_credentials(writing, vault, "s", user_id, TOKENS)
    vault.reencrypt()
    assert sign_in_records.read_credentials(store, vault, "s", user_id, URL) == TOKENS
    assert sign_in_records.read_credentials(store, vault, "s", user_id, URL + "/other") is None
    with store.read() as reading:
        assert sign_in_records.find_lister(reading, "s", URL) == user_id
        assert "token-123" not in repr(reading.execute(select(mcp_sign_ins)).all())

    assert sign_in_records.claim_refresh(store, "s", user_id)
    assert not sign_in_records.claim_refresh(store, "s", user_id)
    with store.write() as writing:
        sign_in_records.write_credentials(writing, vault, "s", user_id, replace(TOKENS, access_token="newer-token-123"))
    assert sign_in_records.claim_refresh(store, "s", user_id)

    with store.write() as writing:
        writing.execute(update(users).values(is_active=False))
    assert sign_in_records.read_credentials(store, vault, "s", user_id, URL) is None
    sign_in_records.end_sign_in(store, "s", user_id, "It was refused.", "more")
    with store.read() as reading:
        (sign_in,) = sign_in_records.read_sign_ins(reading, user_id)
        assert reading.scalar(select(mcp_sign_ins.c.sealed)) is None
    assert (sign_in.status, sign_in.reason, sign_in.scope) == ("ended", "It was refused.", "more")


def test_a_registration_counts_for_its_issuer_and_callback(store: Store, settings: Settings) -> None:
    vault = Vault(store, settings)
    vault.open()
    sign_in_records.write_client(store, vault, "s", ISSUER, "http://x/oauth/callback", CLIENT)
    vault.reencrypt()

    def read(issuer: str, callback_url: str) -> RegisteredClient | None:
        return sign_in_records.read_client(store, vault, "s", issuer, callback_url)

    assert read(ISSUER, "http://x/oauth/callback") == CLIENT
    assert read("https://other.example", "http://x/oauth/callback") is None
    assert read(ISSUER, "https://y/oauth/callback") is None
    with store.write() as writing:
        sign_in_records.forget_server(writing, "s")
    assert read(ISSUER, "http://x/oauth/callback") is None

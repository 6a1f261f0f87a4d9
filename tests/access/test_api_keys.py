"""API keys: shown once, stored as a hash, narrower than their owner, ended within seconds in every process."""

import asyncio
import hashlib
import json
import time
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from lib.access import api_keys as module
from lib.access.api_keys import ApiKeys
from lib.access.grants import GatewayEndpoint, Limits
from lib.access.permissions import OPERATOR, Permission, Role
from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import api_keys, audit_log
from lib.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from tests.access.key_rig import KeyRig

pytestmark = pytest.mark.feature("GATE-3")


@pytest.fixture
def rig(store: Store) -> KeyRig:
    return KeyRig(store)


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the process's clock be further on."""
    real = time.monotonic
    monkeypatch.setattr("lib.access.api_keys.time.monotonic", lambda: real() + seconds)


def everything_stored(store: Store) -> str:
    """Every cell of every row of the tables that a key touches."""
    with store.read() as connection:
        tables = ("api_keys", "audit_log", "rate_counters", "users")
        return json.dumps([list(map(str, r)) for t in tables for r in connection.execute(text(f"SELECT * FROM {t}"))])


def test_a_key_is_random_shown_once_and_kept_as_a_hash(rig: KeyRig) -> None:
    token, key = rig.key(rig.jonas)
    other, _ = rig.key(rig.jonas)
    assert token.startswith("llmm_")
    assert len(token) >= 5 + 43  # 32 bytes, base64
    assert token != other
    assert key.prefix == token[:12]
    stored = everything_stored(rig.store)
    assert token not in stored
    assert token[12:] not in stored
    assert hashlib.sha256(token.encode()).hexdigest() in stored
    assert token not in repr(key)


def test_a_key_acts_as_its_owner_with_less(rig: KeyRig) -> None:
    token, _ = rig.key(rig.amira, endpoints=list(GatewayEndpoint))
    key = rig.keys.authenticate(token)
    assert key is not None
    assert key.actor is not None
    assert (key.actor.user_id, key.actor.name) == (rig.amira.user_id, "amira")
    assert key.actor.role is not Role.SUPER_ADMIN
    assert not key.actor.reads_content_of(rig.jonas.user_id)
    with pytest.raises(PermissionDenied):
        rig.users.list(key.actor)
    narrow = rig.keys.authenticate(rig.key(rig.amira)[0])
    assert narrow is not None
    assert narrow.actor is not None
    assert narrow.actor.permissions == {Permission.VIEW_CONFIGS, Permission.TEST_CONFIGS}


def test_a_key_never_holds_more_than_its_owners_role(rig: KeyRig) -> None:
    token, _ = rig.key(rig.amira, owner_id=rig.jonas.user_id, endpoints=list(GatewayEndpoint))
    key = rig.keys.authenticate(token)
    assert key is not None
    assert key.actor is not None
    assert key.actor.permissions == rig.jonas.permissions
    assert key.actor.key is key.grant


def test_a_key_makes_and_changes_no_keys(rig: KeyRig) -> None:
    token, made = rig.key(rig.amira, endpoints=list(GatewayEndpoint))
    key = rig.keys.authenticate(token)
    assert key is not None
    assert key.actor is not None
    for deed in (
        lambda: rig.key(key.actor),
        lambda: rig.keys.list(key.actor),
        lambda: rig.keys.find(key.actor, key.prefix),
        lambda: rig.keys.revoke(key.actor, made.id),
        lambda: change(rig.keys, key.actor, made.id),
    ):
        with pytest.raises(PermissionDenied):
            deed()


def change(keys: ApiKeys, actor: Any, key_id: str, **more: Any) -> Any:
    """Change a key: everything open."""
    values: dict[str, Any] = {"name": "n", "models": [], "endpoints": ["chat"], "limits": Limits(), "expires_at": None}
    return keys.update(actor, key_id, **(values | more))


def test_every_failure_is_the_same_answer(rig: KeyRig, monkeypatch: pytest.MonkeyPatch) -> None:
    revoked, key = rig.key(rig.jonas)
    rig.keys.revoke(rig.jonas, key.id)
    expired, _ = rig.key(rig.jonas, expires_at=utc_now() + timedelta(hours=1))
    soon = utc_now() + timedelta(hours=2)
    monkeypatch.setattr(module, "utc_now", lambda: soon)
    disabled, _ = rig.key(rig.amira, owner_id=rig.jonas.user_id)
    rig.users.set_active(rig.amira, rig.jonas.user_id or "", False)
    for token in (revoked, expired, disabled, "", "llmm_", "llmm_" + "x" * 43, "sk-\ud800", "a" * 100_000):
        assert rig.keys.authenticate(token) is None
        assert rig.keys.authenticate(token) is None  # remembered


def test_an_expired_key_ends_at_its_moment_though_it_is_remembered(
    rig: KeyRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = utc_now() + timedelta(hours=1)
    token, _ = rig.key(rig.jonas, expires_at=ends)
    assert rig.keys.authenticate(token) is not None
    monkeypatch.setattr(module, "utc_now", lambda: ends)
    assert rig.keys.authenticate(token) is None


def test_revoking_ends_a_key_here_at_once_and_elsewhere_within_five_seconds(
    rig: KeyRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, key = rig.key(rig.jonas)
    elsewhere = ApiKeys(rig.store)
    assert rig.keys.authenticate(token) is not None
    assert elsewhere.authenticate(token) is not None
    rig.keys.revoke(rig.jonas, key.id)
    assert rig.keys.authenticate(token) is None
    later(monkeypatch, 4.9)
    assert elsewhere.authenticate(token) is None


def test_a_disabled_owner_and_a_narrower_scope_count_within_five_seconds(
    rig: KeyRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, key = rig.key(rig.amira, owner_id=rig.jonas.user_id)
    elsewhere = ApiKeys(rig.store)
    assert elsewhere.authenticate(token) is not None
    change(rig.keys, rig.amira, key.id, models=["support-*"])
    later(monkeypatch, 4.9)
    again = elsewhere.authenticate(token)
    assert again is not None
    assert not again.grant.allows_model("other")
    rig.users.set_active(rig.amira, rig.jonas.user_id or "", False)
    later(monkeypatch, 9.8)
    assert elsewhere.authenticate(token) is None


def test_a_remembered_key_costs_no_question(rig: KeyRig, monkeypatch: pytest.MonkeyPatch) -> None:
    token, _ = rig.key(rig.jonas)
    first = rig.keys.authenticate(token)
    monkeypatch.setattr(rig.store, "read", lambda: pytest.fail("asked again"))
    assert rig.keys.authenticate(token) is first
    assert asyncio.run(rig.keys.authenticate_async(token)) is first


def test_an_event_loop_asks_in_a_thread(rig: KeyRig) -> None:
    token, key = rig.key(rig.jonas)
    found = asyncio.run(rig.keys.authenticate_async(token))
    assert found is not None
    assert found.id == key.id
    assert asyncio.run(rig.keys.authenticate_async(token + "x")) is None


def last_used(store: Store) -> list[Any]:
    with store.read() as connection:
        return list(connection.scalars(select(api_keys.c.last_used_at).order_by(api_keys.c.id)))


def test_last_use_is_written_together_and_once_a_minute(rig: KeyRig, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = [rig.key(rig.jonas)[0] for _ in range(3)]
    keys = ApiKeys(rig.store)
    start = utc_now()
    monkeypatch.setattr(module, "utc_now", lambda: start)
    keys.authenticate(tokens[0])
    assert last_used(rig.store) == [start, None, None]
    keys.authenticate(tokens[1])
    keys.authenticate(tokens[2])
    assert last_used(rig.store) == [start, None, None]
    keys.write_last_used()
    assert last_used(rig.store) == [start] * 3
    for seconds, written in ((59, start), (61, start + timedelta(seconds=61))):
        monkeypatch.setattr(module, "utc_now", lambda seconds=seconds: start + timedelta(seconds=seconds))
        fresh = ApiKeys(rig.store)
        fresh.authenticate(tokens[0])
        fresh.write_last_used()
        assert last_used(rig.store)[0] == written


def test_people_see_their_own_keys_and_super_admins_all(rig: KeyRig) -> None:
    _, his = rig.key(rig.jonas)
    _, hers = rig.key(rig.amira)
    assert [key.id for key in rig.keys.list(rig.jonas)] == [his.id]
    assert [key.id for key in rig.keys.list(rig.amira)] == [hers.id, his.id]
    assert [key.owner for key in rig.keys.list(rig.amira)] == ["amira", "jonas"]
    for deed in (
        lambda: rig.keys.revoke(rig.jonas, hers.id),
        lambda: rig.keys.find(rig.jonas, hers.prefix),
        lambda: change(rig.keys, rig.jonas, hers.id),
    ):
        with pytest.raises(NotFound):
            deed()


def test_a_developer_makes_keys_for_themselves_alone(rig: KeyRig) -> None:
    with pytest.raises(PermissionDenied):
        rig.key(rig.jonas, owner_id=rig.amira.user_id)
    with pytest.raises(NotFound):
        rig.key(rig.amira, owner_id="0190a000-0000-7000-8000-000000000000")


def test_the_owner_of_a_key_made_for_them_revokes_it_but_does_not_widen_it(rig: KeyRig) -> None:
    token, key = rig.key(rig.amira, owner_id=rig.jonas.user_id, models=["support-bot"], limits=Limits(5))
    with pytest.raises(PermissionDenied):
        change(rig.keys, rig.jonas, key.id)
    kept = rig.keys.find(rig.jonas, key.prefix)
    assert (kept.grant.models, kept.grant.limits) == (("support-bot",), Limits(5))
    rig.keys.revoke(rig.jonas, key.id)
    assert rig.keys.authenticate(token) is None
    with pytest.raises(NotFound):
        rig.keys.revoke(rig.jonas, key.id)


def test_a_key_is_found_by_its_beginning_in_its_own_case(rig: KeyRig) -> None:
    _, key = rig.key(rig.jonas)
    assert rig.keys.find(rig.jonas, key.prefix).id == key.id
    assert rig.keys.find(rig.jonas, key.prefix + "more of the key").id == key.id
    for beginning in (key.prefix.swapcase(), "", "%", "llmm%", "lmm"):
        with pytest.raises(NotFound):
            rig.keys.find(rig.jonas, beginning)
    rig.key(rig.jonas)
    with pytest.raises(Conflict):
        rig.keys.find(rig.jonas, "llmm_")


def test_a_key_without_an_owner_is_a_program_of_its_own(rig: KeyRig) -> None:
    actors = []
    for _ in range(2):
        key = rig.keys.authenticate(rig.key(OPERATOR)[0])
        assert key is not None
        assert key.actor is not None
        actors.append(key.actor)
    assert actors[0].user_id != actors[1].user_id
    assert None not in {actor.user_id for actor in actors}
    assert actors[0].permissions == {Permission.VIEW_CONFIGS, Permission.TEST_CONFIGS}
    assert [key.owner for key in rig.keys.list(rig.amira)] == ["", ""]


@pytest.mark.parametrize(
    ("models", "allowed", "refused"),
    [
        ([], ["anything", "openai/gpt"], []),
        (["*"], ["anything", "openai/gpt"], []),
        (["support-bot"], ["support-bot"], ["support-bot-2", "Support-bot", "openai/gpt-4.1", "x/support-bot"]),
        (["support-*"], ["support-bot", "support-"], ["support", "openai/support-x"]),
        (["openai/gpt-4*"], ["openai/gpt-4.1"], ["gpt-4.1", "azure/gpt-4.1", "openai/o3"]),
        (["openrouter/*"], ["openrouter/meta/llama"], ["openrouter", "xopenrouter/meta"]),
    ],
)
def test_models_in_scope(rig: KeyRig, models: list[str], allowed: list[str], refused: list[str]) -> None:
    grant = rig.key(rig.jonas, models=models)[1].grant
    for name in allowed:
        grant.require_model(name)
    for name in refused:
        with pytest.raises(PermissionDenied):
            grant.require_model(name)


def test_endpoints_in_scope(rig: KeyRig) -> None:
    grant = rig.key(rig.jonas, endpoints=["embeddings", "chat"])[1].grant
    assert grant.endpoints == (GatewayEndpoint.CHAT, GatewayEndpoint.EMBEDDINGS)
    grant.require_endpoint(GatewayEndpoint.CHAT)
    with pytest.raises(PermissionDenied):
        grant.require_endpoint(GatewayEndpoint.API)
    assert GatewayEndpoint.API not in rig.key(rig.jonas)[1].grant.endpoints


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("app", {"app": "Not A Slug"}),
        ("name", {"name": "x" * 81}),
        ("models", {"models": ["a model"]}),
        ("models", {"models": ["[a-z]"]}),
        ("models", {"models": ["it's"]}),
        ("models", {"models": [f"m{n}" for n in range(101)]}),
        ("endpoints", {"endpoints": ["everything"]}),
        ("endpoints", {"endpoints": []}),
        ("expires_at", {"expires_at": utc_now() - timedelta(seconds=1)}),
        ("requests_per_minute", {"limits": Limits(0)}),
        ("tokens_per_minute", {"limits": Limits(None, -1)}),
        ("concurrency", {"limits": Limits(None, None, 2**40)}),
    ],
)
def test_a_wrong_value_is_named(rig: KeyRig, field: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refusal:
        rig.key(rig.jonas, **wrong)
    assert refusal.value.field == field


@pytest.mark.feature("ACC-3")
def test_making_changing_and_revoking_are_in_the_audit_log(rig: KeyRig) -> None:
    _, key = rig.key(rig.jonas, name="nightly")
    change(rig.keys, rig.jonas, key.id, name="nightly", limits=Limits(9))
    rig.keys.revoke(rig.amira, key.id)
    with rig.store.read() as connection:
        rows = connection.execute(
            select(audit_log).where(audit_log.c.action.like("api_key.%")).order_by(audit_log.c.id)
        ).all()
    assert [(row.user_name, row.action) for row in rows] == [
        ("jonas", "api_key.create"),
        ("jonas", "api_key.change"),
        ("amira", "api_key.revoke"),
    ]
    assert {row.subject for row in rows} == {f"{key.prefix}… nightly"}
    assert rows[1].detail["requests_per_minute"] == 9

"""Lists of models are kept: the last good one stays when a provider is down, and it is asked again when it is due."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from lib.access.permissions import Role, make_actor
from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.vault import Vault
from lib.errors import NotFound, PermissionDenied
from lib.providers import discovery
from lib.providers.discovery import Models
from lib.providers.prices.price_book import PriceBook
from lib.providers.registry import Provider, Providers
from lib.settings import Settings
from tests.providers.list_server import ListServer, listing

pytestmark = pytest.mark.feature("CFG-4")
AMIRA = make_actor("00000000-0000-7000-8000-00000000000a", "amira", Role.SUPER_ADMIN)
VIEWER = make_actor("00000000-0000-7000-8000-00000000000c", "vera", Role.ADMINISTRATOR)


@pytest.fixture
def providers(store: Store, settings: Settings) -> Providers:
    vault = Vault(store, settings)
    vault.open()
    return Providers(store, vault)


@pytest.fixture
def models(store: Store, providers: Providers) -> Models:
    return Models(store, providers, PriceBook())


@pytest.fixture
def server() -> Iterator[ListServer]:
    entries = [{"id": "gpt-4.1-mini"}, {"id": "house-model", "context_window": 4096}]
    with listing({"/v1/models": {"data": entries}}) as server:
        yield server


@pytest.fixture
def house(providers: Providers, server: ListServer) -> Provider:
    key = "sk-house-0123456789"
    return providers.create(
        AMIRA, name="house", kind="openai", base_url=f"{server.url}/v1", api_key=key, allow_private=True
    )


def test_nothing_is_asked_before_somebody_asks(models: Models, house: Provider, server: ListServer) -> None:
    found = models.list(VIEWER, house.id)
    assert (found.get("house-model"), found.fetched_at, found.is_due) == (None, None, True)
    assert found.get("gpt-4.1-mini") is not None  # the shipped list stands in
    assert server.asked == []


def test_a_list_is_kept_and_filled_from_what_ships(models: Models, house: Provider, server: ListServer) -> None:
    models.refresh(AMIRA, house.id)
    found = models.list(VIEWER, "house")
    assert len(server.asked) == 1
    assert (found.error, found.is_due, found.fetched_at is not None) == (None, False, True)
    mini, own = found.get("gpt-4.1-mini"), found.get("house-model")
    assert mini is not None
    assert own is not None
    assert (mini.context_tokens, mini.output_tokens) == (1_047_576, 32_768)
    assert mini.capabilities == ("streaming", "tools", "vision", "json")
    assert (mini.input_nano, mini.output_nano) == (400_000_000, 1_600_000_000)
    assert (own.context_tokens, own.capabilities, own.input_nano) == (4096, None, None)


def test_the_last_good_list_stays_when_the_provider_is_down(
    models: Models, house: Provider, server: ListServer
) -> None:
    good = models.refresh(AMIRA, house.id)
    server.status = 503
    after = models.refresh(AMIRA, house.id)
    assert [facts.model for facts in after.models] == ["gpt-4.1-mini", "house-model"]
    assert after.fetched_at == good.fetched_at
    assert after.tried_at is not None
    assert good.tried_at is not None
    assert after.tried_at > good.tried_at
    assert after.error is not None
    assert "house" in after.error
    server.status = 200
    assert models.refresh(AMIRA, house.id).error is None


def test_a_list_is_due_after_a_day_and_after_the_provider_changed(
    models: Models, providers: Providers, house: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not models.refresh(AMIRA, house.id).is_due
    providers.update(AMIRA, house.id, organisation="another")
    assert models.list(AMIRA, house.id).is_due
    assert not models.refresh(AMIRA, house.id).is_due
    monkeypatch.setattr(discovery, "utc_now", lambda: utc_now() + timedelta(hours=25))
    assert models.list(AMIRA, house.id).is_due


def test_after_a_failure_it_is_not_due_for_an_hour(
    models: Models, house: Provider, server: ListServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.status = 500
    assert not models.refresh(AMIRA, house.id).is_due
    monkeypatch.setattr(discovery, "utc_now", lambda: utc_now() + timedelta(hours=2))
    assert models.list(AMIRA, house.id).is_due


def test_a_provider_without_its_key_is_an_error_of_the_list(models: Models, providers: Providers) -> None:
    keyless = providers.create(AMIRA, name="keyless", kind="openai")
    assert "key is missing" in (models.refresh(AMIRA, keyless.id).error or "")


def test_find_knows_listed_and_shipped_models(models: Models, house: Provider) -> None:
    shipped = models.find("openai", "gpt-4.1-mini")
    assert shipped is not None
    assert shipped.context_tokens == 1_047_576
    assert models.find("openai", "house-model") is None
    models.refresh(AMIRA, house.id)
    listed = models.find("openai", "house-model")
    assert listed is not None
    assert listed.context_tokens == 4096
    assert models.find("openai", "house-model", provider_id="another") is None
    assert models.find("groq", "house-model") is None


def test_limits_hold_for_models_nobody_lists(models: Models) -> None:
    assert "seed" in models.limits("anthropic", "claude-of-tomorrow").refuses
    assert "top_p" in models.limits("openai", "o3").refuses


def test_who_may_not_edit_can_look_but_not_ask(models: Models, house: Provider, server: ListServer) -> None:
    with pytest.raises(PermissionDenied):
        models.refresh(VIEWER, house.id)
    assert server.asked == []
    with pytest.raises(NotFound):
        models.list(VIEWER, "no such provider")


def test_two_who_ask_for_the_first_time_at_once_both_get_the_list(models: Models, house: Provider) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: models.refresh(AMIRA, house.id), range(4)))
    assert {len(one.models) for one in found} == {2}
    assert {one.error for one in found} == {None}

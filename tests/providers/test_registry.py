"""Providers: keys sealed and bound to their host, addresses guarded, nothing deleted while it is used."""

import pytest

from lib.access.permissions import OPERATOR, Role, make_actor
from lib.configs.configurations import Configurations
from lib.db.engine import Store
from lib.db.vault import Vault
from lib.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from lib.providers.redaction import redact
from lib.providers.registry import Providers
from lib.settings import Settings

KEY = "test-key-without-a-shape-a91f"


@pytest.fixture
def providers(store: Store, settings: Settings) -> Providers:
    vault = Vault(store, settings)
    vault.open()
    return Providers(store, vault)


@pytest.mark.feature("CFG-6")
def test_a_key_is_shown_by_its_last_four_and_used_whole(providers: Providers) -> None:
    provider = providers.create(OPERATOR, name="openai", kind="openai", api_key=f" {KEY}\n".strip())
    assert (provider.key_last4, provider.key_host) == ("a91f", "https://api.openai.com:443")
    endpoint = providers.endpoint(provider.id)
    assert (endpoint.api_key, endpoint.base_url) == (KEY, "https://api.openai.com/v1")
    assert KEY not in repr(provider) + repr(endpoint)
    assert redact(f"denied: {KEY}") == "denied: [hidden]"


@pytest.mark.feature("CFG-6")
def test_a_key_stays_with_its_host(providers: Providers) -> None:
    provider = providers.create(OPERATOR, name="mine", kind="openai", api_key=KEY)
    with pytest.raises(InvalidInput, match="belongs to another host") as caught:
        providers.update(OPERATOR, provider.id, base_url="https://api.example.com/v1")
    assert caught.value.field == "api_key"
    same_host = providers.update(OPERATOR, provider.id, base_url="https://api.openai.com/v2")
    assert same_host.has_key
    moved = providers.update(OPERATOR, provider.id, base_url="https://api.example.com/v1", remove_key=True)
    assert (moved.has_key, moved.state) == (False, "needs key")


@pytest.mark.feature("CFG-1")
@pytest.mark.parametrize(
    "address",
    [
        "http://localhost:8080/v1",
        "http://127.0.0.1/v1",
        "http://[::1]/v1",
        "http://10.1.2.3/v1",
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:10.0.0.1]/v1",
        "http://[64:ff9b::a00:1]/v1",
        "http://[2002:a00:1::]/v1",
        "http://192.0.0.192/v1",
        "http://0.0.0.0/v1",
        "http://2130706433/v1",
        "http://metadata.google.internal/v1",
    ],
)
def test_private_addresses_need_leave(providers: Providers, address: str) -> None:
    with pytest.raises(InvalidInput, match="private address") as caught:
        providers.create(OPERATOR, name="inside", kind="custom", base_url=address)
    assert caught.value.field == "base_url"
    allowed = providers.create(OPERATOR, name="inside", kind="custom", base_url=address, allow_private=True)
    assert providers.endpoint(allowed.id).allow_private


@pytest.mark.feature("CFG-1")
@pytest.mark.parametrize("address", ["", "ftp://x.org", "api.example.com", "https://u:p@x.org/v1", "http://x:99999/"])
def test_addresses_that_are_none_are_refused(providers: Providers, address: str) -> None:
    with pytest.raises(InvalidInput):
        providers.create(OPERATOR, name="bad", kind="custom", base_url=address)
    assert providers.list(OPERATOR) == []


@pytest.mark.feature("CFG-1")
def test_ollama_stands_on_this_machine_without_asking(providers: Providers) -> None:
    provider = providers.create(OPERATOR, name="ollama", kind="ollama")
    endpoint = providers.endpoint(provider.id)
    assert (endpoint.base_url, endpoint.allow_private) == ("http://localhost:11434", True)


@pytest.mark.feature("CFG-1")
def test_what_is_off_or_without_its_key_is_not_called(providers: Providers) -> None:
    provider = providers.create(OPERATOR, name="groq", kind="groq")
    with pytest.raises(InvalidInput, match="API key is missing"):
        providers.endpoint(provider.id)
    providers.update(OPERATOR, provider.id, api_key=KEY)
    providers.set_active(OPERATOR, provider.id, False)
    with pytest.raises(InvalidInput, match="switched off"):
        providers.endpoint(provider.id)


@pytest.mark.feature("CFG-1")
def test_a_provider_in_use_stays(providers: Providers, store: Store) -> None:
    provider = providers.create(OPERATOR, name="local", kind="local")
    configurations = Configurations(store)
    configurations.create(OPERATOR, slug="user", app="a", provider="local", model="m")
    with pytest.raises(Conflict, match="user"):
        providers.delete(OPERATOR, provider.id)
    configurations.delete(OPERATOR, "user")
    providers.delete(OPERATOR, provider.id)
    with pytest.raises(NotFound):
        providers.get(OPERATOR, "local")


@pytest.mark.feature("CFG-1")
def test_names_and_headers_are_checked(providers: Providers) -> None:
    providers.create(OPERATOR, name="one", kind="local")
    with pytest.raises(Conflict, match="taken"):
        providers.create(OPERATOR, name="one", kind="local")
    for bad in ({"name": "=cmd"}, {"kind": "abacus"}, {"headers": {"X": "a\r\nY: b"}}, {"headers": {"Host": "x"}}):
        with pytest.raises(InvalidInput):
            providers.create(OPERATOR, **({"name": "two", "kind": "local"} | bad))
    with pytest.raises(InvalidInput, match="blanks"):
        providers.create(OPERATOR, name="two", kind="openai", api_key="sk-two words")


@pytest.mark.feature("ACC-1")
def test_developers_look_and_do_not_touch(providers: Providers) -> None:
    developer = make_actor("u", "dev", Role.DEVELOPER)
    provider = providers.create(OPERATOR, name="local", kind="local")
    assert providers.list(developer) == [provider]
    for change in (
        lambda: providers.create(developer, name="x", kind="local"),
        lambda: providers.update(developer, provider.id, name="y"),
        lambda: providers.set_active(developer, provider.id, False),
        lambda: providers.delete(developer, provider.id),
    ):
        with pytest.raises(PermissionDenied):
            change()


@pytest.mark.feature("CFG-6")
@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-abc***********wxyz.",
        "Authorization: Bearer abcdefghijklmnop",
        "https://generativelanguage.googleapis.com/v1?key=AIzaSyA1234567890abcdef",
        "gsk_abcdefghijkl failed",
        "http://user:hunter22@proxy:8080",
    ],
)
def test_what_looks_like_a_key_is_hidden(text: str) -> None:
    hidden = redact(text)
    assert "[hidden]" in hidden
    for part in ("wxyz", "ghijkl", "AIzaSy", "hunter22"):
        assert part not in hidden

"""Configurations: examples, defaults, edits that can't overwrite each other, copies, export and import."""

import json
from collections.abc import Callable

import pytest

from lib.access.permissions import OPERATOR, Actor, Permission, Role, make_actor
from lib.configs.configurations import Configurations
from lib.db.engine import Store
from lib.db.vault import Vault
from lib.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from lib.providers.registry import Providers
from lib.settings import Settings

VIEWER = make_actor("00000000-0000-7000-8000-000000000001", "vera", Role.ADMINISTRATOR)
DEVELOPER = make_actor("00000000-0000-7000-8000-000000000002", "dan", Role.DEVELOPER)


@pytest.fixture
def services(store: Store, settings: Settings) -> tuple[Providers, Configurations]:
    vault = Vault(store, settings)
    vault.open()
    providers, configurations = Providers(store, vault), Configurations(store)
    providers.seed()
    configurations.seed()
    return providers, configurations


@pytest.fixture
def configurations(services: tuple[Providers, Configurations]) -> Configurations:
    return services[1]


@pytest.mark.feature("CFG-8")
def test_a_fresh_installation_has_the_examples_once(services: tuple[Providers, Configurations]) -> None:
    providers, configurations = services
    found = {c.slug: (c.provider_kind, c.needs) for c in configurations.list(OPERATOR)}
    assert found == {
        "local-default": ("local", None),
        "ollama-qwen3": ("ollama", "off"),
        "ollama-deepseek-coder": ("ollama", "off"),
        "openai-default": ("openai", "off"),
        "anthropic-default": ("anthropic", "off"),
        "openrouter-default": ("openrouter", "off"),
    }
    configurations.delete(OPERATOR, "openai-default")
    providers.delete(OPERATOR, "openai")
    providers.seed()
    configurations.seed()
    assert len(configurations.list(OPERATOR)) == 5
    assert len(providers.list(OPERATOR)) == 4


@pytest.mark.feature("CFG-2")
def test_the_default_is_the_apps_own_else_the_global_one(configurations: Configurations) -> None:
    assert configurations.default_for(VIEWER, "support").slug == "local-default"
    mine = configurations.create(OPERATOR, slug="support-bot", app="support", provider="local", model="m")
    configurations.set_default(OPERATOR, mine.id)
    assert configurations.default_for(VIEWER, "support").slug == "support-bot"
    other = configurations.create(OPERATOR, slug="support-2", app="support", provider="local", model="m")
    configurations.set_default(OPERATOR, other.id)
    assert [c.slug for c in configurations.list(OPERATOR, "support") if c.is_default] == ["support-2"]
    configurations.set_active(OPERATOR, other.id, False)
    assert configurations.default_for(VIEWER, "support").slug == "local-default"
    configurations.set_default(OPERATOR, mine.id, everywhere=True)
    assert configurations.default_for(VIEWER, "elsewhere").slug == "support-bot"
    configurations.delete(OPERATOR, "local-default")
    with pytest.raises(Conflict, match="can't be deleted"):
        configurations.delete(OPERATOR, mine.id)
    with pytest.raises(Conflict, match="can't be switched off"):
        configurations.set_active(OPERATOR, mine.id, False)
    with pytest.raises(InvalidInput, match="switched off"):
        configurations.set_default(OPERATOR, other.id)


@pytest.mark.feature("CFG-2")
def test_of_two_edits_of_the_same_revision_the_second_is_told(configurations: Configurations) -> None:
    seen = configurations.get(OPERATOR, "local-default")
    saved = configurations.update(OPERATOR, seen.id, seen.revision, description="first")
    assert (saved.description, saved.revision, saved.model) == ("first", seen.revision + 1, seen.model)
    with pytest.raises(Conflict, match="changed meanwhile"):
        configurations.update(OPERATOR, seen.id, seen.revision, description="second")
    assert configurations.get(OPERATOR, seen.id).description == "first"


@pytest.mark.feature("CFG-2")
def test_a_clone_is_nobodys_default_and_finds_a_free_name(configurations: Configurations) -> None:
    first, second = (configurations.clone(OPERATOR, "local-default") for _ in range(2))
    assert (first.slug, second.slug) == ("local-default-copy", "local-default-copy-2")
    assert not first.is_global_default
    assert first.parameters == configurations.get(OPERATOR, "local-default").parameters


@pytest.mark.feature("CFG-2")
@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"slug": "Not A Slug"}, "slug"),
        ({"slug": "local-default"}, None),
        ({"app": ""}, "app"),
        ({"model": "  "}, "model"),
        ({"provider": "nobody"}, "provider"),
        ({"parameters": {"temperature": 9}}, "parameters"),
        ({"parameters": {"max_tokens": 1.5}}, "parameters"),
        ({"parameters": {"api_base": "http://evil"}}, "parameters"),
        ({"parameters": {"api_key": "sk-x"}}, "parameters"),
        ({"capabilities": ["telepathy"]}, "capabilities"),
    ],
)
def test_what_cannot_work_is_refused_by_field(
    configurations: Configurations, fields: dict[str, object], named: str | None
) -> None:
    given: dict[str, object] = {"slug": "x", "app": "a", "provider": "local", "model": "m"} | fields
    with pytest.raises((InvalidInput, Conflict)) as caught:
        configurations.create(OPERATOR, **given)  # type: ignore[arg-type]
    assert getattr(caught.value, "field", None) == named
    assert len(configurations.list(OPERATOR)) == 6


@pytest.mark.feature("CFG-2")
def test_a_document_goes_out_without_secrets_and_comes_in_elsewhere(services: tuple[Providers, Configurations]) -> None:
    providers, configurations = services
    key = "sk-planted-canary-123456"
    providers.update(OPERATOR, providers.get(OPERATOR, "openai").id, api_key=key)
    configurations.create(
        OPERATOR, slug="triage", app="support", provider="openai", model="gpt-4.1", parameters={"temperature": 0.1}
    )
    document = configurations.export_json(VIEWER, ["triage"])
    assert key not in document
    assert key[-4:] not in document
    configurations.delete(OPERATOR, "triage")
    result = configurations.import_json(OPERATOR, document)
    assert (result.created, result.skipped) == (["triage"], [])
    back = configurations.get(OPERATOR, "triage")
    assert (back.provider_name, back.parameters, back.is_active) == ("openai", {"temperature": 0.1}, True)
    assert configurations.import_json(OPERATOR, document).skipped == ["triage"]


@pytest.mark.feature("CFG-2")
def test_an_import_without_its_provider_comes_in_switched_off(configurations: Configurations) -> None:
    entry = {"slug": "far", "app": "a", "model": "m", "provider": "groq-eu", "provider_kind": "groq"}
    document = json.dumps({"format": "llm-manager/configurations", "version": 1, "configurations": [entry]})
    assert configurations.import_json(OPERATOR, document).without_provider == ["far"]
    assert not configurations.get(OPERATOR, "far").is_active


@pytest.mark.feature("CFG-2")
@pytest.mark.parametrize(
    "document",
    [
        "",
        "[]",
        "{",
        '{"format": "llm-manager/configurations", "version": 2, "configurations": []}',
        '{"format": "llm-manager/configurations", "version": 1, "configurations": [1]}',
        '{"format": "llm-manager/configurations", "version": 1, "configurations": ['
        '{"slug": "good", "app": "a", "model": "m"}, {"slug": "BAD", "app": "a", "model": "m"}]}',
        b"\xff\xfe",
        "[" * 100_000,
    ],
)
def test_a_bad_document_adds_nothing(configurations: Configurations, document: str | bytes) -> None:
    with pytest.raises(InvalidInput):
        configurations.import_json(OPERATOR, document)
    assert len(configurations.list(OPERATOR)) == 6


@pytest.mark.feature("ACC-1")
def test_every_function_asks_for_its_permission(configurations: Configurations) -> None:
    local = configurations.get(VIEWER, "local-default")
    document = configurations.export_json(VIEWER)
    attempts: dict[Permission, list[Callable[[Actor], object]]] = {
        Permission.CREATE_CONFIGS: [
            lambda who: configurations.create(who, slug="x", app="a", provider="local", model="m"),
            lambda who: configurations.clone(who, local.id),
            lambda who: configurations.import_json(who, document),
        ],
        Permission.EDIT_CONFIGS: [
            lambda who: configurations.update(who, local.id, local.revision, description="x"),
            lambda who: configurations.set_active(who, local.id, True),
            lambda who: configurations.set_default(who, local.id),
            lambda who: configurations.clear_default(who, local.id),
        ],
        Permission.DELETE_CONFIGS: [lambda who: configurations.delete(who, local.id)],
    }
    for permission, functions in attempts.items():
        for function in functions:
            with pytest.raises(PermissionDenied, match=permission.value):
                function(VIEWER)
    with pytest.raises(PermissionDenied):
        configurations.delete(DEVELOPER, local.id)
    with pytest.raises(NotFound):
        configurations.get(VIEWER, "nothing")

"""Routing as data: what is accepted, what is kept, and that it moves between installations by providers' names."""

import json
from typing import Any

import pytest

from lib.access.permissions import OPERATOR
from lib.configs.configurations import Configurations
from lib.configs.routing import Deadlines, Deployment, Routing, RoutingStrategy
from lib.db.engine import Store
from lib.db.vault import Vault
from lib.errors import Conflict, InvalidInput
from lib.providers.registry import Providers
from lib.settings import Settings

pytestmark = pytest.mark.feature("CFG-7")
WHOLE = {
    "weight": 3,
    "deployments": [{"provider_id": "a", "model": "m1", "weight": 2}],
    "strategy": "least-busy",
    "fallbacks": [{"provider_id": "b", "model": "m2"}],
    "max_attempts": 2,
    "total_attempts": 5,
    "deadlines": {"first_token_s": 10.0},
}


def test_a_routing_is_read_and_written_back_without_its_defaults() -> None:
    routing = Routing.from_record(WHOLE)
    assert routing.deployments == (Deployment("a", "m1", 2),)
    assert (routing.strategy, routing.deadlines) == (RoutingStrategy.LEAST_BUSY, Deadlines(first_token_s=10))
    assert json.loads(json.dumps(routing.to_record())) == WHOLE
    assert (Routing.from_record({}), Routing().to_record()) == (Routing(), {})


@pytest.mark.parametrize(
    "wrong",
    [
        {"strategy": "usage-based-routing-v2"},
        {"weight": 0},
        {"weight": True},
        {"max_attempts": 11},
        {"total_attempts": "3"},
        {"deadlines": {"idle_s": 0}},
        {"deadlines": {"idle_s": float("nan")}},
        {"deadlines": {"soon_s": 1}},
        {"deadlines": 5},
        {"fallbacks": "b"},
        {"fallbacks": [{"provider_id": "b"}]},
        {"fallbacks": [{"provider_id": "", "model": "m"}]},
        {"fallbacks": [{"provider_id": "b", "model": "m", "weight": 2}]},
        {"fallbacks": [{"provider_id": "b", "model": "m"}] * 2},
        {"deployments": [{"provider_id": "b", "model": f"m{n}"} for n in range(11)]},
        {"deployments": ["b"]},
        {"retries": 3},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_as_the_routing_field(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        Routing.from_record(wrong)
    assert caught.value.field == "routing"


@pytest.fixture
def made(store: Store, settings: Settings) -> tuple[Providers, Configurations]:
    vault = Vault(store, settings)
    vault.open()
    providers = Providers(store, vault)
    for name in ("one", "two"):
        providers.create(OPERATOR, name=name, kind="scripted")
    return providers, Configurations(store)


def test_routing_names_registered_providers_only_and_keeps_them_from_being_deleted(
    made: tuple[Providers, Configurations],
) -> None:
    providers, configurations = made
    two = providers.get(OPERATOR, "two").id
    with pytest.raises(InvalidInput):
        configurations.create(OPERATOR, slug="x", app="a", model="m", provider="one", routing=WHOLE)
    routing = {"fallbacks": [{"provider_id": two, "model": "echo"}]}
    first = configurations.create(OPERATOR, slug="x", app="a", model="m", provider="one", routing=routing)
    assert first.routing == routing
    assert providers.used_by(OPERATOR, two) == ["x"]
    with pytest.raises(Conflict):
        providers.delete(OPERATOR, two)
    assert configurations.clone(OPERATOR, first.id).routing == routing
    changed = configurations.update(OPERATOR, first.id, first.revision, routing={})
    assert changed.routing == {}


def test_an_export_names_providers_and_an_import_finds_them_or_says_so(
    made: tuple[Providers, Configurations],
) -> None:
    providers, configurations = made
    one, two = (providers.get(OPERATOR, name).id for name in ("one", "two"))
    routing = {
        "deployments": [{"provider_id": two, "model": "echo", "weight": 2}],
        "fallbacks": [{"provider_id": one, "model": "lorem"}],
    }
    made_one = configurations.create(OPERATOR, slug="x", app="a", model="m", provider="one", routing=routing)
    document = configurations.export_json(OPERATOR)
    assert one not in document
    assert two not in document
    configurations.delete(OPERATOR, made_one.id)
    done = configurations.import_json(OPERATOR, document)
    assert (done.created, done.shorter_routing) == (["x"], [])
    assert configurations.get(OPERATOR, "x").routing == routing
    elsewhere = document.replace('"two"', '"three"').replace('"slug": "x"', '"slug": "y"')
    done = configurations.import_json(OPERATOR, elsewhere)
    assert (done.created, done.shorter_routing) == (["y"], ["y"])
    assert configurations.get(OPERATOR, "y").routing == {"fallbacks": routing["fallbacks"]}
    spoilt = json.loads(document)
    spoilt["configurations"][0]["routing"]["fallbacks"] = ["one"]
    with pytest.raises(InvalidInput):
        configurations.import_json(OPERATOR, json.dumps(spoilt))

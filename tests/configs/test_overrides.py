"""Overrides: which match, in what order they are applied, what each strategy does, and where every value came from."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.access.permissions import Role, make_actor
from lib.configs.configurations import Configuration, Configurations
from lib.configs.effective import EffectiveParameters, MergeStrategy, Override, compute_effective, drop_unsupported
from lib.configs.overrides import OverrideDraft, Overrides
from lib.db.engine import Store
from lib.db.vault import Vault
from lib.errors import InvalidInput, NotFound, PermissionDenied
from lib.providers.discovery import Models
from lib.providers.prices.price_book import PriceBook
from lib.providers.registry import Providers
from lib.settings import Settings

pytestmark = pytest.mark.feature("CFG-5")
AMIRA = make_actor("00000000-0000-7000-8000-00000000000a", "amira", Role.SUPER_ADMIN)
VIEWER = make_actor("00000000-0000-7000-8000-00000000000c", "vera", Role.ADMINISTRATOR)
START = datetime(2026, 1, 1, tzinfo=UTC)


def override(name: str, parameters: dict[str, Any], **more: Any) -> Override:
    """One that holds for everything."""
    values: dict[str, Any] = {
        "id": name,
        "app": None,
        "context": None,
        "configuration_id": None,
        "strategy": MergeStrategy.MERGE,
        "priority": 0,
        "is_active": True,
        "created_at": START,
        "updated_at": START,
    }
    return Override(name=name, parameters=parameters, **values | more)


def test_the_request_stands_above_overrides_and_those_above_the_configuration() -> None:
    found = compute_effective(
        {"temperature": 0.1, "top_p": 0.2, "seed": 1}, [override("a", {"top_p": 0.5, "seed": 2})], {"seed": 3}
    )
    assert found.parameters == {"temperature": 0.1, "top_p": 0.5, "seed": 3}
    assert found.sources == {"temperature": "configuration", "top_p": "override a", "seed": "request"}


SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object", "required": ["x"]}}}
CHANGE = {"response_format": {"json_schema": {"schema": {"required": ["y"]}}, "type": None}}


@pytest.mark.parametrize(
    ("strategy", "parameters", "sources"),
    [
        (MergeStrategy.REPLACE, CHANGE, {"response_format": "override a"}),
        (MergeStrategy.MERGE, {"seed": 1} | CHANGE, {"seed": "configuration", "response_format": "override a"}),
        (
            MergeStrategy.DEEP_MERGE,
            {
                "seed": 1,
                "response_format": {"json_schema": {"name": "a", "schema": {"type": "object", "required": ["y"]}}},
            },
            {"seed": "configuration", "response_format": "configuration, override a"},
        ),
    ],
)
def test_what_each_strategy_does(strategy: MergeStrategy, parameters: dict[str, Any], sources: dict[str, str]) -> None:
    base = {"seed": 1, "response_format": SCHEMA}
    found = compute_effective(base, [override("a", CHANGE, strategy=strategy)], {})
    assert found == EffectiveParameters(parameters, sources)
    assert base == {"seed": 1, "response_format": SCHEMA}


@pytest.mark.parametrize("strategy", MergeStrategy)
def test_null_takes_a_parameter_away(strategy: MergeStrategy) -> None:
    found = compute_effective(
        {"seed": 1}, [override("a", {"seed": None, "top_p": 0.5}, strategy=strategy)], {"top_p": None}
    )
    assert found == EffectiveParameters({}, {})


def test_a_null_inside_an_object_is_never_left_by_a_deep_merge() -> None:
    change = override(
        "a", {"response_format": {"type": None, "strict": {"x": None, "y": 1}}}, strategy=MergeStrategy.DEEP_MERGE
    )
    assert compute_effective({}, [change], {}).parameters == {"response_format": {"strict": {"y": 1}}}
    assert compute_effective({"response_format": "text"}, [change], {}).sources == {"response_format": "override a"}


def test_priority_then_specificity_then_age_decides() -> None:
    later = {"created_at": START + timedelta(seconds=1)}
    order = [
        override("low", {"seed": 1}, priority=-1, app="support", context="chat", configuration_id="c"),
        override("general", {"seed": 2}, **later),
        override("app", {"seed": 3}, app="support"),
        override("younger", {"seed": 4}, context="chat", **later),
        override("exact", {"seed": 5}, app="support", context="chat", configuration_id="c"),
        override("high", {"seed": 6}, priority=1),
    ]
    for count in range(1, len(order) + 1):
        assert compute_effective({}, reversed(order[:count]), {}).parameters == {"seed": count}


NAMES = st.sampled_from(["temperature", "seed", "response_format", "stop"])
VALUES = st.recursive(
    st.none() | st.integers(0, 3) | st.lists(st.integers(0, 2), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)
PARAMETERS = st.dictionaries(NAMES, VALUES, max_size=4)


@given(PARAMETERS, st.lists(st.tuples(PARAMETERS, st.sampled_from(MergeStrategy)), max_size=4), PARAMETERS)
def test_every_value_has_a_source_and_none_is_null(
    base: dict[str, Any], layers: list[tuple[dict[str, Any], MergeStrategy]], request: dict[str, Any]
) -> None:
    stack = [override(str(n), p, strategy=s, priority=n) for n, (p, s) in enumerate(layers)]
    found = compute_effective(base, stack, request)
    assert found.parameters.keys() == found.sources.keys()
    assert None not in found.parameters.values()
    for name, value in request.items():
        assert found.parameters.get(name) == value
    assert compute_effective(found.parameters, [], {}).parameters == found.parameters


def test_unsupported_parameters_are_named_or_left_out_never_passed() -> None:
    found = EffectiveParameters({"seed": 1, "top_p": 0.5}, {"seed": "override a", "top_p": "request"}, ("seed",))
    with pytest.raises(InvalidInput, match=r"m does not take seed.*override a"):
        drop_unsupported(found, "refuse", "m")
    done = drop_unsupported(found, "drop", "m")
    assert (done.parameters, dict(done.dropped), done.unsupported) == ({"top_p": 0.5}, {"seed": 1}, ())


class House:
    """Providers, configurations and overrides on one store."""

    def __init__(self, store: Store, settings: Settings) -> None:
        vault = Vault(store, settings)
        vault.open()
        self.providers = Providers(store, vault)
        self.overrides = Overrides(store, Models(store, self.providers, PriceBook()))
        self.configurations = Configurations(store)
        self.providers.create(AMIRA, name="scripted", kind="scripted")

    def configuration(self, slug: str, app: str = "support", **parameters: Any) -> Configuration:
        """One of the scripted provider's."""
        return self.configurations.create(
            AMIRA, slug=slug, app=app, provider="scripted", model="echo", parameters=parameters
        )


@pytest.fixture
def house(store: Store, settings: Settings) -> House:
    return House(store, settings)


def test_an_override_holds_for_its_app_context_and_configuration(house: House) -> None:
    one, other = house.configuration("one"), house.configuration("other", app="sales")
    scopes: dict[str, dict[str, Any]] = {
        "all": {},
        "app": {"app": "support"},
        "context": {"context": "summary"},
        "configuration": {"configuration_id": one.id},
        "both": {"app": "sales", "context": "summary"},
    }
    for name, more in scopes.items():
        house.overrides.create(AMIRA, OverrideDraft(name, {"seed": 1}, **more))

    def names(app: str, context: str | None, configuration: Configuration) -> set[str]:
        return {o.name for o in house.overrides.matching(AMIRA, app, context, configuration.id)}

    assert names("support", None, one) == {"all", "app", "configuration"}
    assert names("support", "summary", one) == {"all", "app", "configuration", "context"}
    assert names("sales", "summary", other) == {"all", "context", "both"}
    assert names("sales", "other", one) == {"all", "configuration"}


def test_the_effective_parameters_say_what_the_model_does_not_take(house: House) -> None:
    one = house.configuration("one", temperature=0.5)
    house.overrides.create(AMIRA, OverrideDraft("seeded", {"seed": 7}, app="support"))
    found = house.overrides.effective(VIEWER, one, {"max_tokens": 9})
    assert found.parameters == {"temperature": 0.5, "seed": 7, "max_tokens": 9}
    assert found.unsupported == ("seed",)
    assert house.overrides.effective(VIEWER, one, {}, app="sales").unsupported == ()


def test_a_result_that_no_model_takes_is_refused(house: House) -> None:
    one = house.configuration("one")
    with pytest.raises(InvalidInput):
        house.overrides.effective(AMIRA, one, {"temperature": 99})
    with pytest.raises(InvalidInput):
        house.overrides.effective(AMIRA, one, {"api_base": "http://elsewhere"})


def test_change_switch_off_and_delete(house: House) -> None:
    one = house.configuration("one")
    made = house.overrides.create(AMIRA, OverrideDraft("a", {"seed": None, "top_p": 0.1}, priority=3))
    assert made.parameters == {"seed": None, "top_p": 0.1}
    changed = house.overrides.update(AMIRA, made.id, OverrideDraft("b", {"top_p": 0.2}, strategy="deep_merge"))
    assert (changed.name, changed.strategy, changed.priority) == ("b", MergeStrategy.DEEP_MERGE, 0)
    assert [o.name for o in house.overrides.matching(AMIRA, "x", None, one.id)] == ["b"]
    house.overrides.set_active(AMIRA, made.id, False)
    assert house.overrides.matching(AMIRA, "x", None, one.id) == []
    assert [o.name for o in house.overrides.list(VIEWER)] == ["b"]
    house.overrides.delete(AMIRA, made.id)
    with pytest.raises(NotFound):
        house.overrides.get(AMIRA, made.id)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": " "}, "name"),
        ({"strategy": "append"}, "strategy"),
        ({"priority": 2_000_000}, "priority"),
        ({"app": "Not an app"}, "app"),
        ({"context": "a b"}, "context"),
        ({"parameters": {"api_key": "x"}}, "parameters"),
        ({"parameters": {"temperature": "hot"}}, "parameters"),
        ({"parameters": {"stop": ["x" * 200_000]}}, "parameters"),
        ({"configuration_id": "no such"}, "configuration"),
    ],
)
def test_what_can_not_be_used_names_its_field(house: House, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        house.overrides.create(AMIRA, OverrideDraft(**({"name": "a", "parameters": {}} | fields)))
    assert raised.value.field == field
    assert house.overrides.list(AMIRA) == []


def test_who_may_not_edit_can_look_only(house: House) -> None:
    with pytest.raises(PermissionDenied):
        house.overrides.create(VIEWER, OverrideDraft("a"))
    assert house.overrides.list(VIEWER) == []

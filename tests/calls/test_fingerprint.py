"""A plan's fingerprint names what shapes an answer, whole: no field of a plan is without its place."""

import dataclasses
from typing import Any

import pytest
from msgspec.structs import fields as struct_fields
from msgspec.structs import replace

from lib.access.permissions import OPERATOR
from lib.calls.fingerprint import PLACES, compute_fingerprint
from lib.calls.request import CallRequest, Plan, Target, Within
from lib.configs.configuration import Configuration
from lib.configs.routing import Deadlines, Routing
from lib.providers.chunks import Endpoint, ModelRequest, Wire

ENDPOINT = Endpoint("p1", "upstream", "openai", "https://one.example")
BODY = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
WIRE = Wire("chat", BODY, {}, "Be brief.", {"top_p": 1})
MODEL_REQUEST = ModelRequest("m", [{"role": "user", "content": "Hi"}], {"temperature": 1}, wire=WIRE)
TARGET = Target(ENDPOINT, MODEL_REQUEST)
PLAN = Plan(
    request=CallRequest(OPERATOR, MODEL_REQUEST.messages),
    configuration=Configuration.make_for_model("p1", "upstream", "openai", "m"),
    deployments=(TARGET,),
    fallbacks=(),
    routing=Routing(),
    app="a",
)


def names_of(kind: type) -> set[str]:
    is_dataclass = dataclasses.is_dataclass(kind)
    return {field.name for field in (dataclasses.fields(kind) if is_dataclass else struct_fields(kind))}


@pytest.mark.parametrize("kind", PLACES, ids=lambda kind: kind.__name__)
def test_every_field_counts_or_is_left(kind: type) -> None:
    place = PLACES[kind]
    assert place.counted | place.ignored == names_of(kind)
    assert not place.counted & place.ignored


def asking(**changes: Any) -> Plan:
    """The plan with fields of its only target's request, wire or endpoint changed."""
    wire: Wire = WIRE
    endpoint = ENDPOINT
    request: dict[str, Any] = {}
    for name, value in changes.items():
        if name in names_of(Wire):
            wire = replace(wire, **{name: value})
        elif name in names_of(Endpoint):
            endpoint = dataclasses.replace(endpoint, **{name: value})
        else:
            request[name] = value
    target = Target(endpoint, replace(MODEL_REQUEST, **({"wire": wire} | request)))
    return replace(PLAN, deployments=(target,))


OTHERS = {
    **{"model": "other", "messages": [], "parameters": {"temperature": 0}, "texts": ("Hi",), "wire": None},
    **{"protocol": "messages", "headers": {"openai-beta": "x"}, "system": "", "configured": {}, "body": {"seed": 1}},
    **{"provider_id": "p2", "kind": "mistral", "base_url": "https://two.example", "organisation": "other"},
}


def test_what_shapes_an_answer_shapes_the_fingerprint() -> None:
    counted = {name for kind in (ModelRequest, Wire, Endpoint) for name in PLACES[kind].counted}
    assert OTHERS.keys() == counted
    plans = [PLAN, replace(PLAN, fallbacks=(TARGET,)), *(asking(**{name: other}) for name, other in OTHERS.items())]
    assert len({compute_fingerprint(plan) for plan in plans}) == len(plans)


def test_whose_it_is_and_how_it_leaves_do_not() -> None:
    other = replace(
        PLAN,
        request=CallRequest(OPERATOR, [], call_id="other", tags={"a": 1}, within=Within("s"), deadlines=Deadlines(1.0)),
        app="other",
        deployments=asking(stream=False, drops=True, body={**BODY, "stream": False}, api_key="other").deployments,
    )
    assert compute_fingerprint(other) == compute_fingerprint(PLAN)
    shuffled = asking(body=dict(reversed(BODY.items())))
    assert compute_fingerprint(shuffled) == compute_fingerprint(PLAN)
    assert compute_fingerprint(asking(system="\ud800")) != compute_fingerprint(PLAN)

"""What tells two requests, and two plans, apart: derived from their fields, each of which has its place here.

`key_of(request)` names everything of a request but what is said and to whom it belongs: requests with one key have one
plan but for their words (`lib.calls.plans.Plans`). `fingerprint_of(plan)` names everything that shapes an answer: the
models that may give it, what each is asked and in what words. Plans with one fingerprint ask for the same, whoever asks
and in whatever form the answer leaves; who may share an answer is not its business, and where prompts must not be
guessed from it the digest has to be keyed by who stores it.

A field that is new to a type has to be put into one of its sets: `PLACES` is compared with the types by a test.
"""

import hashlib
import json
from collections.abc import Callable, Hashable, Mapping
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Struct

from lib.calls.request import CallRequest, Plan, Target
from lib.fast_json import encode
from lib.providers.chunks import Endpoint, ModelRequest, Wire

_encode = msgspec.json.Encoder(order="deterministic").encode
_PLAIN = frozenset((str, int, float, bool, dict, list, type(None)))  # of which nothing is picked
_FORMS = frozenset({"stream", "stream_options"})  # of a body: how the answer leaves


class Placement(Struct, frozen=True):
    """The fields of a type that count and those that do not."""

    counted: frozenset[str]
    ignored: frozenset[str]


def _place(counted: str, ignored: str) -> Placement:
    return Placement(frozenset(counted.split()), frozenset(ignored.split()))


# Of a request: what a plan depends on. Left: whose it is and what it says, which `build_plan_key` looks at part by
# part, and what belongs to one call and is taken from each request anew.
_COMPARED = (
    *("configuration", "model", "app", "context", "origin", "system_prompt", "deadlines", "max_attempts", "routed"),
    *("stream", "native", "unsaid", "even_if_off", "cache_policy", "bounded"),
)
_ENCODED = ("parameters", "extra")
_READ_BY_PARTS = ("actor", "wire", "texts")
KEY_OF_REQUEST = Placement(
    frozenset((*_COMPARED, *_ENCODED, *_READ_BY_PARTS)),
    frozenset(("messages", "tags", "conversation_id", "within", "call_id", "earlier_tokens")),
)
# Of a plan: what shapes the answer. A request comes in by its targets, so does the configuration.
PLACES: Mapping[type, Placement] = {
    Plan: _place("deployments fallbacks", "request configuration routing app dropped system"),
    Target: _place("endpoint model_request", "weight dropped longest_answer window"),
    Endpoint: _place("provider_id kind base_url organisation", "name api_key headers allow_private"),
    ModelRequest: _place("model messages parameters texts wire", "stream drops"),
    Wire: _place("protocol body headers system configured", ""),
}
_COUNTED: Mapping[type, tuple[str, ...]] = {
    kind: tuple(sorted(placement.counted)) for kind, placement in PLACES.items()
}
_compare: Callable[[CallRequest], tuple[Hashable, ...]] = attrgetter(*_COMPARED)


def build_plan_key(request: CallRequest) -> Hashable:
    """Everything of a request but its words: those of one key have one plan."""
    actor = request.actor
    wire = request.wire
    return (
        actor.user_id,
        actor.key,
        actor.permissions,
        actor.team_id,
        _compare(request),
        tuple([encode(getattr(request, name)) for name in _ENCODED]),
        wire and (wire.protocol, tuple(wire.headers.items())),
        request.texts is None,
        not any(text.strip() for text in request.texts or ()),  # what says nothing may be refused
    )


def compute_fingerprint(plan: Plan) -> bytes:
    """The SHA-256 of everything that shapes the plan's answer."""
    return hashlib.sha256(_encode_canonically(_pick(plan))).digest()


def _pick(value: Any) -> Any:
    """A value with the counted fields of each type alone, in one order."""
    names = _COUNTED.get(type(value))
    if names is not None:
        picked = {name: part if type(part := getattr(value, name)) in _PLAIN else _pick(part) for name in names}
        if type(value) is Wire:
            picked["body"] = {name: part for name, part in value.body.items() if name not in _FORMS}
        return picked
    return [_pick(part) for part in value] if isinstance(value, tuple) else value


def _encode_canonically(value: Any) -> bytes:
    """JSON with its names in order; what msgspec refuses (a lone surrogate) is written by the standard library."""
    try:
        return _encode(value)
    except (msgspec.MsgspecError, UnicodeError, TypeError):
        return json.dumps(value, sort_keys=True, default=str).encode()

"""Whose an answer is: the hard partition of what is remembered, and the keys by which an equal question finds it.

A namespace is part of every key, never text in a vector: scope (a person and the end user a program names, a team or an
app), app, configuration and its revision, and everything that shapes the answer (`lib.calls.fingerprint`: providers,
models, system prompt, parameters, response format), the rules of comparison and the embedding model. A changed
part is another namespace, so nothing has to be thrown away for a change to take effect.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lib.cache import guards, wording
from lib.cache.eligibility import find_question, is_personal
from lib.cache.policy import CacheRules, SharingScope
from lib.cache.secret import CacheSecret
from lib.calls.fingerprint import compute_fingerprint
from lib.calls.request import Plan, Target
from lib.fast_json import encode

_LONGEST_END_USER = 500
_SKETCH_DIGITS = 24
_END_USER_FIELDS = frozenset(("safety_identifier", "user", "metadata"))


class Keys(Struct, frozen=True):
    """How a request is found: 64 hexadecimal digits each.

    `loose`, `namespace` and `pool` are None where only the same request may find the answer, and before they are
    needed. `pool` is the namespace without the person: a proof is about what is asked and of whom, whoever asks.
    `question` is what is compared. `sketch`, 24 digits, is how every loose key begins that the question can have: where
    no answer's does, nobody has to know the rest.
    """

    exact: str
    loose: str | None = None
    namespace: str | None = None
    pool: str | None = None
    question: str | None = None
    language: str | None = None
    sketch: str | None = None


def find_scope_exclusion(plan: Plan, rules: CacheRules) -> str | None:
    """The rule that keeps a request out of its scope, or None: `personal`, or `nobody named` of a key for many people.

    What speaks of a person is not shared with others, and of a key that serves many only the named ones have a scope.
    """
    if rules.scope is not SharingScope.PERSON:
        return "personal" if is_personal(plan) else None
    key = plan.request.actor.key
    return "nobody named" if key is not None and key.serves_many and not find_end_user(plan) else None


def make_keys(plan: Plan, rules: CacheRules, secret: CacheSecret) -> Keys:
    """The keys by which a request that may be remembered is looked for: the exact one, and the sketch of its words."""
    owner = _encode_scope(plan, rules.scope)
    configuration_key = _encode_configuration(plan)
    exact = secret.hash(b"exact", owner, configuration_key, compute_fingerprint(plan))
    if not rules.compares_words or (question := find_question(plan)) is None:
        return Keys(exact)
    return Keys(exact, question=question, sketch=_make_sketch(secret, owner, configuration_key, question))


def complete_keys(keys: Keys, plan: Plan, rules: CacheRules, secret: CacheSecret) -> Keys:
    """All keys of a request, whatever the rules: an answer is stored with those that rules may ask for later."""
    question = find_question(plan) if keys.namespace is None else None
    language = wording.find_language(question) if question is not None else None
    if question is None or language is None:
        return keys
    owner = _encode_scope(plan, rules.scope)
    configuration_key = _encode_configuration(plan)
    shape = compute_fingerprint(_strip_words(plan))
    compared = f"{language} {wording.VERSION} {guards.VERSION}".encode()
    namespace = secret.hash(b"namespace", owner, configuration_key, shape, compared)
    pool = secret.hash(b"pool", configuration_key, shape, compared)
    sketch = keys.sketch or _make_sketch(secret, owner, configuration_key, question)
    words = wording.list_significant_words(question, language)
    loose = None if words is None else secret.hash(b"loose", namespace.encode(), *map(_encode_word, words))
    loose = loose and sketch + loose[_SKETCH_DIGITS:]
    return Keys(keys.exact, loose, namespace, pool, question, language, sketch)


def read_sketch(loose_key: str) -> str:
    """The sketch with which a loose key begins."""
    return loose_key[:_SKETCH_DIGITS]


def _make_sketch(secret: CacheSecret, owner: bytes, configuration_key: bytes, question: str) -> str:
    return secret.hash(b"sketch", owner, configuration_key, wording.make_sketch(question))[:_SKETCH_DIGITS]


def _encode_word(word: str) -> bytes:
    return word.encode("utf-8", "surrogatepass")


def _encode_configuration(plan: Plan) -> bytes:
    return encode([plan.app, plan.configuration.id, plan.configuration.revision])


def find_end_user(plan: Plan) -> str:
    """Whom a program asks for, as it names them (`user`, `safety_identifier`, `metadata.user_id`); empty: nobody."""
    request = plan.request
    for parameters in (request.wire.body if request.wire is not None else {}, request.extra, request.parameters):
        if _END_USER_FIELDS.isdisjoint(parameters):
            continue
        for name in ("safety_identifier", "user"):
            if isinstance(end_user := parameters.get(name), str) and end_user:
                return end_user[:_LONGEST_END_USER]
        metadata = parameters.get("metadata")
        if isinstance(metadata, Mapping) and isinstance(end_user := metadata.get("user_id"), str) and end_user:
            return end_user[:_LONGEST_END_USER]
    return ""


def _encode_scope(plan: Plan, scope: SharingScope) -> bytes:
    actor = plan.request.actor
    match scope:
        case SharingScope.PERSON:
            asker = actor.user_id or (
                f"key {actor.key.key_id}" if actor.key is not None else ""
            )  # keys of nobody differ
            return encode(["person", asker, find_end_user(plan)])
        case SharingScope.TEAM:
            return encode(["team", actor.team_id])
        case SharingScope.APP:
            return encode(["app", actor.team_id, plan.app])  # another team may call its app the same


def _strip_words(plan: Plan) -> Plan:
    """The plan with the user's turn left empty, for everything else that shapes the answer."""
    return replace(
        plan,
        deployments=tuple(_strip(target) for target in plan.deployments),
        fallbacks=tuple(_strip(target) for target in plan.fallbacks),
    )


def _strip(target: Target) -> Target:
    model_request = target.model_request
    messages = [
        {**message, "content": ""} if message.get("role") == "user" else message for message in model_request.messages
    ]
    wire = model_request.wire
    if wire is not None:
        wire = replace(wire, body=_strip_person({**wire.body, "messages": None}))
    parameters = _strip_person(model_request.parameters)
    return replace(target, model_request=replace(model_request, messages=messages, parameters=parameters, wire=wire))


def _strip_person(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Without whom a program asks for, which is a part of the scope."""
    return {name: value for name, value in fields.items() if name not in _END_USER_FIELDS}

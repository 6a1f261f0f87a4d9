"""A request → `Plan`: everything a call needs, settled before anything is written or sent.

Permission, configuration, effective parameters, targets and lanes; whatever is wrong with the request is an error in
the asker's hands, not a row of the ledger.
"""

import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace as replaced
from typing import Any

from msgspec.structs import replace

from lib.access.permissions import Permission
from lib.calls.fingerprint import build_plan_key
from lib.calls.plan_sources import CachedPlanSources, PlanSources
from lib.calls.request import MAX_PROMPT_CHARACTERS, CallRequest, Plan, Target
from lib.calls.request_choices import check_scope
from lib.calls.target_builder import TargetBuilder, make_empty_prompt_error
from lib.configs.configuration import Configuration
from lib.configs.effective import compute_effective
from lib.configs.routing import Deployment, Routing
from lib.configs.scope import find_in_scope
from lib.errors import InvalidInput, NotFound, UserError
from lib.providers.chunks import ModelRequest
from lib.tokens.message_text import has_content, read_message_text

_MOST_KEPT = 1_000


def make_plan(request: CallRequest, lookups: PlanSources) -> Plan:
    """The plan of a request; PermissionDenied, NotFound or InvalidInput when it can't be sent."""
    actor = request.actor
    key = request.actor.key
    actor.require(Permission.TEST_CONFIGS)
    if key is not None:  # the key alone says which app spends
        request = replace(request, app=key.app)
    configuration = _find_configuration(request, lookups)
    if not configuration.is_active and not request.even_if_off:
        raise InvalidInput(
            f"The configuration {configuration.slug} is switched off.", "", "Switch it on, or choose another one."
        )
    if configuration.provider_id is None:
        raise InvalidInput(
            f"The configuration {configuration.slug} has no provider.", "", "Choose one on the Configurations page."
        )
    app = request.app or configuration.app
    matching = lookups.overrides(actor, app, request.context, configuration.id)
    effective = compute_effective(configuration.parameters, matching, request.parameters)
    system = configuration.system_prompt if request.system_prompt is None else request.system_prompt
    model_request = ModelRequest(
        configuration.model, _build_messages(request, system), {}, request.stream, texts=request.texts
    )
    routing = Routing.from_record(configuration.routing)
    target_builder = TargetBuilder(request, lookups, effective, configuration.unsupported_parameters, system)
    deployments, fallbacks = _build_targets(request, configuration, routing, model_request, target_builder)
    dropped = (*deployments, *fallbacks)[0].dropped
    plan = Plan(
        request=_tag_dropped(request, dropped),
        system=system,
        configuration=configuration,
        deployments=deployments,
        fallbacks=fallbacks,
        routing=replaced(
            routing,
            deadlines=request.deadlines or routing.deadlines,
            max_attempts=routing.max_attempts if request.max_attempts is None else request.max_attempts,
        ),
        app=app,
        dropped=dropped,
    )
    return check_scope(plan)


def _build_targets(
    request: CallRequest,
    configuration: Configuration,
    routing: Routing,
    model_request: ModelRequest,
    target_builder: "TargetBuilder",
) -> tuple[tuple[Target, ...], tuple[Target, ...]]:
    """Deployments and fallbacks that can be used now; the first reason why not when there is none."""
    refusals: list[UserError] = []

    def usable(candidates: Sequence[Deployment]) -> tuple[Target, ...]:
        usable_targets: dict[str, Target] = {}
        for deployment in candidates:
            try:
                target = target_builder.build(deployment, model_request)
            except (InvalidInput, NotFound) as error:  # off, without its key, deleted, or it can't: the others serve
                refusals.append(error)
                continue
            usable_targets.setdefault(target.id, target)
        return tuple(usable_targets.values())

    own = Deployment(str(configuration.provider_id), configuration.model, routing.weight)
    deployments = usable([own, *(routing.deployments if request.routed else ())])
    fallbacks = usable(routing.fallbacks) if request.routed and routing.fallbacks else ()
    if not deployments and not fallbacks:
        raise refusals[0]
    deployment_ids = {target.id for target in deployments}
    return deployments, tuple(target for target in fallbacks if target.id not in deployment_ids)


def _tag_dropped(request: CallRequest, dropped: Sequence[str]) -> CallRequest:
    """The request, whose tags say what was left out: they are stored with the call."""
    return replace(request, tags={**request.tags, "dropped_parameters": list(dropped)}) if dropped else request


def _find_configuration(request: CallRequest, lookups: PlanSources) -> Configuration:
    actor = request.actor
    name = request.configuration
    model = request.model
    if model is not None:
        return find_in_scope(actor, model, lambda: lookups.of_model(actor, model))
    if name is None:
        return find_in_scope(actor, None, lambda: lookups.default_for(actor, request.app or "playground"))
    return find_in_scope(actor, name, lambda: lookups.configuration(actor, name))


def _build_messages(request: CallRequest, system: str) -> list[dict[str, Any]]:
    if request.texts is not None:
        system = ""
        messages = [{"role": "user", "content": text} for text in request.texts]
    else:
        messages = [dict(message) for message in request.messages]
    length = 0
    for message in messages:
        length += len(read_message_text(message))
    if request.texts is None and not any(has_content(message) for message in messages):
        raise make_empty_prompt_error()
    if length > MAX_PROMPT_CHARACTERS:
        raise InvalidInput(
            "The prompt is too long.",
            f"It has {length:,} characters; the limit is {MAX_PROMPT_CHARACTERS:,}.",
            "Shorten it, or send it in parts.",
            field="prompt",
        )
    return ([{"role": "system", "content": system}] if system.strip() else []) + messages


class Plans:
    """Plans for the gateway, where one program asks the same again and again with other messages.

    A plan is made anew once a second; in between, its like is filled with the new messages.
    """

    def __init__(self, lookups: CachedPlanSources, same_for_s: float = 1.0) -> None:
        """`same_for_s`: seconds for which a plan is used again."""
        self.same_for_s = same_for_s
        self._lookups = lookups
        self._cached: dict[Hashable, tuple[float, Plan]] = {}

    def plan(self, request: CallRequest, *, reading: bool = False) -> Plan:
        """The plan of a request; NotCached where it takes a query, unless `reading` allows that (in a thread)."""
        kind = build_plan_key(request)
        now = time.monotonic()
        at, like = self._cached.get(kind, (0.0, None))
        if like is not None and now - at < self.same_for_s:
            return check_scope(_fill_plan(like, request))
        plan = make_plan(request, self._lookups.reading if reading else self._lookups)
        if len(self._cached) >= _MOST_KEPT:
            self._cached.clear()
        self._cached[kind] = (now, plan)
        return plan


def _fill_plan(like: Plan, request: CallRequest) -> Plan:
    """The plan of an equal request with this one's words in it; whatever else a plan holds stays."""
    messages = _build_messages(request, like.system)
    body: Mapping[str, Any] = request.wire.body if request.wire else {}

    def fill(target: Target) -> Target:
        template = target.model_request
        wire = template.wire and replace(template.wire, body=body)
        return replace(target, model_request=replace(template, messages=messages, wire=wire, texts=request.texts))

    return replace(
        like,
        request=_tag_dropped(request, like.dropped),
        deployments=tuple([fill(target) for target in like.deployments]),
        fallbacks=tuple([fill(target) for target in like.fallbacks]),
    )

"""What a request's own fields choose, weighed: against the key's scope, and in money.

`lib.providers.request_fields` says what fields choose, run and multiply. A key with a scope may name no model outside
it in any field. The hold counts the dearest of all models that may answer, every answer, and what tools of the
provider's can cost. Whether a hard budget holds for a call is only known once it is opened; then the limits of uses
that the hold counted with are set in what is sent, and what has no limit is refused.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from lib.budgets.estimate import compute_upper_bound_nano
from lib.calls.request import Plan, Target
from lib.errors import Throttled
from lib.providers.hosted_tools import bound_prompt_tokens, bound_uses_nano, limit_uses, name_free_reader
from lib.providers.kinds import Protocol, ProviderKind
from lib.providers.model_names import list_model_keys
from lib.providers.prices.price_book import PriceBook
from lib.providers.prices.price_list import format_exact_dollars
from lib.providers.prices.service_tiers import name_asked_tier, name_priced_tier
from lib.providers.request_fields import NOTHING, Choices, examine

_RATES = {"prompt": "input", "completion": "output"}  # OpenRouter's names of a host's prices

_OTHER_ANSWERS = ("modalities", "audio", "responseModalities", "generationConfig")  # may ask for more than text


def examine_choices(target: Target) -> Choices:
    """The choices that the fields of a target's request make, as they are sent under a hard budget."""
    model_request = target.model_request
    kind = target.endpoint.kind
    body, protocol = _merge_fields(target)
    choices = examine(kind, protocol, model_request.model, body)
    if choices.hosted:
        choices = examine(kind, protocol, model_request.model, limit_uses(kind, protocol, body))
    return choices


def find_answering_model(target: Target, served: str | None) -> str:
    """The model whose price holds: that of the request, unless its fields let another one answer, and that one did."""
    model_request = target.model_request
    kind = target.endpoint.kind
    if not served or served == model_request.model or model_request.wire is None:
        return model_request.model
    choices = examine_choices(target)
    if choices.hidden:
        return served
    keys = set(list_model_keys(kind, served))
    return next(
        (model for model in choices.models if not keys.isdisjoint(list_model_keys(kind, model))), model_request.model
    )


def name_requested_tier(target: Target) -> str:
    """How a target's request wants to be served (`lib.providers.prices.service_tiers`); empty where it does not say."""
    endpoint = target.endpoint
    return name_asked_tier(endpoint.kind, _merge_fields(target)[0], endpoint.base_url)


def check_scope(plan: Plan) -> Plan:
    """The plan again; PermissionDenied when a field names a model outside the key's scope, or hides which it is."""
    key = plan.request.actor.key
    if key is None or not key.models:
        return plan
    for target in (*plan.deployments, *plan.fallbacks):
        choices = examine_choices(target)
        for field in choices.hidden:
            if field != "model":
                key.refuse_model(f"What {field} chooses")
        for model in choices.models:
            key.require_model(f"{target.endpoint.name}/{model}")
    return plan


def compute_most_nano(
    target: Target,
    choices: Choices,
    prices: PriceBook,
    at: datetime,
    tokens: tuple[int, int, int],
    *,
    is_text: bool = False,
) -> int | None:
    """The most a call can cost, by tokens of its prompt, of all its answers, and images; None: it has no price."""
    prompt, ceiling, images = tokens
    endpoint = target.endpoint
    model = target.model_request.model
    kind = endpoint.kind
    fields = _merge_fields(target)[0]
    tier = name_priced_tier(kind, name_requested_tier(target))
    is_text = is_text and not any(fields.get(name) for name in _OTHER_ANSWERS)

    def most_of(name: str) -> int | None:
        """The most nano-dollars by the price of one model."""
        price = prices.price(kind, name, at)
        read = bound_prompt_tokens(choices.hosted, prompt)
        return compute_upper_bound_nano(price, read, ceiling, images, tier, is_text=is_text)

    own = most_of(model)
    if choices is NOTHING or own is None:
        return own
    other_models_nano = [most_of(other) for other in choices.models]
    fees = bound_uses_nano(choices.hosted, _build_fee_lookup(target, prices, at)) or 0
    return max(1, own, *(other or 0 for other in other_models_nano)) + fees  # above 0: budgets have to be asked


def find_unbounded(target: Target, choices: Choices, prices: PriceBook, at: datetime) -> Throttled | None:
    """Why a call can't be sent under a hard budget: something in it can cost any amount; None when nothing can."""
    if choices is NOTHING:
        return None
    kind = target.endpoint.kind
    fee_of = _build_fee_lookup(target, prices, at)
    for field in choices.hidden:
        return _make_refusal(field, "It lets the provider choose what answers, at a price that is not known here.")
    for field in choices.unbounded:
        return _make_refusal(field, "It sets no end to the answers' length or number.")
    for model in choices.models:
        if prices.price(kind, model, at) is None:
            return _make_refusal(model, "It may answer, and no price is known for it.")
    for hosted in choices.hosted:
        if hosted.uses is None or fee_of(hosted.use) is None:
            is_field = hosted.field not in ("tools", "max_tool_calls")
            name = hosted.field if is_field else f"The tool {hosted.use[:60]}"
            why = "The provider runs it and charges for it apart, and nothing bounds how much."
            return _make_refusal(name, why)
    if choices.host and kind != ProviderKind.OPENROUTER:
        return _make_refusal("provider", "It chooses who serves the call, at a price that is not known here.")
    return None


def limit_target(target: Target, choices: Choices, prices: PriceBook, at: datetime) -> Target:
    """The target with the limits of uses, of OpenRouter's hosts' prices and readers, that its hold counts with."""
    model_request = target.model_request
    kind = target.endpoint.kind
    wire = model_request.wire
    is_router = kind == ProviderKind.OPENROUTER
    if not (choices.hosted or choices.host or is_router):
        return target
    if wire is None or wire.protocol == Protocol.CHAT:
        model_request = replace(model_request, parameters=limit_uses(kind, None, model_request.parameters))
    if wire is not None:
        body = limit_uses(kind, wire.protocol, wire.body)
        if choices.host:
            body["provider"] = _limit_host_prices(body.get("provider"), target, choices, prices, at)
        body = name_free_reader(body, model_request.messages) if is_router else body
        model_request = replace(model_request, wire=replace(wire, body=body))
    return replace(target, model_request=model_request)


def _merge_fields(target: Target) -> tuple[dict[str, Any], str | None]:
    """The fields as they are sent, and the protocol where they are the program's own."""
    model_request = target.model_request
    wire = model_request.wire
    if wire is None:
        return dict(model_request.parameters), None
    if wire.protocol == Protocol.CHAT:
        return {**wire.body, **model_request.parameters}, wire.protocol
    return {**wire.configured, **wire.body}, wire.protocol


def _build_fee_lookup(target: Target, prices: PriceBook, at: datetime) -> Callable[[str], int | None]:
    return lambda use: prices.use_fee(target.endpoint.kind, target.model_request.model, use, at)


def _limit_host_prices(
    provider: Any, target: Target, choices: Choices, prices: PriceBook, at: datetime
) -> dict[str, Any] | Any:
    """OpenRouter's wishes about hosts, none of them dearer than the hold counts with."""
    if not isinstance(provider, dict):
        return provider
    names = (target.model_request.model, *choices.models)
    prices_of_models = [price for name in names if (price := prices.price(target.endpoint.kind, name, at)) is not None]
    if not prices_of_models:
        return provider
    own_prices = provider.get("max_price")
    most = dict(own_prices) if isinstance(own_prices, dict) else {}
    for name, rate in _RATES.items():
        dearest = float(
            format_exact_dollars(max(getattr(tier.rates, rate) for price in prices_of_models for tier in price.tiers))
        )
        own = most.get(name)
        most[name] = min(own, dearest) if isinstance(own, int | float) else dearest
    return {**provider, "max_price": most}


def _make_refusal(subject: str, why: str) -> Throttled:
    title = f"{subject[:1].upper()}{subject[1:80]} can't be used under a hard budget."
    return Throttled(title, why, "Leave it out, or let the budget only tell.", retry_after=None)

"""The source of an attempt that goes to a provider: what it can cost at most, the limits it is sent, its stream.

One serves all calls of a process; everything about an attempt is in `call.attempt`.
"""

from collections.abc import AsyncIterator
from typing import Any

from msgspec.structs import replace

from lib.budgets.estimate import CEILINGS, compute_completion_ceiling, compute_upper_bound_nano
from lib.calls.live_call import AttemptState, LiveCall
from lib.calls.observed_usage import ObservedUsage
from lib.calls.request_choices import compute_most_nano, examine_choices, find_unbounded, limit_target
from lib.calls.sources import NO_CACHE, Bound
from lib.errors import Throttled
from lib.ledger import content_policy
from lib.providers.adapters import select_adapter
from lib.providers.chunks import (
    Adapter,
    EmbeddingRequest,
    Endpoint,
    Finish,
    ModelRequest,
    OmittedParameters,
    Piece,
    ServedModel,
    UsageReport,
    Vectors,
)
from lib.providers.hosted_tools import bound_prompt_tokens
from lib.providers.kinds import ProviderKind
from lib.providers.prices.price_book import PriceBook
from lib.tokens.prompt_tokens import bound_prompt


class Upstream:
    """A provider, through the adapter that speaks to it."""

    cache = NO_CACHE
    age_s: int | None = None

    def __init__(self, prices: PriceBook, observed: ObservedUsage) -> None:
        self._prices = prices
        self._observed = observed

    def find_lane(self, call: LiveCall) -> str:
        """`relay` in the program's own bytes, else `translate`."""
        return "translate" if call.attempt.target.model_request.wire is None else "relay"

    def bound(self, call: LiveCall) -> Bound:
        """The most at the dearest of the models that may answer, with all that the request lets the provider run."""
        attempt = call.attempt
        target = attempt.target
        endpoint = target.endpoint
        model_request = target.model_request
        at = attempt.started_at
        choices = examine_choices(target)
        ceiling = compute_completion_ceiling(model_request.parameters, target.longest_answer, choices.answers)
        ceiling = max(ceiling, choices.ceiling * choices.answers)
        has_ceiling = _has_ceiling(model_request.parameters)
        excess = self._observed.excess(endpoint.name, model_request.model)
        size = call.prompt_size
        prompt = excess.of_prompt(bound_prompt(size, endpoint.kind, model_request.model, target.window))
        longest = excess.of_answer(ceiling)
        tokens = prompt, longest, call.images
        is_text = not (size.sounds or size.files or size.unseen)
        amount = compute_most_nano(target, choices, self._prices, at, tokens, is_text=is_text)
        wished = 0
        if amount is None and (dearest := self._prices.dearest(endpoint.kind, at)) is not None:
            wished = compute_upper_bound_nano(dearest, *tokens) or 0
        claimed = call.prompt_estimate + (ceiling if has_ceiling else 0)
        return Bound(amount, wished, bound_prompt_tokens(choices.hosted, prompt), longest, claimed, has_ceiling)

    def limit(self, call: LiveCall) -> Throttled | None:
        """Send the limits that the hold relies on; why the attempt can't be bounded, or None."""
        attempt = call.attempt
        choices = examine_choices(attempt.target)
        if (refusal := find_unbounded(attempt.target, choices, self._prices, attempt.started_at)) is not None:
            return refusal
        attempt.target = limit_target(attempt.target, choices, self._prices, attempt.started_at)
        if not _has_ceiling(attempt.target.model_request.parameters):
            _set_ceiling(attempt, call.content_policy)
        return None

    def read(self, call: LiveCall) -> AsyncIterator[Piece]:
        """Send the request; its pieces as the provider sends them."""
        target = call.attempt.target
        model_request = target.model_request
        adapter = select_adapter(target.endpoint.kind, model_request)
        if model_request.texts is not None and model_request.wire is None:
            return _embed(adapter, target.endpoint, model_request)
        return adapter.stream(target.endpoint, model_request)

    def compute_saved_nano(self, call: LiveCall) -> int | None:
        """Nothing is saved by asking."""
        return None


def _set_ceiling(attempt: AttemptState, policy: str) -> None:
    """Name the longest answer, which the request does not."""
    target = attempt.target
    model_request = target.model_request
    name = "max_completion_tokens" if target.endpoint.kind == ProviderKind.OPENAI else "max_tokens"
    each = compute_completion_ceiling({}, target.longest_answer)
    bounded = replace(model_request, parameters={**model_request.parameters, name: each})
    if attempt.identity is not None:
        attempt.identity.parameters = content_policy.sanitise_parameters(policy, bounded.parameters)
    attempt.target = replace(target, model_request=bounded)
    attempt.is_bounded = True


def _has_ceiling(parameters: Any) -> bool:
    return any(parameters.get(name) is not None for name in CEILINGS)


async def _embed(adapter: Adapter, endpoint: Endpoint, model_request: ModelRequest) -> AsyncIterator[Piece]:
    """Vectors as a stream of one piece, so that they take the same way as every call."""
    texts = model_request.texts or ()
    embeddings = await adapter.embed(
        endpoint, EmbeddingRequest(model_request.model, texts, model_request.parameters, model_request.drops)
    )
    if embeddings.left_out:
        yield OmittedParameters(embeddings.left_out)
    if embeddings.served_model:
        yield ServedModel(embeddings.served_model)
    yield Vectors(embeddings.vectors)
    if embeddings.usage is not None:
        yield UsageReport(embeddings.usage, cost_nano_usd=embeddings.cost_nano_usd)
    yield Finish("stop")

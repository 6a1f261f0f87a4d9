"""What a call is billed by beside the tokens that were counted: how it was served, who answered, what was used.

An answer tells these at its end. One that was cut, or whose client left, has told a part: how it was served is then as
it was asked, where its provider serves calls as they are asked; uses are those that the answer has shown so far. Where
the request lets the provider run something that is charged by the piece, and nothing was shown, its fee is not known.
"""

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from lib.calls.request import Target
from lib.calls.request_choices import examine_choices, find_answering_model, name_requested_tier
from lib.providers.chunks import Usage, UsageDetails
from lib.providers.kinds import ProviderKind
from lib.providers.prices.service_tiers import PLAIN, find_region, name_service_tier
from lib.providers.protocols.usage import add_uses

_SERVES_AS_ASKED = frozenset({ProviderKind.OPENAI, ProviderKind.ANTHROPIC, ProviderKind.GEMINI})
_TIER_FIELDS = frozenset({"service_tier", "speed", "inference_geo"})


def complete_usage(
    target: Target, usage: Usage, served_model: str | None = None, dropped: tuple[str, ...] = ()
) -> Usage:
    """The usage with how the call was served and, where that is not the model that was asked, who answered.

    `dropped` are fields that were not sent.
    """
    kind = target.endpoint.kind
    tier = usage.service_tier
    region = find_region(kind, target.endpoint.base_url)
    if not tier and kind in _SERVES_AS_ASKED and _TIER_FIELDS.isdisjoint(dropped):
        wanted_tier = name_requested_tier(target)
        tier = "" if wanted_tier == PLAIN else wanted_tier
    if region:
        tier = name_service_tier(*tier.split("+"), region)
    if tier != usage.service_tier:
        usage = replace(usage, service_tier=tier)
    model = find_answering_model(target, served_model)
    if model == target.model_request.model:
        return usage
    return replace(usage, details=replace(usage.details or UsageDetails(), model=model))


def count_cut_usage(
    target: Target, usage: Usage, uses: Mapping[str, int], fee_of: Callable[[str], int | None] = lambda _: None
) -> Usage:
    """The usage of an answer that did not come to its end, with what it has shown so far to have been used.

    Its details are `uncounted` where the provider may have run something that costs and has shown nothing of it.
    `fee_of` is what a use costs by its name, None where nobody knows.
    """
    usage = add_uses(usage, uses)
    if usage.details is not None and usage.details.uses:
        return usage
    if all(fee_of(tool.use) == 0 for tool in examine_choices(target).hosted):
        return usage
    return replace(usage, details=replace(usage.details or UsageDetails(), uncounted=True))

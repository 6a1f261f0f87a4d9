"""How the limits of a key stand, in the headers that clients of OpenAI's and Anthropic's protocols read."""

from collections.abc import Mapping
from datetime import timedelta

from lib.access.limits import LimitDecision, LimitState
from lib.clock import utc_now

_NONE: Mapping[str, str] = {}


def openai_headers(verdict: LimitDecision) -> Mapping[str, str]:
    """`x-ratelimit-{limit,remaining,reset}-{requests,tokens}`; a reset is a duration."""
    if verdict.requests is None and verdict.tokens is None:
        return _NONE
    found = {}
    for name, standing in _named(verdict):
        found[f"x-ratelimit-limit-{name}"] = str(standing.limit)
        found[f"x-ratelimit-remaining-{name}"] = str(standing.remaining)
        found[f"x-ratelimit-reset-{name}"] = f"{max(0.0, standing.reset_s):.1f}s"
    return found


def anthropic_headers(verdict: LimitDecision) -> Mapping[str, str]:
    """`anthropic-ratelimit-{requests,tokens}-{limit,remaining,reset}`; a reset is a moment."""
    if verdict.requests is None and verdict.tokens is None:
        return _NONE
    found = {}
    for name, standing in _named(verdict):
        reset = utc_now() + timedelta(seconds=max(0.0, standing.reset_s))
        found[f"anthropic-ratelimit-{name}-limit"] = str(standing.limit)
        found[f"anthropic-ratelimit-{name}-remaining"] = str(standing.remaining)
        found[f"anthropic-ratelimit-{name}-reset"] = reset.strftime("%Y-%m-%dT%H:%M:%SZ")
    return found


def _named(verdict: LimitDecision) -> list[tuple[str, LimitState]]:
    both = (("requests", verdict.requests), ("tokens", verdict.tokens))
    return [(name, standing) for name, standing in both if standing is not None]

"""How the limits of a key stand, in the headers that clients of OpenAI's and Anthropic's protocols read."""

from collections.abc import Mapping
from datetime import timedelta

from lib.access.limits import LimitDecision, LimitState
from lib.clock import utc_now

_NONE: Mapping[str, str] = {}


def build_openai_headers(verdict: LimitDecision) -> Mapping[str, str]:
    """`x-ratelimit-{limit,remaining,reset}-{requests,tokens}`; a reset is a duration."""
    if verdict.requests is None and verdict.tokens is None:
        return _NONE
    headers = {}
    for name, standing in _list_states(verdict):
        headers[f"x-ratelimit-limit-{name}"] = str(standing.limit)
        headers[f"x-ratelimit-remaining-{name}"] = str(standing.remaining)
        headers[f"x-ratelimit-reset-{name}"] = f"{max(0.0, standing.reset_s):.1f}s"
    return headers


def build_anthropic_headers(verdict: LimitDecision) -> Mapping[str, str]:
    """`anthropic-ratelimit-{requests,tokens}-{limit,remaining,reset}`; a reset is a moment."""
    if verdict.requests is None and verdict.tokens is None:
        return _NONE
    headers = {}
    for name, standing in _list_states(verdict):
        reset = utc_now() + timedelta(seconds=max(0.0, standing.reset_s))
        headers[f"anthropic-ratelimit-{name}-limit"] = str(standing.limit)
        headers[f"anthropic-ratelimit-{name}-remaining"] = str(standing.remaining)
        headers[f"anthropic-ratelimit-{name}-reset"] = reset.strftime("%Y-%m-%dT%H:%M:%SZ")
    return headers


def _list_states(verdict: LimitDecision) -> list[tuple[str, LimitState]]:
    states = (("requests", verdict.requests), ("tokens", verdict.tokens))
    return [(name, standing) for name, standing in states if standing is not None]

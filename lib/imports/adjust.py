"""What a mapping of columns can't say about a form: each corrects a row's raw values, or says why it is left out.

Tokens end as in the ledger: `prompt_tokens` includes what was cached, read and written.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from lib.fast_json import decode
from lib.files.cells import restore
from lib.imports.source import Row

Raw = dict[str, Any]
Adjust = Callable[[Raw, Row], str | None]
_CACHE_FIELDS = {"cache_read_input_tokens": "cache_read_tokens", "cache_creation_input_tokens": "cache_write_tokens"}
_TRUE = (True, "True", "true", "t", "1")
_ZERO = (0, "0", "0.0", Decimal(0))


def litellm(raw: Raw, row: Row) -> str | None:
    """The status, what the cache gave, cached tokens out of the metadata; a cost of 0 for tokens is none."""
    raw["status"] = "error" if row.get("status") == "failure" else "ok"
    if row.get("cache_hit") in _TRUE:
        raw |= {"cache": "exact", "cost_usd": "0"}
    elif raw["status"] == "ok" and raw.get("cost_usd") in _ZERO:
        raw["cost_usd"] = None  # LiteLLM writes 0 also for a model it has no price for
    raw["user"] = raw.get("user") or row.get("end_user")
    provider, model = raw.get("provider"), raw.get("model")
    if provider and isinstance(model, str):
        raw["model"] = model.removeprefix(f"{provider}/")
    details = row.get("metadata")
    if details and "cache" in (text := details if isinstance(details, str) else str(details)):
        values = _object(details) if text is details else details
        usage = values.get("additional_usage_values") or values.get("usage_object") or {}
        for name, ours in _CACHE_FIELDS.items():
            raw[ours] = usage.get(name)
        if raw["cache_read_tokens"] is None:
            raw["cache_read_tokens"] = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    return None


def openai_costs(raw: Raw, row: Row) -> str | None:
    """Dollars only; the model out of the line item."""
    currency = row.get("amount.currency", row.get("amount_currency", "usd"))
    if str(currency).lower() != "usd":
        return "not in dollars"
    raw["model"] = str(raw.get("model") or "all models").partition(", ")[0]  # "gpt-5-mini-2025-08-07, input"
    return "no amount" if raw.get("cost_usd") in (None, "") else None


def anthropic_usage(raw: Raw, row: Row) -> str | None:
    """The prompt is what was fresh, read and written."""
    five = row.get("cache_creation.ephemeral_5m_input_tokens", row.get("cache_creation_5m_input_tokens"))
    hour = row.get("cache_creation.ephemeral_1h_input_tokens", row.get("cache_creation_1h_input_tokens"))
    five, hour = row.get("usage_input_tokens_cache_write_5m", five), row.get("usage_input_tokens_cache_write_1h", hour)
    fresh, read = raw.get("prompt_tokens"), raw.get("cache_read_tokens")
    raw["cache_write_tokens"], raw["cache_write_1h_tokens"] = _sum(five, hour), hour
    raw["prompt_tokens"] = _sum(fresh, read, five, hour)
    return None


def anthropic_costs(raw: Raw, row: Row) -> str | None:
    """Dollars only; cents of the interface, dollars of the console."""
    if str(row.get("currency") or "USD").upper() != "USD":
        return "not in dollars"
    if "amount" in row:  # cents, as a decimal text
        try:
            raw["cost_usd"] = Decimal(str(row["amount"])) / 100
        except InvalidOperation:
            return "no amount"
    raw["model"] = raw.get("model") or row.get("description") or row.get("cost_type") or "all models"
    return None


def langfuse(raw: Raw, row: Row) -> str | None:
    """Generations only; the parts of usage and cost, where they are told, go before the older sums."""
    if str(row.get("type") or "GENERATION").upper() not in ("GENERATION", "EMBEDDING"):
        return "not a call of a model"
    raw["status"] = "error" if str(row.get("level")).upper() == "ERROR" else "ok"
    usage = _object(row.get("usageDetails") or row.get("usage_details") or {})
    if usage:
        raw |= _langfuse_parts(usage)
    costs = _object(row.get("costDetails") or row.get("cost_details") or {})
    if costs:
        raw["cost_usd"] = costs.get("total", _sum(*(value for name, value in costs.items() if name != "total")))
    elif raw.get("cost_usd") in _ZERO:
        raw["cost_usd"] = None
    return None


def _langfuse_parts(usage: Mapping[str, Any]) -> Raw:
    """Langfuse keeps the parts apart: what was cached is not in `input`."""
    parts = {name: value for name, value in usage.items() if name != "total" and value is not None}
    prompt = {name: value for name, value in parts.items() if "output" not in name and "reasoning" not in name}
    answer = {name: value for name, value in parts.items() if name not in prompt}
    written = [value for name, value in prompt.items() if "creation" in name or "write" in name]
    read = [value for name, value in prompt.items() if "cache" in name and "creation" not in name]
    return {
        "prompt_tokens": _sum(*prompt.values()),
        "completion_tokens": _sum(*answer.values()),
        "cache_read_tokens": _sum(*read),
        "cache_write_tokens": _sum(*written),
        "reasoning_tokens": _sum(*(value for name, value in answer.items() if "reasoning" in name)),
    }


def own(raw: Raw, row: Row) -> str | None:
    """Text that the export kept from being run as a formula, as it was."""
    for name, value in raw.items():  # what the export kept from being run as a formula
        if isinstance(value, str):
            raw[name] = restore(value)
    return None


def _sum(*parts: Any) -> Any:
    known = [Decimal(str(part)) for part in parts if part not in (None, "")]
    return sum(known) if known else None


def _object(value: Any) -> dict[str, Any]:
    """A JSON object, also one that a CSV's cell holds as text."""
    if isinstance(value, str):
        try:
            value = decode(value, exact=True)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}

"""What a mapping of columns can't say about a form: each corrects a row's raw values, or says why it is left out.

Tokens end as in the ledger: `prompt_tokens` includes what was cached, read and written.
"""

import itertools
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from lib.fast_json import decode
from lib.files.cells import restore
from lib.usage_files.model_ids import derive_model_id, strip_snapshot
from lib.usage_files.numbers import parse_number
from lib.usage_files.source import Row

Raw = dict[str, Any]
Adjust = Callable[[Raw, Row], str | None]
_CACHE_FIELDS = {"cache_read_input_tokens": "cache_read_tokens", "cache_creation_input_tokens": "cache_write_tokens"}
_TRUE = (True, "True", "true", "t", "1")
_ZERO = (0, "0", "0.0", Decimal(0))


def correct_litellm(raw: Raw, row: Row) -> str | None:
    """The status, what the cache gave, cached tokens out of the metadata; a cost of 0 for tokens is none."""
    raw["status"] = "error" if row.get("status") == "failure" else "ok"
    if row.get("cache_hit") in _TRUE:
        raw |= {"cache": "exact", "cost_usd": "0"}
    elif raw["status"] == "ok" and raw.get("cost_usd") in _ZERO:
        raw["cost_usd"] = None  # LiteLLM writes 0 also for a model it has no price for
    raw["user"] = raw.get("user") or row.get("end_user")
    provider = raw.get("provider")
    model = raw.get("model")
    if provider and isinstance(model, str):
        raw["model"] = model.removeprefix(f"{provider}/")
    details = row.get("metadata")
    if details and "cache" in (text := details if isinstance(details, str) else str(details)):
        values = _parse_json(details) if text is details else details
        usage = values.get("additional_usage_values") or values.get("usage_object") or {}
        for name, ours in _CACHE_FIELDS.items():
            raw[ours] = usage.get(name)
        if raw["cache_read_tokens"] is None:
            raw["cache_read_tokens"] = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    return None


def correct_openai_usage(raw: Raw, row: Row) -> str | None:
    """How the calls were served: a batch is a tier of its own."""
    if str(row.get("batch")).lower() in ("true", "1"):
        raw["service_tier"] = "batch"
    modalities = {name: row.get(column) for name, column in MODALITIES.items()}
    raw |= {name: value for name, value in modalities.items() if value not in (None, "", "0", 0)}
    return None


# Tokens that are no text, by the name of their rate (`lib.providers.prices.rates.MODALITY_RATES`) → OpenAI's column.
MODALITIES = {
    "audio_input": "input_audio_tokens",
    "audio_cache_read": "input_cached_audio_tokens",
    "audio_output": "output_audio_tokens",
    "image_input": "input_image_tokens",
    "image_cache_read": "input_cached_image_tokens",
    "image_output": "output_image_tokens",
}


def correct_openai_costs(raw: Raw, row: Row) -> str | None:
    """Dollars only; the model out of the line item."""
    currency = row.get("amount.currency", row.get("amount_currency", "usd"))
    if str(currency).lower() != "usd":
        return "not in dollars"
    raw["model"] = str(raw.get("model") or "all models").partition(", ")[0]  # "gpt-5-mini-2025-08-07, input"
    return "no amount" if raw.get("cost_usd") in (None, "") else None


def correct_anthropic_usage(raw: Raw, row: Row) -> str | None:
    """The prompt is what was fresh, read and written."""
    five = row.get("cache_creation.ephemeral_5m_input_tokens", row.get("cache_creation_5m_input_tokens"))
    hour = row.get("cache_creation.ephemeral_1h_input_tokens", row.get("cache_creation_1h_input_tokens"))
    five = row.get("usage_input_tokens_cache_write_5m", five)
    hour = row.get("usage_input_tokens_cache_write_1h", hour)
    fresh = raw.get("prompt_tokens")
    read = raw.get("cache_read_tokens")
    raw["cache_write_tokens"] = _sum(five, hour)
    raw["cache_write_1h_tokens"] = hour
    raw["prompt_tokens"] = _sum(fresh, read, five, hour)
    _name_claude(raw)
    return None


def _name_claude(raw: Raw) -> None:
    """One name in every file of Anthropic's: the id without its day, which is told apart."""
    if model := raw.get("model"):
        claude_id = derive_model_id(str(model))
        raw["canonical_model"] = strip_snapshot(claude_id)
        raw["served_model"] = claude_id if claude_id != raw["canonical_model"] else None


def correct_anthropic_costs(raw: Raw, row: Row) -> str | None:
    """Dollars only; cents of the interface, dollars of the console."""
    if str(row.get("currency") or "USD").upper() != "USD":
        return "not in dollars"
    if "amount" in row:  # cents, as a decimal text
        try:
            cents = parse_number(row["amount"])
        except ValueError:
            return "cost can't be read"
        raw["cost_usd"] = None if cents is None else Decimal(cents) / 100
    if raw.get("cost_usd") is None:
        return "no amount"
    _name_claude(raw)
    raw["model"] = raw.get("model") or row.get("description") or row.get("cost_type") or "all models"
    return None


def correct_langfuse(raw: Raw, row: Row) -> str | None:
    """Generations only; the parts of usage and cost, where they are told, go before the older sums."""
    if str(row.get("type") or "GENERATION").upper() not in ("GENERATION", "EMBEDDING"):
        return "not a call of a model"
    raw["status"] = "error" if str(row.get("level")).upper() == "ERROR" else "ok"
    usage = _parse_json(row.get("usageDetails") or row.get("usage_details") or {})
    if usage:
        raw |= _sum_langfuse_parts(usage)
    costs = _parse_json(row.get("costDetails") or row.get("cost_details") or {})
    if costs:
        raw["cost_usd"] = costs.get("total", _sum(*(value for name, value in costs.items() if name != "total")))
    elif raw.get("cost_usd") in _ZERO:
        raw["cost_usd"] = None
    return None


def _sum_langfuse_parts(usage: Mapping[str, Any]) -> Raw:
    """The ledger's tokens out of a map whose entries may overlap.

    Langfuse's own integrations write exclusive parts (`input`, `input_cached_tokens`, `output`,
    `output_reasoning_tokens` …); others add breakdowns of a part beside it (`text_prompt_tokens` of `input`). Types
    with "input" are input, with "output" output (langfuse.com/docs, token and cost tracking); a `total` that is told
    holds, and tells which entries are parts: those that add up to it.
    """
    counts = {name: value for name, value in usage.items() if not isinstance(value, dict | list | bool)}
    parts = {name: count for name, value in counts.items() if (count := parse_number(value)) is not None}
    total = parts.pop("total", parts.pop("total_tokens", None))
    sides = {name: _find_side(name) for name in parts}
    exclusive = _find_exclusive(parts, sides, total)
    prompt = [name for name in exclusive if sides[name] == "input"]
    answer = [name for name in exclusive if sides[name] == "output"]
    read = [name for name in parts if sides[name] == "input" and _is_cached(name) and not _is_written(name)]
    written = [name for name in parts if sides[name] == "input" and _is_written(name)]
    thoughts = [name for name in parts if any(word in name for word in _THOUGHTS)]
    return {
        "prompt_tokens": _sum(*(parts[name] for name in prompt)),
        "completion_tokens": _sum(*(parts[name] for name in answer)),
        "total_tokens": total,
        "cache_read_tokens": _sum(*(parts[name] for name in read)),
        "cache_write_tokens": _sum(*(parts[name] for name in written)),
        "reasoning_tokens": _sum(*(parts[name] for name in thoughts)),
    }


_MOST_TRIED = 200  # sets of entries of a size
_THOUGHTS = ("reasoning", "thought", "thinking")
_MAIN = {  # one key holds a whole side, or what its other parts leave of it
    "input": ("input", "prompt", "input_tokens", "prompt_tokens", "promptTokens", "inputTokens"),
    "output": ("output", "completion", "output_tokens", "completion_tokens", "completionTokens", "outputTokens"),
}


def _find_side(name: str) -> str:
    plain = name.lower()
    if any(word in plain for word in ("output", "completion", "candidate", "response", "answer", *_THOUGHTS)):
        return "output"
    return "input"


def _is_cached(name: str) -> bool:
    return "cache" in name.lower()


def _is_written(name: str) -> bool:
    return _is_cached(name) and any(word in name.lower() for word in ("creation", "write", "written"))


def _find_exclusive(parts: Mapping[str, Any], sides: Mapping[str, str], total: Any) -> list[str]:
    """The entries that are parts; the others break one of them down.

    With a total: all of them if they add up to it, else the smallest set of sides' main entries and their extensions
    that does. Without, or where nothing adds up: what is named as a side's own, cached or thought about.
    """
    mains = [name for side in _MAIN.values() for name in [*filter(parts.__contains__, side)][:1]]
    if total is None:
        return list(parts) if not mains else [name for name in parts if name in mains or _is_extension(name)]
    if sum(parts.values()) == total:
        return list(parts)
    breakdowns = [name for name in parts if name not in mains]
    first = [name for name in breakdowns if _is_extension(name)]
    for size in range(len(breakdowns) + 1):
        for extra in itertools.islice(
            itertools.combinations([*first, *(n for n in breakdowns if n not in first)], size), 200
        ):
            if sum(parts[name] for name in (*mains, *extra)) == total:
                return [*mains, *extra]
    return [*mains, *first]


def _is_extension(name: str) -> bool:
    """Whether an entry is told apart from its side's main one: cached tokens, thoughts, and `input_…`, `output_…`."""
    plain = name.lower()
    return _is_cached(plain) or any(word in plain for word in _THOUGHTS) or plain.startswith(("input_", "output_"))


def correct_any_table(raw: Raw, row: Row) -> str | None:
    """A column of currencies says whether costs are in dollars."""
    currency = next((row[name] for name in _CURRENCY if row.get(name) not in (None, "")), "USD")
    is_foreign = str(currency).strip().upper() not in ("USD", "US$", "$", "US DOLLAR")
    return "not in dollars" if is_foreign and raw.get("cost_usd") not in (None, "") else None


_CURRENCY = (
    *("currency", "Currency", "CURRENCY", "currency_code", "CurrencyCode", "billing_currency", "BillingCurrency"),
    *("BillingCurrencyCode", "amount.currency", "amount_currency"),
)


def correct_own(raw: Raw, row: Row) -> str | None:
    """Text that the export kept from being run as a formula, as it was."""
    for name, value in raw.items():  # what the export kept from being run as a formula
        if isinstance(value, str):
            raw[name] = restore(value)
    return None


def _sum(*parts: Any) -> Any:
    """Numbers added up; None when none is known; ValueError when one is none."""
    numbers = [amount for part in parts if (amount := parse_number(part)) is not None]
    return sum(numbers) if numbers else None


def _parse_json(value: Any) -> dict[str, Any]:
    """A JSON object, also one that a CSV's cell holds as text."""
    if isinstance(value, str):
        try:
            value = decode(value, exact=True)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}

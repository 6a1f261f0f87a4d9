"""A row of a file as a row of the ledger, or the reason why it is left out.

Ids follow from what the row says, so the same row has the same id whenever it comes: from its own id, else from the
columns that tell it apart and how often they have come in this file. What a file does not say stays unknown. Only a
cost is worked out from the price list, and only where that was asked for: as `priced` for a call, as `estimated` for a
sum of many, whose long prompts can't be told from short ones. A count that no column of the ledger holds is told by
several rows that add up to it.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any

from lib.clock import make_id_at
from lib.fast_json import decode
from lib.imports.identity import Occurrences, compute_hash, split_huge_counts
from lib.ledger.usage_row import build_blank_columns
from lib.money import convert_usd_to_nano
from lib.providers.chunks import Usage, UsageDetails
from lib.providers.kinds import ProviderKind
from lib.providers.prices.price_book import PriceBook
from lib.providers.prices.service_tiers import name_priced_tier, name_service_tier
from lib.providers.redaction import redact
from lib.usage_files import values
from lib.usage_files.adjust import MODALITIES, Raw
from lib.usage_files.formats import GENERIC
from lib.usage_files.numbers import parse_count, parse_number
from lib.usage_files.source import Row
from lib.usage_files.table import TOKENS, SkippedRow, Table

STATUSES = frozenset({"ok", "error", "cancelled", "truncated", "timeout", "refused", "orphaned"})
_GOOD = {"", "ok", "success", "succeeded", "completed", "complete", "default", "200", "none"}
_OUTSIDE = uuid.UUID("0f0f3b52-4f0e-5d3a-9a53-6f7d2f1c9b11")
_MAKERS = {
    **{"gpt-": "openai", "o1": "openai", "o3": "openai", "o4": "openai", "text-embedding-": "openai"},
    **{"claude": "anthropic", "gemini": "gemini", "mistral": "mistral", "deepseek": "deepseek"},
}
_WORDS = {
    "origin": 16,
    "workflow_step": 120,
    "session_id": 120,
    "served_model": 200,
    "error_kind": 32,
    "finish_reason": 40,
    "lane": 10,
} | {
    **{"conversation_id": 36, "workflow_run_id": 36, "parent_call_id": 36, "api_key_id": 36, "configuration_id": 36},
    **{"usage_source": 12, "cost_status": 12, "price_id": 120, "cache": 12},
}
_COUNTS = ("attempt", "images", "chunks", "first_token_ms")
_ALL = build_blank_columns() | {"attempt": 1, "is_final": True, "origin": "import", "streamed": False}


# What others' files never say is not written at all: NULL, and a third less to write.
_FEW = {
    name: value
    for name, value in _ALL.items()
    if name not in {*_WORDS, *_COUNTS, "saved_nano_usd", "reported_nano_usd"}
    or name
    in (
        "service_tier",
        "served_model",
        "attempt",
        "origin",
        "usage_source",
        "cost_status",
        "price_id",
        "cache",
        "first_token_ms",
    )
}
_NAMES = ("canonical_model", "served_model", "model", "provider", "app", "user", "user_id", "status")
_MOST_NAMES = 20_000
# Counts of other modalities are parts of these; a file in which one is larger counts them apart, who knows how.
_WITHIN = {"input": "prompt_tokens", "cache_read": "cache_read_tokens", "output": "completion_tokens"}
_SERVED_BY = ("service_tier", "speed", "inference_geo")


@dataclass(frozen=True)
class RowChoices:
    """What is said about a file: its table, the zone of moments that name none, and what it lacks.

    `price` works costs out of the price list where the file has none.
    """

    table: Table
    zone: tzinfo
    app: str = ""
    provider: str = ""
    price: bool = False


@dataclass
class RowReader:
    """Turns a file's rows into ledger rows; `people` are accounts (casefolded names with ids), `kinds` the providers'
    kinds.
    """

    choices: RowChoices
    prices: PriceBook
    people: Mapping[str, str]
    kinds: Mapping[str, str]
    now: datetime
    batch_id: str
    outside: dict[str, str] = field(default_factory=dict)  # id → name of who has no account

    def __post_init__(self) -> None:
        self._table = self.choices.table
        self.form = self._table.form
        self._often = Occurrences()
        self._known_names: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._is_own = self.form.name == "llm-manager"
        self._empty = _ALL if self._is_own else _FEW
        self._accounts = set(self.people.values())
        self._tags = {"imported": self.form.name}

    def read(self, row: Row, raw: Raw) -> list[dict[str, Any]]:
        """Return the rows of `usage_logs` without change numbers, one but for huge counts; raises SkippedRow with the
        reason for none.
        """
        ledger_row = dict(self._empty, batch_id=self.batch_id, tags=self._tags)
        try:
            self._set_moments(ledger_row, raw)
            self._set_names(ledger_row, raw)
            self._set_figures(ledger_row, raw)
            if self._is_own:
                self._what = "columns"
                _set_own_columns(ledger_row, raw)
            self._set_cost(ledger_row, raw)
        except (ValueError, AttributeError, TypeError):
            raise SkippedRow(f"{self._what.replace('_', ' ')} can't be read") from None
        self._identify(ledger_row, raw, row)
        return split_huge_counts(ledger_row)

    def _set_moments(self, ledger_row: dict[str, Any], raw: Raw) -> None:
        self._what = "moment"
        moment = values.parse_moment
        zone = self.choices.zone
        start = moment(raw.get("started_at"), zone)
        if start is None:
            raise SkippedRow("no moment")
        end = moment(raw.get("finished_at"), zone)
        first = moment(raw.get("first_token_at"), zone)
        if start > self.now or (self.form.is_sum and end is not None and end > self.now):
            raise SkippedRow("its time is not over yet")
        self._what = "duration"
        took = values.convert_to_milliseconds(parse_number(raw.get("execution_time_ms"), self._table.notation))
        is_sum = self.form.is_sum
        ledger_row["started_at"] = start
        ledger_row["finished_at"] = max(start, end or start)
        ledger_row["execution_time_ms"] = (
            None if is_sum else values.count_milliseconds(start, end) if took is None else took
        )
        ledger_row["first_token_ms"] = (
            values.count_milliseconds(start, first) if first is not None and first != end else None
        )

    def _set_names(self, ledger_row: dict[str, Any], raw: Raw) -> None:
        """Names come in few combinations, so what one means is worked out once."""
        key = tuple(map(raw.get, _NAMES))
        names = self._known_names.get(key)
        if names is None:
            if len(self._known_names) >= _MOST_NAMES:
                self._known_names.clear()
            names = self._known_names[key] = self._read_names(raw)
        ledger_row |= names
        if ledger_row["status"] != "ok" and (words := values.clean_text(raw.get("error_message"), 2000)):
            ledger_row["error_message"] = redact(words)

    def _read_names(self, raw: Raw) -> dict[str, Any]:
        ledger_row: dict[str, Any] = {}
        model = values.clean_text(raw.get("model"), 200)
        if model is None and not self.form.is_sum:
            raise SkippedRow("no model")
        ledger_row["model"] = values.clean_text(raw.get("canonical_model"), 200) or model or "all models"
        if not self._is_own and (served := values.clean_text(raw.get("served_model"), 200)):
            ledger_row["served_model"] = served
        provider = values.clean_text(raw.get("provider"), 80) or self.choices.provider or self.form.provider
        ledger_row["provider"] = provider or _guess_maker(ledger_row["model"]) or "imported"
        ledger_row["app"] = values.clean_text(raw.get("app"), 80) or self.choices.app or self.form.name
        status = str(raw.get("status") or "").lower()
        ledger_row["status"] = status if status in STATUSES else "ok" if status in _GOOD else "error"
        name = values.clean_text(raw.get("user"), 200)
        if self._is_own and (user_id := values.clean_text(raw.get("user_id"), 36)):
            ledger_row["user_id"] = user_id
            if name and name != user_id and user_id not in self._accounts:
                self.outside.setdefault(user_id, name)
        elif name:
            ledger_row["user_id"] = self._find_person(name)
        return ledger_row

    def _find_person(self, name: str) -> str:
        key = name.casefold()
        if (account_id := self.people.get(key)) is not None:
            return account_id
        person = str(uuid.uuid5(_OUTSIDE, key))
        self.outside.setdefault(person, name)
        return person

    def _set_figures(self, ledger_row: dict[str, Any], raw: Raw) -> None:
        for name in TOKENS:
            if raw.get(name) is not None:
                ledger_row[name] = self._table.count_of(raw, name)
        prompt = ledger_row["prompt_tokens"]
        completion = ledger_row["completion_tokens"]
        if ledger_row["total_tokens"] is None and not self._is_own and not (prompt is completion is None):
            ledger_row["total_tokens"] = (prompt or 0) + (completion or 0)
        if self.form.is_sum or "calls" in raw:
            ledger_row["calls"] = self._table.count_of(raw, "calls")
            if ledger_row["calls"] == 0 and not ledger_row["total_tokens"] and not raw.get("cost_usd"):
                raise SkippedRow("nothing in it")
        ledger_row["usage_source"] = "none" if ledger_row["total_tokens"] is None else "provider"
        if raw.get("cache") == "exact":
            ledger_row["cache"] = "exact"

    def _set_cost(self, ledger_row: dict[str, Any], raw: Raw) -> None:
        cost = self._table.cost_of(raw)
        form = self.form
        nano = None if cost is None else convert_usd_to_nano(cost)
        if self._is_own and ledger_row["cost_status"] is not None:  # says itself how its cost is known
            ledger_row["cost_nano_usd"] = nano
            if ledger_row["cost_nano_usd"] is not None:
                return
        if nano is None and ledger_row["status"] != "ok" and form.name == "litellm":
            nano = 0
        if nano is not None:
            ledger_row |= {"cost_nano_usd": nano, "cost_status": "priced" if nano else "free", "price_id": form.said_by}
            return
        ledger_row["cost_status"] = "unpriced"
        ledger_row["service_tier"] = name_service_tier(*(raw.get(name) for name in _SERVED_BY))
        if self.choices.price and ledger_row["prompt_tokens"] is not None:
            counts = {name: parse_count(raw[name]) or 0 for name in MODALITIES if raw.get(name)}
            if all(count <= (ledger_row[_WITHIN[name.partition("_")[2]]] or 0) for name, count in counts.items()):
                self._set_price(ledger_row, counts)

    def _set_price(self, ledger_row: dict[str, Any], modality_tokens: Mapping[str, int]) -> None:
        """The cost by the price list, unless a part of it, such as tokens of sound, has no rate there."""
        kind = self.kinds.get(ledger_row["provider"], ledger_row["provider"])
        if kind not in set(ProviderKind):
            return
        price = self.prices.price(kind, ledger_row["model"], ledger_row["started_at"])
        if price is None:
            return
        usage = Usage(
            ledger_row["prompt_tokens"],
            ledger_row["completion_tokens"] or 0,
            ledger_row["cache_read_tokens"] or 0,
            ledger_row["cache_write_tokens"] or 0,
            ledger_row["reasoning_tokens"] or 0,
            ledger_row["cache_write_1h_tokens"] or 0,
            details=UsageDetails(dict(modality_tokens)) if modality_tokens else None,
        )
        is_one = ledger_row["calls"] == 1
        rates = price.served_rates(
            usage.prompt_tokens if is_one else 0, name_priced_tier(kind, ledger_row["service_tier"])
        )
        if rates is None or (not is_one and rates.request and ledger_row["calls"] is None):
            return  # nobody knows the tier's price, or it costs by the call and nobody says how many
        charge, uncharged = rates.charge(usage)
        if uncharged:
            return
        nano = charge + (0 if is_one else ((ledger_row["calls"] or 1) - 1) * (rates.request or 0))
        status = "free" if price.is_free else "priced" if is_one else "estimated"
        ledger_row |= {"cost_nano_usd": nano, "cost_status": status, "price_id": price.price_id}

    def _identify(self, ledger_row: dict[str, Any], raw: Raw, row: Row) -> None:
        form = self.form
        own = values.clean_text(raw.get("id"), 400)
        model = values.clean_text(raw.get("model"), 200) or "all models"  # as the file has it: it tells rows apart
        if self._is_own and own and _is_id(own):
            ledger_row["id"] = own
            ledger_row["call_id"] = raw["call_id"] if _is_id(str(raw.get("call_id"))) else own
            return
        if own is not None:
            number = compute_hash(f"{form.name}\x1f{own}")
        else:
            parts = form.told_apart_by if form is not GENERIC else tuple(self._table.mapping.values())
            identity_text = "\x1f".join(
                [form.name, str(ledger_row["started_at"]), model, *(str(row.get(p)) for p in parts)]
            )
            number = compute_hash(identity_text)
            if (nth := self._often.count(number)) > 1:
                number = compute_hash(f"{identity_text}\x1f{nth}")
        ledger_row["id"] = ledger_row["call_id"] = make_id_at(
            int(ledger_row["started_at"].timestamp() * 1000), 0xFFF, number
        )


def _set_own_columns(ledger_row: dict[str, Any], raw: Raw) -> None:
    """Set the columns that only this product's own export has."""
    for name, longest in _WORDS.items():
        if (value := values.clean_text(raw.get(name), longest)) is not None:
            ledger_row[name] = value
    for name in _COUNTS:
        if raw.get(name) not in (None, ""):
            ledger_row[name] = parse_count(raw[name])
    for name in ("saved_nano_usd", "reported_nano_usd", "fees_nano_usd"):
        if isinstance(raw.get(name), int):
            ledger_row[name] = raw[name]
    for name in ("is_final", "streamed"):
        if raw.get(name) not in (None, ""):
            ledger_row[name] = str(raw[name]).lower() in ("true", "1")
    for name in ("parameters", "tags"):
        ledger_row[name] = _read_mapping(raw.get(name))


def _read_mapping(cell: Any) -> Any:
    """A cell that holds JSON, or is an object already; empty where it can't be read."""
    try:
        return decode(cell) if isinstance(cell, str) and cell else cell or {}
    except (ValueError, RecursionError):
        return {}


def _guess_maker(model: str) -> str | None:
    return next((provider for start, provider in _MAKERS.items() if model.lower().startswith(start)), None)


def _is_id(text: str) -> bool:
    return len(text) == 36 and text.isprintable()

"""The part of `/api` that reads and notes: a call, custom metrics, usage, what budgets would say.

Each is a function from what was asked to a JSON document; `Resource` knows the caller and says no in our own shape.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from time import sleep
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from lib import services as service_root
from lib.access.grants import Endpoint
from lib.access.permissions import Actor
from lib.calls.activity_rows import CallDetail
from lib.calls.metric import Metric, NewMetric
from lib.calls.metrics import Range
from lib.configs.scope import in_scope
from lib.errors import InvalidInput, NotFound
from lib.gateway.completions import caller
from lib.gateway.exchange import Exchange
from lib.gateway.protocols.asked import list_field, read_json
from lib.gateway.protocols.native import name_field, outcome
from lib.money import usd_from_nano
from lib.prompts.template import PRODUCTION, Template
from lib.services import Services

_FIRST_YEAR, _LAST_YEAR = 1970, 2999
_MOST_TOKENS = 100_000_000
_MOMENT_S = 0.1
_TOLD = ("status", "attempt", "app", "configuration_id", "origin", "streamed", "error_kind", "error_message")


@dataclass(frozen=True)
class Asking:
    """Who asks, and what the address and the body say."""

    services: Services
    actor: Actor
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: dict[str, Any]

    def text(self, name: str) -> str | None:
        """A value of the query, or None."""
        return name_field(self.query, name)

    def names(self, name: str) -> list[str]:
        """Values of the query parted by commas, each once."""
        return list(dict.fromkeys(part for part in (self.text(name) or "").split(",") if part))

    def count(self, name: str) -> int | None:
        """A number of tokens, or None."""
        text = self.text(name)
        if text is None or (text.isdecimal() and len(text) < 10 and 0 < int(text) <= _MOST_TOKENS):
            return None if text is None else int(text)
        why = f"It is a whole number from 1 to {_MOST_TOKENS:,}."
        raise InvalidInput(f"{name} can't be used.", why, f"Correct {name}.", field=name)

    def span(self) -> tuple[datetime | None, datetime | None]:
        """`from` and `to`, days in UTC and both included, as moments: start, and end (exclusive)."""
        first, last = self._day("from"), self._day("to")
        if first is not None and last is not None and last < first:
            raise InvalidInput("The range is empty.", f"from {first} is after to {last}.", "Swap them.", field="to")
        start, end = (None if day is None else datetime.combine(day, time(), UTC) for day in (first, last))
        return start, None if end is None else end + timedelta(days=1)

    def _day(self, name: str) -> date | None:
        text = self.text(name)
        try:
            day = None if text is None else date.fromisoformat(text)
        except ValueError:
            day = date.min
        if day is None or _FIRST_YEAR <= day.year <= _LAST_YEAR:
            return day
        raise InvalidInput(f"{name} is not a day.", "", "Write it like 2026-10-31.", field=name)


@dataclass(frozen=True)
class Resource:
    """An address that answers with a JSON document, made in a thread: `get` reads, `post` adds."""

    get: Callable[[Asking], Any]
    post: Callable[[Asking], Any] | None = None
    made: int = 201  # the status of an answer to `post`

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        exchange, services = Exchange(scope, receive, send), service_root.current()
        actor = (await caller(exchange, services, Endpoint.API)).coming_from(exchange.place)
        adds = scope["method"] == "POST"
        body = read_json(await exchange.body()) if adds else {}
        work = self.post if adds and self.post is not None else self.get
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        asking = Asking(services, actor, scope["path_params"], query, body)
        document = await asyncio.to_thread(_settled, work, asking)
        await exchange.answer_json(self.made if adds else 200, document, {"cache-control": "no-store"})


def _settled(work: Callable[[Asking], Any], asking: Asking) -> Any:
    """The answer when every call that has ended is in the ledger; another worker's may take a moment longer."""
    asking.services.calls.flush()
    try:
        return work(asking)
    except NotFound:
        if "call_id" not in asking.path:
            raise
        sleep(_MOMENT_S)
        return work(asking)


def call(asking: Asking) -> Any:
    """One call, by its id or that of one of its attempts; words where the caller may read them."""
    return _call_body(asking.services.activity.detail(asking.actor, asking.path["call_id"]))


def metrics_of_call(asking: Asking) -> Any:
    """What was noted about a call."""
    found = asking.services.metrics.list(asking.actor, asking.path["call_id"])
    return {"metrics": [_metric_body(one) for one in found]}


def record_metrics(asking: Asking) -> Any:
    """Note something about a call: one metric, or several under `metrics`."""
    given = list_field(asking.body, "metrics") if "metrics" in asking.body else [asking.body]
    metrics = [NewMetric(one.get("key", ""), _value(one), one.get("type"), one.get("metadata")) for one in given]
    made = asking.services.metrics.record_many(asking.actor, asking.path["call_id"], metrics)
    return {"metrics": [_metric_body(one) for one in made]}


def prompts(asking: Asking) -> Any:
    """The prompt templates that the key's app can use."""
    found = asking.services.prompts.list(asking.actor, category=asking.text("category"))
    return {"prompts": [_prompt_body(one) for one in found]}


def prompt(asking: Asking) -> Any:
    """One of them: the version that a label or number names, `production` without."""
    slug, version = asking.path["slug"], asking.count("version")
    which = version if version is not None else asking.text("label") or PRODUCTION
    found = asking.services.prompts.version(asking.actor, slug, which)
    told = {name: getattr(found, name) for name in ("version", "text", "system_prompt", "parameters", "reason")}
    variables = [one.to_record() for one in found.variables]
    return _prompt_body(asking.services.prompts.get(asking.actor, slug)) | told | {"variables": variables}


def metrics(asking: Asking) -> Any:
    """Figures of each key over the calls that started in a range."""
    within = Range(*asking.span(), tuple(asking.names("app")))
    found = asking.services.metrics.statistics(asking.actor, asking.text("key"), within)
    told = [asdict(one) for one in found]
    for one in told:
        one["values"] = [{"value": text, "count": count} for text, count in one["values"]]
    return {"keys": told}


def usage(asking: Asking) -> Any:
    """The columns of the command `stats`, by any dimensions; without one, the sum of all."""
    from lib.statistics import export

    asking.services.calls.flush()
    frame = asking.services.statistics.stats_table(asking.actor, asking.names("by"), *asking.span())
    return {"rows": json.loads(export.to_json(frame))}


def check_budgets(asking: Asking) -> Any:
    """Whether a call of a configuration by this key would pass every budget, or where it would go; nothing is held."""
    from lib.budgets.dry_run import dry_run

    services, actor = asking.services, asking.actor
    if (slug := asking.text("configuration")) is None:
        raise InvalidInput("configuration is missing.", "", "Name one.", field="configuration")
    configuration = in_scope(actor, slug, lambda: services.configurations.get(actor, slug))
    asked = dry_run(
        actor,
        services.budgets,
        services.prices,
        services.providers,
        configuration,
        prompt_tokens=asking.count("prompt_tokens") or 0,
        max_tokens=asking.count("max_tokens"),
        app=actor.key.app if actor.key else None,
        user=actor.user_id,
        api_key_id=actor.key.key_id if actor.key else None,
    )
    budgets = [
        {
            "scope": str(one.state.budget.scope),
            "subject": one.state.budget.label,
            "period": str(one.state.budget.period),
            "passes": one.refusal is None,
            "spent_usd": usd(one.state.now.spent_nano),
            "limit_usd": usd(one.state.now.limit_nano),
        }
        for one in asked.own.verdicts
    ]
    place = asked.instead
    instead = place and {"provider": place.provider, "model": place.model, "most_usd": usd(place.amount_nano)}
    return {"passes": asked.passes, "most_usd": usd(asked.own.amount_nano), "budgets": budgets, "instead": instead}


def _call_body(found: CallDetail) -> dict[str, Any]:
    log = found.log
    said: dict[str, Any] = dict.fromkeys(("text", "reasoning", "tool_calls", "messages"))
    if found.reads_content:
        response = found.response
        said = {
            "text": found.response_text,
            "reasoning": response.get("reasoning") or None,
            "tool_calls": response.get("tool_calls"),
            "messages": found.messages,
        }
    return {
        **outcome(log),
        **{name: log[name] for name in _TOLD},
        "started_at": moment(log["started_at"]),
        "finished_at": moment(log["finished_at"]),
        "parameters": log["parameters"],
        "tags": log["tags"],
        **said,
    }


def _metric_body(one: Metric) -> dict[str, Any]:
    same = {name: getattr(one, name) for name in ("id", "call_id", "key", "type", "value", "metadata")}
    return {**same, "created_at": moment(one.created_at)}


def _value(one: Mapping[str, Any]) -> Any:
    if "value" in one:
        return one["value"]
    raise InvalidInput("value is missing.", "", "Add value to the metric.", field="value")


def moment(at: datetime | None) -> str | None:
    """As JSON writes it."""
    return None if at is None else at.isoformat().replace("+00:00", "Z")


def usd(nano: int | None) -> str | None:
    """Decimal text; None for what is not known."""
    return None if nano is None else format(usd_from_nano(nano), "f")


def _prompt_body(one: Template) -> dict[str, Any]:
    names = ("slug", "app", "category", "description", "newest", "labels")
    return {name: getattr(one, name) for name in names}

"""The part of `/api` that reads and notes: a call, prompt templates, custom metrics, usage, what budgets would say."""

import json
from collections.abc import Iterable

from msgspec import UNSET

from lib.activity.custom_metric import CustomMetric, NewMetric
from lib.activity.custom_metrics import KeyStatistics, MetricRange
from lib.configs.scope import find_in_scope
from lib.errors import InvalidInput
from lib.gateway.api import bodies as bodies
from lib.gateway.api.bodies import Nothing, fill, format_dollars, format_usd
from lib.gateway.api.native_protocol import describe_row
from lib.gateway.api.operation import Asking, DirectOperation, Operation
from lib.prompts.template import PRODUCTION

_OF_THE_ROW = (
    *("status", "attempt", "app", "configuration_id", "origin", "streamed", "error_kind", "error_message"),
    *("session_id", "parent_call_id", "cache"),
    *("started_at", "finished_at", "parameters", "tags"),
)


def read_call(asking: Asking[Nothing, Nothing]) -> bodies.CallBody:
    """One call, by its id or that of one of its attempts; words where the caller may read them."""
    detail = asking.services.activity.detail(asking.actor, asking.path["call_id"])
    log = detail.log
    response = detail.response
    shows = detail.reads_content
    return bodies.CallBody(
        **describe_row(log),
        **{name: log[name] for name in _OF_THE_ROW},
        text=detail.response_text if shows else None,
        reasoning=(response.get("reasoning") or None) if shows else None,
        tool_calls=response.get("tool_calls") if shows else None,
        messages=detail.messages if shows else None,
    )


def list_metrics(asking: Asking[Nothing, Nothing]) -> bodies.MetricsBody:
    """The custom metrics of a call, oldest first."""
    return _describe_metrics(asking.services.metrics.list(asking.actor, asking.path["call_id"]))


def record_metrics(asking: Asking[Nothing, bodies.NewMetricsBody]) -> bodies.MetricsBody:
    """Record custom metrics of a call: one, or several under `metrics`."""
    body = asking.body
    if body.metrics is not UNSET:
        metrics = [NewMetric(metric.key, metric.value, metric.type, metric.metadata) for metric in body.metrics]
    elif body.value is UNSET:
        raise InvalidInput("value is missing.", "", "Add value to the metric.", field="value")
    else:
        metrics = [NewMetric(body.key, body.value, body.type, body.metadata)]
    return _describe_metrics(asking.services.metrics.record_many(asking.actor, asking.path["call_id"], metrics))


def list_prompts(asking: Asking[bodies.PromptsQuery, Nothing]) -> bodies.PromptsBody:
    """The prompt templates that the key's app can use."""
    templates = asking.services.prompts.list(asking.actor, category=asking.query.category)
    return bodies.PromptsBody([fill(bodies.TemplateBody, template) for template in templates])


def read_prompt(asking: Asking[bodies.PromptQuery, Nothing]) -> bodies.PromptBody:
    """One prompt template: the version that a label or number names, `production` without."""
    slug = asking.path["slug"]
    prompts = asking.services.prompts
    version = prompts.version(asking.actor, slug, asking.query.version or asking.query.label or PRODUCTION)
    template = fill(bodies.TemplateBody, prompts.get(asking.actor, slug))
    variables = [bodies.VariableBody(**variable.to_record()) for variable in version.variables]
    of_template = {name: getattr(template, name) for name in template.__struct_fields__}
    return fill(bodies.PromptBody, version, **of_template, variables=variables)


def read_metrics(asking: Asking[bodies.MetricsQuery, Nothing]) -> bodies.MetricFiguresBody:
    """Figures of each key over the calls that started in a range."""
    within = MetricRange(*asking.query.moments(), tuple(_split_names(asking.query.app)))
    figures = asking.services.metrics.statistics(asking.actor, asking.query.key, within)
    return bodies.MetricFiguresBody([_describe_figures(of_key) for of_key in figures])


def read_usage(asking: Asking[bodies.UsageQuery, Nothing]) -> bodies.UsageTableBody:
    """The columns of the command `stats`, by any dimensions; without one, the sum of all."""
    from lib.statistics import export

    start, end = asking.query.moments()
    frame = asking.services.statistics.stats_table(asking.actor, _split_names(asking.query.by), start, end)
    return bodies.UsageTableBody(json.loads(export.encode_json(frame)))


def check_budgets(asking: Asking[bodies.BudgetQuery, Nothing]) -> bodies.BudgetCheckBody:
    """Whether a call of a configuration by this key would pass every budget, or where it would go; nothing is held."""
    from lib.budgets.dry_run import ask_budgets

    services = asking.services
    actor = asking.actor
    query = asking.query
    configuration = find_in_scope(
        actor, query.configuration, lambda: services.configurations.get(actor, query.configuration)
    )
    check = ask_budgets(
        actor,
        services.budgets,
        services.prices,
        services.providers,
        configuration,
        prompt_tokens=query.prompt_tokens or 0,
        max_tokens=query.max_tokens,
        app=actor.key.app if actor.key else None,
        user=actor.user_id,
        api_key_id=actor.key.key_id if actor.key else None,
    )
    budgets = [
        bodies.BudgetBody(
            scope=str(verdict.state.budget.scope),
            subject=verdict.state.budget.label,
            period=str(verdict.state.budget.period),
            passes=verdict.refusal is None,
            spent_usd=format_dollars(verdict.state.now.spent_nano),
            limit_usd=format_dollars(verdict.state.now.limit_nano),
            unpriced_calls=verdict.state.now.unpriced_calls,
        )
        for verdict in check.own.verdicts
    ]
    instead = None
    if (other := check.instead) is not None:
        instead = bodies.InsteadBody(provider=other.provider, model=other.model, most_usd=format_usd(other.amount_nano))
    most = format_usd(check.own.amount_nano)
    return bodies.BudgetCheckBody(passes=check.passes, most_usd=most, budgets=budgets, instead=instead)


def _describe_figures(of_key: KeyStatistics) -> bodies.KeyFiguresBody:
    values = [bodies.ValueCountBody(value=text, count=count) for text, count in of_key.values]
    return fill(bodies.KeyFiguresBody, of_key, values=values)


def _describe_metrics(metrics: Iterable[CustomMetric]) -> bodies.MetricsBody:
    return bodies.MetricsBody([fill(bodies.MetricBody, metric) for metric in metrics])


def _split_names(text: str | None) -> list[str]:
    """Names parted by commas, each once."""
    return list(dict.fromkeys(part for part in (text or "").split(",") if part))


OPERATIONS: dict[str, dict[str, Operation]] = {
    "/api/calls/{call_id}": {"GET": DirectOperation("call", "One call of the ledger", read_call)},
    "/api/calls/{call_id}/metrics": {
        "GET": DirectOperation("listMetrics", "What was noted about a call", list_metrics),
        "POST": DirectOperation(
            "recordMetrics", "Note something about a call of the key's own", record_metrics, status=201
        ),
    },
    "/api/prompts": {
        "GET": DirectOperation("listPrompts", "Prompt templates that the key's app can use", list_prompts)
    },
    "/api/prompts/{slug}": {
        "GET": DirectOperation("prompt", "A version of one, `production` without label and version", read_prompt)
    },
    "/api/metrics": {"GET": DirectOperation("metrics", "Figures of custom metrics by key", read_metrics)},
    "/api/usage": {"GET": DirectOperation("usage", "Calls, tokens and cost", read_usage)},
    "/api/budgets/check": {"GET": DirectOperation("checkBudgets", "Would a call pass every budget", check_budgets)},
}

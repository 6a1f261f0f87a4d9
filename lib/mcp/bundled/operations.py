"""Questions about this installation, under the asking person's permissions: usage, cost, budgets, health.

Every function asks the service that a page would ask, with the same actor, so who may not see a figure on a page does
not hear it from a model either. Money is exact: dollars as decimal texts, unknown is null.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from lib.access.permissions import Actor, Permission
from lib.budgets.budgets import Budgets
from lib.budgets.state import BudgetState
from lib.clock import utc_now
from lib.configs.configurations import Configurations
from lib.errors import InvalidInput
from lib.mcp.bundled.tool import Arguments, BundledServer, BundledTool
from lib.money import convert_nano_to_usd
from lib.providers.circuits import Circuits

if TYPE_CHECKING:
    from lib.statistics.queries import Statistics

_MOST_ROWS = 200
_MOST_DAYS = 3_700
_CAUSES = ("model", "configuration", "user", "origin", "status")
By = Literal[
    "provider", "model", "app", "user", "configuration", "origin", "status", "error_kind", "day", "week", "month"
]
App = Annotated[str, Meta(max_length=80, description="An app's name; empty: all.")]
FirstDay = Annotated[date, Meta(description="The first day, UTC, as 2026-10-31.")]
LastDay = Annotated[date, Meta(description="The last day, UTC, included.")]


class ReportUsage(Arguments, frozen=True):
    first_day: FirstDay
    last_day: LastDay
    by: Annotated[list[By], Meta(max_length=3, description="What to split by.")] = []
    app: App = ""


class ExplainCost(Arguments, frozen=True):
    first_day: FirstDay
    last_day: LastDay
    app: App = ""


class ListBudgets(Arguments, frozen=True):
    pass


class ListConfigurations(Arguments, frozen=True):
    app: App = ""


class Health(Arguments, frozen=True):
    pass


@dataclass(frozen=True)
class OperationServices:
    """What the functions ask. `read_reason` says why the installation can't serve, or None."""

    statistics: "Callable[[], Statistics]"
    budgets: Budgets
    configurations: Configurations
    circuits: Circuits
    user_names: Callable[[list[str]], Mapping[str, str]]
    read_reason: Callable[[], str | None]


def build_server(services: OperationServices) -> BundledServer:
    """Build the server over an installation's services."""
    operations = _Operations(services)
    tools = (
        BundledTool(
            "usage",
            "Usage",
            "Calls, tokens and cost between two days, split by up to three dimensions.",
            ReportUsage,
            operations.report_usage,
        ),
        BundledTool(
            "cost_explained",
            "Cost, and why",
            "What a period cost, against the period of the same length before it, and which models, configurations, "
            "people and days made the difference.",
            ExplainCost,
            operations.explain_cost,
        ),
        BundledTool("budgets", "Budgets", "Every budget: limit, spent, state.", ListBudgets, operations.list_budgets),
        BundledTool(
            "configurations",
            "Configurations",
            "Which model each app uses, and what keeps a configuration from working.",
            ListConfigurations,
            operations.list_configurations,
        ),
        BundledTool("health", "Health", "Whether the installation serves.", Health, operations.report_health),
    )
    return BundledServer("operations", "This installation", tools)


class _Operations:
    def __init__(self, services: OperationServices) -> None:
        self._services = services

    def report_usage(self, actor: Actor, arguments: ReportUsage) -> dict[str, Any]:
        start, end = _compute_range(arguments.first_day, arguments.last_day)
        rows = self._table(actor, arguments.by, start, end, arguments.app)
        return {"rows": rows[:_MOST_ROWS], "is_complete": len(rows) <= _MOST_ROWS, "seen": _describe_scope(actor)}

    def explain_cost(self, actor: Actor, arguments: ExplainCost) -> dict[str, Any]:
        start, end = _compute_range(arguments.first_day, arguments.last_day)
        earlier_start = start - (end - start)
        now, then = (
            self._table(actor, [], first, last, arguments.app)[0]
            for first, last in ((start, end), (earlier_start, start))
        )
        causes = {
            name: _list_cost_differences(
                self._table(actor, [name], start, end, arguments.app),
                self._table(actor, [name], earlier_start, start, arguments.app),
                name,
            )
            for name in _CAUSES
        }
        days = self._table(actor, ["day"], start, end, arguments.app)
        dearest = sorted(days, key=lambda row: Decimal(row["cost_usd"] or 0), reverse=True)[:5]
        return {
            "period": now,
            "period_before": then,
            "before_begins": earlier_start.date().isoformat(),
            "difference_usd": _subtract(now["cost_usd"], then["cost_usd"]),
            "causes": causes,
            "dearest_days": dearest,
            "seen": _describe_scope(actor),
        }

    def list_budgets(self, actor: Actor, _arguments: ListBudgets) -> dict[str, Any]:
        return {"budgets": [_describe_budget(state) for state in self._services.budgets.list(actor)]}

    def list_configurations(self, actor: Actor, arguments: ListConfigurations) -> dict[str, Any]:
        configurations = self._services.configurations.list(actor, arguments.app or None)
        return {
            "configurations": [
                {
                    "name": configuration.slug,
                    "app": configuration.app,
                    "provider": configuration.provider_name or None,
                    "model": configuration.model,
                    "is_default": configuration.is_default,
                    "is_active": configuration.is_active,
                    "needs": configuration.needs,
                    "description": configuration.description,
                }
                for configuration in configurations[:_MOST_ROWS]
            ],
            "is_complete": len(configurations) <= _MOST_ROWS,
        }

    def report_health(self, actor: Actor, _arguments: Health) -> dict[str, Any]:
        actor.require(Permission.VIEW_CONFIGS)
        reason = self._services.read_reason()
        now = utc_now()
        shut = [
            {"model": circuit.model, "reason": circuit.reason}
            for circuit in self._services.circuits.list(actor)
            if circuit.is_shut(now)
        ]
        return {"is_ready": reason is None, "reason": reason, "models_left_alone": shut}

    def _table(self, actor: Actor, by: list[Any], start: datetime, end: datetime, app: str) -> list[dict[str, Any]]:
        """Rows of the statistics' table with exact costs as texts, ids of people as their names."""
        from lib.statistics.filters import StatisticsFilter

        statistics_filter = StatisticsFilter(apps=(app,) if app else ())
        frame = self._services.statistics().stats_table(actor, by, start, end, statistics_filter)
        rows = [
            {str(name): _convert_to_plain(value) for name, value in row.items()}
            for row in frame.astype(object).where(frame.notna(), None).to_dict("records")
        ]
        if "user" in by:
            names = self._services.user_names([row["user"] for row in rows if row["user"]])
            rows = [{**row, "user": names.get(row["user"] or "", row["user"])} for row in rows]
        return rows


def _compute_range(first: date, last: date) -> tuple[datetime, datetime]:
    if not 0 <= (last - first).days < _MOST_DAYS:
        raise InvalidInput(
            "The days can't be used.", "The last is before the first, or ten years after.", "", "last_day"
        )
    start = datetime.combine(first, time.min, UTC)
    return start, datetime.combine(last, time.min, UTC) + timedelta(days=1)


def _describe_scope(actor: Actor) -> str:
    return "calls of everybody" if actor.sees_all_calls else "your own calls"


def _convert_to_plain(value: Any) -> Any:
    """A cell as JSON: exact decimals as texts, numbers of NumPy as Python's."""
    if isinstance(value, Decimal):
        return format(value, "f")
    return value.item() if hasattr(value, "item") else value


def _subtract(now: str | None, then: str | None) -> str | None:
    return None if now is None or then is None else format(Decimal(now) - Decimal(then), "f")


def _list_cost_differences(now: list[dict[str, Any]], then: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The five values of a dimension whose cost changed most, known costs alone."""
    costs = {row[name]: Decimal(row["cost_usd"] or 0) for row in now}
    earlier = {row[name]: Decimal(row["cost_usd"] or 0) for row in then}
    changes = {key: costs.get(key, Decimal()) - earlier.get(key, Decimal()) for key in {**costs, **earlier}}
    largest = sorted(changes, key=lambda key: (-abs(changes[key]), str(key)))[:5]
    return [
        {
            name: key,
            "cost_usd": format(costs.get(key, Decimal()), "f"),
            "before_usd": format(earlier.get(key, Decimal()), "f"),
            "difference_usd": format(changes[key], "f"),
        }
        for key in largest
    ]


def _describe_budget(state: BudgetState) -> dict[str, Any]:
    return {
        "about": state.budget.label,
        "scope": state.budget.scope,
        "period": state.budget.period,
        "limit_usd": format(convert_nano_to_usd(state.now.limit_nano), "f"),
        "spent_usd": format(convert_nano_to_usd(state.now.spent_nano), "f"),
        "percent": state.now.percent,
        "state": state.state,
        "is_hard": state.budget.is_hard,
        "unpriced_calls": state.now.unpriced_calls,
    }

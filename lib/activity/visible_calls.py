"""Who may see which rows of the ledger, and which of them a filter wants: the WHERE of every activity statement.

Ownership stands in the SQL, so a page, an export and a detail can't differ. Figures and state need one's own call or,
for those of the chosen team, the permission to view statistics; super-admins see every team's. Words (prompt, answer
and error, also as something to search in) need one's own call or the role super-admin: the rule of
`Actor.reads_content_of`.
"""

from typing import Any

from sqlalchemy import ColumnElement, FromClause, Text, and_, cast, exists, false, or_, select, true
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from lib.access.permissions import Actor
from lib.activity.call_filter import LIVE, ActivityFilter
from lib.db.tables import open_calls, usage_logs, usage_payloads
from lib.patterns import compile_pattern, read_whole_number

_ID_PART = compile_pattern(r"[0-9a-f-]{4,36}")
_BY_COLUMN = {"provider": "providers", "model": "models", "app": "apps", "user_id": "users", "origin": "origins"}
_BY_COLUMN |= {"configuration_id": "configurations", "api_key_id": "api_keys"}
_BY_COLUMN |= {"conversation_id": "conversations", "session_id": "sessions", "parent_call_id": "parent_calls"}
_BY_COLUMN |= {"workflow_run_id": "workflow_runs", "workflow_step": "workflow_steps"}
_OF_ENDED = {"status": "statuses", "error_kind": "error_kinds", "served_model": "served_models"}
_OF_ENDED |= {"service_tier": "service_tiers", "cache": "caches"}


def is_visible(actor: Actor, table: FromClause) -> ColumnElement[bool]:
    """Rows whose figures and state the actor may see."""
    if not actor.sees_all_calls:
        return is_own(actor, table)
    return true() if actor.sees_every_team else table.c.team_id == actor.team_id


def is_readable(actor: Actor, table: FromClause) -> ColumnElement[bool]:
    """Rows whose words the actor may read; whoever may read those of nobody may read all."""
    return true() if actor.reads_content_of(None) else is_own(actor, table)


def is_own(actor: Actor, table: FromClause) -> ColumnElement[bool]:
    """Rows of calls that the actor made; with a key, for the key's app."""
    # Rows without a user belong to nobody: `= NULL` must not become `IS NULL`.
    if actor.user_id is None:
        return false()
    is_own = table.c.user_id == actor.user_id
    if actor.key is None:
        return is_own
    return and_(is_own, table.c.app == actor.key.app, table.c.team_id == actor.team_id)


def list_ended_conditions(actor: Actor, call_filter: ActivityFilter) -> list[ColumnElement[bool]]:
    """Conditions on `usage_logs`, every attempt; `call_filter` has its period as moments."""
    columns = usage_logs.c
    conditions = [is_visible(actor, usage_logs), *_list_shared_conditions(call_filter, usage_logs)]
    for column, field in _OF_ENDED.items():
        if values := getattr(call_filter, field):
            conditions.append(columns[column].in_(values))
    if call_filter.batches:
        brought = columns.batch_id.in_(call_filter.batches)
        conditions.append(or_(brought, columns.batch_id.is_(None)) if LIVE in call_filter.batches else brought)
    if call_filter.text:
        conditions.append(_contains_text(actor, call_filter.text))
    return conditions


def list_running_conditions(actor: Actor, call_filter: ActivityFilter) -> list[ColumnElement[bool]]:
    """Conditions on `open_calls`: what runs has no result to ask for, and is found by its id alone."""
    conditions = [is_visible(actor, open_calls), *_list_shared_conditions(call_filter, open_calls)]
    brought = bool(call_filter.batches) and LIVE not in call_filter.batches
    of_ended = any(getattr(call_filter, field) for field in _OF_ENDED.values() if field != "statuses")
    if brought or of_ended or (call_filter.statuses and "running" not in call_filter.statuses):
        conditions.append(false())
    if call_filter.text:
        conditions.append(_has_id(call_filter.text, open_calls))
    return conditions


def _list_shared_conditions(call_filter: ActivityFilter, table: FromClause) -> list[ColumnElement[bool]]:
    """Conditions on columns that `usage_logs` and `open_calls` share."""
    conditions: list[ColumnElement[bool]] = []
    if call_filter.start is not None:
        conditions.append(table.c.started_at >= call_filter.start)
    if call_filter.end is not None:
        conditions.append(table.c.started_at < call_filter.end)
    for column, field in _BY_COLUMN.items():
        if values := getattr(call_filter, field):
            conditions.append(table.c[column].in_(values))
    if call_filter.teams:
        conditions.append(table.c.team_id.in_([read_whole_number(team) for team in call_filter.teams]))
    for tag in call_filter.tags:
        name, _, value = tag.partition("=")
        conditions.append(_has_tag(table, name, value))
    return conditions


class _Pairs(FunctionElement[Any]):
    """The names and values of a JSON object, as rows."""

    inherit_cache = True


@compiles(_Pairs, "sqlite")
def _(element: _Pairs, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


@compiles(_Pairs, "postgresql")
def _(element: _Pairs, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each_text({compiler.process(element.clauses, **options)})"


def _has_tag(table: FromClause, name: str, value: str) -> ColumnElement[bool]:
    """Whether a row has this tag; compared as rows, for in a JSON path a quote or a dot would mean something."""
    pair = _Pairs(table.c.tags).table_valued("key", "value").alias("tag")
    return exists(select(1).select_from(pair).where(pair.c.key == name, cast(pair.c.value, Text) == value))


def _has_id(text: str, table: FromClause) -> ColumnElement[bool]:
    start = text.lower()
    if not _ID_PART.fullmatch(start):
        return false()
    return or_(table.c.id.startswith(start, autoescape=True), table.c.call_id.startswith(start, autoescape=True))


def _contains_text(actor: Actor, text: str) -> ColumnElement[bool]:
    """The id begins so or, where the actor may read it, the error, the prompt or the answer says so."""

    def contains(column: Any) -> ColumnElement[bool]:
        condition: ColumnElement[bool] = column.icontains(text, autoescape=True)
        return condition

    words = exists(
        select(usage_payloads.c.id).where(
            usage_payloads.c.id == usage_logs.c.id,
            or_(contains(usage_payloads.c.prompt_text), contains(usage_payloads.c.response_text)),
        )
    )
    says = or_(contains(usage_logs.c.error_message), words)  # providers repeat prompts in their errors
    return or_(_has_id(text, usage_logs), and_(is_readable(actor, usage_logs), says))

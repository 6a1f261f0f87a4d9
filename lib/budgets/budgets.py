"""Budgets as people see and manage them. Looking needs the permission to view statistics, changing that to manage
providers, or to administer the team whose budget it is.

A budget of a team, a key or a configuration is its team's. One of an app, a person, a provider or of everything counts
calls of all teams: where there are several, it is for super-admins alone.

The hot path does not come through here: `holds` reserves and settles inside the ledger's own transactions.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, exists, insert, or_, select, true, update
from sqlalchemy.exc import IntegrityError

from lib.access import audit
from lib.access.permissions import Actor, Permission
from lib.budgets import notices
from lib.budgets.budget import (
    DEFAULT_THRESHOLDS,
    BudgetDraft,
    BudgetScope,
    CallFacts,
    Period,
    Window,
    compute_window,
)
from lib.budgets.holds import HOLD_LASTS, sweep
from lib.budgets.notices import Notice
from lib.budgets.state import (
    NEEDS_A_LOOK,
    BudgetState,
    BudgetVerdict,
    Spending,
    build_spending,
    find_refusal,
    read_states,
)
from lib.budgets.subjects import find_team, list_choices, load_labels, resolve
from lib.budgets.windows import adopt, begin, lock, recount, rewind
from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.tables import FIRST_TEAM, budget_holds, budget_notices, budget_windows, budgets, teams
from lib.errors import Conflict, InvalidInput, NotFound, PermissionDenied

_B = budgets.c
_W = budget_windows.c
_LONG_HISTORY = 24
_OF_ONE_TEAM = (BudgetScope.TEAM, BudgetScope.KEY, BudgetScope.CONFIGURATION)


class Budgets:
    """The budgets of the installation."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(self, actor: Actor, now: datetime | None = None) -> Sequence[BudgetState]:
        """All: the widest scope first, then by name."""
        actor.require(Permission.VIEW_STATS)
        with self._store.read() as connection:
            states = read_states(connection, select(budgets).where(_filter_visible(actor)), now or utc_now())
        order = list(BudgetScope)
        return sorted(states, key=lambda state: (order.index(state.budget.scope), state.budget.label.casefold()))

    def get(self, actor: Actor, budget_id: str, now: datetime | None = None) -> BudgetState:
        """One by its id."""
        actor.require(Permission.VIEW_STATS)
        with self._store.read() as connection:
            _find(connection, actor, budget_id)
            return read_states(connection, select(budgets).where(_B.id == budget_id), now or utc_now())[0]

    def find(self, actor: Actor, scope: str, name: str, period: str) -> BudgetState:
        """One by what it is about, as a person names it."""
        actor.require(Permission.VIEW_STATS)
        subject = self.subject(actor, scope, name)
        with self._store.read() as connection:
            is_named = (_B.scope == scope, _B.subject == subject, _B.period == period)
            query = select(_B.id).where(*is_named, _filter_visible(actor))
            budget_id = connection.scalar(query)
        if budget_id is None:
            about = scope if scope == BudgetScope.GLOBAL else f"{scope} {name[:80]}"
            raise NotFound(f"There is no budget per {period} for {about}.", "", "List the budgets to see them.")
        return self.get(actor, budget_id)

    def history(self, actor: Actor, budget_id: str, most: int = _LONG_HISTORY) -> Sequence[Spending]:
        """The windows in which calls were made or the budget was changed, the newest first."""
        actor.require(Permission.VIEW_STATS)
        query = select(budget_windows).where(_W.budget_id == budget_id).order_by(_W.starts_at.desc()).limit(most)
        with self._store.read() as connection:
            _find(connection, actor, budget_id)
            return [build_spending(row) for row in connection.execute(query)]

    def notices(self, actor: Actor, most: int = 20) -> Sequence[Notice]:
        """Thresholds that were crossed and first refusals, the newest first."""
        actor.require(Permission.VIEW_STATS)
        with self._store.read() as connection:
            return notices.list_newest(connection, most, _filter_visible(actor))

    def attention(self, actor: Actor) -> Sequence[BudgetState]:
        """The budgets that are near their limit, past it, or refused a call; the fullest first."""
        states = [state for state in self.list(actor) if state.state in NEEDS_A_LOOK]
        return sorted(states, key=lambda state: -state.now.percent)

    def subject(self, actor: Actor, scope: str, name: str) -> str:
        """Resolve a name that a person gives (of a user, a key, …) to the subject that the ledger's rows hold."""
        actor.require(Permission.VIEW_STATS)
        with self._store.read() as connection:
            return resolve(connection, actor, scope, name)

    def choices(self, actor: Actor, scope: str) -> dict[str, str]:
        """List what a budget of a scope may be about: subject → name; empty for the scopes `global` and `app`."""
        _require_manager(actor)
        with self._store.read() as connection:
            return list_choices(connection, actor, scope)

    def check(
        self, actor: Actor, facts: CallFacts, amount_nano: int | None, now: datetime | None = None
    ) -> Sequence[BudgetVerdict]:
        """Judge a call by every budget that applies to it, without holding any money.

        `amount_nano` is the most that the call may cost, in nano-dollars: 0 is a free call, which passes whatever is
        spent; None is a call whose model has no price.
        """
        actor.require(Permission.VIEW_STATS)
        moment = now or utc_now()
        pairs = facts.subjects
        conditions = select(budgets).where(
            (_B.scope == BudgetScope.GLOBAL) | _B.subject.in_([subject for _, subject in pairs if subject])
        )
        with self._store.read() as connection:
            states = read_states(connection, conditions.where(_filter_visible(actor)), moment)
        return [
            BudgetVerdict(state, find_refusal(state, amount_nano, moment))
            for state in states
            if (state.budget.scope.value, state.budget.subject) in pairs
        ]

    def create(
        self,
        actor: Actor,
        *,
        scope: str,
        subject: str = "",
        period: str,
        limit_nano: int,
        is_hard: bool = True,
        thresholds: Sequence[int] = DEFAULT_THRESHOLDS,
        block_unpriced: bool = False,
        now: datetime | None = None,
    ) -> BudgetState:
        """Make one; `subject` is a name or an id. It begins with what the ledger shows of its window already."""
        _require_manager(actor)
        scope = _read_choice(BudgetScope, scope, "scope")
        period = _read_choice(Period, period, "period")
        row = BudgetDraft(limit_nano, is_hard, thresholds, block_unpriced).to_columns()
        moment = now or utc_now()
        budget_id = make_id()
        window = compute_window(period, moment)
        row |= {"id": budget_id, "scope": scope, "period": period, "window_starts_at": window.start}
        row |= {"created_at": moment, "updated_at": moment}
        try:
            with self._store.write() as connection:
                lock(connection)
                row["subject"] = resolve(connection, actor, scope, subject)
                row["team_id"] = find_team(connection, scope, row["subject"])
                _require_reach(connection, actor, row["team_id"])
                connection.execute(insert(budgets), row)
                connection.execute(insert(budget_windows), _build_empty_window(row, window))
                adopt(connection, budget_id, scope, row["subject"], moment + HOLD_LASTS)
                _tell_reached(connection, recount(connection, budget_id, moment), moment)
                audit.record(
                    connection,
                    actor,
                    "budget.create",
                    _describe_for_audit(connection, row),
                    of_team=row["team_id"],
                    **_pick_rules(row),
                )
        except IntegrityError as error:
            raise Conflict(
                "There is such a budget already.", f"It has the same scope and the period {period}.", "Change that one."
            ) from error
        return self.get(actor, budget_id, moment)

    def update(
        self,
        actor: Actor,
        budget_id: str,
        *,
        limit_nano: int | None = None,
        is_hard: bool | None = None,
        thresholds: Sequence[int] | None = None,
        block_unpriced: bool | None = None,
        now: datetime | None = None,
    ) -> BudgetState:
        """Change what is given, from the current window on; past windows keep their limit and what was told of them.

        The current window is that of `now`, also where no call was made in it yet.
        """
        _require_manager(actor)
        moment = now or utc_now()
        with self._store.write() as connection:
            lock(connection)
            row = _find(connection, actor, budget_id)
            changed = BudgetDraft(
                row.limit_nano_usd if limit_nano is None else limit_nano,
                row.is_hard if is_hard is None else is_hard,
                row.thresholds if thresholds is None else thresholds,
                row.block_unpriced if block_unpriced is None else block_unpriced,
            ).to_columns()
            connection.execute(update(budgets).where(_B.id == budget_id).values(**changed, updated_at=moment))
            starts_at = begin(connection, budget_id, row.period, max(moment, row.window_starts_at))
            current = (_W.budget_id == budget_id, _W.starts_at == starts_at)
            limited = update(budget_windows).where(*current).values(limit_nano_usd=changed["limit_nano_usd"])
            _tell_reached(connection, connection.execute(limited.returning(budget_windows)).one(), moment)
            audit.record(
                connection,
                actor,
                "budget.update",
                _describe_for_audit(connection, row._mapping),
                of_team=row.team_id,
                **changed,
            )
        return self.get(actor, budget_id, moment)

    def sweep(self, now: datetime | None = None) -> int:
        """Look after holds that lasted too long (for a job); how many were ended."""
        with self._store.write() as connection:
            return sweep(connection, now or utc_now())

    def recount(self, actor: Actor, budget_id: str, now: datetime | None = None) -> BudgetState:
        """Count the current window from the ledger again, after prices changed.

        Only here does a window that a clock running ahead had begun make way for that of now.
        """
        _require_manager(actor)
        moment = now or utc_now()
        with self._store.write() as connection:
            lock(connection)
            row = _find(connection, actor, budget_id)
            rewind(connection, budget_id, row.period, moment)
            _tell_reached(connection, recount(connection, budget_id, moment), moment)
            audit.record(
                connection, actor, "budget.recount", _describe_for_audit(connection, row._mapping), of_team=row.team_id
            )
        return self.get(actor, budget_id, moment)

    def delete(self, actor: Actor, budget_id: str) -> None:
        """Remove one with its past windows and notices; the calls themselves stay."""
        _require_manager(actor)
        with self._store.write() as connection:
            lock(connection)
            row = _find(connection, actor, budget_id)
            for table in (budget_windows, budget_holds, budget_notices):
                connection.execute(delete(table).where(table.c.budget_id == budget_id))
            connection.execute(delete(budgets).where(_B.id == budget_id))
            audit.record(
                connection, actor, "budget.delete", _describe_for_audit(connection, row._mapping), of_team=row.team_id
            )


def _pick_rules(row: dict[str, Any]) -> dict[str, Any]:
    """Pick from a new budget's row what the audit log records of it: limit, hardness, thresholds, unpriced models."""
    return {name: row[name] for name in ("limit_nano_usd", "is_hard", "thresholds", "block_unpriced")}


def _tell_reached(connection: Connection, row: Row[Any], now: datetime) -> None:
    """Tell every threshold that a window has reached, unless it was told before."""
    sums = (row.spent_nano_usd, row.limit_nano_usd)
    notices.note_crossed_thresholds(connection, row.budget_id, row.starts_at, -1, *sums, now, row.unpriced_calls)


def _filter_visible(actor: Actor) -> ColumnElement[bool]:
    """Budgets that the actor may see, and change where they may manage budgets."""
    if actor.sees_every_team:
        return true()
    of_team = and_(_B.team_id == actor.team_id, _B.scope.in_(_OF_ONE_TEAM))
    return or_(of_team, _has_one_team() & (actor.team_id == FIRST_TEAM))


def _has_one_team() -> ColumnElement[bool]:
    return ~exists(select(teams.c.id).where(teams.c.id != FIRST_TEAM))


def _require_manager(actor: Actor) -> None:
    if not actor.rules_team:
        actor.require(Permission.MANAGE_PROVIDERS)


def _require_reach(connection: Connection, actor: Actor, team_id: int) -> None:
    """Raise PermissionDenied for a budget that is not of the actor's team alone."""
    if actor.sees_every_team or team_id == actor.team_id:
        return
    if actor.can(Permission.MANAGE_PROVIDERS) and connection.scalar(select(_has_one_team())):
        return
    raise PermissionDenied(
        "You can't make this budget.",
        "It would count calls of other teams.",
        "Make one of your team, of its keys or configurations, or ask a super-admin.",
    )


def _find(connection: Connection, actor: Actor, budget_id: str) -> Row[Any]:
    row = connection.execute(select(budgets).where(_B.id == budget_id, _filter_visible(actor))).one_or_none()
    if row is None:
        raise NotFound("There is no such budget.", "It was deleted.", "Open the Budgets page again.")
    return row


def _build_empty_window(row: dict[str, Any], window: Window) -> dict[str, Any]:
    counted = {"spent_nano_usd": 0, "held_nano_usd": 0, "unpriced_calls": 0}
    key = {"budget_id": row["id"], "starts_at": window.start, "ends_at": window.end}
    return key | counted | {"limit_nano_usd": row["limit_nano_usd"]}


def _describe_for_audit(connection: Connection, row: Any) -> str:
    """Describe a budget for the audit log by its scope, the current name of its subject and its period."""
    scope = row["scope"]
    subject = row["subject"]
    about = (
        scope
        if scope == BudgetScope.GLOBAL
        else f"{scope}:{load_labels(connection, [(scope, subject)])[scope, subject][0]}"
    )
    return f"{about} per {row['period']}"


def _read_choice(kind: type[BudgetScope] | type[Period], word: str, field: str) -> str:
    try:
        return kind(word).value
    except ValueError:
        raise InvalidInput(f"{word[:40]!r} is not a {field}.", "", f"Use {', '.join(kind)}.", field=field) from None

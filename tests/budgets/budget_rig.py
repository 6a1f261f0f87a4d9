"""Calls as the ledger sees them, for tests of budgets."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert

from lib.access.permissions import OPERATOR
from lib.budgets.budget import CallFacts
from lib.budgets.budgets import Budgets
from lib.budgets.holds import Held, reserve, settle, sweep
from lib.budgets.refusal import BudgetRefusal
from lib.budgets.state import BudgetState
from lib.clock import make_id
from lib.db.engine import Store
from lib.db.tables import api_keys

NOW = datetime(2026, 10, 21, 12, tzinfo=UTC)  # a Wednesday
DOLLAR = 1_000_000_000
FACTS = CallFacts("openai", "tests", "configuration-1", "user-1", "key-1")


class Rig:
    """One store, and calls on it that last from `reserve` to `settle`."""

    def __init__(self, store: Store) -> None:
        self.store, self.budgets = store, Budgets(store)

    def budget(self, limit: int = 10 * DOLLAR, now: datetime = NOW, **more: Any) -> BudgetState:
        """A budget of app `tests` per month, unless told otherwise."""
        fields = {"scope": "app", "subject": "tests", "period": "month"} | more
        return self.budgets.create(OPERATOR, limit_nano=limit, now=now, **fields)

    def key(self, key_id: str, name: str = "nightly", prefix: str = "llmm_1234567", *, revoked: bool = False) -> str:
        """An API key, by its id."""
        moments = {"created_at": NOW, "revoked_at": NOW if revoked else None}
        row: dict[str, Any] = {"id": key_id, "name": name, "prefix": prefix, "hash": key_id, "app": "tests"} | moments
        with self.store.write() as connection:
            connection.execute(insert(api_keys), row | {"scopes": {}, "created_by": "user-1"})
        return key_id

    def reserve(
        self, amount: int | None, now: datetime = NOW, facts: CallFacts = FACTS
    ) -> tuple[str, BudgetRefusal | Held]:
        """A call that may cost `amount`: its id, and the answer."""
        log_id = make_id()
        with self.store.write() as connection:
            return log_id, reserve(connection, facts, log_id, amount, now)

    def settle(self, log_id: str, cost: int | None, now: datetime = NOW) -> None:
        """The call has ended."""
        with self.store.write() as connection:
            settle(connection, log_id, cost, now)

    def sweep(self, now: datetime) -> int:
        """Look after old holds."""
        with self.store.write() as connection:
            return sweep(connection, now)

    def figures(self, budget: BudgetState, now: datetime = NOW) -> tuple[int, int]:
        """(spent, held) of the current window."""
        found = self.budgets.get(OPERATOR, budget.budget.id, now).now
        return found.spent_nano, found.held_nano

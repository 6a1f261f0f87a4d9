"""May a call open? Every budget that applies, then the limits of its key and app, in the transaction that opens it.

And the other way round: when attempts end, what they cost takes the place of what was held, and what they used the
place of what was counted. Budgets come first because their lock is the one that ended calls take, too: everybody locks
in the same order. Why it is one transaction: docs/decisions/budgets.md and limits.md.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection

from lib.access.limits import Claim, LimitDecision, RateLimits
from lib.budgets.budget import CallFacts
from lib.budgets.holds import Charged, Want, reserve_many, settle_many
from lib.budgets.refusal import BudgetRefusal
from lib.budgets.windows import WindowMemory
from lib.errors import ErrorKind, Throttled
from lib.ledger.usage_row import UsageRow


class OpeningRequest(Struct, frozen=True):
    """An attempt's request to be opened. `amount_nano`: the most it can cost, 0 free, None nobody knows.

    `claim` is what it takes of the limits; only a call's first attempt has one. `is_counted_open`: its key limits calls
    at once, which are counted by their rows, so it needs its own from the start. `wished_nano`: what is held for a call
    whose price nobody knows, as far as there is room.
    """

    log_id: str
    facts: CallFacts
    amount_nano: int | None
    claim: Claim | None = None
    is_counted_open: bool = False
    wished_nano: int = 0


class OpeningDecision(Struct, frozen=True):
    """Whether an attempt may be sent, how the limits of its call stand, and whether a hard budget holds for it."""

    refusal: Throttled | None = None
    kind: ErrorKind | None = None
    standing: LimitDecision = LimitDecision()
    is_bounded: bool = False


class Spent(Struct, frozen=True):
    """The tokens and cost of an ended attempt: `tokens` and `cost_nano` None where nobody knows.

    `charged`: a lease was to pay for it. `has_partial_cost`: it cost at least that.
    """

    log_id: str
    opened_at: datetime
    tokens: int | None
    cost_nano: int | None
    claim: Claim | None = None
    charged: Charged | None = None
    has_partial_cost: bool = False


def admit(
    connection: Connection,
    asks: Sequence[OpeningRequest],
    limits: RateLimits,
    now: datetime,
    memory: WindowMemory | None = None,
) -> list[OpeningDecision]:
    """Decide about attempts that open together; what is let through is held and counted."""
    hold_outcomes = reserve_many(
        connection, [Want(ask.log_id, ask.facts, ask.amount_nano, ask.wished_nano) for ask in asks], now, memory
    )
    answers = [
        OpeningDecision(hold_outcome.error(), ErrorKind.BUDGET)
        if isinstance(hold_outcome, BudgetRefusal)
        else OpeningDecision(is_bounded=bool(hold_outcome))
        for hold_outcome in hold_outcomes
    ]
    claims = {n: ask.claim for n, ask in enumerate(asks) if ask.claim is not None and answers[n].refusal is None}
    verdicts = limits.check_many(connection, list(claims.values()), now) if claims else []
    given_back: dict[str, int | None] = {}
    for (number, _), verdict in zip(claims.items(), verdicts, strict=True):
        if verdict.refused is None:
            answers[number] = OpeningDecision(standing=verdict, is_bounded=answers[number].is_bounded)
        else:
            answers[number] = OpeningDecision(verdict.refused.error(), ErrorKind.LIMIT, verdict)
            given_back[asks[number].log_id] = 0
    if given_back:
        settle_many(connection, given_back, now, just_held=True, memory=memory)
    return answers


def settle(
    connection: Connection,
    spent: Sequence[Spent],
    limits: RateLimits | None,
    now: datetime,
    never_held: Collection[str] = (),
    memory: WindowMemory | None = None,
) -> None:
    """Take in what ended attempts came to; those that hold nothing and have no claim are passed over."""
    charged = {attempt.log_id: attempt.charged for attempt in spent if attempt.charged is not None}
    costs = {attempt.log_id: attempt.cost_nano for attempt in spent}
    partly = frozenset(attempt.log_id for attempt in spent if attempt.has_partial_cost)
    settle_many(connection, costs, now, charged, never_held, partly_priced=partly, memory=memory)
    counted = [(attempt.claim, attempt.tokens, attempt.opened_at) for attempt in spent if attempt.claim is not None]
    if limits is not None and counted:
        limits.record_tokens(connection, counted, now)


def make_spent(row: UsageRow, claim: Claim | None, charged: Charged | None = None) -> Spent:
    """The tokens and cost of an ended attempt from its row of `usage_logs`."""
    is_partial = row.cost_status == "partial"
    return Spent(row.id, row.started_at, row.total_tokens, row.cost_nano_usd, claim, charged, is_partial)

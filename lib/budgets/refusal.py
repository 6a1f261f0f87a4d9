"""Why a budget let a call not pass, in words: which budget, how much is spent of what, until when."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo

from lib.budgets.budget import BudgetScope, format_window
from lib.errors import ErrorKind, Throttled
from lib.money import convert_nano_to_usd, format_money, mark_least

KIND = ErrorKind.BUDGET
_CALLS_END_S = 5


@dataclass(frozen=True)
class BudgetRefusal:
    """One budget's no. `amount_nano` is what the call could have cost; None: its model has no price.

    `is_blocked`: the budget takes no model without a price. What `unpriced_calls` cost is not, or not wholly, in
    `spent_nano`.
    """

    budget_id: str
    scope: str
    label: str
    period: str
    starts_at: datetime
    ends_at: datetime
    limit_nano: int
    spent_nano: int
    held_nano: int
    amount_nano: int | None
    at: datetime
    zone: tzinfo = UTC
    is_blocked: bool = False
    unpriced_calls: int = 0

    @property
    def _is_for_the_price(self) -> bool:
        """Whether no other call of the model would pass either."""
        return self.amount_nano is None and self.is_blocked

    def in_zone(self, zone: tzinfo) -> "BudgetRefusal":
        """Return a copy of the refusal whose times are told in the time zone of a person's reports."""
        return replace(self, zone=zone)

    @property
    def _name(self) -> str:
        kind = "API key" if self.scope == BudgetScope.KEY else self.scope
        whose = (
            "budget of the whole installation" if self.scope == BudgetScope.GLOBAL else f"{kind} budget {self.label}"
        )
        return f"{whose} for {format_window(self.period, self.starts_at)}"

    @property
    def is_used_up(self) -> bool:
        """Whether even the smallest call would be refused."""
        return self.spent_nano >= self.limit_nano

    @property
    def _is_too_much(self) -> bool:
        """Whether the call would not fit an empty window."""
        return self.amount_nano is not None and self.amount_nano > self.limit_nano and not self.is_used_up

    @property
    def waits_for_calls(self) -> bool:
        """Whether only what is held for calls under way stands in the way."""
        if self.amount_nano is None:
            return not self.is_blocked and not self.is_used_up
        return self.spent_nano + self.amount_nano <= self.limit_nano

    @property
    def title(self) -> str:
        """Say in one sentence which budget refuses the call and on what ground."""
        if self._is_for_the_price:
            return f"The {self._name} takes no model without a price."
        return f"The {self._name} is used up." if self.is_used_up else f"The call does not fit the {self._name}."

    @property
    def why(self) -> str:
        """Say how much of the limit is spent, how much is held for calls under way and what the call may cost."""
        so_far = format_money(self.spent_nano)
        limit = format_money(self.limit_nano)
        if so_far == limit and self.spent_nano != self.limit_nano:
            so_far, limit = (
                f"${convert_nano_to_usd(nano).normalize():,f}" for nano in (self.spent_nano, self.limit_nano)
            )
        spent = f"{mark_least(so_far, self.unpriced_calls > 0)} of {limit} is spent"
        if self._is_for_the_price:
            return f"Nobody knows what this call would cost; {spent}."
        if self.is_used_up:
            return f"{spent}."
        if self.amount_nano is None:
            return f"{spent}, the rest is held for calls under way, and nobody knows what this call would cost."
        held = f", {format_money(self.held_nano)} is held for calls under way" if self.held_nano else ""
        return f"{spent}{held}, and this call may cost up to {format_money(self.amount_nano)}."

    @property
    def fix(self) -> str:
        """Say what the caller can do about the refusal, and when calls start again by themselves."""
        if self._is_for_the_price:
            return "Add a price for the model, or allow models without one in the budget."
        if self._is_too_much:
            return "Ask for a shorter answer (max_tokens). Who manages providers can raise the limit."
        if self.waits_for_calls:
            return "Try again when some of them have ended, or ask for a shorter answer (max_tokens)."
        end = self.ends_at.astimezone(self.zone)
        when = f"{end.day} {end:%b %Y, %H:%M} {end.tzname()}"
        smaller = "" if self.is_used_up else "Ask for a shorter answer (max_tokens), or wait: "
        begin = "Calls start again" if self.is_used_up else "a new window starts"
        return f"{smaller}{begin} on {when}. Who manages providers can raise the limit."

    @property
    def retry_after(self) -> int | None:
        """Seconds until the window ends, or some for calls to end; None where no waiting helps."""
        if self._is_for_the_price or self._is_too_much:
            return None
        return _CALLS_END_S if self.waits_for_calls else max(1, -int(-(self.ends_at - self.at).total_seconds() // 1))

    def error(self) -> Throttled:
        """Return the refusal as the error that is shown to the caller, with the seconds to wait before another try."""
        return Throttled(self.title, self.why, self.fix, self.retry_after)

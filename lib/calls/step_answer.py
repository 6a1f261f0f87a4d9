"""What a call answered to the step of a run that made it: the row of `step_results` that its closing record carries."""

from typing import Any

from lib.calls.live_call import LiveCall, make_storable
from lib.ledger.step_results import StepResults
from lib.ledger.usage_row import UsageRow

_COLUMNS = (
    *("finish_reason", "provider", "model", "served_model", "prompt_tokens", "completion_tokens"),
    *("cost_nano_usd", "cost_status"),
)


def make_step_row(call: LiveCall, row: UsageRow, results: StepResults | None) -> dict[str, Any] | None:
    """Make the row, encrypted; None for a call that is within no step, is tried again, or did not end well.

    The result is `text`, `reasoning`, `tool_calls`, `finish_reason`, `call_id`, `log_id`, the model that answered,
    tokens, cost in nano-dollars and its status.
    """
    within = call.plan.request.within
    if results is None or not (within.workflow_run_id and within.workflow_step):
        return None
    if not row.is_final or row.status != "ok":
        return None
    attempt = call.attempt
    answer = {
        "text": make_storable(attempt.answer),
        "reasoning": make_storable("".join(attempt.reasoning)),
        "tool_calls": [dict(tool_call) for tool_call in attempt.tool_calls.values()],
        "call_id": call.call_id,
        "log_id": row.id,
        **{name: getattr(row, name) for name in _COLUMNS},
    }
    return results.build_row(within.workflow_run_id, within.workflow_step, answer, call.call_id)

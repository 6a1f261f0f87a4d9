"""What came of an experiment: cells with their answers, how each candidate did, and files of it all.

A score counts where there is one; a failed call has none and is counted as failed. The leader has the highest mean of
the first score; how far another is behind is the mean of the differences on rows that both have a score for.
"""

import csv
import io
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, select

from lib.activity.call_export import format_csv_cell
from lib.db.tables import experiment_cells, experiment_rows, usage_logs, usage_payloads, workflow_runs
from lib.experiments.cell_requests import JUDGE, ROLE
from lib.experiments.experiment import (
    CandidateStanding,
    CellState,
    Experiment,
    ExperimentCell,
    ExperimentRow,
    RowChoice,
)
from lib.experiments.intervals import Figure, compute_mean, compute_share
from lib.experiments.scoring import SHARES
from lib.ledger.usage_row import build_final_condition
from lib.limited.expressions import convert_to_text
from lib.money import choose_least_sign, convert_nano_to_usd

_CALLS_AT_ONCE = 500


@dataclass(frozen=True)
class _CellCost:
    """Nano-dollars, None where they are unknown; `is_partial`: something has no known price, so it is the least."""

    nano: int | None
    is_partial: bool = False


_C = experiment_cells.c
_R = experiment_rows.c
_L = usage_logs.c
_W = workflow_runs.c


def read_cells(connection: Connection, experiment_id: str, rows: Sequence[int] | None = None) -> list[ExperimentCell]:
    """Read cells by row and candidate. The caller has made sure whose experiment it is."""
    query = (
        select(*(_C[name] for name in ("row", "candidate", "state", "call_id", "judge_call_id")))
        .add_columns(_L.id.label("log_id"), usage_payloads.c.response_text.label("answer"))
        .add_columns(*(_C[name] for name in ("scores", "notes", "error", "cost_nano_usd", "has_partial_cost", "calls")))
        .add_columns(_L.execution_time_ms, _L.total_tokens)
        .add_columns(_W.output.label("run_output"), _W.started_at, _W.finished_at)
        .add_columns((_W.prompt_tokens + _W.completion_tokens).label("run_tokens"))
        .outerjoin(workflow_runs, _W.id == _C.call_id)
        .outerjoin(usage_logs, build_final_condition(_C.call_id))
        .outerjoin(usage_payloads, usage_payloads.c.id == _L.id)
        .where(_C.experiment_id == experiment_id)
        .order_by(_C.row, _C.candidate)
    )
    if rows is not None:
        query = query.where(_C.row.in_(rows))
    cell_rows = [_take_run(dict(row)) for row in connection.execute(query).mappings()]
    costs = _read_costs(connection, cell_rows)
    states = [{"state": CellState(row["state"])} for row in cell_rows]
    return [ExperimentCell(**(row | state | cost)) for row, state, cost in zip(cell_rows, states, costs, strict=True)]


def _take_run(row: dict[str, Any]) -> dict[str, Any]:
    """A cell's row without the columns of a workflow's run, whose output, time and tokens stand in where one answered.

    An output of which no words may be kept is not shown.
    """
    output = row.pop("run_output")
    started = row.pop("started_at")
    finished = row.pop("finished_at")
    tokens = row.pop("run_tokens")
    if tokens is None:
        return row
    is_hidden = isinstance(output, dict) and output.keys() == {"sealed"}
    took = None if started is None or finished is None else round((finished - started).total_seconds() * 1000)
    return row | {
        "answer": None if output is None or is_hidden else convert_to_text(output),
        "execution_time_ms": took,
        "total_tokens": tokens,
    }


def _read_costs(connection: Connection, cell_rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Compute what answering and judging each cell cost, in nano-dollars (None: unknown), in the order of the rows.

    Removes `calls`, `cost_nano_usd` and `has_partial_cost` from the rows, since the costs are computed from them.

    A cell that was never judged needs no look into the ledger: all that it cost is its answer.
    """
    costs = [_CellCost(row.pop("cost_nano_usd"), row.pop("has_partial_cost")) for row in cell_rows]
    parts = [
        (row.pop("calls"), cost, row["judge_call_id"] is not None) for row, cost in zip(cell_rows, costs, strict=True)
    ]
    judged = [call for calls, _, is_judged in parts if is_judged or len(calls) > 1 for call in calls]
    by_call: dict[str, dict[str | None, _CellCost]] = {}
    for start in range(0, len(judged), _CALLS_AT_ONCE):
        is_among = _L.call_id.in_(judged[start : start + _CALLS_AT_ONCE])
        attempts = select(_L.call_id, _L.tags, _L.cost_nano_usd, _L.cost_status == "partial").where(is_among)
        for call, tags, nano, is_partial in connection.execute(attempts):
            role = tags.get(ROLE)
            roles = by_call.setdefault(call, {})
            roles[role] = _add([roles.get(role, _CellCost(0)), _CellCost(nano, bool(is_partial))])
    return [
        _name_costs(*_split_costs(calls, by_call) if is_judged or len(calls) > 1 else (cost, _CellCost(0)))
        for calls, cost, is_judged in parts
    ]


def _split_costs(
    calls: Sequence[str], by_call: Mapping[str, Mapping[str | None, _CellCost]]
) -> tuple[_CellCost, _CellCost]:
    """Split the cost of a cell's calls into answering and judging: a judge's calls say so in their tags.

    A call whose rows are not in the ledger any more makes both unknown.
    """
    if any(call not in by_call for call in calls):
        return _CellCost(None), _CellCost(None)
    costs = [(role, cost) for call in calls for role, cost in by_call[call].items()]
    answering = _add([cost for role, cost in costs if role != JUDGE])
    return answering, _add([cost for role, cost in costs if role == JUDGE])


def _name_costs(answering: _CellCost, judging: _CellCost) -> dict[str, Any]:
    """Return both costs as the fields of a cell and of a candidate's standing."""
    return {
        "answer_cost_nano_usd": answering.nano,
        "answer_cost_is_partial": answering.is_partial,
        "judge_cost_nano_usd": judging.nano,
        "judge_cost_is_partial": judging.is_partial,
    }


def read_rows(
    connection: Connection, experiment_id: str, first: int, count: int | None, numbers: Sequence[int] | None = None
) -> list[ExperimentRow]:
    """Read rows with their cells, from the row `first` on; all of them without `count`, or those of the `numbers`."""
    query = select(_R.row, _R.inputs).where(_R.experiment_id == experiment_id, _R.row >= first).order_by(_R.row)
    if numbers is not None:
        query = query.where(_R.row.in_(numbers))
    rows = connection.execute(query if count is None else query.limit(count)).all()
    numbers = None if count is None and numbers is None else [row for row, _ in rows]
    by_row: dict[int, list[ExperimentCell]] = {}
    for cell in read_cells(connection, experiment_id, numbers):
        by_row.setdefault(cell.row, []).append(cell)
    return [ExperimentRow(row, inputs, by_row[row]) for row, inputs in rows]


def choose_rows(experiment: Experiment, all_cells: Sequence[ExperimentCell], choice: RowChoice) -> list[int]:
    """Choose the numbers of the rows to look at, in order."""
    by_row: dict[int, list[ExperimentCell]] = {}
    for cell in all_cells:
        by_row.setdefault(cell.row, []).append(cell)

    def is_chosen(cells: Sequence[ExperimentCell]) -> bool:
        if choice is RowChoice.WRONG:
            return any(is_right(experiment, cell) is False for cell in cells)
        return len({(cell.answer or "").strip() for cell in cells}) > 1

    return sorted(row for row, cells in by_row.items() if choice is RowChoice.ALL or is_chosen(cells))


def is_right(experiment: Experiment, cell: ExperimentCell) -> bool | None:
    """Whether an answer meets the first score that is a yes or no; None where nothing says it."""
    kind = next((str(scorer["kind"]) for scorer in experiment.scorers if scorer["kind"] in SHARES), None)
    score = None if kind is None else cell.scores.get(kind)
    return None if score is None else score >= 1


def compute_standings(experiment: Experiment, all_cells: Sequence[ExperimentCell]) -> list[CandidateStanding]:
    """Compute how each candidate did, in the order of the candidates."""
    kinds = [str(scorer["kind"]) for scorer in experiment.scorers]
    of = {n: [cell for cell in all_cells if cell.candidate == n] for n in range(len(experiment.candidates))}
    figures = {
        n: {kind: _compute_figure(kind, _list_scores(own_cells, kind)) for kind in kinds} for n, own_cells in of.items()
    }
    first = kinds[0] if kinds else ""
    means = {n: figure.value for n in figures if kinds and (figure := figures[n][first]).value is not None}
    leader = max(means, key=lambda n: (means[n] or 0, -n)) if len(means) > 1 else None
    return [
        CandidateStanding(
            candidate=n,
            answers=sum(cell.state is CellState.DONE for cell in own_cells),
            failed=sum(cell.state is CellState.FAILED for cell in own_cells),
            scores=figures[n],
            **_name_costs(
                _add([_CellCost(cell.answer_cost_nano_usd, cell.answer_cost_is_partial) for cell in own_cells]),
                _add([_CellCost(cell.judge_cost_nano_usd, cell.judge_cost_is_partial) for cell in own_cells]),
            ),
            median_ms=_compute_median_ms(own_cells),
            is_leader=n == leader,
            behind=None if leader is None or n == leader else _compute_lag(own_cells, of[leader], first),
        )
        for n, own_cells in of.items()
    ]


def write_csv(experiment: Experiment, table_rows: Sequence[ExperimentRow]) -> bytes:
    """Write a line for each cell; text that a spreadsheet would run as a formula gets a leading apostrophe."""
    records = _build_records(experiment, table_rows)
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow([format_csv_cell(name) for name in (records[0] if records else ())])
    writer.writerows([format_csv_cell(value) for value in record.values()] for record in records)
    return buffer.getvalue().encode("utf-8", "replace")


def write_json(experiment: Experiment, table_rows: Sequence[ExperimentRow]) -> bytes:
    """Write a list of records; dollars as text, so that no reader rounds them."""
    plain = [
        {name: f"{value:f}" if isinstance(value, Decimal) else value for name, value in record.items()}
        for record in _build_records(experiment, table_rows)
    ]
    return json.dumps(plain, ensure_ascii=False, indent=1).encode("utf-8", "replace")


def _build_records(experiment: Experiment, table_rows: Sequence[ExperimentRow]) -> list[dict[str, Any]]:
    kinds = [str(scorer["kind"]) for scorer in experiment.scorers]
    return [
        {"row": line.row + 1, "candidate": experiment.candidates[cell.candidate].name}
        | {f"input_{name}": line.inputs[name] for name in experiment.columns}
        | {"state": cell.state.value, "answer": cell.answer}
        | {f"score_{kind}": cell.scores.get(kind) for kind in kinds}
        | {f"note_{kind}": cell.notes.get(kind) for kind in kinds}
        | {
            "cost_usd": _convert_to_usd(cell.answer_cost_nano_usd),
            "cost_least": choose_least_sign(cell.answer_cost_is_partial),
        }
        | {"judge_cost_usd": _convert_to_usd(cell.judge_cost_nano_usd)}
        | {"judge_cost_least": choose_least_sign(cell.judge_cost_is_partial)}
        | {"execution_time_ms": cell.execution_time_ms, "total_tokens": cell.total_tokens}
        | {"error": cell.error, "call_id": cell.call_id, "judge_call_id": cell.judge_call_id}
        for line in table_rows
        for cell in line.cells
    ]


def _list_scores(own_cells: Sequence[ExperimentCell], kind: str) -> list[float]:
    return [value for cell in own_cells if (value := cell.scores.get(kind)) is not None]


def _compute_figure(kind: str, values: Sequence[float]) -> Figure:
    return compute_share(values) if kind in SHARES else compute_mean(values)


def _compute_lag(own_cells: Sequence[ExperimentCell], leaders: Sequence[ExperimentCell], kind: str) -> Figure:
    theirs: Mapping[int, float | None] = {cell.row: cell.scores.get(kind) for cell in leaders}
    pairs = [(cell.scores.get(kind), theirs.get(cell.row)) for cell in own_cells]
    return compute_mean([own - other for own, other in pairs if own is not None and other is not None])


def _convert_to_usd(nano: int | None) -> Decimal | None:
    return None if nano is None else convert_nano_to_usd(nano)


def _add(costs: Sequence[_CellCost]) -> _CellCost:
    amounts = [cost.nano for cost in costs if cost.nano is not None]
    return _CellCost(sum(amounts) if len(amounts) == len(costs) else None, any(cost.is_partial for cost in costs))


def _compute_median_ms(own_cells: Sequence[ExperimentCell]) -> int | None:
    times = [cell.execution_time_ms for cell in own_cells if cell.execution_time_ms is not None]
    return round(statistics.median(times)) if times else None

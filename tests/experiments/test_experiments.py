"""Experiments: every cell a call in the ledger; quote, cap, stop, go on after a restart, standings, promotion."""

import csv
import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select, update

from lib.access.audit import AuditCriteria
from lib.access.permissions import OPERATOR
from lib.clock import make_id
from lib.db.tables import experiment_cells, experiments, usage_logs
from lib.errors import Conflict, InvalidInput, NotFound
from lib.experiments.cell_requests import CellRequests
from lib.experiments.experiment import CellState, Experiment, ExperimentState
from lib.experiments.plan import Candidate, ExperimentDraft
from lib.prompts.template import VersionDraft
from lib.services import Services
from lib.settings import Settings
from lib.ui.experiments.experiment_view import format_spent
from tests.activity.activity_rig import account
from tests.calls.rig import AMIRA, JONAS, Rig
from tests.waiting import CEILING_S

pytestmark = pytest.mark.feature("PLAY-4")
ROWS = [{"city": "Paris", "expected": "Where is Paris?"}, {"city": "Rome", "expected": "Where is Rome?"}]
PROMPTS = [{"prompt": f"word {n}", "expected": f"word {n}"} for n in range(6)]


@pytest.fixture
def rig(settings: Settings) -> Iterator[Rig]:
    made = Rig(settings)
    yield made
    made.services.close()


@pytest.fixture
def services(rig: Rig) -> Services:
    return rig.services


def configuration(services: Services, script: str) -> str:
    slug = f"s-{make_id()[-12:]}"
    return services.configurations.create(AMIRA, slug=slug, app="tests", provider="scripted", model=script).slug


def run(services: Services, draft: ExperimentDraft) -> Experiment:
    made = services.experiments.create(AMIRA, draft)
    services.experiments.start(AMIRA, made)
    return services.experiments.wait(AMIRA, made, CEILING_S)


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + CEILING_S
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def test_a_template_is_run_over_a_table_and_every_cell_is_a_call(rig: Rig, services: Services) -> None:
    services.prompts.create(AMIRA, "where", VersionDraft("Where is {{city}}?"))
    services.prompts.save(AMIRA, "where", VersionDraft("Where on earth is {{city}}?"), 1)
    echo = configuration(services, "echo+usage:1000,100+priced")
    candidates = [services.experiments.candidate(AMIRA, echo, "where", version) for version in (1, "draft")]
    scorers = [{"kind": "exact"}, {"kind": "similarity"}]
    done = run(services, ExperimentDraft("Cities", candidates, ROWS, scorers, parallel=2))
    assert (done.state, done.cells) == (ExperimentState.DONE, {CellState.DONE: 4})
    assert done.spent_nano_usd == 4 * 3_500_000
    lines = services.experiments.lines(AMIRA, done.id)
    assert [[cell.answer for cell in line.cells] for line in lines] == [
        ["Where is Paris?", "Where on earth is Paris?"],
        ["Where is Rome?", "Where on earth is Rome?"],
    ]
    first, second = services.experiments.standings(AMIRA, done.id)
    assert (first.is_leader, first.scores["exact"].value, first.behind) == (True, 1.0, None)
    assert (second.scores["exact"].value, second.behind and second.behind.value) == (0.0, -1.0)
    assert second.scores["similarity"].value == pytest.approx(0.8)
    for line in lines:
        for cell in line.cells:
            (row,) = rig.rows(str(cell.call_id))
            version = str(candidates[cell.candidate].version)
            tags = {"experiment": done.id, "template": "where", "template_version": version}
            assert {name: row["tags"][name] for name in tags} == tags


def test_a_model_judges_by_a_rubric_in_a_call_of_its_own(rig: Rig, services: Services) -> None:
    judge = configuration(services, 'say:{"score": 7, "reason": "close"}')
    vague = configuration(services, "say:who knows")
    echo = configuration(services, "echo")
    scorer = {"kind": "judge", "configuration": judge, "rubric": "Is it right?"}
    done = run(services, ExperimentDraft("Judged", [Candidate(echo)], PROMPTS[:1], [scorer]))
    (cell,) = services.experiments.lines(AMIRA, done.id)[0].cells
    assert (cell.scores, cell.notes) == ({"judge": 0.7}, {"judge": "close"})
    (row,) = rig.rows(str(cell.judge_call_id))
    assert (row["origin"], row["tags"]) == ("experiment", {"experiment": done.id, "experiment_role": "judge"})
    assert row["parent_call_id"] == cell.call_id
    asked = services.calls.view(AMIRA, str(cell.judge_call_id)).messages[-1]["content"]
    assert '"rubric": "Is it right?", "question": "word 0", "expected": "word 0", "answer": "word 0"' in asked
    unsure = run(
        services, ExperimentDraft("Vague", [Candidate(echo)], PROMPTS[:1], [scorer | {"configuration": vague}])
    )
    (standing,) = services.experiments.standings(AMIRA, unsure.id)
    assert (standing.scores["judge"].value, standing.scores["judge"].count) == (None, 0)


def test_what_answers_cost_is_apart_from_what_judging_them_cost(services: Services) -> None:
    judge = configuration(services, 'say:{"score": 7}+usage:9000,900+priced')
    cheap = configuration(services, "echo+usage:100,10+priced")
    dear = configuration(services, "echo+usage:1000,100+priced")
    scorer = {"kind": "judge", "configuration": judge, "rubric": "Is it right?"}
    done = run(services, ExperimentDraft("Costs", [Candidate(cheap), Candidate(dear)], PROMPTS[:2], [scorer]))
    first, second = services.experiments.standings(AMIRA, done.id)
    assert [one.answer_cost_nano_usd for one in (first, second)] == [2 * 350_000, 2 * 3_500_000]
    assert [one.answer_cost_of_thousand for one in (first, second)] == [350_000_000, 3_500_000_000]
    assert [one.judge_cost_nano_usd for one in (first, second)] == [2 * 31_500_000] * 2
    assert done.spent_nano_usd == 2 * 350_000 + 2 * 3_500_000 + 4 * 31_500_000
    header, row = services.experiments.export(AMIRA, done.id, "csv").decode().splitlines()[:2]
    exported = dict(zip(header.split(","), row.split(","), strict=False))
    assert (exported["cost_usd"], exported["judge_cost_usd"]) == ("0.00035", "0.0315")


def test_a_cost_of_which_a_part_has_no_price_is_marked_as_the_least(services: Services) -> None:
    judge = configuration(services, 'say:{"score": 7}+usage:1000,100+priced')
    whole = configuration(services, "echo+usage:100,10+priced")
    partly = configuration(services, "echo+usage:100,10+priced+searches:2")
    for scorers in ([], [{"kind": "judge", "configuration": judge, "rubric": "Is it right?"}]):
        done = run(services, ExperimentDraft("Parts", [Candidate(whole), Candidate(partly)], PROMPTS[:1], scorers))
        assert done.partly_priced_cells == 1
        assert format_spent(done).startswith("≥ $0.00")
        first, second = services.experiments.standings(AMIRA, done.id)
        assert [standing.answer_cost_is_partial for standing in (first, second)] == [False, True]
        assert [standing.judge_cost_is_partial for standing in (first, second)] == [False, False]
        rows = csv.DictReader(io.StringIO(services.experiments.export(AMIRA, done.id, "csv").decode()))
        assert [(row["cost_least"], row["cost_usd"]) for row in rows] == [("", "0.00035"), ("≥", "0.00035")]


def test_a_failed_call_is_a_failed_cell_and_can_be_asked_again(services: Services) -> None:
    slug = configuration(services, "error:401")
    done = run(services, ExperimentDraft("Fails", [Candidate(slug)], PROMPTS[:2], [{"kind": "exact"}]))
    assert (done.state, done.cells) == (ExperimentState.DONE, {CellState.FAILED: 2})
    (standing,) = services.experiments.standings(AMIRA, done.id)
    assert (standing.failed, standing.scores["exact"].value) == (2, None)
    fixed = services.configurations.get(AMIRA, slug)
    services.configurations.update(AMIRA, fixed.id, fixed.revision, model="echo")
    services.experiments.start(AMIRA, done.id, failed_again=True)
    assert services.experiments.wait(AMIRA, done.id, CEILING_S).cells == {CellState.DONE: 2}


def test_a_quote_brackets_what_it_costs(services: Services) -> None:
    slug = configuration(services, "echo+priced")
    draft = ExperimentDraft("Quoted", [Candidate(slug)], PROMPTS, [{"kind": "exact"}])
    quote = services.experiments.quote(AMIRA, draft)
    spent = run(services, draft).spent_nano_usd
    assert quote.calls == 6
    assert quote.low_nano is not None
    assert quote.high_nano is not None
    assert spent is not None
    assert 0 < quote.low_nano <= spent <= quote.high_nano
    unknown = ExperimentDraft("?", [Candidate(configuration(services, "echo+unpriced"))], PROMPTS)
    quote = services.experiments.quote(AMIRA, unknown)
    assert (quote.low_nano, quote.high_nano, quote.unpriced) == (None, None, ("echo+unpriced",))
    with pytest.raises(InvalidInput, match=r"A cap can.t be kept\. echo\+unpriced has no known price"):
        services.experiments.create(AMIRA, ExperimentDraft("?", unknown.candidates, PROMPTS, cap_nano_usd=10**9))


@pytest.mark.parametrize("parallel", [1, 4])
def test_a_cap_is_never_passed(services: Services, parallel: int) -> None:
    slug = configuration(services, "lorem:40+priced+wait:20ms")
    one = services.experiments.quote(AMIRA, ExperimentDraft("x", [Candidate(slug)], PROMPTS[:1])).high_nano
    assert one is not None
    cap = one + one // 100
    rows = [{"prompt": f"word {n}"} for n in range(200)]
    done = run(services, ExperimentDraft("Capped", [Candidate(slug)], rows, parallel=parallel, cap_nano_usd=cap))
    assert (done.state, done.reason) == (ExperimentState.CAPPED, "The next call might pass the cap.")
    assert done.spent_nano_usd is not None
    assert 0 < done.spent_nano_usd <= cap
    assert 0 < done.cells[CellState.DONE] < 200
    assert cap - done.spent_nano_usd < one


def test_under_a_cap_every_call_sends_a_ceiling(rig: Rig, services: Services) -> None:
    slug = configuration(services, "echo+priced")
    done = run(services, ExperimentDraft("Capped", [Candidate(slug)], PROMPTS[:1], cap_nano_usd=10**9))
    (cell,) = services.experiments.lines(AMIRA, done.id)[0].cells
    assert rig.rows(str(cell.call_id))[0]["parameters"] == {"max_tokens": 4096}


def test_a_budget_that_says_no_stops_it_and_nothing_is_lost(services: Services) -> None:
    slug = configuration(services, "echo+priced")
    made = services.budgets.create(AMIRA, scope="configuration", subject=slug, period="day", limit_nano=1)
    stopped = run(services, ExperimentDraft("Poor", [Candidate(slug)], PROMPTS[:3], parallel=1))
    assert (stopped.state, stopped.cells) == (ExperimentState.STOPPED, {CellState.WAITING: 3})
    assert "budget" in stopped.reason
    services.budgets.delete(AMIRA, made.budget.id)
    services.experiments.start(AMIRA, stopped.id)
    assert services.experiments.wait(AMIRA, stopped.id, CEILING_S).cells == {CellState.DONE: 3}


def test_stop_keeps_what_has_an_answer_and_it_goes_on_there(services: Services) -> None:
    fast, silent = configuration(services, "echo"), configuration(services, "silent")
    made = services.experiments.create(
        AMIRA, ExperimentDraft("Slow", [Candidate(fast), Candidate(silent)], PROMPTS[:3])
    )
    services.launch_work()
    services.experiments.start(AMIRA, made)
    with pytest.raises(Conflict, match="at work"):
        services.experiments.start(AMIRA, made)
    with pytest.raises(Conflict, match="at work"):
        services.experiments.delete(AMIRA, made)
    until(lambda: services.experiments.get(AMIRA, made).cells == {CellState.DONE: 3, CellState.ASKED: 3})
    services.experiments.stop(AMIRA, made)
    stopped = services.experiments.wait(AMIRA, made, CEILING_S)
    assert stopped.state is ExperimentState.STOPPED
    before = [line.cells[0].call_id for line in services.experiments.lines(AMIRA, made)]
    found = services.configurations.get(AMIRA, silent)
    services.configurations.update(AMIRA, found.id, found.revision, model="echo")
    services.experiments.start(AMIRA, made)
    assert services.experiments.wait(AMIRA, made, CEILING_S).cells == {CellState.DONE: 6}
    assert [line.cells[0].call_id for line in services.experiments.lines(AMIRA, made)] == before


def test_after_a_kill_it_goes_on_with_answers_that_came_and_counts_what_was_spent(rig: Rig, services: Services) -> None:
    """As a kill leaves it: a call that ended and was not noted, one that was cut, one that was never opened."""
    slug = configuration(services, "echo+usage:1000,100+priced")
    made = services.experiments.create(
        AMIRA, ExperimentDraft("Killed", [Candidate(slug)], PROMPTS[:3], [{"kind": "exact"}])
    )
    answered = services.calls.run(rig.request("say:word 0+usage:1000,100+priced")).call_id
    cut = services.calls.run(rig.request("lorem:9+cut:2+usage-first+usage:1000,0+priced")).call_id
    cells, here = experiment_cells.c, experiment_cells.c.experiment_id == made
    with services.store.write() as connection:
        for row, call_id in ((0, answered), (1, cut), (2, make_id())):
            asked = {"state": "asked", "call_id": call_id, "calls": [call_id]}
            connection.execute(update(experiment_cells).where(here, cells.row == row).values(**asked))
        connection.execute(
            update(experiments).where(experiments.c.id == made).values(state="running", owner="gone", run_id="gone")
        )
    services.experiments.start(AMIRA, made)
    done = services.experiments.wait(AMIRA, made, CEILING_S)
    assert (done.state, done.cells) == (ExperimentState.DONE, {CellState.DONE: 3})
    lines = services.experiments.lines(AMIRA, made)
    assert lines[0].cells[0].call_id == answered
    assert [line.cells[0].scores for line in lines] == [{"exact": 1.0}] * 3
    with services.store.read() as connection:
        calls = [c for found in connection.scalars(select(cells.calls).where(here)) for c in found]
        costs = connection.scalars(select(usage_logs.c.cost_nano_usd).where(usage_logs.c.call_id.in_(calls))).all()
    assert len(calls) == 4
    assert done.spent_nano_usd == sum(cost or 0 for cost in costs)


def test_after_a_clean_end_of_the_process_it_goes_on_by_itself(settings: Settings) -> None:
    from lib import services as service_root

    rig = Rig(settings)
    account(rig.services.store, AMIRA)
    slug = configuration(rig.services, "silent")
    made = rig.services.experiments.create(AMIRA, ExperimentDraft("Closed", [Candidate(slug)], PROMPTS[:2]))
    rig.services.launch_work()
    rig.services.experiments.start(AMIRA, made)
    until(lambda: rig.services.experiments.get(AMIRA, made).cells.get(CellState.ASKED) == 2)
    rig.services.close()
    again = service_root.build(settings)
    found = again.experiments.get(AMIRA, made)
    assert (found.state, found.cells) == (ExperimentState.RUNNING, {CellState.WAITING: 2})
    silent = again.configurations.get(AMIRA, slug)
    again.configurations.update(AMIRA, silent.id, silent.revision, model="echo")
    done = again.experiments.wait(AMIRA, made, CEILING_S)  # it goes on by itself
    assert (done.state, done.cells) == (ExperimentState.DONE, {CellState.DONE: 2})
    again.close()


def test_rows_that_do_not_fill_the_template_are_told_before_anything_is_asked(services: Services) -> None:
    draft = VersionDraft("{{city}} {{n}}", variables=[{"name": "n", "type": "number", "default": 3}])
    services.prompts.create(AMIRA, "where", draft)
    slug = configuration(services, "echo")
    candidate = services.experiments.candidate(AMIRA, slug, "where")
    with pytest.raises(InvalidInput, match=r"Row 1, where v1 · .*Missing: city. Row 2, .* And 1 more"):
        services.experiments.create(AMIRA, ExperimentDraft("x", [candidate], [{"town": str(n)} for n in range(6)]))
    with pytest.raises(InvalidInput, match=r"Row 2, .*n must be a number"):
        services.experiments.create(
            AMIRA, ExperimentDraft("x", [candidate], [{"city": "a", "n": ""}, {"city": "b", "n": "z"}])
        )
    with pytest.raises(InvalidInput, match="needs a column prompt"):
        services.experiments.create(AMIRA, ExperimentDraft("x", [Candidate(slug)], ROWS))
    with pytest.raises(InvalidInput, match="stands twice"):
        services.experiments.create(AMIRA, ExperimentDraft("x", [candidate, candidate], ROWS))
    with pytest.raises(InvalidInput, match="different columns"):
        services.experiments.create(AMIRA, ExperimentDraft("x", [candidate], [{"city": "a"}, {"town": "b"}]))
    with pytest.raises(NotFound):
        services.experiments.create(AMIRA, ExperimentDraft("x", [Candidate("nobody")], PROMPTS))
    assert services.experiments.list(AMIRA) == []
    done = run(services, ExperimentDraft("x", [candidate], [{"city": "a", "n": ""}]))
    assert services.experiments.lines(AMIRA, done.id)[0].cells[0].answer == "a 3"


def test_an_experiment_is_its_makers(services: Services) -> None:
    made = services.experiments.create(
        AMIRA, ExperimentDraft("Mine", [Candidate(configuration(services, "echo"))], PROMPTS)
    )
    asks: list[Callable[[], Any]] = [
        lambda: services.experiments.get(JONAS, made),
        lambda: services.experiments.start(JONAS, made),
        lambda: services.experiments.stop(JONAS, made),
        lambda: services.experiments.lines(JONAS, made),
        lambda: services.experiments.standings(JONAS, made),
        lambda: services.experiments.export(JONAS, made, "csv"),
        lambda: services.experiments.promote(JONAS, made, 0, "configuration"),
        lambda: services.experiments.delete(JONAS, made),
    ]
    for ask in asks:
        with pytest.raises(NotFound):
            ask()
    assert services.experiments.list(JONAS) == []
    services.experiments.delete(AMIRA, made)
    assert services.experiments.list(AMIRA) == []


def test_the_winner_is_promoted_to_the_label_or_the_default(services: Services) -> None:
    services.prompts.create(AMIRA, "where", VersionDraft("Where is {{city}}?"))
    slug = configuration(services, "echo")
    candidates = [services.experiments.candidate(AMIRA, slug, "where"), Candidate(slug)]
    rows = [row | {"prompt": "x"} for row in ROWS]
    done = run(services, ExperimentDraft("Cities", candidates, rows, [{"kind": "exact"}]))
    services.experiments.promote(AMIRA, done.id, 0, "template")
    assert services.prompts.get(AMIRA, "where").labels["production"] == 1
    services.experiments.promote(AMIRA, done.id, 1, "configuration")
    assert services.configurations.default_for(AMIRA, "tests").slug == slug
    with pytest.raises(InvalidInput, match="no template"):
        services.experiments.promote(AMIRA, done.id, 1, "template")
    told = {entry.action for entry in services.audit.page(OPERATOR, AuditCriteria()).entries}
    assert {"experiment.promote", "prompt.label", "configuration.default"} <= told


def test_everything_is_exported_and_formulas_are_made_harmless(services: Services) -> None:
    slug = configuration(services, "echo+usage:1000,100+priced")
    done = run(
        services, ExperimentDraft("Out", [Candidate(slug)], [{"prompt": "=1+1", "expected": "x"}], [{"kind": "exact"}])
    )
    (line,) = csv.DictReader(io.StringIO(services.experiments.export(AMIRA, done.id, "csv").decode()))
    assert (line["input_prompt"], line["answer"], line["score_exact"]) == ("'=1+1", "'=1+1", "0.0")
    assert (line["cost_usd"], line["candidate"], line["state"]) == ("0.0035", slug, "done")
    (record,) = json.loads(services.experiments.export(AMIRA, done.id, "json"))
    assert (record["answer"], record["score_exact"], record["cost_usd"], record["row"]) == ("=1+1", 0.0, "0.0035", 1)


def test_a_cell_that_fails_unexpectedly_says_so_and_the_others_are_asked(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = CellRequests.build_request

    def fail_once(asking: CellRequests, candidate: Candidate, inputs: Any) -> Any:
        if inputs["prompt"] == "word 1" and sys._getframe(1).f_code.co_name != "compute_bounds":
            raise RecursionError
        return request(asking, candidate, inputs)

    monkeypatch.setattr(CellRequests, "build_request", fail_once)
    slug = configuration(services, "echo")
    done = run(services, ExperimentDraft("Words", [Candidate(slug)], PROMPTS, [{"kind": "exact"}]))
    assert (done.state, done.cells) == (ExperimentState.DONE, {CellState.DONE: 5, CellState.FAILED: 1})
    assert services.experiments.lines(AMIRA, done.id)[1].cells[0].error == "An unexpected error: RecursionError."

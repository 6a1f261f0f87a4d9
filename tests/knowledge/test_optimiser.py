"""Studies: what they will take, what they find, how they go on after a stop or a kill, what applying one changes."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from lib.clock import utc_now
from lib.db.tables import chunk_vectors, studies
from lib.errors import Conflict, InvalidInput, NotFound, ProviderError
from lib.knowledge.documents.chunking import Chunking, ChunkingStrategy
from lib.knowledge.documents.row_lease import keep_renewed
from lib.knowledge.evaluation import optimiser as optimiser_module
from lib.knowledge.evaluation import ranking_metrics
from lib.knowledge.evaluation.corpus import CorpusEntry
from lib.knowledge.evaluation.evaluations import collect_grades, fold
from lib.knowledge.evaluation.pool import PassageSpan
from lib.knowledge.evaluation.questions import Judgement
from lib.knowledge.evaluation.studies import Cell, Grid, State, Study, StudyTrial, TrialResult, rank_trials
from lib.knowledge.settings import Mode, SearchSettings
from lib.services import Services, build
from lib.settings import Settings
from tests.knowledge.knowledge_rig import KnowledgeRig

pytestmark = pytest.mark.feature("RAG-7")
SQLITE = pytest.mark.parametrize("database_kind", ["sqlite"])
MODEL = "scripted/words:64+priced+wait:5ms"
NANO_A_TOKEN = 2_500  # $2.50 a million
GRID = Grid((ChunkingStrategy.RECURSIVE,), (200, 400), (0,), (Mode.HYBRID, Mode.KEYWORD), (2,), (True,))
SUBJECTS = ("lighthouse", "windmill", "bakery", "harbour", "orchard")
TEXTS = {
    f"{name}.txt": "\n\n".join(f"The {name} {n} has a {other} beside it, and nobody knows why. " * 3 for n in range(3))
    for name, other in zip(SUBJECTS, (*SUBJECTS[1:], SUBJECTS[0]), strict=True)
}


class Studying:
    """A collection of five documents, cut at 200, its questions, and every text that was embedded."""

    def __init__(self, rig: KnowledgeRig, settings: Settings) -> None:
        self.rig, self.settings, self.amira = rig, settings, rig.amira
        self.id = rig.collection(rig.amira, "studied", MODEL)
        rig.services.knowledge.corpora.take_in(
            rig.amira, self.id, [CorpusEntry(name, "", text) for name, text in TEXTS.items()]
        )
        rig.services.calls.flush()  # what a quote takes the speed from
        self.set_id = rig.services.knowledge.question_sets.create(rig.amira, self.id, "Questions").id
        for one in rig.services.knowledge.documents.list(rig.amira, self.id):
            subject = one.title.partition(".")[0]
            rig.services.knowledge.question_sets.add(
                rig.amira, self.set_id, f"Is there a {subject} 2?", [Judgement(one.id)]
            )
        self.embedded: list[str] = []
        self.watch(rig.services)

    @property
    def optimiser(self) -> Any:
        return self.rig.services.knowledge.optimiser

    def watch(self, services: Services) -> None:
        """Write down what is sent to be embedded."""
        embed = services.knowledge.embedder.embed

        def watched(actor: Any, model: str, texts: Sequence[str]) -> Any:
            self.embedded += texts
            return embed(actor, model, texts)

        services.knowledge.embedder.embed = watched  # type: ignore[method-assign]

    def begin(self, grid: Grid = GRID) -> str:
        return str(self.optimiser.begin(self.amira, self.set_id, grid))

    def set(self, study_id: str, **values: Any) -> None:
        with self.rig.services.store.write() as connection:
            connection.execute(update(studies).where(studies.c.id == study_id).values(**values))

    def vectors(self) -> int:
        with self.rig.services.store.read() as connection:
            return connection.scalar(select(func.count()).select_from(chunk_vectors)) or 0


@pytest.fixture
def studying(rig: KnowledgeRig, tmp_path: Path, database_url: str) -> Studying:
    return Studying(rig, Settings(data_dir=tmp_path, database_url=database_url))


def test_a_quote_is_what_a_run_then_takes(studying: Studying) -> None:
    quote = studying.optimiser.quote(studying.amira, studying.set_id, GRID)
    before = studying.vectors()
    assert studying.embedded == []
    assert (quote.trials, quote.ways_to_cut, quote.questions) == (5, 2, 5)  # four cells, and the current with k 8
    assert quote.cost_nano_usd == quote.tokens_to_embed * NANO_A_TOKEN > 0
    assert quote.seconds is not None, "the documents' own batch tells the speed"
    assert 0 < quote.seconds < 60
    study = studying.optimiser.run(studying.amira, studying.begin())
    assert (study.state, study.done) == (State.DONE, 5)
    assert quote.texts_to_embed == len(studying.embedded) == len({*studying.embedded}) == studying.vectors() - before
    cut = {trial.cell.chunking.size: trial.result.passages for trial in study.trials if trial.result}
    assert quote.passages == sum(cut.values())
    again = studying.optimiser.quote(studying.amira, studying.set_id, GRID)
    assert (again.texts_to_embed, again.tokens_to_embed, again.seconds, again.cost_nano_usd) == (0, 0, 0.0, 0)


def test_what_needs_no_vectors_embeds_nothing(studying: Studying) -> None:
    words = SearchSettings(Mode.KEYWORD, 2)
    studying.rig.services.knowledge.collections.update(studying.amira, studying.id, search=words)
    grid = Grid(
        (ChunkingStrategy.RECURSIVE, ChunkingStrategy.HEADING),
        (200, 400),
        (0, 50),
        (Mode.KEYWORD,),
        (2, 4),
        (True, False),
    )
    quote = studying.optimiser.quote(studying.amira, studying.set_id, grid)
    assert (quote.trials, quote.texts_to_embed, quote.cost_nano_usd) == (16, 0, 0), "re-ranking changes nothing here"
    study = studying.optimiser.run(studying.amira, studying.begin(grid))
    assert (study.state, studying.embedded) == (State.DONE, [])


@SQLITE
def test_an_unknown_price_and_an_unknown_speed_are_unknown(studying: Studying) -> None:
    rig = studying.rig
    other = rig.collection(studying.amira, "unpriced", "scripted/words:64+unpriced")
    rig.services.knowledge.corpora.take_in(
        studying.amira, other, [CorpusEntry("a.txt", "", "A sentence of a few words. " * 30)]
    )
    made = rig.services.knowledge.question_sets.create(studying.amira, other, "Questions").id
    one = rig.services.knowledge.documents.list(studying.amira, other)[0]
    rig.services.knowledge.question_sets.add(studying.amira, made, "Which sentence?", [Judgement(one.id)])
    quote = rig.services.knowledge.optimiser.quote(studying.amira, made, GRID)
    assert quote.tokens_to_embed > 0
    assert (quote.cost_nano_usd, quote.seconds) == (None, None)


def test_a_trial_finds_what_the_search_finds_once_it_is_applied(studying: Studying) -> None:
    services, amira = studying.rig.services, studying.amira
    study = studying.optimiser.run(amira, studying.begin())
    current = next(trial for trial in study.trials if trial.is_current)
    assert current.cell.chunking == Chunking(size=200, overlap=0)
    for trial in study.trials:
        services.knowledge.optimiser.apply(amira, study.id, trial.ordinal)
        services.knowledge.ingest.run_due()
        questions = services.knowledge.question_sets.questions(amira, studying.set_id)
        figures, texts = {}, []
        for one in questions:
            hits = services.knowledge.passages.search(amira, studying.id, one.text).hits
            places = [PassageSpan(hit.document_id, hit.start, hit.end) for hit in hits]
            figures[one.id] = ranking_metrics.parse_metric("ndcg@10").compute(
                [*fold(places, one.judgements)], collect_grades(one.judgements)
            )
            texts += [hit.text for hit in hits]
        assert trial.result is not None
        assert trial.result.by_question == pytest.approx(figures)
        assert trial.result.figure == ranking_metrics.estimate([*figures.values()])
        assert trial.result.context_tokens > 0
    assert [trial.result.figure.value for trial in study.trials if trial.result] == sorted(
        (trial.result.figure.value for trial in study.trials if trial.result), reverse=True
    )


def test_applying_sets_the_search_and_cuts_anew_only_where_it_must(studying: Studying) -> None:
    services, amira = studying.rig.services, studying.amira
    study = studying.optimiser.run(amira, studying.begin())

    def trial(size: int, mode: Mode) -> int:
        cells = {(one.cell.chunking.size, one.cell.search.mode, one.cell.search.k): one.ordinal for one in study.trials}
        return int(cells[size, mode, 2])

    now = services.knowledge.optimiser.apply(amira, study.id, trial(200, Mode.KEYWORD))
    assert (now.search, now.chunking.size) == (SearchSettings(Mode.KEYWORD, 2, rerank=False), 200)
    assert services.knowledge.ingest.run_due() == 0
    now = services.knowledge.optimiser.apply(amira, study.id, trial(400, Mode.HYBRID))
    assert (now.search.mode, now.chunking.size) == (Mode.HYBRID, 400)
    passages = services.knowledge.passages.search(amira, studying.id, "windmill").passages
    assert passages > 0, "what was there is found until it is cut anew"
    assert services.knowledge.ingest.run_due() == len(TEXTS)
    assert services.knowledge.passages.search(amira, studying.id, "windmill").passages < passages
    with pytest.raises(NotFound, match="no such trial"):
        services.knowledge.optimiser.apply(amira, study.id, 99)


def test_a_stopped_study_goes_on_in_another_process_and_embeds_nothing_twice(studying: Studying) -> None:
    study_id = studying.begin()

    def stopping(done: int, of: int) -> None:
        if (done, of) == (2, 5):
            studying.optimiser.stop(studying.amira, study_id)

    stopped = studying.optimiser.run(studying.amira, study_id, stopping)
    assert (stopped.state, stopped.done) == (State.STOPPED, 2)
    first = {trial.ordinal: trial.result for trial in stopped.trials if trial.result is not None}
    assert studying.optimiser.run_due() == 0, "it was a person who stopped it"
    other = build(studying.settings)
    try:
        studying.watch(other)
        done = other.knowledge.optimiser.run(studying.amira, study_id)
        assert (done.state, done.done) == (State.DONE, 5)
        assert len(studying.embedded) == len({*studying.embedded})
        assert {trial.ordinal: trial.result for trial in done.trials if trial.ordinal in first} == first
        assert other.knowledge.optimiser.run(studying.amira, study_id) == done, "what is done is done"
    finally:
        other.close()


def test_what_a_process_that_ends_leaves_waits_for_the_next(studying: Studying) -> None:
    study_id = studying.begin()
    left = studying.optimiser.run(studying.amira, study_id, lambda done, of: studying.optimiser.close())
    assert (left.state, left.done) == (State.WAITING, 1)
    other = build(studying.settings)
    try:
        assert other.knowledge.optimiser.run_due() == 1
        assert other.knowledge.optimiser.get(studying.amira, study_id).state == State.DONE
        other.calls.flush()
        assert {row.user_id for row in studying.rig.rows()} == {studying.amira.user_id}, "as whoever began it"
    finally:
        other.close()


def test_what_a_killed_process_held_is_taken_over_when_its_time_is_over(studying: Studying) -> None:
    study_id = studying.begin()
    studying.set(study_id, state="running", worker_id="gone", worker_until=utc_now() + timedelta(minutes=1))
    assert studying.optimiser.run_due() == 0
    with pytest.raises(Conflict, match="Another process"):
        studying.optimiser.run(studying.amira, study_id)
    studying.set(study_id, worker_until=utc_now() - timedelta(seconds=1))
    assert studying.optimiser.run_due() == 1
    assert studying.optimiser.get(studying.amira, study_id).state == State.DONE


def test_a_hold_is_renewed_while_a_trial_lasts_longer_than_it(
    studying: Studying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimiser_module, "HELD", timedelta(seconds=0.4))
    monkeypatch.setattr(optimiser_module, "keep_renewed", partial(keep_renewed, every_s=0.05))
    study_id, tried = studying.begin(), studying.optimiser.try_search
    taken: list[int] = []

    def slow(*given: Any) -> TrialResult:
        import time

        if not taken:
            time.sleep(0.8)
            taken.append(studying.optimiser.run_due())
        trial: TrialResult = tried(*given)
        return trial

    studying.optimiser.try_search = slow
    assert studying.optimiser.run(studying.amira, study_id).state == State.DONE
    assert taken == [0]


@SQLITE
@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (InvalidInput("The budget is used up.", "Until Monday."), "The budget is used up. Until Monday."),
        (RuntimeError("deep inside"), "An unexpected error: RuntimeError."),
    ],
)
def test_a_study_that_fails_says_why_and_goes_on_when_it_is_run_again(
    studying: Studying, monkeypatch: pytest.MonkeyPatch, raised: Exception, told: str
) -> None:
    study_id, embed = studying.begin(), studying.rig.services.knowledge.embedder.embed

    def failing(*_: object) -> None:
        raise raised

    with monkeypatch.context() as patch:
        patch.setattr(studying.rig.services.knowledge.embedder, "embed", failing)
        with pytest.raises(type(raised)):
            studying.optimiser.run(studying.amira, study_id)
    failed = studying.optimiser.get(studying.amira, study_id)
    assert (failed.state, failed.error) == (State.FAILED, told)
    assert studying.optimiser.run_due() == 0, "it is not tried for ever"
    assert studying.rig.services.knowledge.embedder.embed == embed
    done = studying.optimiser.run(studying.amira, study_id)
    assert (done.state, done.error) == (State.DONE, None)


@SQLITE
def test_a_provider_that_refuses_in_the_background_is_told(studying: Studying, monkeypatch: pytest.MonkeyPatch) -> None:
    from lib.errors import ErrorKind

    def refusing(*_: object) -> None:
        raise ProviderError(ErrorKind.AUTHENTICATION, "The key was refused.", "")

    study_id = studying.begin()
    monkeypatch.setattr(studying.rig.services.knowledge.embedder, "embed", refusing)
    assert studying.optimiser.run_due() == 0
    failed = studying.optimiser.get(studying.amira, study_id)
    assert (failed.state, "The key was refused" in (failed.error or "")) == (State.FAILED, True)


@SQLITE
def test_a_set_that_is_deleted_meanwhile_ends_its_study(studying: Studying) -> None:
    study_id = studying.begin()

    def deleting(done: int, of: int) -> None:
        if done == 1:
            studying.rig.services.knowledge.question_sets.delete(studying.amira, studying.set_id)

    with pytest.raises(NotFound):
        studying.optimiser.run(studying.amira, study_id, deleting)
    assert studying.optimiser.list(studying.amira, studying.id) == []
    assert studying.optimiser.run_due() == 0


def test_a_grid_has_an_end_and_no_cell_twice() -> None:
    current = Cell(Chunking(size=500, overlap=0), SearchSettings(Mode.HYBRID, 4, rerank=True))
    assert len(Grid().cells(current)) == 2 * (2 + 2 + 2) * 2 * 2  # the current one is among them
    assert Grid().cells(current)[0] == current
    small = Grid((ChunkingStrategy.SEMANTIC,), (200,), (0, 50, 150), (Mode.KEYWORD,), (4,), (True, False))
    assert len(small.cells(current)) == 2, "overlap and re-ranking make no difference there, and 150 of 200 is too much"
    large = Grid(sizes=tuple(range(200, 2_000, 10)))
    with pytest.raises(InvalidInput, match="limit is 500"):
        large.cells(current)


@SQLITE
def test_what_cannot_be_studied_is_not_begun(studying: Studying) -> None:
    rig, amira, optimiser = studying.rig, studying.amira, studying.optimiser
    large = Grid(sizes=tuple(range(200, 2_000, 10)))
    asks: list[tuple[str, Callable[[], object]]] = [
        ("limit is 500", lambda: optimiser.quote(amira, studying.set_id, large)),
        ("limit is 500", lambda: optimiser.begin(amira, studying.set_id, large)),
        ("no figure", lambda: optimiser.begin(amira, studying.set_id, GRID, "map@3")),
    ]
    empty = rig.services.knowledge.question_sets.create(amira, studying.id, "Empty").id
    asks.append(("nothing to ask", lambda: optimiser.quote(amira, empty, GRID)))
    for why, ask in asks:
        with pytest.raises(InvalidInput, match=why):
            ask()
    assert optimiser.list(amira, studying.id) == []


def result(value: float, tokens: float, *figures: float) -> TrialResult:
    by_question = {str(n): one for n, one in enumerate(figures)}
    return TrialResult(ranking_metrics.Estimate(value, value, value, 2), by_question, 1, tokens, 1.0)


def test_of_equals_the_cheaper_is_better_and_what_costs_more_must_be_better() -> None:
    cell = Cell(Chunking(), SearchSettings())
    given = [(0.5, 100.0), (0.9, 400.0), (0.9, 300.0), (0.4, 200.0), (0.5, 100.0)]
    trials = [
        StudyTrial(n, cell, n == 0, result(value, tokens, value, value)) for n, (value, tokens) in enumerate(given)
    ]
    found = rank_trials([*trials, StudyTrial(5, cell, is_current=False, result=None)])
    assert [trial.ordinal for trial in found] == [2, 1, 0, 4, 3, 5]
    assert [trial.ordinal for trial in found if trial.is_best_for_its_cost] == [2, 0]
    against = {trial.ordinal: trial.against_current for trial in found}
    assert against[5] is None
    assert against[0] is not None
    assert (against[0].value, against[0].p) == (0, 1)
    assert against[2] == ranking_metrics.compare([0.5, 0.5], [0.9, 0.9])
    untried = rank_trials([StudyTrial(0, cell, is_current=True, result=None), trials[1]])
    assert untried[0].against_current is None, "there is nothing to hold it against yet"


def test_somebody_elses_studies_are_not_there(studying: Studying) -> None:
    optimiser, jonas = studying.optimiser, studying.rig.jonas
    study_id = studying.begin()
    reading: list[Callable[[], object]] = [
        lambda: optimiser.get(jonas, study_id),
        lambda: optimiser.list(jonas, studying.id),
    ]
    changing: list[Callable[[], object]] = [
        lambda: optimiser.quote(jonas, studying.set_id, GRID),
        lambda: optimiser.begin(jonas, studying.set_id, GRID),
        lambda: optimiser.run(jonas, study_id),
        lambda: optimiser.stop(jonas, study_id),
        lambda: optimiser.apply(jonas, study_id, 0),
    ]
    for ask in reading + changing:
        with pytest.raises(NotFound):
            ask()
    studying.rig.services.knowledge.collections.update(studying.amira, studying.id, is_shared=True)
    for ask in reading:
        ask()
    for ask in changing:
        with pytest.raises(NotFound):
            ask()
    waiting: Study = optimiser.get(studying.amira, study_id)
    assert (waiting.state, waiting.done, studying.embedded) == (State.WAITING, 0, [])

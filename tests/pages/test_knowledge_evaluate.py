"""Evaluate and Optimise: a set, questions written, imported, proposed; a run compared; a study quoted and applied."""

from collections.abc import Iterator

import pytest

from lib.access.permissions import OPERATOR, Actor, Role
from lib.knowledge.documents.chunking import Chunking
from lib.knowledge.evaluation.questions import Judgement
from lib.knowledge.evaluation.studies import Grid
from lib.knowledge.settings import Mode, SearchSettings
from lib.settings import Settings
from lib.ui import session
from tests.pages.visitor import Visitor, press, words

TEXTS = {
    "boiler.txt": "The boiler is descaled every four weeks. " * 12,
    "beans.txt": "Beans are stored in the dark. " * 12,
    "cups.txt": "Cups are washed at sixty degrees. " * 12,
}


class Kitchen:
    """The visitor's collection with three documents, and its question set."""

    def __init__(self, visitor: Visitor) -> None:
        self.visitor, self.services = visitor, visitor.services
        actor = self.services.sessions.find_actor(str(session.read_token()))
        assert actor is not None
        self.actor: Actor = actor
        chunking = Chunking(size=200, overlap=0)
        made = self.services.knowledge.collections.create(
            actor, "K", embedding_model="scripted/words:64", chunking=chunking
        )
        self.id = made.id
        for name, text in TEXTS.items():
            self.services.knowledge.documents.add(actor, self.id, name, text.encode())
        self.services.knowledge.ingest.run_due()
        self.ids = {one.title: one.id for one in self.services.knowledge.documents.list(actor, self.id)}

    def asked(self) -> str:
        """A set with a question that is found, and one that is not."""
        made = self.services.knowledge.question_sets.create(self.actor, self.id, "Staff").id
        for question, title in (("descaled boiler", "boiler.txt"), ("dark beans", "cups.txt")):
            self.services.knowledge.question_sets.add(self.actor, made, question, [Judgement(self.ids[title])])
        return made


@pytest.fixture
def kitchen(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kitchen]:
    visitor = Visitor(settings, monkeypatch, Role.DEVELOPER)
    visitor.services.providers.create(OPERATOR, name="scripted", kind="scripted")
    yield Kitchen(visitor)
    visitor.close()


@pytest.mark.feature("RAG-6")
def test_a_set_is_made_and_a_question_is_written_with_the_passage_that_answers_it(kitchen: Kitchen) -> None:
    page = kitchen.visitor.open("knowledge", id=kitchen.id, tab="evaluate")
    assert "No questions yet" in words(page)
    page = press(page, "Make a question set")
    next(box for box in page.text_input if box.label == "Question").set_value("How often is it descaled?")
    next(box for box in page.multiselect if box.label == "Answered by").set_value([kitchen.ids["boiler.txt"]])
    next(box for box in page.text_area if box.label == "Passage").set_value("not in it")
    page = press(page, "Add question")
    assert "Copy its words as they stand." in words(page)
    assert next(box for box in page.text_input if box.label == "Question").value == "How often is it descaled?"
    next(box for box in page.text_area if box.label == "Passage").set_value("every four weeks")
    press(page, "Add question")
    (made,) = kitchen.services.knowledge.question_sets.list(kitchen.actor, kitchen.id)
    (question,) = kitchen.services.knowledge.question_sets.questions(kitchen.actor, made.id)
    assert [one.quote for one in question.judgements] == ["every four weeks"]


@pytest.mark.feature("RAG-6")
def test_a_model_proposes_and_a_person_approves(kitchen: Kitchen) -> None:
    kitchen.services.configurations.create(
        OPERATOR, slug="asker", app="knowledge", provider="scripted", model="say:What is kept in the dark?"
    )
    made = kitchen.services.knowledge.question_sets.create(kitchen.actor, kitchen.id, "Staff").id
    page = kitchen.visitor.open("knowledge", id=kitchen.id, tab="evaluate")
    next(box for box in page.number_input if box.label == "Questions").set_value(2)
    next(box for box in page.selectbox if box.label == "Written by").set_value("asker")
    page = press(page, "Propose")
    proposed = kitchen.services.knowledge.question_sets.questions(kitchen.actor, made)
    assert [one.is_approved for one in proposed] == [False, False]
    press(page, "Approve all 2")
    assert all(one.is_approved for one in kitchen.services.knowledge.question_sets.questions(kitchen.actor, made))


@pytest.mark.feature("RAG-6")
def test_a_run_shows_its_figures_what_was_missed_and_whether_a_change_is_chance(kitchen: Kitchen) -> None:
    asked = kitchen.asked()
    before = kitchen.services.knowledge.evaluations.run(kitchen.actor, asked, SearchSettings(Mode.KEYWORD))
    page = press(kitchen.visitor.open("knowledge", id=kitchen.id, tab="evaluate"), "Run")
    runs = kitchen.services.knowledge.evaluations.list(kitchen.actor, kitchen.id)
    assert len(runs) == 2
    figures = {metric.label: metric.value for metric in page.metric}
    assert figures["recall@10"] == f"{runs[0].figures['recall@10'].value:.3f}"
    text = words(page)
    assert "By question" in [box.label.split(" ·")[0] for box in page.expander]
    assert "no. 1 · boiler.txt" in text.replace("\\", "")
    next(box for box in page.selectbox if box.label == "Compared with").set_value(before.id).run()
    assert "that may be chance" in words(page)
    next(box for box in page.selectbox if box.label == "Run").set_value(before.id).run()
    assert not page.exception
    press(page, ":red[Delete run]")
    assert [run.id for run in kitchen.services.knowledge.evaluations.list(kitchen.actor, kitchen.id)] == [runs[0].id]
    page = press(page, ":red[Delete question set]")
    assert "No questions yet" in words(page)


@pytest.mark.feature("RAG-7")
def test_a_study_is_quoted_begun_followed_and_applied(kitchen: Kitchen) -> None:
    page = kitchen.visitor.open("knowledge", id=kitchen.id, tab="optimise")
    assert "It needs questions" in words(page)
    asked = kitchen.asked()
    page = kitchen.visitor.open("knowledge", id=kitchen.id, tab="optimise")
    assert not any(button.label == "Begin" for button in page.button), "first it is said what it takes"
    page = press(page, "What will it take?")
    quote = kitchen.services.knowledge.optimiser.quote(kitchen.actor, asked, Grid())
    assert f"{quote.trials} trials" in words(page)
    assert f"{quote.texts_to_embed:,} texts" in words(page)
    page = press(page, "Begin")
    (study,) = kitchen.services.knowledge.optimiser.list(kitchen.actor, kitchen.id)
    assert f"0 of {quote.trials} trials" in words(page)
    done = kitchen.services.knowledge.optimiser.run(kitchen.actor, study.id)
    page = kitchen.visitor.open("knowledge", id=kitchen.id, tab="optimise")
    assert f"{quote.trials} of {quote.trials} trials, judged by ndcg@10" in words(page)
    best = next(trial for trial in done.trials if not trial.is_current)
    press(page, "Apply to the collection")
    now = kitchen.services.knowledge.collections.get(kitchen.actor, kitchen.id)
    assert (now.search, now.chunking.size) == (best.cell.search, best.cell.chunking.size)


@pytest.mark.feature("RAG-2")
def test_a_file_is_previewed_before_it_is_added(kitchen: Kitchen) -> None:
    page = kitchen.visitor.open("knowledge", id=kitchen.id, tab="settings")
    next(box for box in page.number_input if box.label == "Overlap").set_value(60)
    page = press(page, "Preview")
    assert "passages" in words(page)
    assert "also in the one before" in words(page)
    assert any("every four weeks" in code.value or "sixty" in code.value or "dark" in code.value for code in page.code)


@pytest.mark.feature("RAG-6")
@pytest.mark.feature("RAG-7")
def test_who_may_only_read_sees_figures_and_changes_nothing(kitchen: Kitchen) -> None:
    theirs = kitchen.services.knowledge.collections.create(
        OPERATOR, "Theirs", embedding_model="scripted/words:64", is_shared=True
    ).id
    kitchen.services.knowledge.documents.add(OPERATOR, theirs, "a.txt", b"The boiler is descaled every four weeks.")
    kitchen.services.knowledge.ingest.run_due()
    asked = kitchen.services.knowledge.question_sets.create(OPERATOR, theirs, "q").id
    document = kitchen.services.knowledge.documents.list(OPERATOR, theirs)[0].id
    kitchen.services.knowledge.question_sets.add(OPERATOR, asked, "boiler?", [Judgement(document)])
    kitchen.services.knowledge.optimiser.begin(OPERATOR, asked, Grid(sizes=(200,), overlaps=(0,), ks=(2,)))
    page = kitchen.visitor.open("knowledge", id=theirs, tab="evaluate")
    labels = {button.label for button in page.button}
    assert "Run" in labels
    assert not labels & {"Propose", "Add question", "Make set", ":red[Delete question set]"}
    page = kitchen.visitor.open("knowledge", id=theirs, tab="optimise")
    assert not {button.label for button in page.button} & {"What will it take?", "Stop", "Apply to the collection"}

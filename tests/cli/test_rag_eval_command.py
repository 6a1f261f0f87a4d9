"""`rag questions`, `rag eval`, `rag evaluations`, `rag optimise`, `rag studies`, `rag apply`: plain and as JSON."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lib import services
from lib.access.permissions import OPERATOR
from lib.cli.main import main
from lib.knowledge.documents.chunking import Chunking
from lib.knowledge.evaluation.corpus import CorpusEntry
from lib.settings import Settings

MODEL = "scripted/words:64"
DOCUMENTS = {
    "tower.txt": "The lighthouse stands on a rock and its lamp burns oil that is kept in a jar by the door.",
    "mill.txt": "The windmill stands on a hill and its flour goes to the bakery by boat every other week.",
    "shop.txt": "The bakery sells bread at dawn and closes when the last loaf is gone, which is before noon.",
}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_template: Path) -> Path:
    """An installation with the collection Handbook, whose model counts words."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "llm_manager.db").write_bytes(sqlite_template.read_bytes())
    monkeypatch.setenv("LLM_MANAGER_DATA", str(data))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    built = services.build(Settings(data_dir=data, database_url=f"sqlite:///{data / 'llm_manager.db'}"))
    built.providers.create(OPERATOR, name="scripted", kind="scripted")
    built.configurations.create(
        OPERATOR, slug="writer", app="tests", provider="scripted", model="say:Where is it kept?"
    )
    cut = Chunking(size=200, overlap=0)
    made = built.knowledge.collections.create(OPERATOR, "Handbook", embedding_model=MODEL, chunking=cut)
    built.knowledge.corpora.take_in(
        OPERATOR, made.id, [CorpusEntry(name, "", text) for name, text in DOCUMENTS.items()]
    )
    built.close()
    return tmp_path


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `rag …`; its status, what it prints, what it says beside that."""

    def run_it(*argv: str) -> tuple[int, str, str]:
        services.use(None)
        try:
            status = main(["rag", *argv])
        except SystemExit as left:
            status = int(left.code or 0)
        finally:
            services.use(None)
        told = capsys.readouterr()
        return status, told.out, told.err

    return run_it


def read(run: Run, *argv: str) -> Any:
    """What a command prints as JSON."""
    status, out, err = run(*argv, "--json")
    assert status == 0, err
    return json.loads(out)


@pytest.mark.feature("RAG-6")
def test_questions_are_written_imported_proposed_approved_and_removed(run: Run, folder: Path) -> None:
    assert "No question sets yet" in run("questions", "sets", "Handbook")[1]
    status, out, _ = run("questions", "add", "Handbook", "Where is the lamp?", "tower.txt", "--set", "Mine")
    (written,) = read(run, "questions", "list", "Handbook")
    assert (status, out.strip()) == (0, written["id"])
    assert (written["question"], written["answered_by"], written["source"]) == (
        "Where is the lamp?",
        ["tower.txt"],
        "typed",
    )
    status, _, err = run("questions", "add", "Handbook", "Where?", "nowhere.txt")
    assert (status, "no document nowhere.txt" in err) == (1, True)

    own = folder / "own.csv"
    own.write_text("question,document\nWho sells bread?,shop.txt\nWho knows?,gone.txt\n")
    imported = read(run, "questions", "import", "Handbook", str(own), "--set", "Mine")
    assert imported == {"set": "Mine", "added": 1, "left_out": 1, "unknown_documents": 1}
    status, out, _ = run("questions", "import", "Handbook", str(own), "--set", "Mine")
    assert (status, "unknown documents  1" in out) == (0, True)
    assert len(read(run, "questions", "list", "Handbook", "--set", "Mine")) == 2, "a second time replaces the first"
    status, _, err = run("questions", "import", "Handbook", str(folder / "none"), "--set", "Mine")
    assert (status, "no such file or folder" in err) == (1, True)

    (proposed,) = read(
        run, "questions", "propose", "Handbook", "--set", "Mine", "--count", "1", "--configuration", "writer"
    )
    assert proposed["question"] == "Where is it kept?"
    status, out, _ = run("questions", "propose", "Handbook", "--count", "1", "--configuration", "writer")
    assert (status, "Where is it kept?" in out) == (0, True)
    assert [(one["approved"], one["proposed"]) for one in read(run, "questions", "sets", "Handbook")] == [(2, 2)]
    assert "1 questions were approved" in run("questions", "approve", "Handbook", proposed["id"])[1]
    assert "1 questions were removed" in run("questions", "remove", "Handbook", proposed["id"])[1]
    status, out, _ = run("questions", "list", "Handbook")
    assert (status, "tower.txt" in out, "Who sells bread?" in out) == (0, True, True)
    assert run("questions", "delete", "Handbook", "--set", "Mine")[0] == 0
    assert read(run, "questions", "sets", "Handbook") == []


@pytest.mark.feature("RAG-6")
def test_a_collection_is_evaluated_and_held_against_an_earlier_run(run: Run) -> None:
    status, _, err = run("eval", "Handbook")
    assert (status, "has none" in err) == (1, True)
    run("questions", "add", "Handbook", "Where is the lamp of the lighthouse?", "tower.txt", "--set", "Mine")
    run("questions", "add", "Handbook", "Which windmill is there?", "mill.txt", "shop.txt", "--set", "Mine")
    assert "None yet" in run("evaluations", "Handbook")[1]
    told = read(run, "eval", "Handbook", "--mode", "keyword", "--metric", "mrr@10,recall@1", "--per-question")
    assert {name: one["value"] for name, one in told["metrics"].items()} == {"mrr@10": 1.0, "recall@1": 0.75}
    assert set(told["metrics"]["recall@1"]) == {"value", "low", "high", "questions"}
    assert (told["questions"], told["passages"], told["settings"]["mode"]) == (2, 3, "keyword")
    by_text = {one["question"]: one for one in told["per_question"]}
    assert by_text["Which windmill is there?"]["missed"] == ["shop.txt"]
    assert by_text["Which windmill is there?"]["found_at"] == [1]
    status, out, _ = run("eval", "Handbook", "--metric", "mrr@10", "--per-question", "--compare", told["id"])
    assert status == 0
    assert "mrr@10: +0.0000 (+0.0000 … +0.0000), p = 1.0000" in out
    assert "Where is the lamp of the lighthouse?  at 1" in out
    status, out, _ = run("eval", "Handbook", "--mode", "keyword", "--per-question")
    assert (status, "missed: shop.txt" in out, "ndcg@10" in out) == (0, True, True)
    rows = read(run, "evaluations", "Handbook")
    assert [row["mode"] for row in rows] == ["keyword", "hybrid", "keyword"]
    assert (rows[-1]["id"], rows[-1]["recall@1"], rows[-1]["set"]) == (told["id"], 0.75, "Mine")
    status, out, _ = run("evaluations", "Handbook")
    assert (status, told["id"] in out) == (0, True)
    for wrong, why in (("map@10", "no figure map@10"), ("ndcg@101", "no figure ndcg@101")):
        status, _, err = run("eval", "Handbook", "--metric", wrong)
        assert (status, why in err) == (1, True)


@pytest.mark.feature("RAG-6")
def test_a_public_test_collection_is_evaluated_in_memory(run: Run, folder: Path) -> None:
    public = folder / "public"
    public.mkdir()
    lines = [json.dumps({"_id": name, "title": name[:4], "text": text}) for name, text in DOCUMENTS.items()]
    (public / "corpus.jsonl").write_text("\n".join(lines))
    (public / "queries.jsonl").write_text('{"_id": "q1", "text": "Where is the lamp of the lighthouse?"}\n')
    (public / "qrels.tsv").write_text("q1\ttower.txt\t1\n")
    with_corpus = ("eval", "--corpus", str(public), "--embedding", MODEL, "--metric", "mrr@10")
    told = read(run, *with_corpus, "--per-question", "--size", "300", "--overlap", "0")
    assert told["metrics"]["mrr@10"] == {"value": 1.0, "low": 1.0, "high": 1.0, "questions": 1}
    assert (told["passages"], told["settings"]["chunking"]["size"], told["per_question"][0]["id"]) == (3, 300, "q1")
    status, out, _ = run(*with_corpus, "--mode", "keyword")
    assert (status, "mrr@10" in out) == (0, True)
    for argv, why in (
        (("eval",), "Name what is evaluated"),
        (("eval", "Handbook", "--corpus", str(public)), "Name what is evaluated"),
        (("eval", "--corpus", str(folder)), "is no test collection"),
    ):
        status, _, err = run(*argv)
        assert (status, why in err) == (1, True)


@pytest.mark.feature("RAG-7")
def test_a_study_is_quoted_run_shown_and_applied(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("questions", "add", "Handbook", "Where is the lamp of the lighthouse?", "tower.txt", "--set", "Mine")
    assert "No studies yet" in run("studies", "Handbook")[1]
    grid: tuple[str, ...] = (
        "--strategies",
        "recursive",
        "--sizes",
        "200,400",
        "--overlaps",
        "0",
        "--modes",
        "hybrid,keyword",
    )
    grid += ("-k", "2", "--rerank", "on")
    quote = read(run, "optimise", "Handbook", *grid, "--quote")
    assert (quote["trials"], quote["ways_to_cut"], quote["questions"], quote["cost_usd"]) == (5, 2, 1, "0")
    assert quote["texts_to_embed"] >= 1
    status, out, _ = run("optimise", "Handbook", *grid, "--quote")
    assert (status, "ways to cut" in out) == (0, True)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    status, _, err = run("optimise", "Handbook", *grid)
    assert (status, "5 trials, 2 ways to cut" in err, "Nothing was begun" in err) == (1, True, True)
    assert read(run, "studies", "Handbook") == []

    study = read(run, "optimise", "Handbook", *grid, "--yes", "--metric", "mrr@10")
    assert (study["state"], study["metric"], study["error"]) == ("done", "mrr@10", None)
    assert [one["mrr@10"] for one in study["trials"]] == [1.0] * 5
    assert [one["current"] for one in study["trials"]].count(True) == 1
    tokens = [one["context_tokens"] for one in study["trials"]]
    assert tokens == sorted(tokens), "of equals the cheaper comes first"
    assert study["trials"][0]["best_for_its_cost"]
    status, out, _ = run("optimise", "Handbook", "--resume", study["id"])
    assert (status, f"Study {study['id']}: done" in out) == (0, True)
    (row,) = read(run, "studies", "Handbook")
    assert (row["id"], row["done"], row["trials"], row["state"]) == (study["id"], 5, 5, "done")
    assert study["id"] in run("studies", "Handbook")[1]
    assert read(run, "studies", "Handbook", "--study", study["id"]) == study
    assert "keyword" in run("studies", "Handbook", "--study", study["id"])[1]

    by_cell = {(one["size"], one["mode"]): one["trial"] for one in study["trials"] if one["k"] == 2}
    status, out, _ = run("apply", study["id"], str(by_cell[200, "keyword"]))
    assert (status, out.strip()) == (
        0,
        "Handbook: recursive, 200 characters, overlap 0; keyword, k 2, not re-ranked. 0 documents were taken in anew.",
    )
    status, out, _ = run("apply", study["id"], str(by_cell[400, "hybrid"]))
    assert (status, "hybrid, k 2, re-ranked. 3 documents were taken in anew." in out) == (0, True)
    status, _, err = run("apply", study["id"], "77")
    assert (status, "no such trial" in err) == (1, True)


@pytest.mark.feature("RAG-7")
def test_what_is_no_grid_is_refused_before_anything_is_embedded(run: Run) -> None:
    run("questions", "add", "Handbook", "Where is the lamp?", "tower.txt", "--set", "Mine")
    sizes = ",".join(str(size) for size in range(200, 2000, 10))
    for argv, why in (
        (("--strategies", "random"), "no strategy random"),
        (("--modes", "guess"), "no mode guess"),
        (("--sizes", sizes), "limit is 500"),
        (("--sizes", "7"), "7"),
        (("--metric", "map@3", "--yes"), "no figure map@3"),
    ):
        status, _, err = run("optimise", "Handbook", *argv)
        assert (status, why in err) == (1, True), err
    status, _, err = run("studies", "Handbook", "--study", "none")
    assert (status, "no such study" in err) == (1, True)
    assert read(run, "studies", "Handbook") == []

"""`rag`: documents in, passages and answers out, with the bundled embedding model."""

import json
from pathlib import Path

import pytest

from lib.cli.main import main


@pytest.mark.feature("RAG-1")
@pytest.mark.feature("RAG-3")
@pytest.mark.feature("RAG-4")
def test_files_are_taken_in_and_found_by_meaning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bundled model: the question shares no word with the passage that answers it."""
    monkeypatch.setenv("LLM_MANAGER_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    from lib import services

    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "feline.md").write_text("# Cats\n\nKittens sleep most of the day and purr when they are happy.")
    (folder / "finance.md").write_text("# Money\n\nInvoices are due thirty days after delivery of the goods.")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    (folder / "a").mkdir()
    (folder / "a" / "finance.md").write_text("# Rent\n\nThe rent is paid on the first of each month.")
    (folder / "a" / "empty.md").write_bytes(b"")
    (folder / "a" / "copy.md").write_bytes((folder / "feline.md").read_bytes())
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("not a document")

    def run(*argv: str) -> tuple[int, str]:
        services.use(None)
        try:
            status = main(["rag", *argv])
        except SystemExit as left:
            status = int(left.code or 0)
        finally:
            services.use(None)
        return status, capsys.readouterr().out

    status, out = run("ingest", "Handbook", str(folder), "--json")
    assert status == 1
    rows = {row["title"]: row for row in json.loads(out)}
    assert rows["a/copy.md"]["id"] == rows["feline.md"]["id"], "the same bytes are one document"
    assert "is empty" in rows["a/empty.md"]["error"]
    assert {title: row["state"] for title, row in rows.items()} == {
        "a/finance.md": "ready",
        "a/copy.md": "ready",
        "a/empty.md": "failed",
        "feline.md": "ready",
        "finance.md": "ready",
        "broken.pdf": "failed",
    }
    status, out = run(
        "search", "Handbook", "When must a customer pay their bill?", "--mode", "vector", "-k", "1", "--json"
    )
    (hit,) = json.loads(out)
    assert (status, hit["title"], hit["keyword_rank"]) == (0, "finance.md", None)
    assert hit["vector_score"] > 0.2
    assert [row["name"] for row in json.loads(run("collections", "--json")[1])] == ["Handbook"]
    assert len(json.loads(run("documents", "Handbook", "--json")[1])) == 4
    assert run("delete", "Handbook")[0] == 0
    assert "No collections yet" in run("collections")[1]

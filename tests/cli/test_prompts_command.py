"""`prompts` and `runs` as they are used."""

import csv
import io
import json
from pathlib import Path

import pytest

from tests.cli.commands import Run, refused, succeeded


@pytest.mark.feature("PLAY-3")
def test_prompts_are_made_labelled_compared_and_moved(run: Run, tmp_path: Path) -> None:
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    first.write_text("Say {{word}} {{n}} times\n")
    second.write_text("Shout {{word}} {{n}} times\n")
    number = '[{"name": "n", "type": "number", "default": 2}]'
    succeeded(
        run("prompts", "add", "say", str(first), "--variables", number, "--category", "fun", "--reason", "why not")
    )
    assert "Saved version 2" in succeeded(run("prompts", "save", "say", "-", input="Shout {{word}} {{n}} times"))
    assert "production of say is version 1 now" in succeeded(run("prompts", "label", "say", "production", "1"))
    (row,) = json.loads(succeeded(run("prompts", "list", "--search", "shout", "--json")))
    assert (row["slug"], row["category"], row["labels"]) == ("say", "fun", ["draft=2", "production=1"])
    assert succeeded(run("prompts", "fill", "say", "--set", "word=a=b")) == "Say a=b 2 times\n"
    assert "Missing: word, n." in refused(run("prompts", "fill", "say", "--version", "draft"))
    told = succeeded(run("prompts", "diff", "say", "production", "2"))
    assert "-Say {{word}} {{n}} times\n+Shout {{word}} {{n}} times\n" in told
    assert json.loads(succeeded(run("prompts", "show", "say", "--version", "1", "--json")))["reason"] == "why not"
    document = tmp_path / "prompts.json"
    document.write_text(succeeded(run("prompts", "export")))
    assert "Imported 0 prompts; 1 were there" in succeeded(run("prompts", "import", str(document)))
    assert "There is no prompt nobody" in refused(run("prompts", "show", "nobody"))
    assert "is not JSON" in refused(run("prompts", "add", "x", str(first), "--variables", "["))
    assert "can't be read" in refused(run("prompts", "add", "x", str(tmp_path / "none.txt")))


@pytest.mark.feature("PLAY-4")
def test_a_table_is_quoted_run_exported_and_promoted(run: Run, tmp_path: Path) -> None:
    succeeded(run("providers", "add", "scripted", "--kind", "scripted"))
    succeeded(run("configs", "add", "echo", "--app", "x", "--provider", "scripted", "--model", "echo+priced"))
    succeeded(run("configs", "add", "mute", "--app", "x", "--provider", "scripted", "--model", "say:nothing+priced"))
    succeeded(run("prompts", "add", "where", "-", input="Where is {{city}}?"))
    table = tmp_path / "cities.csv"
    table.write_text("city,expected\nParis,Where is Paris?\nRome,Where is Rome?\n")
    asked = [str(table), "--config", "echo,mute", "--prompt", "where@draft", "--score", "exact", "--score", "contains"]
    quote = json.loads(succeeded(run("runs", "quote", *asked, "--json")))
    assert (quote["calls"], quote["unpriced_models"]) == (4, [])
    assert 0 < float(quote["low_usd"]) < float(quote["high_usd"])
    done = json.loads(succeeded(run("runs", "start", *asked, "--cap", "5", "--json")))
    assert (done["state"], done["ended"], done["total"], done["name"]) == ("done", 4, 4, "cities")
    echo, mute = done["candidates"]
    assert (echo["exact"], echo["leads"], mute["exact"], mute["contains"]) == (1.0, True, 0.0, 0.0)
    assert json.loads(succeeded(run("runs", "list", "--json")))[0]["id"] == done["id"]
    lines = list(csv.DictReader(io.StringIO(succeeded(run("runs", "export", done["id"])))))
    assert [line["answer"] for line in lines[:2]] == ["Where is Paris?", "nothing"]
    assert "production of where is version 1" in succeeded(run("runs", "promote", done["id"], "1"))
    assert "where v1 · echo" in succeeded(run("runs", "show", done["id"]))
    capped = refused(run("runs", "start", *asked, "--cap", "0.0001"))
    assert "0 of 4 were asked. The next call might pass the cap." in capped
    assert "no column answer" in refused(run("runs", "quote", *asked[:5], "--score", "exact=answer"))
    assert "needs a rubric" in refused(run("runs", "quote", *asked, "--judge", "echo"))
    succeeded(run("runs", "delete", done["id"]))
    assert "no such experiment" in refused(run("runs", "show", done["id"]))

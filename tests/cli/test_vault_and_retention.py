"""`vault` and `retention` as they are used."""

import json
from pathlib import Path

import pytest

from tests.cli.commands import Run, refused, succeeded


@pytest.mark.feature("CFG-6")
def test_the_key_is_rotated_by_a_command(run: Run, tmp_path: Path) -> None:
    succeeded(run("providers", "add", "acme", "--kind", "openai", "--api-key-env", "KEY", KEY="sk-0123456789abcdef"))
    before = json.loads(succeeded(run("vault", "status", "--json")))
    assert (before["source"], before["keys"], before["in_use"]) == ("file", 1, 1)
    key_file = (tmp_path / "data" / "master.key").read_bytes()
    shown = succeeded(run("vault", "rotate"))
    assert "Encrypted 2 secrets" in shown  # the provider's key, and the one that the cache hashes with
    after = json.loads(succeeded(run("vault", "status", "--json")))
    assert after["key_id"] != before["key_id"]
    assert (tmp_path / "data" / "master.key").read_bytes() != key_file
    (tmp_path / "data" / "master.key").write_bytes(key_file)
    assert "does not fit the data" in refused(run("vault", "status"))


@pytest.mark.feature("CFG-6")
def test_a_key_of_the_environment_is_rotated_to_the_first_of_two(run: Run) -> None:
    old, new = "the old master key, quite long".replace(",", ""), "the new master key quite long"
    succeeded(run("vault", "status", LLM_MANAGER_MASTER_KEY=old))
    assert "no new key to rotate to" in refused(run("vault", "rotate", LLM_MANAGER_MASTER_KEY=old))
    assert "may now hold the new key alone" in succeeded(run("vault", "rotate", LLM_MANAGER_MASTER_KEY=f"{new},{old}"))
    assert (
        json.loads(succeeded(run("vault", "status", "--json", LLM_MANAGER_MASTER_KEY=new)))["source"] == "environment"
    )
    assert "does not fit the data" in refused(run("vault", "status", LLM_MANAGER_MASTER_KEY=old))


@pytest.mark.feature("CALL-8")
def test_retention_says_what_would_go_and_deletes(run: Run) -> None:
    lines = json.loads(succeeded(run("retention", "run", "--dry-run", "--json")))
    assert [(line["class"], line["days"], line["would_delete"]) for line in lines] == [
        ("words", None, 0),
        ("calls", None, 0),
        ("metrics", None, 0),
        ("audit", None, 0),
        ("sign_ins", None, 0),
    ]
    assert "deleted" in succeeded(run("retention", "run"))

"""The command line as it is used: a process of its own, a data folder of its own, status and words as promised."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.commands import PROJECT, Run, refused, succeeded


@pytest.mark.feature("SET-3")
def test_help_names_every_command(run: Run) -> None:
    shown = succeeded(run("--help"))
    for command in ("migrate", "serve", "users", "providers", "configs", "test-config", "demo", "stats", "calls"):
        assert command in shown


@pytest.mark.feature("SET-3")
def test_help_loads_nothing_of_the_store() -> None:
    watched = "[name for name in ('sqlalchemy', 'dotenv', 'litellm', 'streamlit') if name in sys.modules]"
    code = f"import sys, lib.cli.main; lib.cli.main.build_parser(); print({watched})"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.feature("SET-3")
def test_wrong_usage_has_status_two(run: Run) -> None:
    for words in (
        (),
        ("users",),
        ("nothing",),
        ("users", "add", "a", "--role", "king"),
        ("demo", "load", "--calls", "0"),
    ):
        done = run(*words)
        assert done.returncode == 2
        assert "usage:" in done.stderr


@pytest.mark.feature("SET-4")
def test_migrate_says_what_it_did(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data" / "llm_manager.db").unlink()
    assert succeeded(run("migrate")).startswith("Migrated: ")
    assert succeeded(run("migrate")) == "The database is up to date.\n"


@pytest.mark.feature("SET-4")
def test_a_newer_database_is_refused_untouched(run: Run, tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "data" / "llm_manager.db"
    with sqlite3.connect(path) as database:
        database.execute("UPDATE alembic_version SET version_num = 'r9999'")
    database.close()
    before = path.read_bytes()
    for words in (("migrate",), ("users", "list")):
        assert "newer version" in refused(run(*words))
    assert path.read_bytes() == before


@pytest.mark.feature("SET-4")
def test_a_damaged_database_is_refused_and_kept(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "data" / "llm_manager.db"
    path.write_bytes(b"not a database at all, " * 400)
    before = path.read_bytes()
    assert "damaged" in refused(run("users", "list"))
    assert path.read_bytes() == before


@pytest.mark.feature("SET-1")
def test_a_data_folder_that_cannot_be_written_is_a_sentence(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for words in (("migrate",), ("serve",), ("users", "list")):
        said = refused(run(*words, LLM_MANAGER_DATA=str(tmp_path / "file" / "data")))
        assert "data folder" in said
        assert "LLM_MANAGER_DATA" in said


@pytest.mark.feature("SET-1")
def test_a_port_in_use_is_a_sentence_that_names_another(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused(run("serve", PORT=str(port)))
    assert f"Port {port} is in use." in said
    assert "PORT=" in said


@pytest.mark.feature("SET-1")
@pytest.mark.parametrize("port", ["abc", "0", "70000", "-1"])
def test_a_port_that_is_none_is_a_sentence(run: Run, port: str) -> None:
    assert "not a port number" in refused(run("serve", PORT=port))


@pytest.mark.feature("ACC-2")
def test_users_are_added_and_listed_without_a_password_on_the_command_line(run: Run) -> None:
    added = run("users", "add", "Amira", "--role", "super-admin", input="correct horse battery\n")
    assert succeeded(added) == "Added Amira as super-admin.\n"
    given = run("users", "add", "ben", "--role", "developer", LLM_MANAGER_NEW_PASSWORD="correct horse battery")
    assert succeeded(given) == "Added ben as developer.\n"
    listed = json.loads(succeeded(run("users", "list", "--json")))
    assert [(user["name"], user["role"], user["active"]) for user in listed] == [
        ("Amira", "super-admin", True),
        ("ben", "developer", True),
    ]
    assert "super-admin" in succeeded(run("users", "list"))


@pytest.mark.feature("ACC-2")
def test_a_taken_name_and_a_short_password_are_refused(run: Run) -> None:
    succeeded(run("users", "add", "amira", "--role", "developer", input="correct horse battery\n"))
    refused(run("users", "add", "AMIRA", "--role", "developer", input="correct horse battery\n"))
    refused(run("users", "add", "ben", "--role", "developer", input="short\n"))
    refused(run("users", "add", "ben", "--role", "developer", input=""))
    assert len(json.loads(succeeded(run("users", "list", "--json")))) == 1


@pytest.mark.feature("CFG-6")
def test_a_provider_key_comes_from_a_variable_and_is_never_shown(run: Run, tmp_path: Path) -> None:
    key = "sk-canary-0123456789abcdef"
    succeeded(run("providers", "add", "eu", "--kind", "openai", "--api-key-env", "MY_KEY", MY_KEY=key))
    for words in (("providers", "list"), ("providers", "list", "--json")):
        shown = succeeded(run(*words))
        assert "…cdef" in shown
        assert key not in shown
    assert all(key.encode() not in path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
    assert "NO_KEY is empty" in refused(run("providers", "add", "us", "--kind", "openai", "--api-key-env", "NO_KEY"))


@pytest.mark.feature("CFG-6")
def test_a_master_key_that_does_not_fit_stops_before_anything_is_written(run: Run) -> None:
    from cryptography.fernet import Fernet

    first, other = (Fernet.generate_key().decode() for _ in range(2))
    add = ("providers", "add", "eu", "--kind", "openai", "--api-key-env", "MY_KEY")
    succeeded(run(*add, MY_KEY="sk-0123456789abcdef", LLM_MANAGER_MASTER_KEY=first))
    said = refused(run("providers", "list", LLM_MANAGER_MASTER_KEY=other))
    assert first not in said
    assert other not in said
    refused(run("providers", "list", LLM_MANAGER_MASTER_KEY="not a key"))
    assert "…cdef" in succeeded(run("providers", "list", LLM_MANAGER_MASTER_KEY=first))


@pytest.mark.feature("CFG-2")
@pytest.mark.feature("CFG-8")
def test_configurations_are_seeded_added_and_listed(run: Run) -> None:
    succeeded(
        run("configs", "add", "notes", "--app", "writing", "--provider", "local", "--model", "smollm2-135m-instruct")
    )
    listed = json.loads(succeeded(run("configs", "list", "--json")))
    assert {"notes", "local-default", "openai-default", "anthropic-default"} <= {each["slug"] for each in listed}
    only = json.loads(succeeded(run("configs", "list", "--app", "writing", "--json")))
    assert [each["slug"] for each in only] == ["notes"]
    assert "nowhere" in refused(run("configs", "add", "x", "--app", "a", "--provider", "nowhere", "--model", "m"))


@pytest.mark.feature("CFG-3")
def test_test_config_reports_success_and_a_clear_failure(run: Run) -> None:
    succeeded(run("providers", "add", "stage", "--kind", "scripted"))
    succeeded(run("configs", "add", "works", "--app", "a", "--provider", "stage", "--model", "lorem"))
    result = json.loads(succeeded(run("test-config", "works", "--json")))
    assert result["ok"] is True
    assert result["latency_ms"] >= 0

    nobody = ("--kind", "custom", "--base-url", "http://127.0.0.1:9/v1", "--allow-private")
    succeeded(run("providers", "add", "absent", *nobody))
    succeeded(run("configs", "add", "fails", "--app", "a", "--provider", "absent", "--model", "m"))
    failed = run("test-config", "fails")
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    assert "fails" in failed.stderr
    assert "no configuration missing" in refused(run("test-config", "missing"))


@pytest.mark.feature("SET-5")
@pytest.mark.feature("COST-3")
@pytest.mark.feature("COST-6")
@pytest.mark.feature("CALL-6")
def test_sample_data_is_loaded_counted_exported_and_removed(run: Run) -> None:
    assert "300" in succeeded(run("demo", "load", "--calls", "300", "--seed", "7"))
    head, *rows = succeeded(run("stats", "--by", "provider,model", "--format", "csv")).strip().splitlines()
    assert head.strip() == ("provider,model,calls,prompt_tokens,completion_tokens,total_tokens,cost_usd,unpriced_calls")
    assert rows
    figures = json.loads(succeeded(run("stats", "--by", "provider", "--format", "json")))
    assert sum(row["calls"] for row in figures) == 300
    exported = json.loads(succeeded(run("calls", "export", "--format", "json")))
    assert len(exported) >= 300
    table = succeeded(run("calls", "export", "--format", "csv")).splitlines()
    assert len(table) == len(exported) + 1
    assert "Removed" in succeeded(run("demo", "remove"))
    assert json.loads(succeeded(run("stats", "--by", "provider", "--format", "json"))) == []


@pytest.mark.feature("COST-7")
def test_the_forecast_is_one_row_in_csv_and_json(run: Run) -> None:
    (none,) = json.loads(succeeded(run("stats", "forecast", "--format", "json")))
    assert (none["spent_usd"], none["forecast_usd"], none["history_days"]) == (0, None, 0)
    succeeded(run("demo", "load", "--calls", "2000", "--seed", "7"))
    (told,) = json.loads(succeeded(run("stats", "forecast", "--format", "json", "--zone", "Europe/Berlin")))
    assert told["spent_usd"] <= told["low_usd"] <= told["forecast_usd"] <= told["high_usd"]
    assert 0 <= told["within_interval"] <= told["tested_forecasts"]
    head, row = succeeded(run("stats", "forecast")).splitlines()
    assert head.split(",") == list(told)
    assert len(row.split(",")) == len(told)
    assert "no time zone Mars" in refused(run("stats", "forecast", "--zone", "Mars"))
    assert run("stats").returncode == 2


@pytest.mark.feature("COST-4")
def test_exchange_rates_are_taken_in_listed_and_used(run: Run, tmp_path: Path) -> None:
    assert "in USD" in succeeded(run("rates", "list"))
    assert "no rate for EUR" in refused(run("rates", "use", "EUR"))
    file = tmp_path / "eurofxref-hist.csv"
    file.write_text("Date,USD,JPY,\n2026-10-02,1.25,150,\n2026-10-01,1.24,N/A,\n")
    assert "3 rates" in succeeded(run("rates", "import", str(file)))
    assert "EUR" in succeeded(run("rates", "use", "eur"))
    euro, yen = json.loads(succeeded(run("rates", "list", "--json")))
    assert (euro["currency"], euro["rates"], euro["first"], euro["in_use"]) == ("EUR", 2, "2026-10-01", True)
    assert (yen["currency"], yen["in_use"]) == ("JPY", False)
    assert "can't be read" in refused(run("rates", "import", str(tmp_path / "none.csv")))


@pytest.mark.feature("COST-6")
def test_a_day_or_a_dimension_that_is_none_is_refused(run: Run) -> None:
    assert run("stats", "--by", "provider", "--from", "yesterday").returncode == 2
    assert "colour" in refused(run("stats", "--by", "colour"))
    assert "empty" in refused(run("stats", "--by", "provider", "--from", "2026-10-02", "--to", "2026-10-01"))


@pytest.mark.feature("SET-3")
def test_a_reader_that_leaves_early_is_no_error(run: Run, tmp_path: Path) -> None:
    succeeded(run("demo", "load", "--calls", "3000"))
    environment = dict(os.environ) | {"LLM_MANAGER_DATA": str(tmp_path / "data")}
    command = f"{sys.executable} -m lib calls export --format csv | head -1"
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=PROJECT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


@pytest.mark.feature("CFG-4")
def test_models_are_listed_with_their_facts_and_a_provider_that_is_down_is_said(run: Run) -> None:
    listed = json.loads(succeeded(run("models", "list", "--provider", "local", "--json")))
    assert [(m["model"], m["context_tokens"], m["input_usd"]) for m in listed] == [
        ("smollm2-135m-instruct", 2048, "0"),
        ("all-MiniLM-L6-v2", 256, "0"),
    ]
    assert "smollm2" in succeeded(run("models", "list", "--provider", "local"))
    run("providers", "add", "gone", "--kind", "custom", "--base-url", "http://127.0.0.1:9", "--allow-private")
    assert "gone can't be reached" in refused(run("models", "list", "--provider", "gone"))
    everything = run("models", "list", "--json")
    assert everything.returncode == 0
    assert "gone can't be reached" in everything.stderr
    assert "smollm2-135m-instruct" in {m["model"] for m in json.loads(everything.stdout)}


@pytest.mark.feature("COST-2")
def test_budgets_are_set_listed_asked_and_removed(run: Run) -> None:
    added = succeeded(run("budgets", "add", "--scope", "app:general", "--period", "month", "--limit", "0.001"))
    assert added == "Set $0.0010 per month for app general; $0 is spent.\n"
    succeeded(run("budgets", "add", "--scope", "global", "--period", "day", "--limit", "5", "--soft"))
    listed = json.loads(succeeded(run("budgets", "list", "--json")))
    assert [(row["scope"], row["name"], row["kind"], row["state"]) for row in listed] == [
        ("global", "everything", "soft", "on track"),
        ("app", "general", "hard", "on track"),
    ]
    asked = run("budgets", "check", "openai-default", "--max-tokens", "2000", "--json")
    assert asked.returncode == 1
    assert "does not fit the app budget general" in asked.stderr
    assert json.loads(asked.stdout)["passes"] is False
    assert json.loads(asked.stdout)["instead"] is None
    assert "The call is free." in succeeded(run("budgets", "check", "local-default"))
    assert "already" in refused(run("budgets", "add", "--scope", "global", "--period", "day", "--limit", "1"))
    assert "no user nobody" in refused(
        run("budgets", "add", "--scope", "user:nobody", "--period", "day", "--limit", "1")
    )
    for wrong in (("--scope", "app", "--limit", "1"), ("--scope", "global", "--limit", "-1")):
        assert run("budgets", "add", "--period", "day", *wrong).returncode == 2
    assert "Removed" in succeeded(run("budgets", "remove", "--scope", "app:general", "--period", "month"))
    assert "There is no budget" in refused(run("budgets", "remove", "--scope", "app:general", "--period", "month"))

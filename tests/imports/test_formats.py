"""Every form is recognised by itself and becomes the rows that it says, with nothing made up."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from lib.access.permissions import OPERATOR, Role
from lib.access.users import Users
from lib.db.engine import Store
from lib.db.tables import outside_people
from lib.errors import Conflict
from lib.imports import Wishes
from lib.usage_files.formats import FIELDS, recognise, suggest_columns
from tests.imports.import_rig import brought, given, service, source

pytestmark = pytest.mark.feature("COST-10")
SUMS = {"openai_usage": 2, "openai_costs": 2, "anthropic_usage": 1, "anthropic_costs": 2}


def part(row: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


@pytest.mark.parametrize(
    ("file", "form"),
    [
        ("litellm.csv", "litellm"),
        ("openai_usage.json", "openai-usage"),
        ("openai_usage.csv", "openai-usage"),
        ("openai_costs.json", "openai-costs"),
        ("openai_costs.csv", "openai-costs"),
        ("anthropic_usage.json", "anthropic-usage"),
        ("anthropic_usage.csv", "anthropic-usage"),
        ("anthropic_costs.json", "anthropic-costs"),
        ("anthropic_costs.csv", "anthropic-costs"),
        ("langfuse.json", "langfuse"),
        ("langfuse.jsonl", "langfuse"),
        ("generic.csv", "csv"),
    ],
)
def test_a_file_tells_its_form(store: Store, file: str, form: str) -> None:
    found = service(store).preview(OPERATOR, source(file))
    assert found.format == form
    assert found.rows == len(found.sample) > 0


def test_litellm(store: Store) -> None:
    users = Users(store)
    amira = users.create(OPERATOR, "Amira", "a long enough password", Role.DEVELOPER)
    batch, (first, second, third, fourth) = brought(store, source("litellm.csv"))
    assert batch.left_out == {"no moment": 1, "there already": 1}
    assert (batch.rows, batch.calls, batch.unpriced, batch.cost_nano_usd) == (4, 4, 1, 312_500)
    assert first["started_at"] == datetime(2026, 10, 5, 8, 0, 0, 123000, UTC)
    assert part(first, "execution_time_ms", "first_token_ms") == (2500, 400)
    assert part(first, "provider", "model", "app", "user_id") == ("openai", "gpt-4o-mini", "search", amira.id)
    assert part(first, "prompt_tokens", "completion_tokens", "cache_read_tokens") == (250, 100, 128)
    assert part(first, "cost_nano_usd", "cost_status", "price_id") == (312_500, "priced", "litellm")
    # 0 for a call with tokens is what LiteLLM writes when it knows no price
    assert part(second, "model", "cost_nano_usd", "cost_status") == ("claude-sonnet-4-5", None, "unpriced")
    assert part(second, "prompt_tokens", "cache_read_tokens", "cache_write_tokens") == (1000, 600, 100)
    assert users.names([second["user_id"]]) == {second["user_id"]: "customer-7@example.com"}
    assert part(third, "status", "cost_nano_usd", "cost_status") == ("error", 0, "free")
    assert part(fourth, "cache", "cost_nano_usd") == ("exact", 0)


@pytest.mark.parametrize("form", ["json", "csv"])
def test_openai_usage_is_sums_of_calls(store: Store, form: str) -> None:
    batch, rows = brought(store, source(f"openai_usage.{form}"), price=True)
    big = next(row for row in rows if row["calls"] == 1234)
    assert part(big, "prompt_tokens", "completion_tokens", "cache_read_tokens") == (500_000, 20_000, 300_000)
    days = (datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 10, 2, tzinfo=UTC))
    assert part(big, "started_at", "finished_at") == days
    assert part(big, "app", "execution_time_ms", "cost_status") == ("proj_a", None, "estimated")
    # 200,000 fresh at $0.15, 300,000 cached at $0.075, 20,000 out at $0.60 a million
    assert big["cost_nano_usd"] == 30_000_000 + 22_500_000 + 12_000_000
    if form == "json":
        assert batch.calls == 1239
        assert batch.left_out == {"its time is not over yet": 1}
        small = next(row for row in rows if row["calls"] == 5)
        assert part(small, "cost_nano_usd", "cost_status") == (None, "unpriced")


@pytest.mark.feature("COST-13")
@pytest.mark.parametrize(
    ("batch", "tier", "audio", "cost"),
    [
        ("True", "default", 0, 1_750_000_000),
        ("False", "flex", 0, 1_750_000_000),  # priced as a batch is
        ("False", "priority", 0, 5_950_000_000),
        ("False", "scale", 0, None),
        ("False", "", 9, None),
    ],
)
def test_calls_served_in_another_way_are_priced_as_they_were_served(
    store: Store, batch: str, tier: str, audio: int, cost: int | None
) -> None:
    head = (
        "start_time,end_time,num_model_requests,model,batch,service_tier,input_tokens,output_tokens,input_audio_tokens"
    )
    served = f"1790812800,1790899200,100,gpt-4o-2024-08-06,{batch},{tier},1000000,100000,{audio}"
    plain = "1790812800,1790899200,100,gpt-4o-2024-08-06,False,default,1000000,100000,0"
    found = service(store).preview(OPERATOR, given("\n".join((head, served, plain))), Wishes(price=True))
    costs = [row["cost_nano_usd"] for row in found.sample]
    assert costs[1] == 3_500_000_000
    assert costs[0] == cost


@pytest.mark.feature("COST-13")
@pytest.mark.parametrize(
    ("model", "audio", "cost"),
    [
        (
            "gpt-audio-2025-08-28",
            "900000,50000",
            900_000 * 32_000 + 100_000 * 2_500 + 50_000 * 64_000 + 50_000 * 10_000,
        ),
        ("gpt-audio-2025-08-28", "1000001,0", None),  # more than the prompt they would be a part of
        ("gpt-4o-2024-08-06", "0,9", None),  # no rate is known
    ],
)
def test_sound_in_a_usage_file_is_priced_by_its_rates_or_not_at_all(
    store: Store, model: str, audio: str, cost: int | None
) -> None:
    head = "start_time,end_time,num_model_requests,model,batch,service_tier,input_tokens,output_tokens"
    row = f"1790812800,1790899200,10,{model},False,default,1000000,100000,{audio}"
    text = f"{head},input_audio_tokens,output_audio_tokens\n{row}"
    (found,) = service(store).preview(OPERATOR, given(text), Wishes(price=True)).sample
    assert part(found, "cost_nano_usd", "cost_status") == (cost, "unpriced" if cost is None else "estimated")


def test_a_usage_report_has_no_cost_of_its_own(store: Store) -> None:
    batch, rows = brought(store, source("openai_usage.json"))
    assert batch.cost_nano_usd is None
    assert {row["cost_nano_usd"] for row in rows} == {None}


@pytest.mark.parametrize("form", ["json", "csv"])
def test_openai_costs_are_exact_and_count_no_calls(store: Store, form: str) -> None:
    batch, rows = brought(store, source(f"openai_costs.{form}"))
    assert part(rows[0], "model", "calls", "total_tokens", "price_id") == (
        "gpt-4o-mini-2024-07-18", None, None, "provider",
    )  # fmt: skip
    assert 61_500_000 in {row["cost_nano_usd"] for row in rows}
    assert batch.calls == 0
    assert batch.left_out == ({"not in dollars": 1} if form == "json" else {})


def test_anthropic_usage_of_the_interface_and_the_console(store: Store) -> None:
    _, (row,) = brought(store, source("anthropic_usage.json"))
    assert part(row, "prompt_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens") == (
        3200, 200, 1500, 1000,
    )  # fmt: skip
    assert part(row, "completion_tokens", "calls", "provider", "app") == (500, None, "anthropic", "wrkspc_1")
    _, (first, second) = brought(store, source("anthropic_usage.csv"), price=True)
    assert part(first, "prompt_tokens", "cache_write_tokens", "cache_write_1h_tokens") == (4030, 30, 20)
    assert second["started_at"] == datetime(2026, 10, 2, tzinfo=UTC)
    assert second["cost_nano_usd"] == 2_000_000 + 4_000_000  # $1 and $5 a million
    assert second["cost_status"] == "estimated"


def test_anthropic_costs_are_cents_of_the_interface_and_dollars_of_the_console(store: Store) -> None:
    batch, rows = brought(store, source("anthropic_costs.json"))
    assert {row["model"]: row["cost_nano_usd"] for row in rows} == {
        "claude-sonnet-4-5": 1_237_891_200,
        "Web Search Usage": 100_000_000,
    }
    batch, _ = brought(store, source("anthropic_costs.csv"))
    assert batch.cost_nano_usd == 300_000_000


def test_langfuse(store: Store) -> None:
    batch, (first, second) = brought(store, source("langfuse.json"))
    assert batch.left_out == {"not a call of a model": 1}
    assert part(first, "prompt_tokens", "cache_read_tokens", "completion_tokens", "reasoning_tokens") == (
        140,
        40,
        40,
        10,
    )
    assert part(first, "cost_nano_usd", "provider", "first_token_ms") == (30_000, "openai", 700)
    assert part(second, "status", "cost_nano_usd", "prompt_tokens") == ("error", None, 12)
    assert "sk-proj" not in second["error_message"]
    _, (line,) = brought(store, source("langfuse.jsonl"))
    assert part(line, "prompt_tokens", "cache_read_tokens", "cache_write_tokens") == (120, 90, 20)
    assert part(line, "cost_nano_usd", "app", "provider") == (35_000, "shop", "anthropic")


def test_any_table_in_its_own_zone(store: Store) -> None:
    wishes = {"mapping": {"user": "Who", "app": "Team"}, "zone": "Europe/Berlin", "price": True}
    batch, rows = brought(store, source("generic.csv"), **wishes)
    assert batch.left_out == {"moment can't be read": 1, "no model": 1}
    spring, first, again = rows
    assert spring["started_at"] == datetime(2026, 3, 29, 10, tzinfo=UTC)
    assert first["started_at"] == again["started_at"] == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert first["id"] != again["id"]  # two calls alike are two calls
    assert part(first, "prompt_tokens", "cost_nano_usd", "calls", "app") == (1000, 250_000_000, 1, "shop")
    assert part(spring, "cost_nano_usd", "cost_status") == (7 * 1000 + 3 * 5000, "priced")
    with store.read() as connection:
        assert set(connection.scalars(select(outside_people.c.name))) == {"Amira", "jonas"}


def test_columns_are_suggested_and_each_field_can_be_given_another(store: Store) -> None:
    assert suggest_columns(["Timestamp", "Model", "Tokens In", "Spend"]) == {
        "started_at": "Timestamp", "model": "Model", "prompt_tokens": "Tokens In", "cost_usd": "Spend",
    }  # fmt: skip
    file = given("when,what,in\n2026-10-01,gpt-4o-mini,5\n")
    _, (row,) = brought(store, file, mapping={"started_at": "when", "model": "what", "prompt_tokens": "in"})
    assert part(row, "prompt_tokens", "completion_tokens", "total_tokens") == (5, None, 5)


def test_a_column_that_is_wished_away_is_not_read(store: Store) -> None:
    file = given("date,model,cost\n2026-10-01,gpt-4o-mini,5\n")
    _, (row,) = brought(store, file, mapping={"cost_usd": ""})
    assert row["cost_nano_usd"] is None


def test_a_count_that_no_column_holds_is_told_by_rows_that_add_up_to_it(store: Store) -> None:
    text = "date,model,prompt_tokens,completion_tokens,calls,cost\n2026-10-01,gpt-4o-mini,5000000001,7,3,0.000000002\n"
    batch, rows = brought(store, given(text))
    assert len(rows) == 3
    sums = {name: sum(row[name] for row in rows) for name in ("prompt_tokens", "completion_tokens", "calls")}
    assert sums == {"prompt_tokens": 5_000_000_001, "completion_tokens": 7, "calls": 3}
    assert (batch.total_tokens, batch.calls, batch.cost_nano_usd) == (5_000_000_008, 3, 2)
    with pytest.raises(Conflict, match="nothing new"):
        service(store).run(OPERATOR, given(text))


@pytest.mark.parametrize("count", ["-1", "1.5", "many", "9" * 13, "9" * 400])
def test_what_is_no_count_is_left_out_with_its_reason(store: Store, count: str) -> None:
    found = service(store).preview(OPERATOR, given(f"date,model,prompt_tokens\n2026-10-01,m,{count}\n"), Wishes())
    assert found.left_out == {"prompt tokens can't be read": 1}


def test_every_field_of_a_mapping_is_one_that_is_read() -> None:
    assert recognise(["a", "b"]).name == "csv"
    assert len(set(FIELDS)) == len(FIELDS)

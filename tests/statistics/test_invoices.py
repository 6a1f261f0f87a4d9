"""Providers' exports in their own forms, of the interfaces and of the consoles, and any table by its columns."""

import json
from datetime import date
from pathlib import Path

import pytest

from lib.errors import InvalidInput
from lib.statistics.invoices.invoice_lines import InvoiceLine, join_invoices, read, read_columns

pytestmark = pytest.mark.feature("COST-9")
DATA = Path(__file__).parent / "data"
FIRST, SECOND = date(2026, 10, 1), date(2026, 10, 2)
GENERIC = b"Day;Model;Tokens In;Tokens Out;Spend\n2026-10-01;m;1,000;20;$1.50\n2026-10-01;m;1;2;0.005\nnever;m;1;1;1\n"
_NO_DAY = b"start_time,num_model_requests,input_tokens\nx,1,1\n"
MAPPING = {"date": "Day", "model": "Model", "prompt_tokens": "Tokens In", "completion_tokens": "Tokens Out"}


def lines_of(name: str) -> tuple[InvoiceLine, ...]:
    return read((DATA / name).read_bytes()).lines


def test_openai_usage() -> None:
    mini = InvoiceLine(FIRST, "gpt-4o-mini-2024-07-18", 500_000, 20_000, 300_000)
    assert lines_of("openai_usage.csv") == (mini,)
    assert lines_of("openai_usage.json")[:2] == (mini, InvoiceLine(FIRST, "gpt-unheard-of", 1000, 500, 0))


def test_openai_costs_in_dollars_the_model_out_of_the_line_item() -> None:
    assert lines_of("openai_costs.csv") == (InvoiceLine(FIRST, "gpt-4o-mini-2024-07-18", cost_nano=61_500_000),)
    found = read((DATA / "openai_costs.json").read_bytes())
    assert found.lines == (InvoiceLine(FIRST, "gpt-4o-mini-2024-07-18", cost_nano=73_500_000, parts=2),)
    assert found.left_out == {"not in dollars": 1}


def test_anthropic_usage_the_prompt_is_what_was_fresh_read_and_written() -> None:
    haiku = "claude-haiku-4-5"
    assert lines_of("anthropic_usage.csv") == (
        InvoiceLine(FIRST, haiku, 4030, 400, 3000),
        InvoiceLine(SECOND, haiku, 2000, 800, 0),
    )
    assert lines_of("anthropic_usage.json") == (InvoiceLine(FIRST, "claude-sonnet-4-5", 3200, 500, 200),)


def test_anthropic_costs_cents_of_the_interface_dollars_of_the_console() -> None:
    found = read((DATA / "anthropic_costs.csv").read_bytes())
    assert found.lines == (InvoiceLine(FIRST, "claude-haiku-4-5", cost_nano=300_000_000, parts=2),)
    assert (found.kind, found.label, found.quantum_nano) == ("anthropic", "Anthropic costs", 10_000_000)
    assert lines_of("anthropic_costs.json") == (
        InvoiceLine(FIRST, None, cost_nano=100_000_000),
        InvoiceLine(FIRST, "claude-sonnet-4-5", cost_nano=1_237_891_200),
    )


def test_any_table_by_its_columns() -> None:
    names, suggested, is_known = read_columns(GENERIC)
    assert names == ["Day", "Model", "Tokens In", "Tokens Out", "Spend"]
    assert (suggested, is_known) == (MAPPING | {"cost_usd": "Spend"}, False)
    found = read(GENERIC, suggested)
    assert found.lines == (InvoiceLine(FIRST, "m", 1001, 22, cost_nano=1_505_000_000, parts=2),)
    assert (found.kind, found.left_out, found.quantum_nano) == (None, {"day can't be read": 1}, 1_000_000)
    assert read(GENERIC, MAPPING).lines[0].cost_nano is None
    assert read_columns((DATA / "openai_usage.json").read_bytes())[2] is True


def test_usage_and_costs_stand_together_and_nothing_twice() -> None:
    usage, costs = (read((DATA / f"openai_{name}.csv").read_bytes()) for name in ("usage", "costs"))
    whole = join_invoices([usage, costs])
    assert whole.lines == (InvoiceLine(FIRST, "gpt-4o-mini-2024-07-18", 500_000, 20_000, 300_000, 61_500_000, 2),)
    assert whole.label == "OpenAI usage and OpenAI costs"
    with pytest.raises(InvalidInput, match="overlap"):
        join_invoices([usage, usage])
    with pytest.raises(InvalidInput, match="several providers"):
        join_invoices([usage, read((DATA / "anthropic_usage.csv").read_bytes())])


def test_sums_are_exact_and_rounded_once() -> None:
    results = [{"amount": {"value": 0.0000000004, "currency": "usd"}, "line_item": "m, input"}] * 5
    page = {"data": [{"start_time": 1_790_812_800, "results": results}]}
    assert read(json.dumps(page).encode()).lines == (InvoiceLine(FIRST, "m", cost_nano=2, parts=5),)


def test_an_hour_with_a_zone_falls_on_its_day_in_utc() -> None:
    row = b"date,cost\n2026-10-01T23:30:00-05:00,1\n"
    assert read(row, {"date": "date", "cost_usd": "cost"}).lines[0].day == SECOND


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xff",
        b"[1, 2]",
        b"a,b\n1,2\n",
        b'{"data": []}',
        b"start_time,num_model_requests,input_tokens\nx,1,1\n",
    ],
)
def test_what_is_no_export_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidInput):
        read(content)


@pytest.mark.parametrize("mapping", [{"date": "Day"}, {"model": "Model", "cost_usd": "Spend"}])
def test_too_few_columns_are_refused(mapping: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="Too few"):
        read(GENERIC, mapping)


def test_a_misspelt_column_is_named_also_where_too_few_are_mapped() -> None:
    with pytest.raises(InvalidInput, match=r"no column Cots\. Its columns are"):
        read(GENERIC, {"cost_usd": "Cots"})


@pytest.mark.parametrize("number", ["NaN", "Infinity", "many"])
def test_what_is_no_number_is_left_out(number: str) -> None:
    content = f"date,cost\n2026-10-01,{number}\n2026-10-02,1\n".encode()
    found = read(content, {"date": "date", "cost_usd": "cost"})
    assert [line.day for line in found.lines] == [SECOND]
    assert found.left_out == {"cost can't be read": 1}

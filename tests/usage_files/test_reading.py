"""One reader of usage files: whoever takes them in or compares them understands the same, and misses the same."""

import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from lib.access.permissions import OPERATOR
from lib.db.engine import Store
from lib.errors import InvalidInput
from lib.imports import Wishes
from lib.statistics.invoices import invoice_lines
from lib.usage_files import UsageFile
from lib.usage_files.adjust import correct_langfuse
from lib.usage_files.model_ids import derive_model_id
from lib.usage_files.source import Odd
from lib.usage_files.values import parse_moment
from tests.imports.import_rig import given, service

pytestmark = [pytest.mark.feature("COST-9"), pytest.mark.feature("COST-10")]
HEAD = "date;model;input_tokens;output_tokens;cost_usd\n"
MAPPING = {name: name for name in ("date", "model", "cost_usd")} | {
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
}
_USAGE = {"input_tokens": 1000, "output_tokens": 100, "num_model_requests": 1, "model": "gpt-4o-2024-08-06"}


def page(day: int) -> str:
    bucket = {"start_time": 1_790_812_800 + 86_400 * day, "end_time": 1_790_899_200 + 86_400 * day, "results": [_USAGE]}
    return json.dumps({"object": "page", "data": [bucket], "has_more": False})


def both(store: Store, text: str, mapping: dict[str, str] | None = None) -> tuple[int | None, int | None, int]:
    """Tokens, nano-dollars and the number of rows left out, as the import and the reconciliation have them alike."""
    wishes = Wishes(mapping={("started_at" if name == "date" else name): c for name, c in (mapping or {}).items()})
    imported = service(store).preview(OPERATOR, given(text), wishes)
    compared = invoice_lines.read(text.encode(), mapping)
    tokens = [
        line.prompt_tokens + (line.completion_tokens or 0) for line in compared.lines if line.prompt_tokens is not None
    ]
    costs = [line.cost_nano for line in compared.lines if line.cost_nano is not None]
    sums = sum(tokens) if tokens else None, sum(costs) if costs else None, sum(compared.left_out.values())
    assert sums == (imported.total_tokens, imported.cost_nano_usd, sum(imported.left_out.values()))
    return sums


@pytest.mark.parametrize(
    ("rows", "sums"),
    [
        (
            "2026-10-01;m;1.200;300;0,0123\n2026-10-02;m;500;20;1,50\n2026-10-03;m;900;100;1.234,56\n",
            (3020, 1_236_072_300_000, 0),
        ),
        ("2026-10-01;m;1,000;20;$1.50\n2026-10-01;m;1;2;0.005\n", (1023, 1_505_000_000, 0)),
        ("2026-10-01;m;1;2;$1.75\n2026-10-01;m;1;2;-$0.50\n2026-10-01;m;1;2;(0.25)\n", (9, 1_000_000_000, 0)),
        ("2026-10-01;m;1;2;1.200\n2026-10-02;m;5;5;\n", (10, None, 1)),
        ("20261001;m;1;2;0.5\n2026-10-01 10:00:00 +0000 UTC;m;1;2;0.5\n01.10.2026;m;1;2;0.5\n", (9, 1_500_000_000, 0)),
        ("10/01/2026;m;1;2;0.5\n2026-10-01;m;1;2;0.5\n", (3, 500_000_000, 1)),
        ("2026-10-01;m;1;2;0.5;;\n2026-10-01;m;1;2;0,5;9\n2026-10-01;m;1;2;0.5\n", (6, 1_000_000_000, 1)),
        ("2026-10-01;m;1;2;5000000000\n2026-10-01;m;1;2;0.5\n", (3, 500_000_000, 1)),
        ("2026-10-01;m;1;2;many\n2026-10-01;m;1;2;0.5\n", (3, 500_000_000, 1)),
    ],
)
def test_both_read_a_table_alike(store: Store, rows: str, sums: tuple[int | None, int | None, int]) -> None:
    assert both(store, HEAD + rows, MAPPING) == sums


@pytest.mark.parametrize("between", ["", "\n", "\n\n"])
def test_both_read_pages_that_follow_one_another(store: Store, between: str) -> None:
    assert both(store, between.join(page(day) for day in range(3))) == (3300, None, 0)
    assert both(store, f"[{page(0)}, {page(1)}]") == (2200, None, 0)
    assert both(store, f"[{page(0)}]{between}[{page(1)}]") == (2200, None, 0)


def test_a_line_that_is_no_json_spoils_none_of_the_others(store: Store) -> None:
    lines = [page(0), page(1)[:40], page(2), "7", page(3), '{"data": [1']
    assert both(store, "\n".join(lines)) == (3300, None, 3)
    with pytest.raises(InvalidInput, match="can't be read as JSON"):
        list(UsageFile(io.BytesIO(b'[{"a": 1}, {"a": '), "").rows())
    pretty = json.dumps(json.loads(page(0)), indent=1)
    assert both(store, f"{pretty}\n{pretty.replace('1790812800', '1790899200')}") == (2200, None, 0)


@pytest.mark.parametrize(
    ("mapping", "words"), [({"cost_usd": "Cots"}, "no column Cots"), ({"cots": "cost_usd"}, "no field cots")]
)
def test_both_refuse_what_is_not_there(store: Store, mapping: dict[str, str], words: str) -> None:
    text = HEAD + "2026-10-01;m;1;2;0.5\n"
    with pytest.raises(InvalidInput, match=words):
        invoice_lines.read(text.encode(), MAPPING | mapping)
    with pytest.raises(InvalidInput, match=words):
        service(store).preview(OPERATOR, given(text), Wishes(mapping=mapping))


def test_both_leave_other_currencies_out(store: Store) -> None:
    text = "date,model,cost_usd,Currency\n2026-10-01,m,1.5,EUR\n2026-10-01,m,1.5,USD\n"
    assert both(store, text, {"date": "date", "model": "model", "cost_usd": "cost_usd"}) == (None, 1_500_000_000, 1)


def test_what_was_left_out_is_told_with_its_reason() -> None:
    text = HEAD + "2026-10-01;m;1;2;0.5\nnever;m;1;2;0.5\n;m;1;2;0.5\n2026-10-01;m;x;2;0.5\n"
    found = invoice_lines.read(text.encode(), MAPPING)
    assert found.unread == {"day can't be read": 1, "no day": 1, "prompt tokens can't be read": 1}


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("sep=;\na;b\n1;2\n", [{"a": "1", "b": "2"}]),
        ("\n\na,b\n1,2\n", [{"a": "1", "b": "2"}]),
        ('"a","b\nc"\n1,2\n', [{"a": "1", "b\nc": "2"}]),
        ("a,b,\n1,2,\n", [{"a": "1", "b": "2"}]),
        ("a,b\n1\n", [{"a": "1"}]),
    ],
)
def test_heads_of_spreadsheets(text: str, rows: list[dict[str, str]]) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert list(UsageFile(io.BytesIO(text.encode(encoding)), "").rows()) == rows


def test_a_row_with_more_cells_than_names_is_none() -> None:
    (row,) = UsageFile(io.BytesIO(b"a,b\n1,2,3\n"), "").rows()
    assert isinstance(row, Odd)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("20261103", "2026-11-03"),
        (20261103, "2026-11-03"),
        ("20261103101500", "2026-11-03T10:15:00"),
        ("2026/11/3", "2026-11-03"),
        ("3.11.2026 10:15", "2026-11-03T10:15:00"),
        ("2026-11-03 10:15:00 UTC", "2026-11-03T10:15:00"),
        ("2026-11-03 12:15:00 +0200", "2026-11-03T10:15:00"),
        (1793664000, "2026-11-03"),
        ("1793664000.5", "2026-11-03T00:00:00.500"),
        (1793664000000, "2026-11-03"),
        (1793664000000000, "2026-11-03"),
        (1793664000000000000, "2026-11-03"),
    ],
)
def test_moments(value: object, found: str) -> None:
    assert parse_moment(value, UTC) == datetime.fromisoformat(found).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    ["11/03/2026", "20261399", "46329", "soon", "202611", 0, -1, "9" * 40, "1e999", Decimal("1E+999999999"), [1], True],
)
def test_what_is_no_moment(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_moment(value, UTC)


def test_a_zone_that_is_named_goes_before_the_chosen_one() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert parse_moment("2026-11-03 10:00:00 UTC", berlin) == datetime(2026, 11, 3, 10, tzinfo=UTC)
    assert parse_moment("20261103", berlin) == datetime(2026, 11, 2, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Claude Haiku 3.5", "claude-3-5-haiku"),
        ("Claude Sonnet 3.7", "claude-3-7-sonnet"),
        ("Claude Opus 3", "claude-3-opus"),
        ("Claude Haiku 3 Usage - Input Tokens", "claude-3-haiku"),
        ("Claude Haiku 4.5", "claude-haiku-4-5"),
        ("Claude Opus 4.1 (long context)", "claude-opus-4-1"),
        ("Claude Sonnet 4", "claude-sonnet-4"),
        ("Claude 2.1", "claude-2.1"),
        ("claude-3-5-haiku-20241022", "claude-3-5-haiku-20241022"),
        ("Web Search Usage", "Web Search Usage"),
        ("gpt-4o", "gpt-4o"),
    ],
)
def test_display_names_are_the_models_ids(name: str, found: str) -> None:
    assert derive_model_id(name) == found


def test_the_consoles_two_files_name_one_model(store: Store) -> None:
    cost = "usage_date_utc,model,token_type,cost_usd\n2026-08-04,Claude Haiku 4.5,output,0.07\n"
    usage = "usage_date_utc,model_version,usage_input_tokens_no_cache,usage_output_tokens\n"
    usage += "2026-08-04,claude-haiku-4-5-20251001,50000,4000\n"
    rows = [row for text in (cost, usage) for row in service(store).preview(OPERATOR, given(text)).sample]
    assert [row["model"] for row in rows] == ["claude-haiku-4-5"] * 2
    assert rows[1]["served_model"] == "claude-haiku-4-5-20251001"
    lines = invoice_lines.join_invoices([invoice_lines.read(cost.encode()), invoice_lines.read(usage.encode())]).lines
    assert [(line.day, line.model, line.cost_nano) for line in lines] == [
        (date(2026, 8, 4), "claude-haiku-4-5", 70_000_000)
    ]


@pytest.mark.parametrize(
    ("usage", "prompt", "completion", "reasoning", "total"),
    [
        (
            {"input": 1000, "output": 200, "text_prompt_tokens": 1000, "thoughts_tokens": 300, "total": 1500},
            1000,
            500,
            300,
            1500,
        ),
        ({"input": 100, "output": 300, "output_reasoning_tokens": 200, "total": 400}, 100, 300, 200, 400),
        ({"input": 100, "output": 100, "output_reasoning_tokens": 200, "total": 400}, 100, 300, 200, 400),
        ({"input": 60, "input_cached_tokens": 40, "output": 5, "total": 105}, 100, 5, None, 105),
        ({"input": 100, "input_cached_tokens": 40, "output": 5, "total": 105}, 100, 5, None, 105),
        ({"input": 10, "cache_read_input_tokens": 90, "output": 5}, 100, 5, None, None),
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}, 10, 5, None, 15),
        ({"prompt_tokens": 10, "input": 10, "completion_tokens": 5, "output": 5, "total": 15}, 10, 5, None, 15),
        ({"input": 10, "audio_prompt_tokens": 4, "output": 5}, 10, 5, None, None),
        ({"input": 10, "details": {"input": 3}, "output": 5}, 10, 5, None, None),
        ({"input_text": 10, "input_audio": 4, "output_text": 5}, 14, 5, None, None),
        ({"total": 9}, None, None, None, 9),
    ],
)
def test_a_map_whose_entries_overlap(
    usage: dict[str, object], prompt: int | None, completion: int | None, reasoning: int | None, total: int | None
) -> None:
    raw: dict[str, object] = {}
    assert correct_langfuse(raw, {"usageDetails": usage, "type": "GENERATION"}) is None
    found = (raw["prompt_tokens"], raw["completion_tokens"], raw["reasoning_tokens"], raw["total_tokens"])
    assert found == (prompt, completion, reasoning, total)


def test_costs_keep_every_digit(store: Store) -> None:
    text = HEAD + "2026-10-01;m;1;2;0.000000001\n"
    assert both(store, text, MAPPING)[1] == 1
    assert Decimal(1).scaleb(-9) == Decimal("0.000000001")

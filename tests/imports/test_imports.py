"""An import is looked at first, writes each row once, and can be undone as a whole."""

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from lib.access.audit import Audit, AuditCriteria
from lib.access.permissions import OPERATOR, Role, make_actor
from lib.activity.call_filter import ActivityFilter
from lib.activity.call_log import Activity
from lib.activity.repricing import Repricing, RepricingScope
from lib.db import schema
from lib.db.engine import Store
from lib.db.tables import imports, ledger_clock, outside_people, usage_logs
from lib.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from lib.imports import UsageFile, Wishes
from lib.providers.prices.price_book import PriceBook
from lib.statistics.filters import Dimension, StatisticsFilter
from lib.statistics.queries import Statistics
from tests.imports.import_rig import brought, given, rows_of, service, source
from tests.statistics.ledger_rows import AMIRA, call, write

pytestmark = pytest.mark.feature("COST-10")


def count(store: Store) -> int:
    with store.read() as connection:
        return connection.scalar(select(func.count()).select_from(usage_logs)) or 0


def test_a_preview_writes_nothing(store: Store) -> None:
    found = service(store).preview(OPERATOR, source("litellm.csv"))
    assert (found.rows, found.unpriced, found.cost_nano_usd, found.total_tokens) == (4, 1, 312_500, 1900)
    assert (found.first_at, found.last_at) == (
        datetime(2026, 10, 5, 8, 0, 0, 123000, UTC),
        datetime(2026, 10, 6, 10, tzinfo=UTC),
    )
    assert found.left_out == {"no moment": 1, "there already": 1}
    assert found.sample[1]["user_name"] == "customer-7@example.com"
    assert count(store) == 0
    with store.read() as connection:
        assert connection.scalar(select(func.count()).select_from(imports)) == 0


@pytest.mark.parametrize("name", ["litellm.csv", "openai_usage.json", "anthropic_costs.csv", "generic.csv"])
def test_the_same_file_twice_adds_nothing(store: Store, name: str) -> None:
    batch, rows = brought(store, source(name))
    with pytest.raises(Conflict, match="nothing new"):
        service(store).run(OPERATOR, source(name))
    assert rows_of(store, batch.id) == rows
    assert [one.id for one in service(store).list(OPERATOR)] == [batch.id]


def test_files_that_overlap_add_what_is_new(store: Store) -> None:
    lines = (source("litellm.csv").file.read()).decode().splitlines(keepends=True)
    brought(store, given("".join(lines[:3])))
    found = service(store).preview(OPERATOR, given("".join(lines), "all.csv"))
    assert (found.rows, found.left_out["there already"]) == (2, 3)
    assert found.overlaps == []
    _, rows = brought(store, given("".join(lines)))
    assert len(rows) == 2
    assert count(store) == 4


def test_undoing_takes_the_whole_batch_and_nothing_else(store: Store) -> None:
    write(store, call(), call())
    first, _ = brought(store, source("litellm.csv"))
    other, rows = brought(store, source("langfuse.json"))
    with store.read() as connection:
        epoch = connection.scalar(select(ledger_clock.c.epoch))
    assert epoch is not None
    assert service(store).undo(OPERATOR, first.id) == 4
    assert rows_of(store, other.id) == rows
    assert count(store) == 2 + len(rows)
    with store.read() as connection:
        assert connection.scalar(select(ledger_clock.c.epoch)) == epoch + 1
        assert set(connection.scalars(select(outside_people.c.name))) == {"amira"}  # as first named
    with pytest.raises(NotFound):
        service(store).undo(OPERATOR, first.id)
    assert service(store).run(OPERATOR, source("litellm.csv")).rows == 4


def test_an_import_that_is_cut_off_leaves_nothing(store: Store) -> None:
    class PageLeft(BaseException):
        """What Streamlit raises into a page's script when its reader leaves."""

    def leave(rows: int, share: float) -> None:
        if share > 0.9:
            raise PageLeft

    lines = ["date,model,cost", *(f"2026-10-01 00:00:{n % 60:02},gpt-4o-mini,{n}" for n in range(12_000))]
    with pytest.raises(PageLeft):
        service(store).run(OPERATOR, given("\n".join(lines)), Wishes(), leave)
    assert count(store) == 0
    assert service(store).list(OPERATOR) == []
    assert service(store).run(OPERATOR, given("\n".join(lines))).rows == 12_000


def test_it_is_for_super_admins_and_noted(store: Store) -> None:
    developer = make_actor("u", "jonas", Role.MASTER_DEVELOPER)
    for refused in (
        lambda: service(store).preview(developer, source("litellm.csv")),
        lambda: service(store).run(developer, source("litellm.csv")),
        lambda: service(store).list(developer),
        lambda: service(store).undo(developer, "x"),
    ):
        with pytest.raises(PermissionDenied):
            refused()
    batch, _ = brought(store, source("litellm.csv"))
    service(store).undo(OPERATOR, batch.id)
    entries = Audit(store).page(OPERATOR, AuditCriteria()).entries
    assert [entry.action for entry in entries] == ["import.undo", "import.done", "import.begin"]
    assert entries[1].detail["rows"] == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("one column\n1\n", "can't be read as CSV"),
        ("a,a\n1,2\n", "can't be read as CSV"),
        ('[{"a": 1}, {"a": ', "can't be read as JSON"),
        ("[1, 2]", "no rows"),
        ("model,cost\ngpt,1\n", "No column says when"),
    ],
)
def test_a_file_that_is_none_is_refused_with_a_sentence(store: Store, text: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        service(store).run(OPERATOR, given(text))
    assert service(store).list(OPERATOR) == []


def test_a_wrong_mapping_is_refused(store: Store) -> None:
    file = "date,model\n2026-10-01,gpt\n"
    with pytest.raises(InvalidInput, match="no column when"):
        service(store).preview(OPERATOR, given(file), Wishes(mapping={"started_at": "when"}))
    with pytest.raises(InvalidInput, match="no field colour"):
        service(store).preview(OPERATOR, given(file), Wishes(mapping={"colour": "model"}))
    with pytest.raises(InvalidInput, match="no format xml"):
        service(store).preview(OPERATOR, given(file), Wishes(format="xml"))


def test_sums_of_many_calls_count_as_many(store: Store) -> None:
    write(store, call())
    brought(store, source("openai_usage.json"))
    brought(store, source("openai_costs.json"))
    statistics = Statistics(store)
    totals = statistics.totals(AMIRA, StatisticsFilter())
    assert totals.calls == 1 + 1239
    assert totals.unpriced_calls == 1239
    assert totals.cost_nano_usd == 1_000_000 + 73_500_000
    assert totals.latency_p50_ms == 1000  # of the one call that has a time
    by_app = statistics.by(AMIRA, StatisticsFilter(), Dimension.APP).set_index("app").calls.to_dict()
    assert by_app == {"tests": 1, "proj_a": 1234, "proj_b": 5}
    statistics.close()


def test_repricing_leaves_sums_alone(store: Store) -> None:
    batch, rows = brought(store, source("openai_usage.json"), price=True)
    assert Repricing(store, PriceBook()).apply(OPERATOR, RepricingScope(reported_too=True)).looked_at == 0
    assert rows_of(store, batch.id) == rows


@pytest.fixture
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    made = Store(f"sqlite:///{tmp_path_factory.mktemp('elsewhere') / 'other.db'}")
    schema.upgrade(made)
    yield made
    made.dispose()


@pytest.mark.parametrize("form", ["csv", "json"])
@pytest.mark.parametrize("seed", range(4))
def test_an_exported_ledger_imported_again_gives_equal_sums(
    store: Store, elsewhere: Store, form: str, seed: int
) -> None:
    draw = random.Random(seed)
    write(store, *(_any_call(draw) for _ in range(draw.randint(1, 400))))
    activity = Activity(store)
    export = activity.export_csv if form == "csv" else activity.export_json
    document = b"".join(export(OPERATOR, ActivityFilter(period="all"))).decode()
    service(elsewhere).run(OPERATOR, given(document, f"calls.{form}"))
    here, there = Statistics(store), Statistics(elsewhere)
    for dimension in (Dimension.PROVIDER, Dimension.MODEL, Dimension.APP, Dimension.STATUS, Dimension.ORIGIN):
        frames = [one.by(AMIRA, StatisticsFilter(), dimension) for one in (here, there)]
        if form == "csv":  # which does not tell what the cache saved
            frames = [frame.drop(columns="saved_nano_usd") for frame in frames]
        assert frames[0].equals(frames[1])
    assert here.stats_table(AMIRA, ["day"]).equals(there.stats_table(AMIRA, ["day"]))
    with pytest.raises(Conflict, match="nothing new"):
        service(store).run(OPERATOR, given(document, f"calls.{form}"))
    here.close()
    there.close()


def _any_call(draw: random.Random) -> dict[str, object]:
    began = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=draw.random() * 86_400 * 200)
    cost, status = draw.choice([(None, "unpriced"), (0, "free"), (draw.randint(1, 10**12), "priced")])
    return call(
        began,
        finished_at=began + timedelta(seconds=3),
        model=draw.choice(["gpt-5.1", "=cmd()", "a,b", 'q"uote', "ünïcode"]),
        app=draw.choice(["shop", "-1", "docs search"]),
        provider=draw.choice(["openai", "ollama"]),
        status=draw.choice(["ok", "error", "timeout"]),
        is_final=draw.random() < 0.9,
        calls=draw.choice([1, 1, 1, 7, None]),
        cost_nano_usd=cost,
        cost_status=status,
        saved_nano_usd=draw.choice([None, 5]),
        prompt_tokens=draw.choice([None, draw.randint(0, 10**6)]),
        total_tokens=draw.choice([None, draw.randint(0, 10**6)]),
        cache_read_tokens=draw.choice([None, 3]),
    )


def test_a_long_array_is_read_in_pieces_whatever_stands_in_it(store: Store) -> None:
    row = {
        "id": "x",
        "traceId": "t",
        "startTime": "2026-10-05T08:00:00Z",
        "model": "gpt-4o-mini",
        "input": ']}\\"[{' * 9,
    }
    text = json.dumps([row | {"id": f"o-{n}", "input": row["input"] * (n % 50)} for n in range(20_000)])
    assert len(text) > 3 << 20
    batch, _ = brought(store, given(text, "long.json"))
    assert batch.rows == 20_000


def test_a_file_in_the_encoding_of_a_spreadsheet(store: Store) -> None:
    import io

    text = "date;model;user;cost\n2026-10-01;gpt-4o-mini;Zoë;1\n"
    for n, encoding in enumerate(("utf-16", "utf-8-sig")):
        name = f"{n}.csv"
        found = service(store).preview(OPERATOR, UsageFile(io.BytesIO(text.encode(encoding)), name))
        assert found.sample[0]["user_name"] == "Zoë"


def test_the_costs_of_days_whose_usage_was_imported_are_said_to_overlap(store: Store) -> None:
    batch, _ = brought(store, source("openai_usage.csv"))
    found = service(store).preview(OPERATOR, source("openai_costs.csv"))
    assert found.overlaps == [batch.file_name]

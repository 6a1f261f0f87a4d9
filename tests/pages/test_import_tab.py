"""The Settings page's tab on past usage."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from lib.access.permissions import OPERATOR, Role
from lib.imports import UsageFile
from lib.settings import Settings
from tests.pages.visitor import Visitor, press, press_last, run, words

pytestmark = [pytest.mark.feature("COST-10"), pytest.mark.filterwarnings("default")]
DATA = Path(__file__).resolve().parents[1] / "imports" / "data"


@pytest.fixture
def visitor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    visitor = Visitor(settings, monkeypatch, Role.SUPER_ADMIN)
    yield visitor
    visitor.close()


def uploaded(page: AppTest, name: str, content: bytes) -> AppTest:
    page.file_uploader(key="import-file").set_value((name, content, "text/csv"))
    return run(page)


def test_a_file_is_shown_before_it_is_written(visitor: Visitor) -> None:
    page = uploaded(visitor.open("settings"), "spend.csv", (DATA / "litellm.csv").read_bytes())
    said = words(page)
    assert "LiteLLM SpendLogs" in said
    assert "no moment" in said
    assert "1 row without a cost" in said
    assert visitor.services.imports.list(OPERATOR) == []
    page = press(page, "Import 4 rows")
    (batch,) = visitor.services.imports.list(OPERATOR)
    assert (batch.rows, batch.user_name, batch.file_name) == (4, "amira", "spend.csv")
    assert any("spend.csv" in list(table.value.get("File", [])) for table in page.dataframe)


def test_columns_are_chosen_where_they_tell_nothing(visitor: Visitor) -> None:
    page = uploaded(visitor.open("settings"), "own.csv", b"when,what\n2026-10-01 12:00,gpt-4o-mini\n")
    assert "No column says when calls were made." in page.error[0].proto.title
    for label, column in (("started at", "when"), ("model", "what")):
        next(box for box in page.selectbox if box.label == label).set_value(column)
    page = press(page, "Read the file so")
    assert not page.error
    press(page, "Import 1 row")
    assert visitor.services.imports.list(OPERATOR)[0].rows == 1


def test_an_import_is_undone_after_a_question(visitor: Visitor) -> None:
    content = (DATA / "litellm.csv").read_bytes()
    batch = visitor.services.imports.run(OPERATOR, UsageFile(io.BytesIO(content), "spend.csv"))
    page = visitor.draw("lib.ui.access.usage_imports.undo_dialog", "imports.list(actor)[0]")
    assert "4 rows" in words(page)
    assert visitor.services.imports.list(OPERATOR) == [batch]
    press_last(page, ":red[Undo the import]")
    assert visitor.services.imports.list(OPERATOR) == []

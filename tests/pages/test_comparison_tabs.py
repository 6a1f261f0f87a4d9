"""The tabs What-if and Reconcile of the Statistics page: what is chosen and uploaded is what is compared."""

import io
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

from lib.access.permissions import OPERATOR, Role
from lib.clock import utc_now
from lib.settings import Settings
from tests.activity.activity_rig import log
from tests.pages.visitor import Visitor, run, words

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def visitor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    visitor = Visitor(settings, monkeypatch, Role.SUPER_ADMIN)
    visitor.services.providers.create(OPERATOR, name="oa", kind="openai", base_url="", api_key="sk-test-0123456789")
    for app in ("bot", "shop"):
        log(
            visitor.services.store,
            app=app,
            provider="oa",
            model="gpt-4.1",
            prompt_tokens=10**6,
            cost_nano_usd=3 * 10**9,
        )
    yield visitor
    visitor.close()


def opened(visitor: Visitor, tab: str) -> Any:
    return visitor.open("statistics", tab=tab.lower())


def metrics(page: Any) -> dict[str, str]:
    return {metric.label: metric.value for metric in page.metric}


@pytest.mark.feature("COST-8")
def test_traffic_on_another_model_and_what_it_saves(visitor: Visitor) -> None:
    page = opened(visitor, "What-if")
    assert "No other model chosen" in words(page)
    page.multiselect(key="statistics-other_models").set_value(["openai/gpt-4.1-mini"])
    run(page)
    assert "openai/gpt-4.1-mini" in page.query_params["other"], "the address has the choice"
    page = visitor.open("statistics", tab="what-if", other="openai/gpt-4.1-mini", move="model")
    shown = metrics(page)
    assert shown["Cost"] == "$6.00"
    assert shown["Would have cost"].startswith("$0.8")
    assert shown["Saved"] == "$5.20"
    assert "Tokens are those that the calls had" in words(page)


@pytest.mark.feature("COST-9")
def test_an_uploaded_table_is_mapped_and_compared(visitor: Visitor) -> None:
    page = opened(visitor, "Reconcile")
    assert "read and not kept" in words(page)
    today = utc_now().date()
    content = f"date,model,input_tokens,cost\n{today},gpt-4.1,2000000,7.5\n".encode()
    page.file_uploader(key="reconcile-files").set_value(("bill.csv", content, "text/csv"))
    run(page)
    shown = metrics(page)
    assert shown["They say"] == "$7.50"
    assert shown["The ledger says"] == "$6.00"
    assert shown["Gap"] == "$1.50"
    assert isinstance(page.dataframe[0].value, pd.DataFrame)
    assert page.dataframe[0].value.model.tolist() == ["gpt-4.1"]


@pytest.mark.feature("COST-9")
def test_what_can_not_be_read_says_so(visitor: Visitor) -> None:
    page = opened(visitor, "Reconcile")
    page.file_uploader(key="reconcile-files").set_value(("bill.json", io.BytesIO(b"{").read(), "application/json"))
    run(page)
    assert "can't be read" in "".join(str(error.value) + str(getattr(error, "title", "")) for error in page.error)

"""The page Approvals: what waits, why and with what; decided with data edited; what runs without a question."""

import json
from collections.abc import Iterator

import pytest

from lib.access.permissions import OPERATOR, Actor, Role, make_actor
from lib.approvals.approval import ApprovalKind, ApprovalRequest, Decision, GrantScope, Verdict
from lib.settings import Settings
from lib.ui.approvals.inbox_title import add_count
from lib.ui.grammar.table import find_chosen
from tests.pages.visitor import Visitor, press, words

pytestmark = [pytest.mark.feature("FLOW-4"), pytest.mark.filterwarnings("default")]
REQUEST = ApprovalRequest(
    kind=ApprovalKind.TOOL,
    title="Delete *report*.txt?",
    reason="it deletes",
    subject="tool:files__delete",
    data={"path": "report.txt"},
)


@pytest.fixture
def visitor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    visitor = Visitor(settings, monkeypatch, Role.DEVELOPER)
    yield visitor
    visitor.close()


@pytest.fixture
def amira(visitor: Visitor) -> Actor:
    user = next(user for user in visitor.services.users.list(OPERATOR) if user.name == "amira")
    return make_actor(user.id, user.name, user.role)


def test_an_empty_inbox_says_what_will_be_in_it(visitor: Visitor, amira: Actor) -> None:
    assert "Nothing waits for you" in words(visitor.open("approvals"))
    assert "No decisions yet" in words(visitor.open("approvals", tab="decided"))
    assert "Everything asks" in words(visitor.open("approvals", tab="without a question"))
    assert add_count(visitor.services, amira, "Approvals") == "Approvals"


def test_a_request_is_approved_with_its_data_edited_and_for_always(visitor: Visitor, amira: Actor) -> None:
    asked = visitor.services.approvals.ask(amira, REQUEST)
    assert add_count(visitor.services, amira, "Approvals") == "Approvals (1)"
    page = visitor.open("approvals", id=asked.id)
    assert "Asked because it deletes" in words(page)
    assert "Delete \\*report\\*.txt?" in words(page), "nothing of a title is Markdown"
    page.text_area[0].set_value("{not JSON")
    page = press(page, "Approve request")
    assert "This is not JSON." in words(page)
    page.text_area[0].set_value(json.dumps({"path": "other.txt"}))
    page.radio[0].set_value(GrantScope.ALWAYS)
    press(page, "Approve request")
    decided = visitor.services.approvals.get(amira, asked.id)
    assert (decided.is_approved, decided.data, decided.scope) == (True, {"path": "other.txt"}, "always")
    shown = visitor.open("approvals", tab="decided", id=asked.id)
    assert "Edited by who decided" in words(shown)
    [grant] = visitor.services.approvals.standing(amira)
    shown = visitor.open("approvals", tab="without a question", grant=grant.id)
    assert "everywhere" in words(shown)
    assert ":red[Revoke]" in [button.label for button in shown.button]


def test_a_request_of_others_is_not_here_and_a_form_has_to_be_filled(visitor: Visitor, amira: Actor) -> None:
    hidden = visitor.services.approvals.ask(OPERATOR, REQUEST)
    assert "It is not here" in words(visitor.open("approvals", id=hidden.id))
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    form = ApprovalRequest(kind=ApprovalKind.TOOL, title="How many?", form_schema=schema)
    asked = visitor.services.approvals.ask(amira, form)
    page = visitor.open("approvals", id=asked.id)
    page = press(page, "Approve request")
    assert "The form is not filled." in words(page)
    page.number_input[0].set_value(3)
    press(page, "Approve request")
    assert visitor.services.approvals.get(amira, asked.id).data == {"n": 3}


def test_a_denied_request_says_by_whom(visitor: Visitor, amira: Actor) -> None:
    asked = visitor.services.approvals.ask(amira, REQUEST)
    page = visitor.open("approvals", id=asked.id)
    page.text_input[0].set_value("not today")
    press(page, "Deny request")
    shown = words(visitor.open("approvals", tab="decided", id=asked.id))
    assert "denied" in shown
    assert "not today" in shown
    visitor.services.approvals.decide(
        amira, visitor.services.approvals.ask(amira, REQUEST).id, Decision(verdict=Verdict.APPROVE)
    )


class Selection:
    """What Streamlit tells of a table: boxes that are ticked, and cells that are chosen."""

    def __init__(self, rows: list[int], cells: list[tuple[int, str]]) -> None:
        self.rows = rows
        self.cells = cells


@pytest.mark.feature("LOOK-1")
@pytest.mark.parametrize(
    ("before", "rows", "cells", "chosen"),
    [
        (None, [], [(3, "cost")], 3),
        (None, [2], [], 2),
        (([2], []), [2], [(4, "model")], 4),
        (([2], [(4, "model")]), [2], [(4, "cost")], 4),
        (([2], [(4, "model")]), [5], [(4, "model")], 5),
        (([], [(4, "model")]), [], [], None),
        (([2], []), [], [], None),
    ],
)
def test_a_click_in_any_cell_or_on_the_box_opens_its_row(
    before: tuple[list[int], list[tuple[int, str]]] | None,
    rows: list[int],
    cells: list[tuple[int, str]],
    chosen: int | None,
) -> None:
    assert find_chosen(before, Selection(rows, cells)) == chosen

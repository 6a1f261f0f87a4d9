"""Rows × run: a run for every row of a table, its results as a table."""

import csv
import io
from dataclasses import replace

import pytest

from lib.errors import InvalidInput, NotFound
from lib.workflows.run import RunState
from tests.waiting import until
from tests.workflows.rig import AMIRA, JONAS, FlowRig, draw, finish, node

OTHER = replace(JONAS, user_id="0190a000-0000-7000-8000-00000000000c", team_id=99, team_ids=(99,))
pytestmark = pytest.mark.feature("FLOW-9")


def test_a_table_is_run_row_by_row_and_read_back_as_a_table(rig: FlowRig) -> None:
    batches = rig.services.workflows.batches
    slug = rig.configure("echo+usage:1000,100+priced")
    fields = [{"name": "word"}, {"name": "n", "type": "integer", "default": 7}]
    document = draw(
        node("input", "start", fields=fields),
        node("prompt", "p", configuration=slug, prompt="{{start.word}}"),
        node("output", "finish", value="{'said': p.text, 'twice': start.n * 2, 'odd': 10 / (start.n - 1)}"),
    )
    workflow = rig.make(document)
    rows = batches.read_rows(AMIRA, workflow, b"word,n\n=a,1\nb,\nc,3\n")
    assert [row["n"] for row in rows] == [1, 7, 3]
    quote = batches.quote(AMIRA, workflow, rows)
    batch = batches.start(AMIRA, workflow, rows)
    until(lambda: batches.get(AMIRA, batch.id).is_over)
    ended = batches.get(AMIRA, batch.id)
    assert (ended.states, ended.rows, ended.unpriced) == ({RunState.FAILED: 1, RunState.DONE: 2}, 3, 0)
    assert ended.cost_nano_usd == 3 * 3_500_000
    assert quote.high_nano is not None
    assert quote.high_nano >= ended.cost_nano_usd
    lines = list(csv.DictReader(io.StringIO(batches.export_csv(AMIRA, batch.id))))
    assert [line["input_word"] for line in lines] == ["'=a", "b", "c"]
    assert [(line["state"], line["output_twice"], line["cost_usd"]) for line in lines] == [
        ("failed", "", "0.0035"),
        ("done", "14", "0.0035"),
        ("done", "6", "0.0035"),
    ]
    assert lines[0]["reason"]
    assert [found.id for found in batches.list(AMIRA, workflow)] == [batch.id]
    with pytest.raises(NotFound):
        batches.get(OTHER, batch.id)


def test_rows_that_do_not_fit_are_named_and_nothing_begins(rig: FlowRig) -> None:
    batches = rig.services.workflows.batches
    fields = [{"name": "word"}, {"name": "note", "required": False}]
    workflow = rig.make(draw(node("input", "start", fields=fields), node("wait", "hold", signal="go"), finish("x")))
    with pytest.raises(InvalidInput, match=r"Row 2: word is missing\."):
        batches.read_rows(AMIRA, workflow, b"word,note\na,\n,x\n")
    with pytest.raises(InvalidInput, match="word is missing"):
        batches.start(AMIRA, workflow, [{"word": "a"}, {}])
    assert batches.list(AMIRA, workflow) == []
    batch = batches.start(AMIRA, workflow, [{"word": "a"}, {"word": "b"}], launches=False)
    assert batches.cancel(AMIRA, batch.id).states == {RunState.CANCELLED: 2}

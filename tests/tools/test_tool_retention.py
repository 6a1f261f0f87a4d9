"""Words of tools' runs go with the words of calls, their rows with the calls."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from lib.clock import utc_now
from lib.db.tables import tool_executions
from lib.jobs.retention import Days
from lib.tools.tool import ToolContext
from lib.tools.tool_retention import forget_old_runs
from tests.calls.rig import AMIRA, Rig


@pytest.mark.feature("TOOL-1")
def test_words_go_before_rows(rig: Rig) -> None:
    tools = rig.services.tools
    ids = [asyncio.run(tools.run(AMIRA, "calculate", {"expression": "6 * 7"}, ToolContext(AMIRA))).id for _ in range(3)]
    with rig.services.store.write() as connection:
        for execution_id, days in zip(ids, (0, 10, 40), strict=True):
            moment = utc_now() - timedelta(days=days)
            aged = update(tool_executions).where(tool_executions.c.id == execution_id)
            connection.execute(aged.values(started_at=moment))
    assert forget_old_runs(rig.services.store) == 0
    rig.services.retention.change(AMIRA, Days(words=5, calls=30))
    assert forget_old_runs(rig.services.store) == 3
    with rig.services.store.read() as connection:
        rows = connection.execute(select(tool_executions).order_by(tool_executions.c.started_at)).mappings().all()
    assert [(row["arguments"] is None, row["result"] is None) for row in rows] == [(True, True), (False, False)]
    assert all(row["arguments_hash"] and row["result_bytes"] for row in rows)

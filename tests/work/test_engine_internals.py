"""What `lib/work` sets of the pinned engine's own parts is there: an engine without them would ignore it in silence."""

import inspect

import pytest

pytestmark = pytest.mark.feature("FLOW-2")


def test_the_engine_asks_where_the_queue_watch_answers() -> None:
    import dbos._queue
    import dbos._workflow_commands
    from dbos._sys_db import SystemDatabase

    for question in ("get_queue", "list_queues", "dequeue_scopes"):
        assert callable(getattr(SystemDatabase, question)), question
    asking = inspect.getsource(dbos._queue)
    assert "dequeue_scopes(" in asking
    assert "get_queue(" in asking
    assert "_BACKGROUND_JOBS_INTERVAL_SEC" in inspect.getsource(dbos._workflow_commands)

"""Every function of the workflows' services that names an actor stands in the tables of `tests.security`."""

import inspect
from typing import Any

import pytest

from lib.workflows.bench import Bench
from lib.workflows.runs import WorkflowRuns
from lib.workflows.triggers.batches import WorkflowBatches
from lib.workflows.triggers.conversation_runs import ConversationRuns
from lib.workflows.triggers.schedules import WorkflowSchedules
from lib.workflows.triggers.webhooks import WorkflowWebhooks
from lib.workflows.workflows import Workflows
from tests.workflows.permissions import DEEDS, NEEDS, NOT_CHANGES

pytestmark = pytest.mark.feature("ACC-1")


@pytest.mark.parametrize(
    "service", [Workflows, WorkflowRuns, WorkflowSchedules, WorkflowWebhooks, ConversationRuns, WorkflowBatches, Bench]
)
def test_every_function_that_takes_an_actor_is_in_the_tables(service: type[Any]) -> None:
    for name, function in inspect.getmembers(service, inspect.isfunction):
        if not name.startswith("_") and "actor" in inspect.signature(function).parameters:
            assert f"{service.__name__}.{name}" in NEEDS, name


def test_a_function_is_a_change_or_a_question() -> None:
    assert not set(DEEDS) & set(NOT_CHANGES)
    assert not (set(DEEDS) | set(NOT_CHANGES)) - set(NEEDS)

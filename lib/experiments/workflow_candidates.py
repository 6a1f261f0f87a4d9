"""A workflow as a candidate: what an experiment asks of whoever runs workflows, and the run as it stands.

A cell's run has an id of its own that is noted before it begins, so a runner that follows another finds it again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from lib.access.permissions import Actor

PREFIX = "workflow/"  # of a candidate's name, before the workflow's


@dataclass(frozen=True)
class WorkflowAnswer:
    """A run: `is_over` when nothing more comes, `error` why there is no answer; `calls` are those it has made."""

    is_over: bool
    text: str
    error: str
    calls: tuple[str, ...]


class WorkflowCandidates(Protocol):
    """Runs workflows for experiments."""

    def choose_version(self, actor: Actor, slug: str, which: int | str | None) -> int:
        """Choose the version that runs; raises NotFound, PermissionDenied."""
        ...

    def quote(
        self, actor: Actor, slug: str, version: int | None, inputs: Mapping[str, str]
    ) -> tuple[int | None, int | None, list[str]]:
        """Compute the least and the most of a row's run, in nano-dollars, and the models without a price."""
        ...

    def begin(
        self, actor: Actor, slug: str, version: int | None, inputs: Mapping[str, str], run_id: str, cap: int | None
    ) -> None:
        """Begin a run under an id, or leave the one that has it; InvalidInput for a row that does not fit."""
        ...

    def look(self, actor: Actor, run_id: str) -> WorkflowAnswer:
        """Look at a run; one that waits for a person is over, for nobody is there."""
        ...

    def stop(self, actor: Actor, run_id: str) -> None:
        """Cancel a run."""
        ...


def get_slug(configuration: str) -> str | None:
    """The workflow that a candidate names; None where it names a configuration."""
    return configuration.removeprefix(PREFIX) if configuration.startswith(PREFIX) else None

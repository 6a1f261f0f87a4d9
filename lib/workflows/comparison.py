"""Two runs of a workflow beside each other, step by step: what went another way, and what it cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lib.workflows.run import Step


@dataclass(frozen=True)
class StepComparison:
    """A step in two runs; None where it was not reached in one of them."""

    path: str
    first: Step | None
    second: Step | None

    @property
    def differences(self) -> tuple[str, ...]:
        """Name what differs: state, way, tries, input, output; or that only one run has the step."""
        first = self.first
        second = self.second
        if first is None or second is None:
            return ("only in the second",) if first is None else ("only in the first",)
        pairs = (
            ("state", first.state, second.state),
            ("way", first.port, second.port),
            ("input", first.input, second.input),
            ("output", first.output, second.output),
            ("error", first.error, second.error),
        )
        return tuple(name for name, of_first, of_second in pairs if of_first != of_second)

    @property
    def added_cost_nano_usd(self) -> int | None:
        """The second's cost less the first's; None where one is unknown."""
        costs = [0 if step is None else step.cost_nano_usd for step in (self.first, self.second)]
        return None if costs[0] is None or costs[1] is None else costs[1] - costs[0]


def compare_steps(first: Sequence[Step], second: Sequence[Step]) -> Sequence[StepComparison]:
    """Pair the steps of two runs by path: in the first's order, then what only the second has."""
    first_steps: Mapping[str, Step] = {step.path: step for step in first}
    second_steps: Mapping[str, Step] = {step.path: step for step in second}
    paths = [*first_steps, *(path for path in second_steps if path not in first_steps)]
    return [StepComparison(path, first_steps.get(path), second_steps.get(path)) for path in paths]

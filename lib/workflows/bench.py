"""The test bench: a version's cases run with pinned outputs, what they expect, and which ways of the drawing they took.

A case that expects nothing passes when its run is done. Runs of cases are real: what is not pinned calls models and
costs money; they are marked `test` and are no part of quotes.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from msgspec.structs import replace

from lib.access.permissions import Actor, Permission
from lib.errors import LLMManagerError
from lib.limited.expressions import ExpressionError
from lib.workflows.definition import Definition, NoteNode, TestCase
from lib.workflows.expressions import compile_expression, evaluate_condition
from lib.workflows.run import Run, RunState, Step, StepState, Trigger
from lib.workflows.runs import WorkflowRuns
from lib.workflows.workflow import VersionSelector
from lib.workflows.workflows import Workflows

LONGEST_CASE_S = 600.0


@dataclass(frozen=True)
class CaseResult:
    """How a case ended; `failures` are sentences, empty when it passed."""

    name: str
    failures: tuple[str, ...]
    seconds: float
    run: Run | None
    steps: tuple[Step, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether all that was expected holds."""
        return not self.failures


@dataclass(frozen=True)
class BenchResult:
    """All cases of a version; `ways_taken` of `ways` edges of the drawing were taken by at least one of them."""

    slug: str
    version: int
    cases: tuple[CaseResult, ...]
    ways_taken: int
    ways: int
    missed: tuple[str, ...]  # edges that no case took

    @property
    def passed(self) -> bool:
        """Whether every case passed."""
        return all(case.passed for case in self.cases)


class Bench:
    """Runs test cases."""

    def __init__(self, workflows: Workflows, runs: WorkflowRuns) -> None:
        self._workflows = workflows
        self._runs = runs

    def test(
        self,
        actor: Actor,
        slug: str,
        version: VersionSelector = None,
        names: Sequence[str] = (),
        tell: Callable[[CaseResult], None] = lambda result: None,
    ) -> BenchResult:
        """Run the cases of a version, or those that are named; `tell` hears of each as it ends."""
        actor.require(Permission.TEST_CONFIGS)
        workflow_version = self._workflows.version(actor, slug, version)
        cases = [case for case in workflow_version.definition.cases if not names or case.name in names]
        results: list[CaseResult] = []
        for case in cases:
            result = self._run_case(actor, slug, workflow_version.version, case)
            results.append(result)
            tell(result)
        ways = list_ways(workflow_version.definition)
        ways_taken = {way for result in results for way in find_taken(workflow_version.definition, result.steps)}
        missed = tuple(describe_way(way) for way in ways if way not in ways_taken)
        return BenchResult(slug, workflow_version.version, tuple(results), len(ways) - len(missed), len(ways), missed)

    def _run_case(self, actor: Actor, slug: str, version: int, case: TestCase) -> CaseResult:
        began = time.monotonic()
        try:
            run = self._runs.start(actor, slug, case.inputs, trigger=Trigger.TEST, version=version, pinned=case.pinned)
            run = self._runs.wait(actor, run.id, LONGEST_CASE_S)
            steps = tuple(self._runs.steps(actor, run.id))
        except LLMManagerError as error:
            return CaseResult(case.name, (str(error),), time.monotonic() - began, None)
        return CaseResult(case.name, tuple(judge_case(case, run, steps)), time.monotonic() - began, run, steps)


def judge_case(case: TestCase, run: Run, steps: Sequence[Step]) -> list[str]:
    """List the checks of a case that do not hold after its run, as sentences."""
    if run.state.is_at_work:
        return [f"It did not end within {LONGEST_CASE_S:g} seconds."]
    if not case.checks and run.state is not RunState.DONE:
        at_step = f" at {run.failed_step}" if run.failed_step else ""
        return [f"The run is {run.state}{at_step}: {run.reason}"]
    scope: dict[str, Any] = {step.path: step.output for step in steps if "/" not in step.path}
    cost = None if run.cost_nano_usd is None else run.cost_nano_usd / 1e9
    scope["output"] = run.output
    scope["state"] = {name: value for step in steps for name, value in (step.changes or {}).items()}
    scope["run"] = {"state": str(run.state), "reason": run.reason, "steps": run.steps_done, "cost_usd": cost}
    failures: list[str] = []
    for check in case.checks:
        missing = {name: None for name in compile_expression(check.that).names if name not in scope}
        try:
            holds = evaluate_condition(check.that, scope | missing)
        except ExpressionError as error:
            failures.append(f"{check.that} can't be computed: {error}.")
            continue
        if not holds:
            reason = f" ({check.why})" if check.why else ""
            failures.append(f"{check.that} does not hold{reason}. The output is {str(run.output)[:300]!r}.")
    return failures


def describe_way(way: tuple[str, str, str]) -> str:
    """An edge in words: `check:true → ask`."""
    source, port, target = way
    return f"{source}:{port} → {target}" if port else f"{source} → {target}"


def list_ways(definition: Definition) -> list[tuple[str, str, str]]:
    """All edges of all graphs: source, port, target."""
    ways: list[tuple[str, str, str]] = []
    for _, graph in definition.graphs():
        notes = {node.id for node in graph.nodes if isinstance(node, NoteNode)}
        ways += [(edge.source, edge.port, edge.target) for edge in graph.edges if edge.source not in notes]
    return ways


def find_taken(definition: Definition, steps: Sequence[Step]) -> set[tuple[str, str, str]]:
    """The edges by which steps that are done were left."""
    ports_taken = {(step.node_id, step.port) for step in steps if step.state is StepState.DONE}
    return {way for way in list_ways(definition) if (way[0], way[1]) in ports_taken}


def write_junit(results: Sequence[BenchResult]) -> str:
    """Write results as JUnit XML, as CI systems read it: a suite for each workflow."""
    root = ElementTree.Element("testsuites")
    for result in results:
        failed = [case for case in result.cases if not case.passed]
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=f"{result.slug} version {result.version}",
            tests=str(len(result.cases)),
            failures=str(len(failed)),
            time=f"{sum(case.seconds for case in result.cases):.3f}",
        )
        for case in result.cases:
            element = ElementTree.SubElement(
                suite, "testcase", classname=result.slug, name=_strip_unprintable(case.name), time=f"{case.seconds:.3f}"
            )
            if not case.passed:
                message = _strip_unprintable(case.failures[0])
                failure = ElementTree.SubElement(element, "failure", message=message)
                failure.text = _strip_unprintable("\n".join(case.failures))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _strip_unprintable(text: str) -> str:
    """Text without what XML can't hold."""
    return "".join(
        sign
        for sign in text
        if sign in "\n\t" or (sign >= " " and not "\ud800" <= sign <= "\udfff" and sign < "\ufffe")
    )


def add_case(definition: Definition, case: TestCase) -> Definition:
    """A definition with one case more, or in place of the one of its name."""
    other_cases = tuple(other for other in definition.cases if other.name != case.name)
    return replace(definition, cases=(*other_cases, case))

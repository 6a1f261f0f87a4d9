"""From a cell of the table to the calls that answer and judge it, and what they may cost."""

from collections.abc import Callable, Mapping
from typing import Any

from lib.access.permissions import Actor
from lib.calls.calls import Calls
from lib.calls.request import NOT_REMEMBERED, CallRequest, Origin, Within
from lib.configs.configuration import Configuration
from lib.configs.configurations import Configurations
from lib.configs.tool_rules import ToolRules
from lib.errors import InvalidInput
from lib.experiments.plan import EXPECTED, PROMPT, Candidate, Inputs
from lib.experiments.scoring import build_judge_messages
from lib.experiments.workflow_candidates import WorkflowCandidates
from lib.fast_json import encode_text
from lib.prompts.prompts import Prompts
from lib.prompts.template import FilledPrompt, PromptVersion, fill_template
from lib.prompts.variable import VariableType

ROLE = "experiment_role"  # a call's tag; without it the call answered
JUDGE = "judge"


class CellRequests:
    """Builds the requests of one person's experiment; templates' versions are read once."""

    def __init__(
        self,
        actor: Actor,
        calls: Calls,
        prompts: Prompts,
        experiment_id: str,
        *,
        is_bounded: bool,
        configurations: Configurations,
        workflows: Callable[[], WorkflowCandidates],
    ) -> None:
        self._actor = actor
        self._calls = calls
        self._prompts = prompts
        self._tags = {"experiment": experiment_id}
        self._is_bounded = is_bounded
        self._configurations = configurations
        self._find_workflows = workflows
        self._with_tools: dict[str, Configuration | None] = {}
        self._versions: dict[Candidate, PromptVersion] = {}

    @property
    def workflows(self) -> WorkflowCandidates:
        """Runs candidates that are workflows."""
        return self._find_workflows()

    def find_tools(self, candidate: Candidate) -> Configuration | None:
        """The configuration of a candidate whose model has tools; None for any other candidate."""
        if candidate.workflow is not None:
            return None
        if candidate.configuration not in self._with_tools:
            configuration = self._configurations.get(self._actor, candidate.configuration)
            has_tools = bool(ToolRules.from_record(configuration.tools).names)
            self._with_tools[candidate.configuration] = configuration if has_tools else None
        return self._with_tools[candidate.configuration]

    def build_question(self, inputs: Inputs) -> CallRequest:
        """Build what a judge reads as the question that a workflow answered: the row's prompt, else the whole row."""
        question = inputs.get(PROMPT) or encode_text({name: inputs[name] for name in inputs if name != EXPECTED})
        return CallRequest(actor=self._actor, messages=[{"role": "user", "content": question}])

    def build_request(self, candidate: Candidate, inputs: Inputs) -> CallRequest:
        """Build a candidate's request for a row; raises InvalidInput when the row does not fill its template."""
        filled = self._fill_template(candidate, inputs)
        return CallRequest(
            actor=self._actor,
            messages=[{"role": "user", "content": filled.text if filled else inputs[PROMPT]}],
            configuration=candidate.configuration,
            origin=Origin.EXPERIMENT,
            cache_policy=NOT_REMEMBERED,
            system_prompt=filled.system_prompt if filled else None,
            parameters=filled.parameters if filled else {},
            tags=self._tags | (filled.tags if filled else {}),
            bounded=self._is_bounded,
        )

    def build_judge_request(
        self, scorer: Mapping[str, Any], answered: CallRequest, answer: str, inputs: Inputs, call_id: str = ""
    ) -> CallRequest:
        """Build the request by which a judge scores an answer, that of the call `call_id`."""
        expected = inputs.get(scorer.get("column") or EXPECTED, "")
        question = str(answered.messages[-1]["content"])
        return CallRequest(
            actor=self._actor,
            messages=build_judge_messages(scorer["rubric"], question, answer, expected),
            configuration=scorer["configuration"],
            origin=Origin.EXPERIMENT,
            cache_policy=NOT_REMEMBERED,
            tags=self._tags | {ROLE: JUDGE},
            within=Within(parent_call_id=call_id),
            bounded=self._is_bounded,
        )

    def compute_bounds(
        self, candidate: Candidate, inputs: Inputs, judge: Mapping[str, Any] | None
    ) -> tuple[int | None, int | None, list[str]]:
        """Compute the least and the most a cell costs in nano-dollars, and the models without a price (then both are
        None).
        """
        if candidate.workflow is not None:
            return self._compute_workflow_bounds(candidate, inputs, judge)
        request = self.build_request(candidate, inputs)
        quotes = [self._calls.quote(request)]
        if (configuration := self.find_tools(candidate)) is not None:
            if self._is_bounded:
                why = f"{candidate.configuration} has tools, and what they return can't be known before."
                raise InvalidInput("A cap can't be kept.", why, "Leave the cap out, or the candidate.", field="cap")
            quotes += quotes * (ToolRules.from_record(configuration.tools).max_rounds - 1)
        if judge is not None:
            judging = self.build_judge_request(judge, request, "", inputs)
            quotes.append(self._calls.quote(judging, more_tokens=quotes[0].ceiling))
        unpriced = [quote.model for quote in quotes if quote.high_nano is None]
        if unpriced:
            return None, None, list(dict.fromkeys(unpriced))
        least = [quotes[0], *quotes[-1:]] if judge is not None else quotes[:1]
        return sum(quote.low_nano or 0 for quote in least), sum(quote.high_nano or 0 for quote in quotes), []

    def _compute_workflow_bounds(
        self, candidate: Candidate, inputs: Inputs, judge: Mapping[str, Any] | None
    ) -> tuple[int | None, int | None, list[str]]:
        slug = candidate.workflow or ""
        low, high, unpriced = self.workflows.quote(self._actor, slug, candidate.version, inputs)
        if judge is None or low is None or high is None:
            return low, high, unpriced
        judging = self._calls.quote(self.build_judge_request(judge, self.build_question(inputs), "", inputs))
        if judging.high_nano is None:
            return None, None, [judging.model]
        return low + (judging.low_nano or 0), high + judging.high_nano, []

    def _fill_template(self, candidate: Candidate, inputs: Inputs) -> FilledPrompt | None:
        if candidate.prompt is None:
            if PROMPT not in inputs:
                why = f"{candidate.configuration} has no template, so the table needs a column {PROMPT}."
                raise InvalidInput("There is nothing to ask.", why, field="rows")
            return None
        if candidate not in self._versions:
            self._versions[candidate] = self._prompts.version(self._actor, candidate.prompt, candidate.version)
        version = self._versions[candidate]
        values = {
            variable.name: inputs[variable.name]
            for variable in version.variables
            # An empty cell is an empty text, else it is none: the default, where there is one.
            if inputs.get(variable.name)
            or (variable.name in inputs and variable.type is VariableType.TEXT and variable.default is None)
        }
        return fill_template(candidate.prompt, version, values)


def find_judge(scorers: Any) -> Mapping[str, Any] | None:
    """Find the scorer that is a model, if there is one."""
    return next((scorer for scorer in scorers if scorer["kind"] == "judge"), None)

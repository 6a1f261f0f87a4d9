"""From a cell of the table to the calls that answer and judge it, and what they may cost."""

from collections.abc import Mapping
from typing import Any

from lib.access.permissions import Actor
from lib.calls.calls import Calls
from lib.calls.request import CallRequest, Origin
from lib.errors import InvalidInput
from lib.experiments.plan import EXPECTED, PROMPT, Candidate, Inputs
from lib.experiments.scoring import judge_messages
from lib.prompts.prompts import Prompts
from lib.prompts.template import Filled, Version, filled
from lib.prompts.variable import VariableType


class Asking:
    """Makes the requests of one person's experiment; templates' versions are read once."""

    def __init__(self, actor: Actor, calls: Calls, prompts: Prompts, experiment_id: str, *, is_bounded: bool) -> None:
        self._actor, self._calls, self._prompts = actor, calls, prompts
        self._tags = {"experiment": experiment_id}
        self._is_bounded = is_bounded
        self._versions: dict[Candidate, Version] = {}

    def request(self, candidate: Candidate, inputs: Inputs) -> CallRequest:
        """What a candidate is asked for a row; InvalidInput when the row does not fill its template."""
        filled = self._filled(candidate, inputs)
        return CallRequest(
            actor=self._actor,
            messages=[{"role": "user", "content": filled.text if filled else inputs[PROMPT]}],
            configuration=candidate.configuration,
            origin=Origin.PLAYGROUND,
            system_prompt=filled.system_prompt if filled else None,
            parameters=filled.parameters if filled else {},
            tags=self._tags | (filled.tags if filled else {}),
            bounded=self._is_bounded,
        )

    def judge_request(self, scorer: Mapping[str, Any], asked: CallRequest, answer: str, inputs: Inputs) -> CallRequest:
        """What a judge is asked about an answer."""
        expected = inputs.get(scorer.get("column") or EXPECTED, "")
        question = str(asked.messages[-1]["content"])
        return CallRequest(
            actor=self._actor,
            messages=judge_messages(scorer["rubric"], question, answer, expected),
            configuration=scorer["configuration"],
            origin=Origin.SYSTEM,
            tags=self._tags | {"experiment_role": "judge"},
            bounded=self._is_bounded,
        )

    def bounds(
        self, candidate: Candidate, inputs: Inputs, judge: Mapping[str, Any] | None
    ) -> tuple[int | None, int | None, list[str]]:
        """The least and the most a cell costs in nano-dollars, and the models without a price."""
        request = self.request(candidate, inputs)
        quotes = [self._calls.quote(request)]
        if judge is not None:
            asked = self.judge_request(judge, request, "", inputs)
            quotes.append(self._calls.quote(asked, more_tokens=quotes[0].ceiling))
        unpriced = [one.model for one in quotes if one.high_nano is None]
        if unpriced:
            return None, None, unpriced
        return sum(one.low_nano or 0 for one in quotes), sum(one.high_nano or 0 for one in quotes), []

    def _filled(self, candidate: Candidate, inputs: Inputs) -> Filled | None:
        if candidate.prompt is None:
            if PROMPT not in inputs:
                why = f"{candidate.configuration} has no template, so the table needs a column {PROMPT}."
                raise InvalidInput("There is nothing to ask.", why, field="rows")
            return None
        if candidate not in self._versions:
            self._versions[candidate] = self._prompts.version(self._actor, candidate.prompt, candidate.version)
        version = self._versions[candidate]
        values = {
            one.name: inputs[one.name]
            for one in version.variables
            # An empty cell is an empty text, else it is none: the default, where there is one.
            if inputs.get(one.name) or (one.name in inputs and one.type is VariableType.TEXT and one.default is None)
        }
        return filled(candidate.prompt, version, values)


def judge_of(scorers: Any) -> Mapping[str, Any] | None:
    """The scorer that is a model, if there is one."""
    return next((one for one in scorers if one["kind"] == "judge"), None)

"""The judge of the semantic tier: a model that says whether two questions, or two answers, mean the same."""

from lib.access.permissions import OPERATOR
from lib.cache.policy import CacheRules
from lib.calls.calls import Calls
from lib.calls.request import NOT_REMEMBERED, CallRequest, Origin, Within
from lib.configs.routing import Deadlines
from lib.errors import LLMManagerError

LONGEST_JUDGING_S = 10.0  # of one question, whatever deadlines the judge's configuration has
SAME = "same"
DIFFERENT = "different"
FAILED = "failed"
QUESTIONS = (
    "Two people ask an assistant. Decide whether one answer serves both exactly: same facts asked for, same entities, "
    "numbers, units, dates, direction, conditions and language.\n\nFirst: {first}\n\nSecond: {second}\n\n"
    "Reply with one word, SAME or DIFFERENT."
)
ANSWERS = (
    "Two answers to nearly the same question. Decide whether they say the same in substance.\n\nFirst: {first}\n\n"
    "Second: {second}\n\nReply with one word, SAME or DIFFERENT."
)


class Judge:
    """Asks the model of the rules' judging configuration. Blocking."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def compare(
        self, rules: CacheRules, template: str, first: str, second: str, seconds: float = LONGEST_JUDGING_S
    ) -> str | None:
        """Compare two texts (`QUESTIONS` or `ANSWERS`): same, different or failed; None where the rules have no judge.

        A model that says anything but SAME or DIFFERENT has failed, as has one that takes longer than `seconds`.
        """
        if rules.judge_configuration_id is None:
            return None
        request = CallRequest(
            actor=OPERATOR,
            messages=[{"role": "user", "content": template.format(first=first, second=second)}],
            configuration=rules.judge_configuration_id,
            origin=Origin.SYSTEM,
            system_prompt="",
            parameters={"temperature": 0},
            tags={"purpose": "cache"},
            within=Within(),
            stream=False,
            deadlines=Deadlines(seconds, seconds, seconds),
            cache_policy=NOT_REMEMBERED,
        )
        try:
            view = self._calls.run(request)
        except LLMManagerError:
            return FAILED
        words = view.text.strip().strip(".").upper() if view.status == "ok" else ""
        return {"SAME": SAME, "DIFFERENT": DIFFERENT}.get(words, FAILED)

"""What a run will cost, told before it begins: from past runs of the same version, else from ceilings.

With three past runs or more the range is that of their costs. Without, each model call is quoted as the budget would
hold it, its values that are not known yet taken as `UNKNOWN_TOKENS` long; maps count with their limit, loops and agents
with their bound. That is a ceiling, and is marked so: real runs cost less.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lib.access.permissions import Actor
from lib.calls.calls import Calls
from lib.calls.request import CallRequest, Origin
from lib.errors import LLMManagerError
from lib.limited.expressions import ExpressionError, convert_to_text
from lib.prompts.prompts import Prompts
from lib.prompts.template import PRODUCTION
from lib.workflows.definition import (
    AgentsNode,
    AnyNode,
    Definition,
    LoopNode,
    MapNode,
    PromptNode,
    WorkflowNode,
)
from lib.workflows.expressions import PLACEHOLDER, find_value
from lib.workflows.validation import GraphView

FEWEST_PAST = 3
UNKNOWN_TOKENS = 1_000


@dataclass(frozen=True)
class RunQuote:
    """Nano-dollars at least and at most; None where a model has no known price. `basis` says what it is made of:
    `past` costs of so many runs, or `ceilings` of so many calls.
    """

    low_nano: int | None
    high_nano: int | None
    basis: Literal["past", "ceilings"]
    samples: int
    unpriced: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Paid:
    """A node that pays: how often at least and at most, and with how many model calls each time."""

    node: PromptNode | AgentsNode
    least: int
    most: int


def quote_past(costs: Sequence[int]) -> RunQuote | None:
    """The range of past costs; None when there are too few."""
    if len(costs) < FEWEST_PAST:
        return None
    ordered = sorted(costs)
    cut = len(ordered) // 20  # beyond twenty runs the dearest and the cheapest twentieth are left out
    return RunQuote(ordered[cut], ordered[-1 - cut], "past", len(ordered))


class CeilingQuotes:
    """Quotes definitions by ceilings."""

    def __init__(self, calls: Calls, prompts: Prompts, actor: Actor, definitions: Mapping[str, Definition]) -> None:
        self._calls = calls
        self._prompts = prompts
        self._actor = actor
        self._definitions = definitions
        self._paid: dict[tuple[str, str], dict[tuple[str, str], _Paid]] = {}

    def quote(self, definition: Definition, inputs: Mapping[str, Any], only: frozenset[str] | None = None) -> RunQuote:
        """Quote a run with inputs; `only` names the nodes of the main graph that would run."""
        low = high = calls = 0
        unpriced: set[str] = set()
        problems: list[str] = []
        scope = {node.id: inputs for node in definition.nodes if node.__struct_config__.tag == "input"}
        self._paid = {}
        for paid in self._collect_paid("", definition, "", only).values():
            for configuration, text, times in self._list_questions(paid.node, scope):
                try:
                    quoted = self._calls.quote(self._build_request(configuration, *text), text[2])
                except LLMManagerError as error:
                    problems.append(f"{paid.node.id}: {error}")
                    continue
                calls += paid.most * times
                if quoted.high_nano is None or quoted.low_nano is None:
                    unpriced.add(quoted.model)
                    continue
                low += quoted.low_nano * paid.least
                high += quoted.high_nano * paid.most * times
        is_priced = not unpriced
        gaps = (tuple(sorted(unpriced)), tuple(problems[:10]))
        return RunQuote(low if is_priced else None, high if is_priced else None, "ceilings", calls, *gaps)

    def _collect_paid(
        self, slug: str, definition: Definition, part: str, only: frozenset[str] | None = None
    ) -> dict[tuple[str, str], _Paid]:
        """Collect the nodes of a part that pay, by workflow and id, counted for one run of the part.

        Each part is walked once, however many ways lead to it: they multiply with each that stands in another.
        """
        key = (slug, part)
        if key in self._paid:
            return self._paid[key]
        self._paid[key] = {}  # a workflow that runs itself is refused elsewhere; here it comes to an end
        view = GraphView(definition.get_graph(part))
        collected: dict[tuple[str, str], _Paid] = {}
        for node_id in view.order:
            node = view.nodes[node_id]
            if only is not None and node_id not in only:
                continue
            is_certain = all(len(view.nodes[name].list_ports()) == 1 for name in view.ancestors[node_id])
            least = 1 if is_certain else 0
            most = node.retry.attempts if node.retry is not None else 1
            match node:
                case PromptNode() | AgentsNode():
                    _add_paid(collected, {(slug, node_id): _Paid(node, 1, 1)}, least, most)
                case MapNode():
                    _add_paid(collected, self._collect_paid(slug, definition, node.part), 0, most * node.limit)
                case LoopNode():
                    repeated = self._collect_paid(slug, definition, node.part)
                    _add_paid(collected, repeated, least, most * node.max_rounds)
                case WorkflowNode() if node.workflow in self._definitions:
                    called = self._definitions[node.workflow]
                    _add_paid(collected, self._collect_paid(node.workflow, called, ""), least, most)
                case _:
                    pass
        self._paid[key] = collected
        return collected

    def _list_questions(
        self, node: AnyNode, scope: Mapping[str, Any]
    ) -> Iterator[tuple[str | None, tuple[str, str, int], int]]:
        """Each question of a node: its configuration, (prompt, system, tokens not known yet), and how often at most."""
        if isinstance(node, PromptNode):
            prompt = node.prompt
            if node.template is not None:
                prompt = self._prompts.version(self._actor, node.template, node.version or PRODUCTION).text
            times = (node.max_rounds if node.tools else 1) * (2 if node.output_schema is not None else 1)
            system = "\n".join(part for part in (node.role, node.system) if part)
            further_tokens = UNKNOWN_TOKENS * (2 if node.tools else 1) + (4_000 if node.knowledge else 0)
            yield node.configuration, _fill(prompt, system, scope, further_tokens), times
        elif isinstance(node, AgentsNode):
            turns = 1 if node.mode == "panel" else node.max_turns
            for agent in (*node.agents, *([node.judge] if node.judge else [])):
                rounds = 8 if agent.tools else 1
                yield (
                    agent.configuration,
                    _fill(node.task, agent.role, scope, UNKNOWN_TOKENS * len(node.agents)),
                    turns * rounds,
                )

    def _build_request(self, configuration: str | None, prompt: str, system: str, further_tokens: int) -> CallRequest:
        by_model = configuration is not None and "/" in configuration
        return CallRequest(
            actor=self._actor,
            messages=[{"role": "user", "content": prompt or "-"}],
            configuration=None if by_model else configuration,
            model=configuration if by_model else None,
            app="workflows" if self._actor.key is None else None,
            origin=Origin.WORKFLOW,
            system_prompt=system or None,
            bounded=True,
        )


def _add_paid(
    collected: dict[tuple[str, str], _Paid], inner: Mapping[tuple[str, str], _Paid], least: int, most: int
) -> None:
    """Add what pays within a node that runs so often at least and at most."""
    for key, paid in inner.items():
        earlier = collected.get(key) or _Paid(paid.node, 0, 0)
        collected[key] = _Paid(paid.node, earlier.least + paid.least * least, earlier.most + paid.most * most)


def _fill(prompt: str, system: str, scope: Mapping[str, Any], further_tokens: int) -> tuple[str, str, int]:
    """Words with the values that are known; each that is not counts as so many tokens more."""
    unknown = 0

    def replace(match: Any) -> str:
        nonlocal unknown
        try:
            return convert_to_text(find_value(match[1].split("."), scope))
        except ExpressionError:
            unknown += UNKNOWN_TOKENS
            return ""

    return PLACEHOLDER.sub(replace, prompt), PLACEHOLDER.sub(replace, system), further_tokens + unknown

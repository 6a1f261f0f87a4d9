"""Several agents on one task: they hand over to one another, one delegates, or all answer and one thing is decided.

Every turn is a call in the ledger within the run and the step; its key names the agent and the turn. What an agent may
do beyond answering is a line of its answer, which any model can write: `HANDOVER: name`, `DELEGATE: name: task`,
`VOTE: choice`.
"""

import asyncio
import re
from collections import Counter
from typing import Any

from lib.patterns import compile_pattern
from lib.workflows.definition import Agent, AgentsNode
from lib.workflows.execution import StepContext
from lib.workflows.expressions import fill_text
from lib.workflows.model_calls import Question
from lib.workflows.run import StepError, StepResult
from lib.workflows.steps.model import converse

_ROUNDS_OF_TOOLS = 8
_ANY_LINE = re.MULTILINE | re.IGNORECASE
_HANDOVER = compile_pattern(r"^[^\w\n]*+HANDOVER:\s*+(\w++)", _ANY_LINE)
_DELEGATE = compile_pattern(r"^[^\w\n]*+DELEGATE:\s*+(\w++)\s*+[:,-]\s*+([^\n]++)$", _ANY_LINE)
_VOTE = compile_pattern(r"^[^\w\n]*+VOTE:[^\S\n]*+([^\n]++)$", _ANY_LINE)


class AgentsStep:
    """A team of agents."""

    async def resolve(self, context: StepContext) -> Any:
        """The task and who works on it."""
        node: AgentsNode = context.node
        roles = {agent.name: fill_text(agent.role, context.scope) for agent in _list_agents(node)}
        configurations = {agent.name: agent.configuration for agent in _list_agents(node)}
        task = fill_text(node.task, context.scope)
        return {"mode": node.mode, "prompt": task, "roles": roles, "configurations": configurations}

    async def perform(self, context: StepContext, resolved: Any) -> StepResult:
        """Work in the node's mode."""
        node: AgentsNode = context.node
        match node.mode:
            case "handover":
                return await _hand_over(context, resolved)
            case "supervisor":
                return await _supervise(context, resolved)
            case "panel":
                return await _convene(context, resolved)


def _list_agents(node: AgentsNode) -> list[Agent]:
    return [*node.agents, *([node.judge] if node.judge else [])]


async def _speak(context: StepContext, resolved: Any, agent: Agent, key: str, prompt: str, rules: str = "") -> str:
    """Ask an agent and return its answer as text; its tools, if it has any, run in between."""
    system = "\n\n".join(part for part in (resolved["roles"][agent.name], rules) if part) or None
    messages = [{"role": "user", "content": prompt}]
    question = Question(messages, agent.configuration, system, None, {"agent": agent.name})
    if agent.tools:
        answer, _ = await converse(context, f"{key}.", question, agent.tools, _ROUNDS_OF_TOOLS)
    else:
        answer = await context.execution.interpreter.models.ask(context, key, question)
    return answer.text


def _write_history(turns: list[dict[str, str]]) -> str:
    return "\n\n".join(f"{turn['agent']}: {turn['text']}" for turn in turns)


async def _hand_over(context: StepContext, resolved: Any) -> StepResult:
    node: AgentsNode = context.node
    by_name = {agent.name: agent for agent in node.agents}
    agent = node.agents[0]
    turns: list[dict[str, str]] = []
    for number in range(1, node.max_turns + 1):
        colleagues = ", ".join(agent.hands_to)
        rules = (
            f"If another should go on, end with the line `HANDOVER: name`; there are {colleagues}."
            if colleagues
            else ""
        )
        so_far = f"\n\nSo far:\n{_write_history(turns)}" if turns else ""
        text = await _speak(context, resolved, agent, f"{agent.name}.{number}", f"{resolved['prompt']}{so_far}", rules)
        turns.append({"agent": agent.name, "text": text})
        match = _HANDOVER.search(text)
        if match is None or match[1] not in agent.hands_to:
            return StepResult({"text": _HANDOVER.sub("", text).strip(), "agent": agent.name, "turns": turns})
        agent = by_name[match[1]]
    raise StepError(f"The agents handed over {node.max_turns} times and did not come to an end.", is_final=True)


async def _supervise(context: StepContext, resolved: Any) -> StepResult:
    node: AgentsNode = context.node
    supervisor, *workers = node.agents
    by_name = {agent.name: agent for agent in workers}
    who = "\n".join(f"- {agent.name}: {resolved['roles'][agent.name][:300]}" for agent in workers)
    rules = f"You lead:\n{who}\nTo give work, write a line `DELEGATE: name: task`. When you have what you need, answer."
    turns: list[dict[str, str]] = []
    for number in range(1, node.max_turns + 1):
        so_far = f"\n\nReports so far:\n{_write_history(turns)}" if turns else ""
        text = await _speak(
            context, resolved, supervisor, f"{supervisor.name}.{number}", f"{resolved['prompt']}{so_far}", rules
        )
        orders = [(name, task) for name, task in _DELEGATE.findall(text) if name in by_name][: len(workers)]
        if not orders:
            turns.append({"agent": supervisor.name, "text": text})
            return StepResult({"text": text, "agent": supervisor.name, "turns": turns})
        reports = await asyncio.gather(
            *(
                _speak(
                    context,
                    resolved,
                    by_name[name],
                    f"{name}.{number}.{position}",
                    f"{task}\n\nThe whole task: {resolved['prompt']}",
                )
                for position, (name, task) in enumerate(orders)
            )
        )
        turns.append({"agent": supervisor.name, "text": text})
        turns += [{"agent": name, "text": report} for (name, _), report in zip(orders, reports, strict=True)]
    raise StepError(f"The supervisor delegated {node.max_turns} times and did not come to an end.", is_final=True)


async def _convene(context: StepContext, resolved: Any) -> StepResult:
    node: AgentsNode = context.node
    rules = f"End with the line `VOTE: choice`, one of: {', '.join(node.choices)}." if node.choices else ""
    works = (_speak(context, resolved, agent, f"{agent.name}.1", resolved["prompt"], rules) for agent in node.agents)
    texts = await asyncio.gather(*works)
    turns = [{"agent": agent.name, "text": text} for agent, text in zip(node.agents, texts, strict=True)]
    votes = {turn["agent"]: read_vote(turn["text"], node.choices) for turn in turns} if node.choices else {}
    output: dict[str, Any] = {
        "answers": {turn["agent"]: turn["text"] for turn in turns},
        "votes": votes,
        "turns": turns,
    }
    if node.judge is not None:
        judge_prompt = f"{resolved['prompt']}\n\nAnswers:\n{_write_history(turns)}\n\nDecide, and say why."
        text = await _speak(context, resolved, node.judge, f"{node.judge.name}.judge", judge_prompt, rules)
        choice = read_vote(text, node.choices) if node.choices else None
        return StepResult({"text": text, "agent": node.judge.name, "choice": choice, **output})
    counts = Counter(vote for vote in votes.values() if vote is not None)
    if not counts:
        raise StepError(f"Nobody voted for one of {', '.join(node.choices)}.", is_transient=True, spoils=True)
    most = max(counts.values())
    choice = next(choice for choice in node.choices if counts.get(choice) == most)
    return StepResult({"text": choice, "choice": choice, "counts": dict(counts), **output})


def read_vote(text: str, choices: tuple[str, ...]) -> str | None:
    """The choice that an answer names: after VOTE, else the only one that it mentions; None where that is not clear."""
    folded = {choice.casefold(): choice for choice in choices}
    for vote in reversed(_VOTE.findall(text)):
        for words in (vote, _strip_signs(vote)):
            if (choice := folded.get(words.strip().casefold())) is not None:
                return choice
    lowered = text.casefold()
    mentioned = [choice for word, choice in folded.items() if _mentions(lowered, word)]
    return mentioned[0] if len(mentioned) == 1 else None


def _strip_signs(words: str) -> str:
    """Words without the signs that are no letters after them: `yes**.` is `yes`."""
    end = len(words)
    while end and not _is_of_word(words[end - 1]):
        end -= 1
    return words[:end]


def _mentions(text: str, word: str) -> bool:
    """Whether a word stands in a text by itself, not within another one."""
    start = text.find(word) if word else -1
    while start >= 0:
        sign_before = text[start - 1 : start]
        after = text[start + len(word) : start + len(word) + 1]
        if not (sign_before and _is_of_word(sign_before)) and not (after and _is_of_word(after)):
            return True
        start = text.find(word, start + 1)
    return False


def _is_of_word(sign: str) -> bool:
    return sign.isalnum() or sign == "_"

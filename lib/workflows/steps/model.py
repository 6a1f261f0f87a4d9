"""A model call as a step; with tools an agent that may use them, for a bounded number of rounds."""

from collections.abc import Mapping
from typing import Any

from lib.approvals.approval import make_storable
from lib.fast_json import encode_text
from lib.limited import rules
from lib.limited.child import NotComputed
from lib.limited.expressions import ExpressionError, parse_json
from lib.prompts.template import PRODUCTION, fill_template
from lib.workflows.definition import PromptNode
from lib.workflows.execution import StepContext
from lib.workflows.expressions import fill_text, fill_value
from lib.workflows.model_calls import Answer, Question, add_tools
from lib.workflows.run import StepError, StepResult
from lib.workflows.tool_calls import list_tools, run_tool_call

_LONGEST_SOURCE = 4_000


class PromptStep:
    """Asks a model."""

    async def resolve(self, context: StepContext) -> Any:
        """Build the question: the prompt filled in, with the template's or the node's own system prompt and role."""
        node: PromptNode = context.node
        system = None if node.system is None else fill_text(node.system, context.scope)
        parameters: dict[str, Any] = dict(node.parameters)
        tags: dict[str, Any] = {}
        if node.template is None:
            prompt = fill_text(node.prompt, context.scope)
        else:
            values = {name: fill_value(text, context.scope) for name, text in node.variables.items()}
            block = context.execution.interpreter.run_blocking
            prompts = context.execution.interpreter.prompts
            version = await block(prompts.version, context.execution.actor, node.template, node.version or PRODUCTION)
            filled = fill_template(node.template, version, values)
            prompt = filled.text
            system = system if system is not None else filled.system_prompt
            parameters = {**filled.parameters, **parameters}
            tags = filled.tags
        if node.role.strip():
            role = fill_text(node.role, context.scope)
            system = f"{role}\n\n{system}" if system else role
        resolved = {"configuration": node.configuration, "prompt": prompt, "system": system, "parameters": parameters}
        return resolved | ({"tags": tags} if tags else {})

    async def perform(self, context: StepContext, resolved: Any) -> StepResult:
        """Ask, run tools for as long as the model wants them, and read the answer by the schema."""
        node: PromptNode = context.node
        remembered = context.frame.memories.get(node.memory or "", ())
        system = await _add_knowledge(context, resolved)
        messages = [*remembered, {"role": "user", "content": resolved["prompt"]}]
        parameters = dict(resolved["parameters"])
        if node.output_schema is not None:
            parameters.setdefault("response_format", build_response_format(node.id, node.output_schema))
        question = Question(messages, resolved["configuration"], system, parameters, resolved.get("tags"))
        if node.tools:
            answer, rounds = await converse(context, "round", question, node.tools, node.max_rounds)
        else:
            answer = await context.execution.interpreter.models.ask(context, "call", question)
            rounds = 1
        output: dict[str, Any] = {"text": answer.text}
        if node.tools:
            output["rounds"] = rounds
        if node.output_schema is not None:
            output["data"] = await _read_data(context, question, answer, node.output_schema)
        return StepResult(output)


async def _add_knowledge(context: StepContext, resolved: Mapping[str, Any]) -> str | None:
    """The system prompt with passages of the node's collection that fit the prompt."""
    node: PromptNode = context.node
    system: str | None = resolved["system"]
    if node.knowledge is None:
        return system
    from lib.workflows.steps.outside import search_passages

    collection = fill_text(node.knowledge, context.scope)
    passages = await search_passages(context, collection, str(resolved["prompt"])[:2_000], None)
    sources = "\n\n".join(f"[{n}] {p['title']}\n{p['text'][:_LONGEST_SOURCE]}" for n, p in enumerate(passages, 1))
    wording = f"Answer from these sources and cite them as [1]:\n\n{sources or '(nothing was found)'}"
    return f"{system}\n\n{wording}" if system else wording


def build_response_format(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The parameter that asks for an answer of a schema."""
    return {"type": "json_schema", "json_schema": {"name": name, "schema": dict(schema)}}


async def converse(
    context: StepContext, key: str, question: Question, tools: tuple[str, ...], max_rounds: int
) -> tuple[Answer, int]:
    """Ask a model that has tools, and run those it calls, until it answers in words; return how many rounds it took."""
    definitions = await list_tools(context, tools)
    messages = [*question.messages]
    for number in range(1, max_rounds + 1):
        parameters = add_tools(question.parameters or {}, [definition.to_model() for definition in definitions])
        next_question = Question(messages, question.configuration, question.system, parameters, question.tags)
        answer = await context.execution.interpreter.models.ask(context, f"{key}{number}", next_question)
        if not answer.tool_calls:
            return answer, number
        calls = [
            {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
            for call in answer.tool_calls
        ]
        messages = [*messages, {"role": "assistant", "content": answer.text or None, "tool_calls": calls}]
        for call in answer.tool_calls:
            call_key = make_storable(call["id"][:40] or call["name"])
            tool_result = await run_tool_call(context, f"{key}{number}.{call_key}", call, tools, answer.call_id)
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": tool_result})
    raise StepError(f"The model asked for tools {max_rounds} times and did not come to an end.", is_final=True)


async def _read_data(context: StepContext, question: Question, answer: Answer, schema: Mapping[str, Any]) -> Any:
    """The answer as data that fits the schema; one that does not is asked for once more, with what is wrong."""
    data, problems = await _judge_data(context, answer.text, schema)
    if not problems:
        return data
    correction = f"That does not fit the schema: {'; '.join(problems[:5])}. Answer again with the JSON object alone."
    messages = [
        *question.messages,
        {"role": "assistant", "content": answer.text or "(nothing)"},
        {"role": "user", "content": correction},
    ]
    again = Question(messages, question.configuration, question.system, question.parameters, question.tags)
    second = await context.execution.interpreter.models.ask(context, "again", again)
    data, problems = await _judge_data(context, second.text, schema)
    if problems:
        why = f"The answer does not fit the schema: {'; '.join(problems[:5])}."
        raise StepError(why, is_transient=True, spoils=True)
    return data


async def _judge_data(context: StepContext, text: str, schema: Mapping[str, Any]) -> tuple[Any, list[str]]:
    try:
        data = parse_json(text)
    except ExpressionError:
        return None, ["it is no JSON"]
    try:
        problems = await context.execution.interpreter.run_blocking(rules.list_schema_errors, schema, encode_text(data))
    except NotComputed as error:
        raise StepError(f"The schema can't be used: {error.why}", is_final=True) from None
    return data, problems

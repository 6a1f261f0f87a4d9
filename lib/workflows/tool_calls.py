"""Tools that models and steps of a run use: found by name, asked about where policy says so, never run twice.

A tool that may change something is noted before it runs. When its process ends in between, nobody knows whether it was
done: unless it says that it may be repeated, a person is asked whether to run it again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lib.calls.request import Within
from lib.errors import LLMManagerError, NotFound
from lib.fast_json import hash_json
from lib.workflows.execution import StepContext
from lib.workflows.people import ask_person
from lib.workflows.run import StepError

_LONGEST_STEP = 120


async def list_tools(context: StepContext, names: Sequence[str]) -> list[Any]:
    """The definitions of tools by name; StepError names those that can't be had."""
    tools = context.execution.interpreter.tools
    if tools is None:
        raise StepError("This installation has no tools.", is_final=True)
    definitions = []
    for name in names:
        try:
            definitions.append(
                await context.execution.interpreter.run_blocking(tools.find, context.execution.actor, name)
            )
        except NotFound as error:
            raise StepError(str(error), is_final=True) from None
    return definitions


async def run_tool(
    context: StepContext, key: str, name: str, arguments: Any, call_id: str | None = None
) -> Mapping[str, Any]:
    """Run a tool once: {"text", "data", "is_error"}. Raises StepWaits while a person has not decided."""
    execution = context.execution
    block = execution.interpreter.run_blocking
    tools = execution.interpreter.tools
    (definition,) = await list_tools(context, [name])
    action_key = f"{context.path}#{key}"
    hashed = hash_json([name, arguments])
    earlier = execution.journal.actions.get(action_key)
    if earlier is not None and earlier.input_hash == hashed:
        if earlier.state == "done":
            return dict(earlier.result)
        if earlier.state == "started" and not may_repeat(definition):
            await _ask_again(context, key, name, arguments)
    if await _is_denied(context, key, definition, arguments):
        return {"text": "A person has denied this.", "data": None, "is_error": True}
    await block(execution.journal.start_action, action_key, context.attempt, hashed, None)
    try:
        done = await tools.run(execution.actor, name, arguments, _make_context(context, key, call_id))
    except LLMManagerError as error:
        await block(execution.journal.end_action, action_key, "failed", None)
        raise StepError(str(error)) from None
    output = done.output
    text = output.text if output is not None else (done.error_message or "")
    data = output.structured if output is not None else None
    result = {"text": text, "data": data, "is_error": not done.is_ok}
    await block(execution.journal.end_action, action_key, "done" if done.is_ok else "failed", result)
    return result


def may_repeat(definition: Any) -> bool:
    """Whether running the tool twice is as good as once."""
    return bool(definition.annotations.read_only or definition.annotations.idempotent)


async def _ask_again(context: StepContext, key: str, name: str, arguments: Any) -> None:
    """Ask whether a tool whose end nobody knows runs again; StepError when a person says no."""
    execution = context.execution
    title = f"Was {name} done? Run it again?"
    reason = "its process ended while it ran, and nobody knows whether it was done"
    decision = await ask_person(
        context, f"{key}.again.{execution.run.executions}", title, reason, {"arguments": arguments}
    )
    if not decision.is_approved:
        raise StepError(
            f"Nobody knows whether {name} was done, and a person has decided not to run it again.", is_final=True
        )


async def _is_denied(context: StepContext, key: str, definition: Any, arguments: Any) -> bool:
    """Whether policy or a person forbids the tool here."""
    execution = context.execution
    policy = await execution.interpreter.run_blocking(
        execution.interpreter.tools.policy, execution.actor, definition.name, None
    )
    if str(policy) == "deny":
        raise StepError(f"The tool {definition.name} is denied by policy.", is_final=True)
    if str(policy) != "ask":
        return False
    reason = "the tool may change something, and its policy says so"
    decision = await ask_person(context, f"{key}.ask", f"Run {definition.name}?", reason, {"arguments": arguments})
    return not decision.is_approved


def _make_context(context: StepContext, key: str, call_id: str | None) -> Any:
    from lib.tools.tool import ToolContext

    execution = context.execution
    within = Within(workflow_run_id=execution.run.id, workflow_step=f"{context.path}#{key}"[-_LONGEST_STEP:])
    return ToolContext(execution.actor, app="workflows", call_id=call_id, within=within, origin="workflow")


async def run_tool_call(
    context: StepContext, key: str, call: Mapping[str, str], allowed: Sequence[str], call_id: str
) -> str:
    """Run a tool that a model asked for, and return what the model is told."""
    name = call["name"]
    if name not in allowed:
        return f"There is no tool {name[:64]}. There are: {', '.join(allowed)}."
    result = await run_tool(context, key, name, call["arguments"], call_id)
    return str(result["text"])

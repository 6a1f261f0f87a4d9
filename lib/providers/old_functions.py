"""OpenAI's `functions`, in the words of the `tools` that came after them, for models that never knew the older form.

A request has `functions` and `function_call` in the place of `tools` and `tool_choice`, an assistant's message one
`function_call`, and the result is a message of the role `function`; nothing has an id
(https://platform.openai.com/docs/api-reference/chat/create, deprecated). Servers of that protocol get it as written.
"""

from collections.abc import Mapping, Sequence
from typing import Any

FIELDS = frozenset({"functions", "function_call"})


def convert_to_tools(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Build `tools` and `tool_choice` that say what a request's older fields say; empty without functions."""
    listed = fields.get("functions")
    functions = [function for function in listed if isinstance(function, Mapping)] if isinstance(listed, list) else []
    if not functions:
        return {}
    parameters: dict[str, Any] = {"tools": [{"type": "function", "function": dict(function)} for function in functions]}
    choice = fields.get("function_call")
    if isinstance(choice, Mapping):
        parameters["tool_choice"] = {"type": "function", "function": {"name": str(choice.get("name", ""))}}
    elif choice in ("none", "auto"):
        parameters["tool_choice"] = choice
    return parameters


def convert_to_tool_calls(messages: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Rewrite a conversation so that calls of functions are calls of tools, with ids by which results are known."""
    calls = 0
    conversation: list[Any] = []
    for message in messages:
        call = message.get("function_call")
        if message.get("role") == "assistant" and isinstance(call, Mapping):
            calls += 1
            function = {"name": str(call.get("name", "")), "arguments": str(call.get("arguments") or "{}")}
            tool_call = {"id": f"call_{calls}", "type": "function", "function": function}
            other_fields = {name: value for name, value in message.items() if name != "function_call"}
            conversation.append({**other_fields, "tool_calls": [tool_call]})
        elif message.get("role") == "function":
            other_fields = {name: value for name, value in message.items() if name != "name"}
            conversation.append({**other_fields, "role": "tool", "tool_call_id": f"call_{calls}"})
        else:
            conversation.append(message)
    return conversation

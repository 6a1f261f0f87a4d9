"""A question in OpenAI's responses (https://platform.openai.com/docs/api-reference/responses) → the one shape inside.

Nothing is stored for later turns, so `conversation` and `background` are refused; an earlier turn is named by
`previous_response_id`, which `earlier_turns` resolves where the answer was ours. Where its provider keeps it, it is
`ProgramRequest.native`, like tools that are no functions, items that are no messages, reasoning or calls of functions,
and kept files.
"""

from typing import Any

from lib.errors import InvalidInput
from lib.gateway.models.program_request import Losses, ProgramRequest, make_request, read_object_field, read_tools_field

_READ = {"model", "input", "instructions", "stream", "max_output_tokens", "reasoning", "text", "tools"} | {
    "tool_choice",
    "previous_response_id",
}
_TEXTS = ("input_text", "output_text", "refusal")
_KEPT = ("input_image", "input_file")


def read(body: dict[str, Any]) -> ProgramRequest:
    """The question of a body; InvalidInput names the field that can't be used."""
    for field in ("conversation", "background"):
        if body.get(field):
            why = "It needs responses that are kept for all who have a key."
            remedy = "Send the whole conversation as input, or name the turn before with previous_response_id."
            raise InvalidInput(f"{field} can't be used.", why, remedy, field=field)
    losses = Losses()
    if body.get("previous_response_id"):
        losses.refuse("An answer that its provider keeps (previous_response_id)")
    messages = _translate_input(body.get("input"), losses)
    if isinstance(instructions := body.get("instructions"), str) and instructions.strip():
        messages.insert(0, {"role": "system", "content": instructions})
    return make_request(body, messages, _read_parameters(body, losses), losses)


def _read_parameters(body: dict[str, Any], losses: Losses) -> dict[str, Any]:
    """Translate everything beside the messages; what has no counterpart is noted in `losses`."""
    parameters = {name: value for name, value in body.items() if name not in _READ and value is not None}
    if body.get("max_output_tokens") is not None:
        parameters["max_completion_tokens"] = body["max_output_tokens"]
    reasoning = read_object_field(body, "reasoning")
    text = read_object_field(body, "text")
    losses.leave_out_others("reasoning", reasoning, {"effort"})
    losses.leave_out_others("text", text, {"format", "verbosity"})
    if effort := reasoning.get("effort"):
        parameters["reasoning_effort"] = effort
    if form := _translate_format(text.get("format")):
        parameters["response_format"] = form
    if text.get("verbosity"):
        parameters["verbosity"] = text["verbosity"]
    if tools := read_tools_field(body):
        parameters["tools"] = [_translate_tool(tool, losses) for tool in tools]
        if (choice := body.get("tool_choice")) is not None:
            parameters["tool_choice"] = _translate_choice(choice)
    return parameters


def _translate_input(input_field: Any, losses: Losses) -> list[dict[str, Any]]:
    if isinstance(input_field, str) and input_field.strip():
        return [{"role": "user", "content": input_field}]
    if not isinstance(input_field, list) or not input_field or not all(isinstance(item, dict) for item in input_field):
        raise InvalidInput("input can't be read.", "It must be a text or a list of items.", "Correct it.", "input")
    messages: list[dict[str, Any]] = []
    for item in input_field:
        kind = str(item.get("type", "message"))
        if kind == "function_call":
            function = {"name": str(item.get("name", "")), "arguments": str(item.get("arguments", ""))}
            call = {"id": str(item.get("call_id", "")), "type": "function", "function": function}
            if messages and messages[-1].get("tool_calls"):
                messages[-1]["tool_calls"].append(call)
            else:
                messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        elif kind == "function_call_output":
            output = item.get("output")
            text, other_parts = (
                (output, []) if isinstance(output, str) else (_join_texts(output), _find_other_parts(output))
            )
            messages.append({"role": "tool", "tool_call_id": str(item.get("call_id", "")), "content": text})
            if other_parts:
                messages.append({"role": "user", "content": _translate_content(other_parts, losses)})
        elif kind == "message" and item.get("role") in ("user", "assistant", "system", "developer"):
            messages.append({"role": item["role"], "content": _translate_content(item.get("content"), losses)})
        elif kind == "reasoning":
            losses.leave_out("input.reasoning")
        else:  # it goes to providers of this protocol as it is, and is counted by its size
            losses.refuse(f"Items of the type {kind[:40]}")
            messages.append({"role": "user", "content": [{**item, "type": kind}]})
    return messages


def _translate_content(content: Any, losses: Losses) -> Any:
    if isinstance(content, str):
        return content
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    if all(part.get("type") in _TEXTS for part in parts):
        return _join_texts(parts)
    return [_translate_part(part, losses) for part in parts]


def _translate_part(part: dict[str, Any], losses: Losses) -> dict[str, Any]:
    kind = str(part.get("type"))
    if kind == "input_image" and part.get("image_url"):
        image = {"url": str(part["image_url"])}
        return {"type": "image_url", "image_url": image | _drop_missing(detail=part.get("detail"))}
    if kind == "input_file" and part.get("file_data"):
        file = {"filename": str(part.get("filename") or "document.pdf"), "file_data": str(part["file_data"])}
        return {"type": "file", "file": file}
    if kind not in _TEXTS:
        losses.refuse(f"Parts of the type {kind[:40]}" + (" that are kept elsewhere" if kind in _KEPT else ""))
        return {**part, "type": kind}  # what a program says by it, though no other protocol has a word for it
    return {"type": "text", "text": str(part.get("text") or part.get("refusal") or "")}


def _find_other_parts(parts: Any) -> list[dict[str, Any]]:
    """The parts of a tool's output that are no text."""
    content = parts if isinstance(parts, list) else []
    return [part for part in content if isinstance(part, dict) and part.get("type") not in _TEXTS]


def _join_texts(parts: Any) -> str:
    text_parts = [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    return "\n".join(
        str(part.get("text") or part.get("refusal") or "") for part in text_parts if part.get("type") in _TEXTS
    )


def _translate_tool(tool: dict[str, Any], losses: Losses) -> dict[str, Any]:
    kind = str(tool.get("type"))
    if kind != "function":
        losses.refuse(f"Tools of the type {kind[:40]}")
        return {"type": kind}
    names = ("name", "description", "parameters", "strict")
    losses.leave_out_others("tools", tool, {"type", *names})
    return {"type": "function", "function": _drop_missing(**{name: tool.get(name) for name in names})}


def _translate_choice(choice: Any) -> Any:
    if isinstance(choice, dict) and choice.get("type") == "function":
        return {"type": "function", "function": {"name": str(choice.get("name", ""))}}
    return choice


def _translate_format(form: Any) -> dict[str, Any] | None:
    if not isinstance(form, dict) or form.get("type") in (None, "text"):
        return None
    if form["type"] != "json_schema":
        return {"type": str(form["type"])}
    names = ("name", "schema", "strict", "description")
    return {"type": "json_schema", "json_schema": _drop_missing(**{name: form.get(name) for name in names})}


def _drop_missing(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}

"""The turns before a request of OpenAI's responses that names the last one: `previous_response_id`.

An answer that was translated is kept nowhere but in the ledger, and its id says which call it is of
(`responses_answer.ResponsesWriter`). Its conversation is read from there and put before the request's own items, for
who was answered alone, so that the request asks the same of any provider. As at OpenAI, `instructions` are not carried
over. An answer that its provider keeps has the provider's id: such a request stays as it is, and can only be relayed.
"""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from lib.access.permissions import Actor
from lib.activity.past_answers import PastAnswer, load_past_answers
from lib.calls.live_call import LiveCall
from lib.errors import InvalidInput
from lib.patterns import compile_pattern
from lib.services import Services

FIELD = "previous_response_id"
_OURS = compile_pattern(r"resp_([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_PARTS = {"input_text", "input_image", "input_file", "input_audio", "output_text", "refusal"}


async def restore(services: Services, actor: Actor, body: dict[str, Any]) -> None:
    """Put the conversation of an answer of ours before the body's `input`; InvalidInput where it is not kept."""
    answer_id = body.get(FIELD)
    match = _OURS.fullmatch(answer_id) if isinstance(answer_id, str) else None
    if match is None:
        return
    answers = await asyncio.to_thread(load_past_answers, actor, services.store, [match[1]])
    answer = answers.get(match[1])
    if answer is None or not (answer.text or answer.tool_calls):
        raise InvalidInput(
            f"The answer {answer_id} is not there.",
            "It is no answer to this key's owner and app whose words are kept in full.",
            "Send the whole conversation as input.",
            field=FIELD,
        )
    input_field = body.get("input")
    items = [{"role": "user", "content": input_field}] if isinstance(input_field, str) else input_field
    if not isinstance(items, list):
        return  # what reads the request refuses it
    del body[FIELD]
    body["input"] = [*_list_items(answer, has_instructions=bool(body.get("instructions"))), *items]


def note(services: Services, call: LiveCall) -> None:
    """Remember how long the conversation is up to an answer that its provider may keep."""
    attempt = call.attempt
    if attempt.answer_id and attempt.usage is not None and not attempt.usage_is_partial:
        services.kept_turns.note(attempt.answer_id, attempt.usage.total_tokens)


def _list_items(answer: PastAnswer, *, has_instructions: bool) -> list[dict[str, Any]]:
    """List what was asked and answered as items of an input, without the system prompts that do not carry over.

    The configuration's own comes again with this request; `instructions` of the earlier one give way to this one's.
    """
    messages = list(answer.messages)
    for carries_over in (not answer.system_prompt, not has_instructions):
        if not carries_over and messages and messages[0].get("role") == "system":
            del messages[0]
    items = [item for message in messages for item in _translate_message(message)]
    if answer.text:
        content = [{"type": "output_text", "text": answer.text, "annotations": []}]
        items.append({"type": "message", "role": "assistant", "content": content})
    for call in answer.tool_calls:
        items.append(_translate_call(call["id"], call["name"], call["arguments"]))
    return items


def _translate_message(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A message of a stored conversation as the items that say it."""
    role = str(message.get("role"))
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}] if content else []
    translated = [_translate_part(part, role) for part in parts if isinstance(part, Mapping)]
    if role == "tool":
        output = "\n".join(str(part.get("text", "")) for part in translated)
        yield {"type": "function_call_output", "call_id": str(message.get("tool_call_id", "")), "output": output}
        return
    own_parts = [part for part in translated if part["type"] in _PARTS]
    if own_parts:
        yield {"type": "message", "role": role, "content": own_parts}
    yield from (part for part in translated if part["type"] not in _PARTS)  # items that are no messages
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        yield _translate_call(call.get("id"), function.get("name"), function.get("arguments"))


def _translate_part(part: Mapping[str, Any], role: str) -> dict[str, Any]:
    match part.get("type"):
        case "text":
            return {"type": "output_text" if role == "assistant" else "input_text", "text": str(part.get("text", ""))}
        case "image_url" if isinstance(image := part.get("image_url"), Mapping):
            detail = {"detail": image["detail"]} if image.get("detail") else {}
            return {"type": "input_image", "image_url": str(image.get("url", "")), **detail}
        case "file" if isinstance(file := part.get("file"), Mapping):
            return {"type": "input_file", **file}
    return {**part, "type": str(part.get("type"))}


def _translate_call(call_id: Any, name: Any, arguments: Any) -> dict[str, Any]:
    called = {"call_id": str(call_id or ""), "name": str(name or ""), "arguments": str(arguments or "{}")}
    return {"type": "function_call", "status": "completed", **called}

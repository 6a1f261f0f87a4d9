"""Items of earlier answers that a request of OpenAI's responses names by id: `{"type": "item_reference", "id": …}`.

OpenAI keeps its answers, so some clients (the AI SDK unless told otherwise) send an id where an item was. An answer
that was translated is kept nowhere but in the ledger; its items have ids that say which call they are of
(`responses_answer.ResponsesWriter`). Such a reference is replaced by the item before anything else reads the request.
Others are the provider's own and stay as they are.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from lib.access.permissions import Actor
from lib.activity.past_answers import PastAnswer, load_past_answers
from lib.errors import InvalidInput
from lib.patterns import compile_pattern
from lib.services import Services

_OURS = compile_pattern(r"(msg|fc|rs)_([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:_([0-9]{1,4}))?")
_MOST_CALLS = 1_000


async def resolve(services: Services, actor: Actor, body: dict[str, Any]) -> None:
    """Replace the references to answers of ours in the body's `input`; InvalidInput for one that is not kept."""
    items = body.get("input")
    if not isinstance(items, list):
        return
    names = [(position, match) for position, item in enumerate(items) if (match := _match_reference(item)) is not None]
    if not names:
        return
    calls = dict.fromkeys(match[2] for _, match in names if match[1] != "rs")
    if len(calls) > _MOST_CALLS:
        raise InvalidInput("input can't be read.", f"It names more than {_MOST_CALLS:,} answers.", field="input")
    answers = await asyncio.to_thread(load_past_answers, actor, services.store, calls) if calls else {}
    replaced = list(items)
    restored_calls = set[str]()
    for position, match in names:
        replaced[position] = _restore_item(match, answers, restored_calls)
    body["input"] = [item for item in replaced if item is not None]


def _match_reference(item: Any) -> re.Match[str] | None:
    """The parsed id of a reference to an item of ours; None for anything else."""
    if not isinstance(item, dict) or not isinstance(identity := item.get("id"), str):
        return None
    is_reference = item.get("type") == "item_reference" or set(item) == {"id"}
    return _OURS.fullmatch(identity) if is_reference else None


def _restore_item(
    match: re.Match[str], answers: Mapping[str, PastAnswer], restored_calls: set[str]
) -> dict[str, Any] | None:
    """The item; None for another message of an answer whose text, which is kept as one, stands here already."""
    kind, call, number = match.groups()
    if kind == "rs":
        return {"type": "reasoning", "id": match[0], "summary": []}  # no other model reads it
    answer = answers.get(call)
    if answer is not None and kind == "msg" and answer.text:
        if call in restored_calls:
            return None
        restored_calls.add(call)
        content = [{"type": "output_text", "text": answer.text, "annotations": []}]
        return {"type": "message", "id": match[0], "role": "assistant", "status": "completed", "content": content}
    if answer is not None and kind == "fc" and int(number or 0) < len(answer.tool_calls):
        tool = answer.tool_calls[int(number or 0)]
        called = {"call_id": tool["id"], "name": tool["name"], "arguments": tool["arguments"] or "{}"}
        return {"type": "function_call", "id": match[0], "status": "completed", **called}
    raise InvalidInput(
        f"The item {match[0]} is not there.",
        "It is no item of an answer to this key's owner and app whose words are kept in full.",
        "Send the whole items; the AI SDK does with store: false.",
        field="input",
    )

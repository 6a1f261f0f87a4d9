"""The words of a call that are stored, by the configuration's content policy: all, none, or all but what is private.

`full` keeps words as they are. `metadata` keeps none: no prompt, answer, reasoning or tool argument, and of an error
only its first sentence, for providers echo prompts. `redacted` keeps them with e-mail addresses, phone numbers, IBANs,
card numbers, network addresses and secrets masked; files and images, which can't be searched, are left out. The policy
is applied to whole texts before anything is written: to the row of `open_calls`, to the spool, to the payload. While a
call runs nothing of its answer is noted on disk unless the policy is `full`. Its owner's live view shows everything.

A request that was not kept in full is stored as {"content_policy": …, "prompt_tokens": …, "messages": […]}, so that
what reads it can say so (`read_stored_policy`, `read_stored_messages`), and recovery still knows how long it was.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lib.ledger.masking import mask

_LONG = 64 * 1024  # characters
FULL = "full"
REDACTED = "redacted"
METADATA = "metadata"
NOT_KEPT = "[not kept]"
NOT_SHOWN = "[not shown]"  # to this reader
_PLAIN_PARAMETERS = {"reasoning_effort", "verbosity", "service_tier", "tool_choice"}  # words of the API's own
_FILES = {"image_url", "image", "input_audio", "file", "document", "audio", "video", "source"}


def is_masking_slow(policy: str, characters: int) -> bool:
    """Whether masking so many characters would hold up others: then it is done in a thread."""
    return policy == REDACTED and characters > _LONG


def sanitise_request(policy: str, messages: list[dict[str, Any]], prompt_tokens: int) -> Any:
    """The messages as `open_calls.request` and `usage_payloads.request` hold them."""
    if policy == FULL:
        return messages
    head = {"content_policy": policy, "prompt_tokens": prompt_tokens}
    return head if policy == METADATA else head | {"messages": [_mask_document(message) for message in messages]}


def read_stored_messages(stored: Any) -> list[dict[str, Any]]:
    """The messages of a stored request; empty when they were not kept."""
    return list((stored.get("messages") if isinstance(stored, Mapping) else stored) or [])


def read_stored_policy(stored: Any) -> str | None:
    """The policy under which a request was stored; None when nothing of it is there."""
    if isinstance(stored, Mapping):
        return str(stored.get("content_policy", FULL))
    return None if stored is None else FULL


def read_prompt_tokens(stored: Any, estimate: Callable[[list[dict[str, Any]]], int]) -> int:
    """The estimate of a stored request's length, which is in it when its words are not."""
    return int(stored["prompt_tokens"]) if isinstance(stored, Mapping) else estimate(stored or [])


def sanitise_text(policy: str, text: str | None) -> str | None:
    """A prompt or an answer as it may be stored."""
    if text is None or policy == METADATA:
        return None
    return text if policy == FULL else mask(text)


def sanitise_response(policy: str, reasoning: str, tool_calls: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The parts of an answer besides its text, as they may be stored."""
    if policy == METADATA:
        return {}
    parts: dict[str, Any] = {"reasoning": reasoning, "tool_calls": [dict(call) for call in tool_calls]}
    if policy == REDACTED:
        parts = _mask_document(parts)
    return {name: part for name, part in parts.items() if part}


def sanitise_error(policy: str, message: str | None) -> str | None:
    """An error message; under `metadata` its first sentence, which is ours, without what the provider said."""
    if message is None or policy == FULL:
        return message
    if policy == REDACTED:
        return mask(message)
    first, _, provider_words = message.partition(". ")
    return f"{first}. What else was said was not kept." if provider_words else message


def hide_words(row: Mapping[Any, Any]) -> dict[str, Any]:
    """The columns of `usage_logs` that may hold words, as they are shown to who may not read them.

    What is words for the policy `metadata` is words here, and a tag's value is its author's text.
    """
    message = row.get("error_message")
    first, _, provider_words = (message or "").partition(". ")
    return {
        "parameters": sanitise_parameters(METADATA, row.get("parameters") or {}, NOT_SHOWN),
        "tags": dict.fromkeys(row.get("tags") or {}, NOT_SHOWN),
        "error_message": f"{first}. {NOT_SHOWN}" if provider_words else message,
    }


def sanitise_parameters(policy: str, parameters: Mapping[str, Any], instead: str = NOT_KEPT) -> dict[str, Any]:
    """Parameters as the rows show them: stop words, schemas and tools are words, too."""
    if policy == FULL:
        return dict(parameters)
    if policy == REDACTED:
        return dict(_mask_document(parameters))
    return {
        name: value
        if value is None or isinstance(value, int | float) or (name in _PLAIN_PARAMETERS and isinstance(value, str))
        else instead
        for name, value in parameters.items()
    }


def sanitise_checkpoint(policy: str, note: dict[str, Any], usage: tuple[int, int]) -> dict[str, Any]:
    """A note of what came so far: its text only when it may be kept as it is; else the estimate of its tokens."""
    if policy == FULL:
        return note
    return note | {"text": "", "content_policy": policy, "tokens": list(usage)}


def _mask_document(value: Any) -> Any:
    """A JSON value with every text in it masked, and files left out; JSON inside a text is masked inside."""
    match value:
        case str():
            return _mask_text(value)
        case Mapping():
            return {str(name): NOT_KEPT if name in _FILES else _mask_document(part) for name, part in value.items()}
        case list() | tuple():
            return [_mask_document(part) for part in value]
        case _:
            return value


def _mask_text(text: str) -> str:
    if text.startswith("data:"):
        return NOT_KEPT
    if text[:1] in ("{", "["):  # tool arguments: JSON may write an address as a\u0040b
        try:
            return json.dumps(_mask_document(json.loads(text)), ensure_ascii=False)
        except (ValueError, RecursionError):
            pass
    return mask(text)

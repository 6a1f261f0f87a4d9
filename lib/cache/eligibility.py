"""Which requests and answers may be remembered; each rule has a name, under which the page counts what it left out.

A request is taken apart field by field: one with a field that nobody here knows is left out, for it may change the
answer or do something. Answers to requests with tools are never remembered: serving one again would act again.
"""

from collections.abc import Mapping
from typing import Any

from lib.calls.live_call import LiveCall
from lib.calls.request import Plan
from lib.ledger import content_policy
from lib.patterns import compile_pattern
from lib.providers.kinds import Protocol
from lib.tokens.message_text import read_message_text

_KNOWN_FIELDS = frozenset(
    {
        "cache_control", "frequency_penalty", "input", "instructions", "logit_bias",
        "max_completion_tokens", "max_output_tokens", "max_tokens", "messages", "metadata", "model", "n",
        "presence_penalty", "prompt_cache_key", "reasoning", "reasoning_effort", "response_format",
        "safety_identifier", "seed", "stop", "stop_sequences", "store", "stream", "stream_options",
        "system", "temperature", "text", "thinking", "top_k", "top_p", "user", "verbosity",
    }
)  # fmt: skip
_TOOL_FIELDS = frozenset(
    {
        "container", "enable_search", "function_call", "functions", "googleSearch", "mcp_servers",
        "parallel_tool_calls", "plugins", "search_parameters", "tool_choice", "tools", "web_search_options",
    }
)  # fmt: skip
_LONGEST_QUESTION = 8_000  # characters that are compared by words
_NUMBERS = (int, float)  # made once: a union would be made for each request
WARMEST = 0.3  # temperature up to which a reworded question may get a remembered answer
_PERSONAL = compile_pattern(
    r"(?i)\b(?:my|mine|our|me|mein|meine|meiner|meinem|meinen|unser|mon|mes|notre|mi|mis|nuestro|meu|minha|nosso|mio|mia)\b"
    r"|(?<![\w.+-])[\w.+-]++@[\w-]++\.[a-z]{2}|\b(?:[a-z]{2})?\d[\d \-]{7,20}\d"  # an address; a number, an IBAN
)


def find_exclusion(plan: Plan) -> str | None:
    """The rule that keeps a request from being remembered or served, or None."""
    request = plan.request
    if request.texts is not None:
        return "embeddings"
    if plan.configuration.content_policy != content_policy.FULL:
        return "content policy"
    model_request = plan.first.model_request
    body = request.wire.body if request.wire is not None else {}
    names = {*model_request.parameters, *body, *request.extra}
    if not _TOOL_FIELDS.isdisjoint(names):
        return "tools"
    if request.native or not names <= _KNOWN_FIELDS:
        return "unknown field"
    if _asks_for_several(model_request.parameters, body):
        return "several answers"
    if any(not _is_plain(message) for message in model_request.messages):
        return "tools" if any(_has_tool(message) for message in model_request.messages) else "files"
    return None


def find_ending_exclusion(call: LiveCall) -> str | None:
    """The rule that keeps an answer from being remembered, or None."""
    attempt = call.attempt
    row = call.row
    if row is None or row.status != "ok" or row.error_kind:
        return "failed"
    if attempt.finish_reason != "stop":
        return "cut or filtered"
    if attempt.tool_calls or attempt.further_answers:
        return "tools"
    if not attempt.answer.strip():
        return "empty"
    wire = call.plan.request.wire
    if attempt.reasoning and wire is not None and wire.protocol != Protocol.CHAT:
        return "signed thoughts"
    return None


def find_question(plan: Plan) -> str | None:
    """The one question of a request whose words may be compared with others', or None: then only the same request is.

    One turn of the user's, in text alone; a temperature that is named, and low, for the provider's default is not.
    """
    request = plan.request
    model_request = plan.first.model_request
    if request.wire is not None and request.wire.protocol != Protocol.CHAT:
        return None
    temperature = model_request.parameters.get("temperature")
    if not isinstance(temperature, _NUMBERS) or temperature > WARMEST:
        return None
    turns = [message for message in model_request.messages if message.get("role") not in ("system", "developer")]
    if len(turns) != 1 or turns[0].get("role") != "user" or not isinstance(turns[0].get("content"), str):
        return None
    question = str(turns[0]["content"])
    return question if len(question.strip()) > 0 and len(question) <= _LONGEST_QUESTION else None


def is_personal(plan: Plan) -> bool:
    """Whether what is asked speaks of its asker, or holds an address or a long number."""
    return any(
        _PERSONAL.search(read_message_text(message)) is not None
        for message in plan.first.model_request.messages
        if message.get("role") == "user"
    )


def _asks_for_several(*parameter_sets: Mapping[str, Any]) -> bool:
    return any(parameters.get("n") not in (None, 1) for parameters in parameter_sets)


def _is_plain(message: Mapping[str, Any]) -> bool:
    """Words, and pictures that stand in the request itself."""
    if _has_tool(message):
        return False
    content = message.get("content")
    if isinstance(content, str) or content is None:
        return True
    return isinstance(content, list) and all(_is_plain_part(part) for part in content)


def _is_plain_part(part: Any) -> bool:
    if not isinstance(part, Mapping):
        return isinstance(part, str)
    if part.get("type") in ("text", "input_text", "output_text"):
        return True
    image = part.get("image_url")
    address = image.get("url") if isinstance(image, Mapping) else image
    return part.get("type") in ("image_url", "input_image") and isinstance(address, str) and address[:5] == "data:"


def _has_tool(message: Mapping[str, Any]) -> bool:
    return message.get("role") in ("tool", "function") or bool(
        message.get("tool_calls") or message.get("function_call")
    )

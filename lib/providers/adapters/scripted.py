"""The scripted provider: answers, delays and faults told by the model's name, the same every time.

For tests and demonstrations; it opens no connection. The name is one or more parts joined by `+`:

    echo                the last user message, word by word (the default)
    lorem, lorem:200    that many words of placeholder text (60)
    say:hello there     these words
    wait:2s             pause before the first word
    slow:50ms           pause before every word
    silent              connect, then nothing, for ever
    stall:3             three words, then nothing, for ever
    cut:5               five words, then the stream ends without a finish reason
    error:429           fail at once: a status code, or an ErrorKind such as connection; `error:429,2` adds Retry-After
    after:3             with `error`: fail after three words instead
    call:weather        ask for this tool, with the question as its argument, or where that is a JSON object with it as
                        all its arguments; `call:a,b` asks for several; the words come once they have answered
    again               with `call`: ask again and again, whatever has answered
    think:4             that many words of reasoning first
    no-usage            no token counts; `usage:12,34` these (prompt, completion, cache read, cache write, reasoning)
    searches:2          that many web searches, which are charged apart; nobody has a price for them
    usage-first         the counts come before the words
    finish:length       the finish reason (stop); `max_tokens` in the parameters gives `length` by itself
    served:other-model  the model named by the provider
    words:64            for texts to embed: a vector of 64 counts of words, so that texts that share words are alike;
                        with the task `rerank`, how many words each has of the first
    priced, unpriced    costs $2.50 and $10 per million tokens; no known price (otherwise free)

A token is a word. Pauses end at once when the call is cancelled.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any
from zlib import crc32

from lib.errors import ErrorKind, ProviderError
from lib.providers.adapters.failures import explain_missing_embeddings
from lib.providers.chunks import (
    Chunk,
    EmbeddingRequest,
    Embeddings,
    Endpoint,
    Finish,
    ModelRequest,
    ReasoningDelta,
    ServedModel,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageDetails,
    UsageReport,
)

_TEXT = (
    "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore "
    "magna aliqua. Ut enim ad minim veniam, quis nostrud exercitation ullamco laboris nisi ut aliquip ex ea commodo "
    "consequat. Duis aute irure dolor in reprehenderit in voluptate velit esse cillum dolore eu fugiat nulla pariatur."
)
_LOREM = _TEXT.split()
_KIND_OF_STATUS = {
    400: ErrorKind.BAD_REQUEST,
    401: ErrorKind.AUTHENTICATION,
    402: ErrorKind.QUOTA,
    403: ErrorKind.PERMISSION,
    404: ErrorKind.MODEL_NOT_FOUND,
    429: ErrorKind.RATE_LIMIT,
    500: ErrorKind.SERVER_ERROR,
    503: ErrorKind.OVERLOADED,
    529: ErrorKind.OVERLOADED,
}
_NAMES = "echo lorem say wait slow silent stall cut error after think no-usage usage usage-first finish served"
_COUNTS = Usage.__struct_fields__  # in the order of the script's numbers
PARTS = frozenset([*_NAMES.split(), "again", "call", "priced", "searches", "unpriced", "words"])


@dataclass(frozen=True)
class Script:
    """A model name taken apart: part → what stands after its colon (empty when nothing does)."""

    parts: dict[str, str]

    @classmethod
    def parse(cls, model: str) -> "Script":
        """Read a name; a part nobody knows is a model that does not exist."""
        parts = dict(part.partition(":")[::2] for part in model.split("+"))
        if unknown := parts.keys() - PARTS:
            raise ProviderError(
                ErrorKind.MODEL_NOT_FOUND,
                f"The scripted provider has no model {model}.",
                f"It does not know {', '.join(sorted(unknown))}.",
                f"Join any of these with +: {', '.join(sorted(PARTS))}.",
                status_code=404,
            )
        return cls(parts)

    def number(self, part: str) -> int | None:
        """The whole number after a part's colon, or None when the part is absent."""
        return int(self.parts[part] or 0) if part in self.parts else None

    def seconds(self, part: str) -> float:
        """The pause after a part's colon (`50ms`, `2s`, `0.5`), 0 when the part is absent."""
        text = self.parts.get(part, "")
        if text.endswith("ms"):
            return float(text[:-2]) / 1000
        return float(text.removesuffix("s") or 0)


class Scripted:
    """The adapter."""

    async def stream(self, endpoint: Endpoint, request: ModelRequest) -> AsyncIterator[Chunk]:
        """Play the script in the model's name."""
        script = Script.parse(request.model)
        fail_after = (script.number("after") or 0) if "error" in script.parts else None
        await asyncio.sleep(script.seconds("wait"))
        if fail_after == 0:
            raise _make_error(script, endpoint)
        if "silent" in script.parts:
            await asyncio.Event().wait()
        yield ServedModel(script.parts.get("served") or request.model)
        if "call" in script.parts and ("again" in script.parts or not _is_answered(request)):
            for chunk in _build_tool_calls(script, request):
                yield chunk
            return
        words, finish = _build_answer_words(script, request)
        usage = _build_usage(script, request, len(words))
        if usage and "usage-first" in script.parts:
            yield usage
        for word in islice(cycle(_LOREM), script.number("think") or 0):
            yield ReasoningDelta(word + " ")
        for index, word in enumerate(words):
            await asyncio.sleep(script.seconds("slow"))
            await _inject_fault(script, endpoint, index, fail_after)
            if index == script.number("cut"):
                return
            yield TextDelta(word if index == len(words) - 1 else word + " ")
        if usage and "usage-first" not in script.parts:
            yield usage
        yield Finish(finish)

    async def embed(self, endpoint: Endpoint, request: EmbeddingRequest) -> Embeddings:
        """Vectors that know words and no meaning, with `words`; without it none are offered."""
        if not request.model.startswith("words:"):
            raise explain_missing_embeddings(endpoint)
        script = Script.parse(request.model)
        dimensions = script.number("words") or 1
        await asyncio.sleep(script.seconds("wait"))
        if "error" in script.parts:
            raise _make_error(script, endpoint)
        vectors = tuple(_count_words(text, dimensions) for text in request.texts)
        if request.reranks:
            vectors = tuple((sum(a * b for a, b in zip(vectors[0], vector, strict=True)),) for vector in vectors)
        return Embeddings(vectors, Usage(sum(len(text.split()) for text in request.texts), 0), request.model)


def _count_words(text: str, dimensions: int) -> tuple[float, ...]:
    vector = [0.0] * dimensions
    for word in text.lower().split():
        vector[crc32(word.strip(".,;:!?()").encode()) % dimensions] += 1.0
    return tuple(vector)


def _build_tool_calls(script: Script, request: ModelRequest) -> list[Chunk]:
    arguments = _build_arguments(_find_question(request))
    names = (script.parts["call"] or "tool").split(",")
    chunks: list[Chunk] = [
        ToolCallDelta(index, f"call_{index + 1}", name, arguments) for index, name in enumerate(names)
    ]
    usage = _build_usage(script, request, len(arguments.split()) * len(names))
    return [*chunks, *([usage] if usage else []), Finish("tool_calls")]


def _build_arguments(question: str) -> str:
    """The question as JSON: its own where it is an object."""
    try:
        if isinstance(json.loads(question), dict):
            return question
    except ValueError:
        pass
    return json.dumps({"question": question}, ensure_ascii=False)


def _is_answered(request: ModelRequest) -> bool:
    """Whether results of tools came after the last question; pictures may follow them."""
    after = [message.get("role") for message in request.messages[-2:]]
    return "tool" in after


async def _inject_fault(script: Script, endpoint: Endpoint, index: int, fail_after: int | None) -> None:
    if fail_after == index:
        raise _make_error(script, endpoint)
    if index == script.number("stall"):
        await asyncio.Event().wait()


def _build_answer_words(script: Script, request: ModelRequest) -> tuple[list[str], str]:
    """The answer's words, cut at `max_tokens`, and the finish reason."""
    if "lorem" in script.parts:
        words = list(islice(cycle(_LOREM), script.number("lorem") or 60))
    else:
        words = (script.parts.get("say") or _find_question(request)).split(" ")
    limit = request.parameters.get("max_tokens")
    if isinstance(limit, int) and limit < len(words):
        return words[:limit], "length"
    return words, script.parts.get("finish") or "stop"


def _find_question(request: ModelRequest) -> str:
    return next(
        (read_message_text(message) for message in reversed(request.messages) if message.get("role") == "user"), ""
    )


def _build_usage(script: Script, request: ModelRequest, completion: int) -> UsageReport | None:
    if "no-usage" in script.parts:
        return None
    if "usage" in script.parts:
        counts: dict[str, Any] = dict(zip(_COUNTS, map(int, script.parts["usage"].split(",")), strict=False))
        return UsageReport(Usage(**counts, details=_build_uses(script)))
    thinking = script.number("think") or 0
    prompt = sum(len(read_message_text(message).split()) for message in request.messages)
    return UsageReport(Usage(prompt, completion + thinking, reasoning_tokens=thinking, details=_build_uses(script)))


def _build_uses(script: Script) -> UsageDetails | None:
    searches = script.number("searches")
    return UsageDetails(uses={"web_search": searches}) if searches else None


def _make_error(script: Script, endpoint: Endpoint) -> ProviderError:
    failure, _, retry_after = script.parts["error"].partition(",")
    status = int(failure) if failure.isdecimal() else None
    kind = _KIND_OF_STATUS.get(status, ErrorKind.SERVER_ERROR) if status else ErrorKind(failure)
    return ProviderError(
        kind,
        f"{endpoint.name} failed, as scripted.",
        f"The model's name asks for error {failure}.",
        "Choose a model without `error` in its name.",
        status_code=status,
        retry_after=float(retry_after) if retry_after else None,
    )


def read_message_text(message: dict[str, Any]) -> str:
    """The text of a chat message, whose content is a string or a list of parts."""
    content = message.get("content")
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")

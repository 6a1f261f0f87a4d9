"""What an adapter is asked and what it yields: the seam between the call path and every provider.

`ModelRequest` goes in; a stream of chunks comes out: text, reasoning, tool calls, usage, and exactly one `Finish` when
the provider really said that it had ended. A stream that ends without one was cut. Failures are `ProviderError`.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from msgspec import Struct


class UsageDetails(Struct, frozen=True, omit_defaults=True):
    """What a call is billed for beside plain text tokens of its own model.

    `modality_tokens`: tokens of another modality by the name of their rate (`MODALITY_RATES` of
    `lib.providers.prices.rates`), such as `audio_output`. They are part of the prompt's or completion's tokens;
    cached ones are part of the read ones.
    `seconds`: of `audio` or `video`. `uses`: what is charged by the piece, such as `web_search`, and how many.
    `other_models`: tokens of models that the answering one consulted; they are in no count of the usage itself.
    `model`: who answered and is charged, where that is not the model that was asked. `uncounted`: something charged by
    the piece may have been used that nobody has counted.
    """

    modality_tokens: dict[str, int] = {}
    seconds: dict[str, int] = {}
    uses: dict[str, int] = {}
    other_models: tuple["ModelUsage", ...] = ()
    model: str = ""
    uncounted: bool = False


class Usage(Struct, frozen=True):
    """Tokens as the provider counted them: `prompt_tokens` includes cached ones, `completion_tokens` reasoning.

    `cache_write_tokens` are all that were written into a cache; those kept for an hour are counted apart, too, for they
    cost more than those kept for five minutes. `images` are those in the prompt. `service_tier` is how the provider
    says that it served the call (`lib.providers.prices.service_tiers`), empty where it does not say. `details` is None
    for most calls: text tokens alone.
    """

    prompt_tokens: int
    completion_tokens: int
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_1h_tokens: int = 0
    images: int = 0
    service_tier: str = ""
    details: UsageDetails | None = None

    @property
    def total_tokens(self) -> int:
        """Prompt plus completion."""
        return self.prompt_tokens + self.completion_tokens


class ModelUsage(Struct, frozen=True):
    """Tokens of another model that one call used."""

    model: str
    usage: Usage


class TextDelta(Struct, frozen=True):
    text: str


class ReasoningDelta(Struct, frozen=True):
    text: str


class ThoughtBlock(Struct, frozen=True):
    """A thought of Anthropic's as it has to come back beside results of tools: signed, or encrypted whole."""

    block: Mapping[str, Any]


class ToolCallDelta(Struct, frozen=True):
    """A piece of the tool call at `index`; `arguments` pieces concatenate to JSON."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class OtherAnswer(Struct, frozen=True):
    """A piece of a further answer to the same question (`n` above 1): it is paid for, but not kept."""

    index: int
    text: str


class UsageReport(Struct, frozen=True):
    """May come anywhere in the stream and more than once; the last one holds.

    `is_partial`: counted before the answer was complete; its prompt holds, its completion is only a floor.
    `cost_nano_usd` is what the provider itself says the call costs, where it says so.
    """

    usage: Usage
    is_partial: bool = False
    cost_nano_usd: int | None = None


class UsesSoFar(Struct, frozen=True):
    """What an answer has shown to have been used and is charged by the piece; what its counts tell holds before it."""

    uses: dict[str, int]


class Finish(Struct, frozen=True):
    """The provider said it ended: stop, length, tool_calls, content_filter or its own word.

    `sequence` is the text of the request's `stop` that ended it, where the provider tells which.
    """

    reason: str
    sequence: str = ""


class AnswerId(Struct, frozen=True):
    """The id under which the provider may keep the answer, to be gone on from by it."""

    id: str


class ServedModel(Struct, frozen=True):
    """The model that really answered, where the provider names one."""

    model: str


@dataclass(frozen=True)
class Vectors:
    """A vector for each text, in their order."""

    vectors: tuple[tuple[float, ...], ...] = field(repr=False)


class OmittedParameters(Struct, frozen=True):
    """Parameters that the adapter left out of the request, by name; comes before every other chunk."""

    names: tuple[str, ...]


Chunk = (
    TextDelta
    | ReasoningDelta
    | ThoughtBlock
    | ToolCallDelta
    | OtherAnswer
    | UsageReport
    | UsesSoFar
    | Finish
    | AnswerId
    | ServedModel
    | Vectors
    | OmittedParameters
)


class Passed(Struct, frozen=True):
    """Bytes of an answer for a program that speaks the provider's protocol, and what they say."""

    data: bytes
    chunks: Sequence[Chunk] = ()


Piece = Chunk | Passed


@dataclass(frozen=True)
class Endpoint:
    """Where to send a call and with what key; `kind` is a `ProviderKind` value. The key never shows in repr."""

    provider_id: str
    name: str
    kind: str
    base_url: str = ""
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    organisation: str = ""
    allow_private: bool = False


class Wire(Struct, frozen=True):
    """A request as a program wrote it, for an endpoint that speaks the same protocol.

    `headers` are the protocol's own that travel with it. `system` goes before the program's own instructions, and
    `configured` are parameters that the program did not name: both come from the configuration.
    """

    protocol: str
    body: Mapping[str, Any]
    headers: Mapping[str, str] = {}
    system: str = ""
    configured: Mapping[str, Any] = {}


class ModelRequest(Struct, frozen=True):
    """One attempt at one model. `messages` and `parameters` have OpenAI's chat shape (tools and images included).

    `stream` False asks the provider for the whole answer at once; it arrives as the same chunks. With a `wire` the
    request goes out, and the answer comes back, in the program's own bytes. `drops` lets an adapter leave out what it
    finds out that the model does not take; it says so by `OmittedParameters`, and refuses otherwise.
    """

    model: str
    messages: list[dict[str, Any]]
    parameters: Mapping[str, Any] = {}
    stream: bool = True
    wire: Wire | None = None
    texts: tuple[str, ...] | None = None  # to be turned into vectors, instead of an answer to messages
    drops: bool = False


RERANK = "rerank"
EMBEDDING_PARAMETERS = frozenset(  # what an embedding model may be asked in any protocol
    {"dimensions", "encoding_format", "user", "truncate", "keep_alive", "input_type", "task_type"}
)


@dataclass(frozen=True)
class EmbeddingRequest:
    """Texts to turn into vectors; `parameters` has OpenAI's names (`dimensions`).

    With the task `rerank` the first text is a question, and what comes back is how well each other answers it.
    `drops` as in `ModelRequest`.
    """

    model: str
    texts: tuple[str, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    drops: bool = False

    @property
    def reranks(self) -> bool:
        """Whether scores are asked for, and no vectors."""
        return self.parameters.get("task") == RERANK


@dataclass(frozen=True)
class Embeddings:
    """A vector per text, in their order; `usage` and `cost_nano_usd` are None where the provider told none.

    `left_out` are parameters that the model does not take.
    """

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage | None = None
    served_model: str | None = None
    cost_nano_usd: int | None = None
    left_out: tuple[str, ...] = ()


class Adapter(Protocol):
    """Speaks to one family of providers."""

    def stream(self, endpoint: Endpoint, request: ModelRequest) -> AsyncIterator[Piece]:
        """Send the request and yield what comes back; cancelling the iteration closes the upstream connection."""
        ...

    async def embed(self, endpoint: Endpoint, request: EmbeddingRequest) -> Embeddings:
        """The vectors of the texts; ProviderError for a kind that has none."""
        ...

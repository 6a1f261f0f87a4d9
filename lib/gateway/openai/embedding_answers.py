"""OpenAI's embeddings (https://platform.openai.com/docs/api-reference/embeddings)."""

import base64
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lib.errors import InvalidInput
from lib.gateway.models.program_request import ProgramRequest, require_model_field
from lib.gateway.openai.chat_completions import build_usage_body
from lib.providers.chunks import Chunk, Usage

_MOST_TEXTS = 2048


def read(body: dict[str, Any]) -> ProgramRequest:
    """The question of a body; InvalidInput names the field that can't be used.

    Texts that come as lists of token numbers only travel to providers of the same protocol: which words they stand for
    is known to the model's own tokenizer alone.
    """
    input_field = body.get("input")
    texts: list[Any] = input_field if isinstance(input_field, list) else [input_field]
    if texts and all(isinstance(number, int) for number in texts):
        texts = [texts]
    readable = all(isinstance(text, str) or _is_token_list(text) for text in texts)
    if not readable or len(texts) > _MOST_TEXTS:
        raise InvalidInput(
            "input can't be read.",
            f"It must be a text or a list of at most {_MOST_TEXTS}.",
            "Correct it.",
            field="input",
        )
    parameters = {name: value for name, value in body.items() if name not in ("model", "input") and value is not None}
    words = tuple(text if isinstance(text, str) else " ".join(map(str, text)) for text in texts)
    native = "" if all(isinstance(text, str) for text in texts) else "Texts as lists of token numbers"
    return ProgramRequest(require_model_field(body), [], parameters, body=body, texts=words, native=native)


def _is_token_list(sequence: Any) -> bool:
    return isinstance(sequence, list) and bool(sequence) and all(isinstance(number, int) for number in sequence)


@dataclass
class EmbeddingsWriter:
    """Writes an answer of vectors, which always comes whole."""

    model: str
    vectors: Sequence[Sequence[float]]
    parameters: Mapping[str, Any]

    def begin(self) -> bytes:
        """Nothing is streamed."""
        return b""

    def chunk(self, chunk: Chunk) -> bytes:
        """Nothing is streamed."""
        del chunk
        return b""

    def end(self, usage: Usage | None) -> bytes:
        """Nothing is streamed."""
        del usage
        return b""

    def error(self, status: int, kind: str, message: str) -> bytes:
        """Nothing is streamed."""
        del status, kind, message
        return b""

    def whole(
        self, text: str, reasoning: str, tool_calls: list[dict[str, str]], finish: str | None, usage: Usage | None
    ) -> dict[str, Any]:
        """The body of the answer."""
        del text, reasoning, tool_calls, finish
        in_bytes = self.parameters.get("encoding_format") == "base64"
        data = [
            {"object": "embedding", "index": index, "embedding": _encode_base64(vector) if in_bytes else list(vector)}
            for index, vector in enumerate(self.vectors)
        ]
        counts = build_usage_body(usage) if usage else {"prompt_tokens": 0, "total_tokens": 0}
        return {
            "object": "list",
            "data": data,
            "model": self.model,
            "usage": {name: counts[name] for name in ("prompt_tokens", "total_tokens")},
        }


def _encode_base64(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()

"""OpenAI's embeddings: one answer with a vector for each text. The vectors pass by; counts and model are read."""

from collections.abc import Iterator, Mapping
from typing import Any

from lib.providers.chunks import Chunk
from lib.providers.protocols import usage
from lib.providers.protocols.reader import Reader
from lib.providers.protocols.refusal import read_refusal


class EmbeddingsAnswer(Reader):
    """The reader."""

    def event(self, document: Mapping[str, Any]) -> Iterator[Chunk]:
        """The whole answer."""
        if document.get("error"):
            raise read_refusal(document)
        self.has_begun = isinstance(document.get("data"), list)
        yield from self.served(document.get("model"))
        reported_usage = document.get("usage")
        yield from self.count(usage.read_openai(reported_usage), usage.read_cost_nano(reported_usage), complete=True)
        self.finish = "stop" if self.has_begun else None

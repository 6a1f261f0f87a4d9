"""The ways providers put an answer on the wire, each read from the provider's own bytes.

litellm makes the requests; on the way back it drops what a ledger needs (parts of the usage, costs, tool ids, whether
an end was told), so the body is read here. A protocol is known by the address that was called.
"""

from functools import lru_cache

from lib.providers.protocols.anthropic import AnthropicMessages
from lib.providers.protocols.cohere import CohereChat
from lib.providers.protocols.gemini import Gemini
from lib.providers.protocols.ollama import OllamaChat
from lib.providers.protocols.openai_chat import OpenAIChat
from lib.providers.protocols.reader import Reader
from lib.providers.protocols.responses import Responses

_BY_ENDING: tuple[tuple[str, type[Reader]], ...] = (
    ("/chat/completions", OpenAIChat),
    ("/v1/messages", AnthropicMessages),
    ("/responses", Responses),
    ("/api/chat", OllamaChat),
    ("/v2/chat", CohereChat),
    (":generatecontent", Gemini),
    (":streamgeneratecontent", Gemini),
)


def find_reader(path: str, images: int = 0) -> Reader | None:
    """The reader for answers of an address's path; None for one that litellm alone understands."""
    reader_class = _find_reader_class(path)
    return None if reader_class is None else reader_class(images)


@lru_cache(maxsize=1_000)
def _find_reader_class(path: str) -> type[Reader] | None:
    return next((reader for ending, reader in _BY_ENDING if path.lower().endswith(ending)), None)

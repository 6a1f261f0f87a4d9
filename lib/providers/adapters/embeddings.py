"""Texts → vectors, for the kinds of provider that offer it.

OpenAI's family and Ollama are asked directly, over litellm's client: litellm's own way to them drops the cost they
state and Ollama's headers. Gemini and further providers go through litellm.
"""

import base64
import struct
from collections.abc import Mapping
from typing import Any

from lib.providers.adapters.exchange import UpstreamExchange
from lib.providers.adapters.unsupported import send_what_is_taken
from lib.providers.chunks import EMBEDDING_PARAMETERS, EmbeddingRequest, Embeddings, Endpoint
from lib.providers.kinds import ProviderKind, look_up_facts
from lib.providers.protocols import usage
from lib.providers.protocols.framing import Unreadable, parse
from lib.providers.protocols.refusal import read_refusal

_K = ProviderKind
_SLOWEST_S = 600.0
_OPENAIS_WAY = (_K.OPENAI, _K.CUSTOM, _K.OPENROUTER, _K.MISTRAL)
_SENT = EMBEDDING_PARAMETERS - {"encoding_format"}
KINDS_WITHOUT = (_K.ANTHROPIC, _K.GROQ, _K.DEEPSEEK, _K.LOCAL)


async def ask(
    litellm: Any, client: Any, endpoint: Endpoint, request: EmbeddingRequest, access: Mapping[str, Any]
) -> tuple[Any, tuple[str, ...]]:
    """Send the request; what litellm made of the answer, or None where only the bytes are there, and what was left out.

    In which form vectors come is a matter between a provider and this module: `encoding_format` is sent to nobody.
    """
    parameters = {name: value for name, value in request.parameters.items() if name in _SENT and value is not None}
    texts = list(request.texts)
    if endpoint.kind not in (*_OPENAIS_WAY, _K.OLLAMA):

        async def send(accepted: dict[str, Any]) -> Any:
            return await litellm.aembedding(input=texts, **accepted, **access, max_retries=0, timeout=_SLOWEST_S)

        unsupported: type[Exception] = litellm.UnsupportedParamsError
        return await send_what_is_taken(send, unsupported, request.model, parameters, drops=request.drops)
    headers = {"content-type": "application/json", **access.get("extra_headers", {})}
    if endpoint.api_key:
        headers["authorization"] = f"Bearer {endpoint.api_key}"
    base = (endpoint.base_url or look_up_facts(endpoint.kind).base_url).rstrip("/")
    url = base + ("/api/embed" if endpoint.kind == _K.OLLAMA else "/embeddings")
    body = {"model": request.model, "input": texts, **parameters}
    await client.post(url, json=body, headers=headers, timeout=_SLOWEST_S)
    return None, ()


def read(exchange: UpstreamExchange, answer: Any, request: EmbeddingRequest) -> Embeddings:
    """The vectors in the order of the texts, and the counts as they were told; Refusal or Unreadable otherwise."""
    document = parse(exchange.response.content) if exchange.is_good else answer.model_dump()
    if not isinstance(document, Mapping):
        raise Unreadable(str(document)[:200])
    if document.get("error"):
        raise read_refusal(document)
    vectors = tuple(_decode_vector(embedding) for embedding in _list_embeddings(document))
    if len(vectors) != len(request.texts):
        raise Unreadable(f"{len(vectors)} vectors for {len(request.texts)} texts")
    reported_usage = document.get("usage")
    counted = (
        usage.read_openai(reported_usage)
        or usage.read_ollama(document)
        or usage.read_gemini(document.get("usageMetadata"))
    )
    served = document.get("model")
    return Embeddings(vectors, counted, str(served) if served else None, usage.read_cost_nano(reported_usage))


def _list_embeddings(document: Mapping[str, Any]) -> list[Any]:
    """OpenAI: `data`, each with its place; Ollama and Gemini: `embeddings`; Gemini for one text: `embedding`."""
    if isinstance(data := document.get("data"), list):
        return [entry["embedding"] for entry in sorted(data, key=lambda entry: entry.get("index") or 0)]
    several = document.get("embeddings")
    return several if isinstance(several, list) else [document["embedding"]] if "embedding" in document else []


def _decode_vector(entry: Any) -> tuple[float, ...]:
    if isinstance(entry, Mapping):
        entry = entry.get("values") or []
    if isinstance(entry, str):  # base64 of little-endian floats of 32 bits
        raw = base64.b64decode(entry)
        return struct.unpack(f"<{len(raw) // 4}f", raw)
    return tuple(map(float, entry))

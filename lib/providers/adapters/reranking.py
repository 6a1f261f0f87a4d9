"""A question and passages → how well each answers it, the way of Cohere, Jina, vLLM and Infinity: `POST …/rerank`.

The first of a request's texts is the question, the others are the passages. A score stands as a vector of one number,
the question's own as zero, so that it takes the way of every embedding: one row, priced and budgeted. Servers that
speak OpenAI's protocol are asked directly, everything else through litellm.
"""

from collections.abc import Mapping
from typing import Any

from lib.providers.adapters.exchange import UpstreamExchange
from lib.providers.chunks import EmbeddingRequest, Embeddings, Endpoint, Usage
from lib.providers.kinds import ProviderKind
from lib.providers.protocols import usage
from lib.providers.protocols.framing import Unreadable, parse
from lib.providers.protocols.refusal import read_refusal

_SLOWEST_S = 120.0
_MOST_SEARCHES = 10**6
KINDS = (ProviderKind.CUSTOM, ProviderKind.LITELLM)


async def ask(
    litellm: Any, client: Any, endpoint: Endpoint, request: EmbeddingRequest, access: Mapping[str, Any]
) -> tuple[Any, tuple[str, ...]]:
    """Send the request; what litellm made of the answer, or None where only the bytes are there."""
    question, *passages = request.texts
    query = {"query": question, "documents": passages, "top_n": len(passages)}
    if endpoint.kind != ProviderKind.CUSTOM:
        return await litellm.arerank(**query, **access, return_documents=False, max_retries=0, timeout=_SLOWEST_S), ()
    headers = {"content-type": "application/json", **access.get("extra_headers", {})}
    if endpoint.api_key:
        headers["authorization"] = f"Bearer {endpoint.api_key}"
    body = {"model": request.model, **query}
    await client.post(endpoint.base_url.rstrip("/") + "/rerank", json=body, headers=headers, timeout=_SLOWEST_S)
    return None, ()


def read(exchange: UpstreamExchange, answer: Any, request: EmbeddingRequest) -> Embeddings:
    """A score for each passage, 0 for one that was left out; Refusal or Unreadable otherwise."""
    document = parse(exchange.response.content) if exchange.is_good else answer.model_dump()
    if not isinstance(document, Mapping):
        raise Unreadable(str(document)[:200])
    if document.get("error"):
        raise read_refusal(document)
    rankings = document.get("results", document.get("data"))
    if not isinstance(rankings, list):
        raise Unreadable(str(document)[:200])
    scores = [0.0] * len(request.texts)
    for ranking in rankings:
        position = ranking["index"]
        score = ranking.get("relevance_score", ranking.get("score"))
        if not isinstance(position, int) or not 0 <= position < len(scores) - 1:
            raise Unreadable(f"a score for passage {position} of {len(scores) - 1}")
        scores[position + 1] = float(score)
    served = document.get("model")
    return Embeddings(
        tuple((passage_score,) for passage_score in scores), _read_usage(document), str(served) if served else None
    )


def _read_usage(document: Mapping[str, Any]) -> Usage | None:
    """Tokens, where they are told: OpenAI's way, as a bare total, or under Cohere's `meta`."""
    reported_usage = document.get("usage")
    meta = document.get("meta")
    if (counted := usage.read_openai(reported_usage)) is not None:
        return counted
    tokens = meta.get("tokens") if isinstance(meta, Mapping) else None
    billed = meta.get("billed_units") if isinstance(meta, Mapping) else None
    searches = billed.get("search_units") if isinstance(billed, Mapping) else None
    if isinstance(searches, int) and not isinstance(searches, bool) and 0 < searches < _MOST_SEARCHES:
        read = tokens.get("input_tokens") if isinstance(tokens, Mapping) else 0
        return usage.add_uses(Usage(read if type(read) is int else 0, 0), {"search_unit": searches})
    for counts, name in ((reported_usage, "total_tokens"), (tokens, "input_tokens")):
        if isinstance(counts, Mapping) and type(counts.get(name)) is int:
            return Usage(counts[name], 0)
    return None

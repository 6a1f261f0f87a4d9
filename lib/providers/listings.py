"""What models a provider offers, by its own listing: one bounded question over HTTP, and its answer as `ModelFacts`.

Ten seconds and 20 MB at most in all, no redirects, the host checked as for every request. Kinds that run in this
process, and those litellm alone knows, list what ships with the product.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from lib.errors import ErrorKind, ProviderError
from lib.providers import listing_shapes
from lib.providers.adapters import failures
from lib.providers.adapters.asking import HttpResponse, ask
from lib.providers.adapters.http_client import Client
from lib.providers.adapters.unpacking import AnswerTooLarge
from lib.providers.chunks import Endpoint
from lib.providers.kinds import LOCAL_EMBEDDING_MODEL, LOCAL_MODEL, ProviderKind
from lib.providers.models import Catalogue, ModelFacts

LONGEST_S = 10.0
LARGEST = 20_000_000
MOST_MODELS = 5_000
MOST_PAGES = 20
_SCRIPTS = ("echo", "lorem", "lorem:200", "slow:50ms", "think:4", "priced", "unpriced", "error:429", "silent")


def fetch(endpoint: Endpoint, catalogue: Catalogue) -> list[ModelFacts]:
    """The models of a provider, by name; ProviderError when it can't be asked or does not answer with a list."""
    match endpoint.kind:
        case ProviderKind.LOCAL:
            return list_local_models()
        case ProviderKind.SCRIPTED:
            return [ModelFacts(script, capabilities=("streaming",)) for script in _SCRIPTS]
        case ProviderKind.LITELLM:
            return catalogue.of_kind(endpoint.kind)
    with _ListingClient(endpoint) as client:
        models = _ask(client, endpoint)
    return sorted({facts.model: facts for facts in models}.values(), key=lambda facts: facts.model)[:MOST_MODELS]


def _ask(client: "_ListingClient", endpoint: Endpoint) -> list[ModelFacts]:
    base = endpoint.base_url.rstrip("/")
    match endpoint.kind:
        case ProviderKind.OLLAMA:
            return _fetch_ollama_models(client, base.removesuffix("/v1"))
        case ProviderKind.ANTHROPIC:
            return _fetch_pages(
                client, f"{base.removesuffix('/v1')}/v1/models?limit=1000", "&after_id=", _find_next_anthropic_page
            )
        case ProviderKind.GEMINI:
            return _fetch_pages(client, f"{base}/models?pageSize=1000", "&pageToken=", _find_next_gemini_page)
        case _:
            return listing_shapes.read(client.ask(f"{base}/models"), endpoint.kind)


def _fetch_pages(
    client: "_ListingClient", url: str, parameter: str, following: Callable[[Any], str | None]
) -> list[ModelFacts]:
    """Every page of a listing; `following` finds in one what to ask the next with."""
    models: list[ModelFacts] = []
    page: str | None = ""
    for _ in range(MOST_PAGES):
        answer = client.ask(url + (parameter + quote(page, safe="") if page else ""))
        models += listing_shapes.read(answer, client.endpoint.kind)
        if not (page := following(answer)):
            break
    return models


def _find_next_anthropic_page(answer: Any) -> str | None:
    return str(answer["last_id"]) if answer.get("has_more") and answer.get("last_id") else None


def _find_next_gemini_page(answer: Any) -> str | None:
    return str(answer["nextPageToken"]) if answer.get("nextPageToken") else None


def _fetch_ollama_models(client: "_ListingClient", base: str) -> list[ModelFacts]:
    """The installed models; each one's window and capabilities as far as the time allows."""
    models = []
    for facts in listing_shapes.read(client.ask(f"{base}/api/tags"), ProviderKind.OLLAMA):
        try:
            details = client.ask(f"{base}/api/show", {"model": facts.model})
            models.append(listing_shapes.add_ollama_details(facts, details))
        except ProviderError:  # out of time, or a broken model: it is installed all the same
            models.append(facts)
    return models


def list_local_models() -> list[ModelFacts]:
    """List the models that run inside this process, with their limits and a price of zero; asks no server."""
    from lib.providers.adapters.local import CONTEXT_TOKENS
    from lib.providers.adapters.local_embeddings import LONGEST_TOKENS

    writes = ModelFacts(LOCAL_MODEL, CONTEXT_TOKENS, CONTEXT_TOKENS, ("streaming",), 0, 0)
    return [writes, ModelFacts(LOCAL_EMBEDDING_MODEL, LONGEST_TOKENS, None, ("embeddings",), 0, 0)]


class _ListingClient:
    """Connections to one provider, for the time and the bytes that a listing may take in all."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._until = time.monotonic() + LONGEST_S
        self._left = LARGEST
        self._http = Client()
        self._loop = asyncio.Runner()

    def __enter__(self) -> "_ListingClient":
        return self

    def __exit__(self, *error: object) -> None:
        self._http.close()
        self._loop.close()

    def ask(self, url: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON at an address (POST when there is a body); ProviderError says why not."""
        if (seconds := self._until - time.monotonic()) <= 0:
            raise _make_timeout_error(self.endpoint)
        try:
            answer = self._loop.run(self._ask(url, body, min(seconds, LONGEST_S / 2)))
        except AnswerTooLarge:
            raise failures.explain_not_model_server(self.endpoint, f"more than {LARGEST // 10**6} MB") from None
        except TimeoutError:
            raise _make_timeout_error(self.endpoint) from None
        except Exception as error:  # the boundary to the network's exceptions, which `explain` turns into sentences
            raise failures.explain(error, self.endpoint, "list", has_content=False) from None
        self._left -= len(answer.body)
        return self._parsed(url, answer)

    async def _ask(self, url: str, body: Mapping[str, Any] | None, seconds: float) -> HttpResponse:
        headers = _build_headers(self.endpoint)
        data = b""
        method = "GET"
        if body is not None:
            headers = headers | {"content-type": "application/json"}
            data = json.dumps(body).encode()
            method = "POST"
        allow = self.endpoint.allow_private
        return await ask(
            self._http, method, url, headers, data, seconds=seconds, most=max(self._left, 0), allow_private=allow
        )

    def _parsed(self, url: str, answer: HttpResponse) -> Any:
        if 300 <= answer.status < 400:
            raise failures.explain_not_model_server(self.endpoint, "a redirect, which is not followed")
        if answer.status in (404, 405):
            raise ProviderError(
                ErrorKind.NOT_A_MODEL_SERVER,
                f"{self.endpoint.name} has no list of models.",
                f"{urlsplit(url).path} answered {answer.status}.",
                "Check the base URL; a model's name can always be typed.",
            )
        if answer.status >= 400:
            refusal = _Answered(answer.status, answer.body[:2000].decode("utf-8", "replace"), answer.headers)
            raise failures.explain(refusal, self.endpoint, "list", has_content=False)
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError):
            raise failures.explain_not_model_server(self.endpoint, "something unreadable") from None


class _Answered(Exception):
    """An answer with an error's status, in the form that `failures.explain` reads."""

    def __init__(self, status_code: int, message: str, headers: Mapping[str, str]) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.message = message
        self.headers = headers


def _make_timeout_error(endpoint: Endpoint) -> ProviderError:
    why = f"Its list was not complete after {LONGEST_S:g} s."
    return ProviderError(ErrorKind.TIMEOUT_TOTAL, f"{endpoint.name} took too long.", why, "Try again.")


def _build_headers(endpoint: Endpoint) -> dict[str, str]:
    key = endpoint.api_key
    match endpoint.kind:
        case ProviderKind.ANTHROPIC:
            own = {"anthropic-version": "2023-06-01"} | ({"x-api-key": key} if key else {})
        case ProviderKind.GEMINI:
            own = {"x-goog-api-key": key} if key else {}
        case _:
            own = {"authorization": f"Bearer {key}"} if key else {}
    if endpoint.organisation and endpoint.kind == ProviderKind.OPENAI:
        own["openai-organization"] = endpoint.organisation
    return {"accept": "application/json"} | own | dict(endpoint.headers)

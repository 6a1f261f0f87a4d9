"""What models a provider offers, by its own listing: one bounded question over HTTP, and its answer as `ModelFacts`.

Ten seconds and 20 MB at most in all, no redirects, the host checked as for every request. Kinds that run in this
process, and those litellm alone knows, list what ships with the product.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lib.errors import ErrorKind, InvalidInput, ProviderError
from lib.providers import hosts, listing_shapes
from lib.providers.adapters import failures
from lib.providers.chunks import Endpoint
from lib.providers.kinds import LOCAL_EMBEDDING_MODEL, LOCAL_MODEL, ProviderKind
from lib.providers.models import Catalogue, ModelFacts

if TYPE_CHECKING:
    import httpx

LONGEST_S = 10.0
LARGEST = 20_000_000
MOST_MODELS = 5_000
MOST_PAGES = 20
_SCRIPTS = ("echo", "lorem", "lorem:200", "slow:50ms", "think:4", "priced", "unpriced", "error:429", "silent")


def fetch(endpoint: Endpoint, catalogue: Catalogue) -> list[ModelFacts]:
    """The models of a provider, by name; ProviderError when it can't be asked or does not answer with a list."""
    match endpoint.kind:
        case ProviderKind.LOCAL:
            return local_models()
        case ProviderKind.SCRIPTED:
            return [ModelFacts(script, capabilities=("streaming",)) for script in _SCRIPTS]
        case ProviderKind.LITELLM:
            return catalogue.of_kind(endpoint.kind)
    with _Client(endpoint) as client:
        found = _ask(client, endpoint)
    return sorted({facts.model: facts for facts in found}.values(), key=lambda facts: facts.model)[:MOST_MODELS]


def _ask(client: "_Client", endpoint: Endpoint) -> list[ModelFacts]:
    base = endpoint.base_url.rstrip("/")
    match endpoint.kind:
        case ProviderKind.OLLAMA:
            return _ollama(client, base.removesuffix("/v1"))
        case ProviderKind.ANTHROPIC:
            return _pages(client, f"{base.removesuffix('/v1')}/v1/models?limit=1000", "&after_id=", _anthropic_next)
        case ProviderKind.GEMINI:
            return _pages(client, f"{base}/models?pageSize=1000", "&pageToken=", _gemini_next)
        case _:
            return listing_shapes.read(client.ask(f"{base}/models"), endpoint.kind)


def _pages(client: "_Client", url: str, parameter: str, following: Callable[[Any], str | None]) -> list[ModelFacts]:
    """Every page of a listing; `following` finds in one what to ask the next with."""
    import urllib.parse

    found: list[ModelFacts] = []
    page: str | None = ""
    for _ in range(MOST_PAGES):
        answer = client.ask(url + (parameter + urllib.parse.quote(page, safe="") if page else ""))
        found += listing_shapes.read(answer, client.endpoint.kind)
        if not (page := following(answer)):
            break
    return found


def _anthropic_next(answer: Any) -> str | None:
    return str(answer["last_id"]) if answer.get("has_more") and answer.get("last_id") else None


def _gemini_next(answer: Any) -> str | None:
    return str(answer["nextPageToken"]) if answer.get("nextPageToken") else None


def _ollama(client: "_Client", base: str) -> list[ModelFacts]:
    """The installed models; each one's window and capabilities as far as the time allows."""
    found = []
    for facts in listing_shapes.read(client.ask(f"{base}/api/tags"), ProviderKind.OLLAMA):
        try:
            shown = client.ask(f"{base}/api/show", {"model": facts.model})
            found.append(listing_shapes.ollama_details(facts, shown))
        except ProviderError:  # out of time, or a broken model: it is installed all the same
            found.append(facts)
    return found


def local_models() -> list[ModelFacts]:
    """What runs inside this process, known without asking anybody."""
    from lib.providers.adapters.local import CONTEXT_TOKENS
    from lib.providers.adapters.local_embeddings import LONGEST_TOKENS

    writes = ModelFacts(LOCAL_MODEL, CONTEXT_TOKENS, CONTEXT_TOKENS, ("streaming",), 0, 0)
    return [writes, ModelFacts(LOCAL_EMBEDDING_MODEL, LONGEST_TOKENS, None, ("embeddings",), 0, 0)]


class _Client:
    """A connection to one provider, for the time and the bytes that a listing may take in all."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._until, self._left = time.monotonic() + LONGEST_S, LARGEST

    def __enter__(self) -> "_Client":
        import httpx

        self._http = httpx.Client(follow_redirects=False, headers=_headers(self.endpoint))
        return self

    def __exit__(self, *error: object) -> None:
        self._http.close()

    def ask(self, url: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON at an address (POST when there is a body); ProviderError says why not."""
        try:
            hosts.check(self.endpoint.base_url, allow_private=self.endpoint.allow_private)
        except InvalidInput as error:
            raise ProviderError(ErrorKind.REFUSED, error.title, error.why, error.fix) from None
        if (seconds := self._until - time.monotonic()) <= 0:
            raise _too_slow(self.endpoint)
        try:
            return self._read(url, body, min(seconds, LONGEST_S / 2))
        except ProviderError:
            raise
        except Exception as error:  # the boundary to httpx's classes, which `explain` turns into sentences
            raise failures.explain(error, self.endpoint, "list", has_content=False) from None

    def _read(self, url: str, body: Mapping[str, Any] | None, seconds: float) -> Any:
        method = "GET" if body is None else "POST"
        with self._http.stream(method, url, json=body, timeout=seconds) as response:
            parts = []
            for part in response.iter_bytes():
                parts.append(part)
                self._left -= len(part)
                if self._left < 0:
                    raise failures.not_a_model_server(self.endpoint, f"more than {LARGEST // 10**6} MB")
                if time.monotonic() > self._until:
                    raise _too_slow(self.endpoint)
        return self._parsed(response, b"".join(parts))

    def _parsed(self, response: "httpx.Response", content: bytes) -> Any:
        if response.is_redirect:
            raise failures.not_a_model_server(self.endpoint, "a redirect, which is not followed")
        if response.status_code in (404, 405):
            raise ProviderError(
                ErrorKind.NOT_A_MODEL_SERVER,
                f"{self.endpoint.name} has no list of models.",
                f"{response.url.path} answered {response.status_code}.",
                "Check the base URL; a model's name can always be typed.",
            )
        if not response.is_success:
            raise _Answered(response.status_code, content[:2000].decode("utf-8", "replace"), response.headers)
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise failures.not_a_model_server(self.endpoint, "something unreadable") from None


class _Answered(Exception):
    """An answer with an error's status, in the form that `failures.explain` reads."""

    def __init__(self, status_code: int, message: str, headers: Mapping[str, str]) -> None:
        super().__init__(message)
        self.status_code, self.message, self.headers = status_code, message, headers


def _too_slow(endpoint: Endpoint) -> ProviderError:
    why = f"Its list was not complete after {LONGEST_S:g} s."
    return ProviderError(ErrorKind.TIMEOUT_TOTAL, f"{endpoint.name} took too long.", why, "Try again.")


def _headers(endpoint: Endpoint) -> dict[str, str]:
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

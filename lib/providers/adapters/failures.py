"""What a provider's failure means, in a sentence: any exception of a request or a stream → `ProviderError`.

Provider libraries raise some dozens of classes, and litellm wraps most of them again; what is stable among them is the
HTTP status, the text, and whether the cause is the network. So those decide, not the class. Every text is redacted.
"""

import re
from collections.abc import Iterator, Mapping
from enum import Enum, auto
from typing import Any

from lib.errors import ErrorKind, InvalidInput, ProviderError
from lib.patterns import compile_pattern
from lib.providers.adapters.http_client import LARGEST_ANSWER
from lib.providers.adapters.unpacking import AnswerTooLarge
from lib.providers.adapters.waiting import wait_of
from lib.providers.chunks import Endpoint
from lib.providers.kinds import look_up_facts
from lib.providers.protocols.framing import Unreadable, parse
from lib.providers.protocols.refusal import StatedFailure, read_refusal
from lib.providers.redaction import redact

_K = ErrorKind
LARGEST_ERROR = 64 * 1024  # bytes that are read of a body that says what is wrong
_LONGEST_DETAIL = 300  # characters that are shown
_LONGEST_READ = 64 * 1024  # characters that are searched for what to show
_OF_LITELLM = compile_pattern(r"litellm|drop_params|allowed_openai_params", re.IGNORECASE)
_HTML = compile_pattern(r"<(!doctype html|html|head|body)\b", re.IGNORECASE)
_WORDS_OF_KIND: tuple[tuple[ErrorKind, str], ...] = (
    (_K.CONTEXT_LENGTH, r"context.{0,12}(length|window|size)|prompt is too long|too many tokens|exceed.{0,30}token"),
    (_K.QUOTA, r"insufficient_quota|exceeded your current quota|credit balance|billing|payment required"),
    (_K.CONTENT_FILTER, r"content.?(filter|policy|management)|safety system|responsibleai"),
    (_K.OVERLOADED, r"overloaded|over capacity|temporarily unavailable"),
    (_K.RATE_LIMIT, r"rate.?limit|too many requests"),
    (_K.AUTHENTICATION, r"(invalid|incorrect|expired|missing|wrong).{0,10}api.?key|unauthori[sz]ed|authentication"),
    (_K.AUTHENTICATION, r"api.?key.{0,12}(invalid|incorrect|expired|missing|not (valid|found|provided))"),
    (_K.MODEL_NOT_FOUND, r"model.{0,80}(not found|does not exist|not exist)|no such model|unknown model"),
)  # fmt: skip
_BY_TEXT = tuple((kind, compile_pattern(words, re.IGNORECASE)) for kind, words in _WORDS_OF_KIND)
_WRAPPING = compile_pattern(r"(?:(?:litellm\.)?[A-Za-z0-9_]{1,80}(?:Error|Exception)\s*+[:\-]\s*+)++")
_MESSAGE = compile_pattern(r"""["'](?:message|error)["']:\s*+["']""")
_MESSAGE_END = compile_pattern(r"""["'](?=\s*+[,}])""")
_BY_STATUS = {
    400: _K.BAD_REQUEST, 401: _K.AUTHENTICATION, 402: _K.QUOTA, 403: _K.PERMISSION, 404: _K.MODEL_NOT_FOUND,
    408: _K.TIMEOUT_FIRST_TOKEN, 413: _K.CONTEXT_LENGTH, 422: _K.BAD_REQUEST, 429: _K.RATE_LIMIT,
    500: _K.SERVER_ERROR, 502: _K.SERVER_ERROR, 503: _K.OVERLOADED, 504: _K.SERVER_ERROR, 529: _K.OVERLOADED,
}  # fmt: skip
_TEXT_MAY_OVERRULE = {None, 400, 404, 413, 422, 429, 500, 503}
_NETWORK: tuple[str, ...] = (
    "ConnectError",
    "ConnectTimeout",
    "ClientConnectorError",
    "ClientConnectorDNSError",
    "ConnectionRefusedError",
)
_NETWORK += ("gaierror", "APIConnectionError", "ClientConnectorCertificateError", "SSLError")
_BROKEN: tuple[str, ...] = (
    "ReadError",
    "RemoteProtocolError",
    "ServerDisconnectedError",
    "ClientPayloadError",
    "ConnectionResetError",
)
_BROKEN += ("IncompleteRead",)
_TIMEOUTS = ("Timeout", "APITimeoutError", "ReadTimeout", "TimeoutError", "PoolTimeout")


def explain(error: BaseException, endpoint: Endpoint, model: str, *, has_content: bool) -> ProviderError:
    """The ProviderError of whatever a request to `endpoint` raised."""
    if isinstance(error, ProviderError):
        return error
    for link in _iterate_causes(error):
        if isinstance(link, InvalidInput):  # the address may not be used
            return ProviderError(_K.REFUSED, link.title, link.why, link.fix)
        if isinstance(link, AnswerTooLarge):
            return _explain_too_large(endpoint, has_content=has_content)
    if isinstance(error, StatedFailure):
        return _explain_refusal(error, endpoint, model)
    if isinstance(error, Unreadable):
        return _explain_unreadable(error, endpoint, has_content=has_content)
    names = {type(link).__name__ for link in _iterate_causes(error)}
    status = _read_status(error)
    text = _extract_detail(error)
    kind = _classify_error(names, status, text, has_content=has_content)
    title, why, fix = _format_failure(kind, endpoint, model, status, text)
    status = None if kind is _K.CONNECTION else status  # litellm makes one up
    return ProviderError(kind, title, why, fix, status_code=status, retry_after=_retry_after(error))


def explain_answer(endpoint: Endpoint, model: str, response: Any) -> ProviderError:
    """The ProviderError of an answer whose status is an error; `response` is httpx's, its body read."""
    status = response.status_code
    text = response.text
    if 300 <= status < 400:
        return explain_not_model_server(endpoint, f"a redirect ({status}), which is not followed")
    try:
        refused = read_refusal(parse(response.content), status)
    except Unreadable:
        refused = StatedFailure(text[:2000], status)
    error = _explain_refusal(refused, endpoint, model)
    if (seconds := wait_of(response.headers)) is not None:
        error.retry_after = seconds
    return error


def explain_missing_embeddings(endpoint: Endpoint) -> ProviderError:
    """For a kind of provider that has no embedding models, or none here."""
    return ProviderError(
        ErrorKind.BAD_REQUEST,
        f"{endpoint.name} has no embedding models.",
        f"Providers of the kind {look_up_facts(endpoint.kind).label} only answer chats here.",
        "Choose a provider that embeds texts, such as OpenAI, Gemini, Mistral or Ollama.",
    )


def explain_missing_reranking(endpoint: Endpoint) -> ProviderError:
    """For a kind of provider that re-ranks nothing, or not here."""
    return ProviderError(
        ErrorKind.BAD_REQUEST,
        f"{endpoint.name} has no re-ranking models.",
        f"Providers of the kind {look_up_facts(endpoint.kind).label} are not asked for that.",
        "Choose a server with /rerank (Jina, vLLM, Infinity), or a provider that litellm re-ranks with (Cohere).",
    )


def explain_not_model_server(endpoint: Endpoint, content: str) -> ProviderError:
    """For an answer that succeeded by its status but is something else than a model's stream."""
    return ProviderError(
        ErrorKind.NOT_A_MODEL_SERVER,
        f"{endpoint.name} did not answer like a model server.",
        f"{endpoint.base_url or 'It'} sent {content}.",
        "Check the base URL; OpenAI-compatible servers mostly need /v1 at its end.",
    )


def _explain_refusal(refused: StatedFailure, endpoint: Endpoint, model: str) -> ProviderError:
    if _HTML.search(refused.text) and (refused.status or 500) < 500:
        kind = _K.NOT_A_MODEL_SERVER
    else:
        kind = _classify_by_text(refused.status, f"{refused.code} {refused.text}")
    if kind is _K.QUOTA and refused.status == 429 and refused.retry_after is not None:
        kind = _K.RATE_LIMIT  # Google calls a limit a minute a quota, too, and says when to come back
    title, why, fix = _format_failure(kind, endpoint, model, refused.status, _redact_and_shorten(refused.text))
    return ProviderError(kind, title, why, fix, status_code=refused.status, retry_after=refused.retry_after)


def _explain_too_large(endpoint: Endpoint, *, has_content: bool) -> ProviderError:
    why = f"{endpoint.name} sent more than an answer may hold ({LARGEST_ANSWER // 1024**2} MB)."
    kind = _K.STREAM_CUT if has_content else _K.NOT_A_MODEL_SERVER
    remark = " What had arrived is kept." if has_content else ""
    return ProviderError(kind, "The answer is too long.", why + remark, "Ask for less, or check what answers there.")


def is_about_the_request(error: BaseException) -> bool:
    """Whether it began as a slip over a value: then nothing was sent, and nobody else's request is in danger."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return isinstance(error, TypeError | AttributeError | LookupError | ValueError | AssertionError)


def explain_unsendable_request(endpoint: Endpoint, error: Exception) -> ProviderError:
    """No request could be made of what was asked."""
    detail = _extract_detail(error)
    why = f"It holds something that does not belong there{f' ({detail})' if detail else ''}."
    fix = "Correct the messages, tools or parameters."
    return ProviderError(_K.BAD_REQUEST, f"The request can't be put to {endpoint.name}.", why, fix)


def _explain_unreadable(error: Unreadable, endpoint: Endpoint, *, has_content: bool) -> ProviderError:
    if has_content or str(error).lstrip().startswith("{"):  # JSON that breaks off
        return ProviderError(
            _K.STREAM_CUT,
            f"{endpoint.name} sent something unreadable in mid-answer.",
            "What had arrived is kept.",
            "Try again.",
        )
    return explain_not_model_server(endpoint, "a web page" if _HTML.search(str(error)) else "something unreadable")


def _classify_error(names: set[str], status: int | None, text: str, *, has_content: bool) -> ErrorKind:
    if _HTML.search(text) and (status is None or status < 500):
        return _K.NOT_A_MODEL_SERVER
    if names.intersection(_BROKEN) and (has_content or not names.intersection(_NETWORK)):
        return _K.STREAM_CUT if has_content else _K.CONNECTION
    if names.intersection(_TIMEOUTS) and not names.intersection(("ConnectTimeout",)):
        return _K.TIMEOUT_IDLE if has_content else _K.TIMEOUT_FIRST_TOKEN
    if names.intersection(_NETWORK) and (status is None or names.intersection(_NETWORK[:6])):
        return _K.CONNECTION
    if "JSONDecodeError" in names or "Expecting value" in text:
        return _K.STREAM_CUT if has_content else _K.NOT_A_MODEL_SERVER
    return _classify_by_text(status, text)


def _classify_by_text(status: int | None, text: str) -> ErrorKind:
    if status in _TEXT_MAY_OVERRULE:
        for kind, pattern in _BY_TEXT:
            if pattern.search(text) and not (status == 429 and kind is _K.CONTEXT_LENGTH):
                return kind
    return _BY_STATUS.get(status or 500, _K.SERVER_ERROR if (status or 500) >= 500 else _K.BAD_REQUEST)


def _format_failure(
    kind: ErrorKind, endpoint: Endpoint, model: str, status: int | None, text: str
) -> tuple[str, str, str]:
    """Title, reason and remedy of a kind of failure."""
    if kind is _K.NOT_A_MODEL_SERVER:
        error = explain_not_model_server(endpoint, "a web page" if _HTML.search(text) else "something unreadable")
        return error.title, error.why, error.fix
    quotation = f"It said: {text}" if text and not _HTML.search(text) else ""
    number = f"{endpoint.name} answered {status}." if status else ""
    reasons = {
        _Reason.QUOTED_OR_NUMBER: quotation or number,
        _Reason.QUOTED: quotation,
        _Reason.NUMBER: number,
        _Reason.ADDRESS: f"No connection to {endpoint.base_url or 'its address'}.",
        _Reason.KEPT: "What had arrived is kept.",
        _Reason.NUMBER_AND_QUOTED: " ".join(
            filter(None, (number, "It sent a web page instead of an answer." if _HTML.search(text) else quotation))
        ),
    }
    title, reason, remedy = _WORDS.get(kind, _WORDS_OF_OTHERS)
    names = {"name": endpoint.name, "model": model}
    if kind is _K.CONNECTION:
        return title.format(**names), reasons[reason], _describe_how_to_reach(endpoint)
    return title.format(**names), reasons[reason], remedy.format(**names)


class _Reason(Enum):
    """What stands as the reason of a failure."""

    QUOTED_OR_NUMBER = auto()  # the provider's own words, else its status
    QUOTED = auto()
    NUMBER = auto()
    ADDRESS = auto()
    KEPT = auto()
    NUMBER_AND_QUOTED = auto()


_WORDS: dict[ErrorKind, tuple[str, _Reason, str]] = {  # title, reason, remedy
    _K.AUTHENTICATION: (
        "{name} does not accept the key.",
        _Reason.QUOTED_OR_NUMBER,
        "Enter a valid key on the Providers page.",
    ),
    _K.PERMISSION: (
        "{name} does not allow this.",
        _Reason.QUOTED_OR_NUMBER,
        "Check what the key may do in the provider's console.",
    ),
    _K.MODEL_NOT_FOUND: (
        "{name} has no model {model}.",
        _Reason.QUOTED_OR_NUMBER,
        "Correct the model's name in the configuration.",
    ),
    _K.CONTEXT_LENGTH: (
        "The prompt is too long for {model}.",
        _Reason.QUOTED,
        "Shorten it, or choose a model that reads more.",
    ),
    _K.CONTENT_FILTER: (
        "{name} refused the content.",
        _Reason.QUOTED,
        "Change the prompt; the provider's policy decides.",
    ),
    _K.RATE_LIMIT: (
        "{name} is limiting requests.",
        _Reason.QUOTED_OR_NUMBER,
        "Wait a little, or raise the limit at {name}.",
    ),
    _K.QUOTA: ("The account at {name} has no credit left.", _Reason.QUOTED_OR_NUMBER, "Add credit at {name}."),
    _K.OVERLOADED: (
        "{name} is overloaded.",
        _Reason.QUOTED_OR_NUMBER,
        "Try again in a minute, or use another configuration.",
    ),
    _K.CONNECTION: ("{name} can't be reached.", _Reason.ADDRESS, ""),
    _K.STREAM_CUT: ("{name} broke off in mid-answer.", _Reason.KEPT, "Try again."),
    _K.TIMEOUT_FIRST_TOKEN: ("{name} took too long.", _Reason.NUMBER, "Try again, or choose a faster model."),
    _K.TIMEOUT_IDLE: ("{name} took too long.", _Reason.NUMBER, "Try again, or choose a faster model."),
    _K.BAD_REQUEST: (
        "{name} refused the request.",
        _Reason.QUOTED_OR_NUMBER,
        "Check the model and its parameters.",
    ),
}
_WORDS_OF_OTHERS = ("{name} failed.", _Reason.NUMBER_AND_QUOTED, "Try again in a minute.")


def _describe_how_to_reach(endpoint: Endpoint) -> str:
    if endpoint.kind == "ollama":
        return "Start Ollama (`ollama serve`), or correct its base URL on the Providers page."
    return "Check the base URL on the Providers page and that this machine can reach it."


def _iterate_causes(error: BaseException) -> Iterator[BaseException]:
    visited: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in visited:
        visited.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _read_status(error: BaseException) -> int | None:
    """The HTTP status; litellm gives connection failures and its own surprises a made-up 500, which does not count."""
    if type(error).__name__ in ("APIConnectionError", "InternalServerError") and not _has_answered(error):
        return None
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) and 100 <= status < 600 else None


def _has_answered(error: BaseException) -> bool:
    return any(
        type(link).__name__ in ("HTTPStatusError", "APIStatusError") or _read_body(link)
        for link in _iterate_causes(error)
    ) or (type(error).__name__ == "InternalServerError")


def _read_body(error: BaseException) -> object:
    return getattr(error, "body", None)


def _retry_after(error: BaseException) -> float | None:
    for link in _iterate_causes(error):
        response = getattr(link, "response", None)
        holders = (getattr(link, "litellm_response_headers", None), getattr(response, "headers", None))
        for headers in (*holders, getattr(link, "headers", None)):
            if isinstance(headers, Mapping) and (seconds := wait_of(headers)) is not None:
                return seconds
    return None


def _extract_detail(error: BaseException) -> str:
    """The provider's own words, without litellm's wrapping, redacted, one line, bounded."""
    text = str(getattr(error, "message", None) or error)[:_LONGEST_READ]
    if wrapping := _WRAPPING.match(text):
        text = text[wrapping.end() :]
    text = _strip_advice(text)
    if (begin := _MESSAGE.search(text)) and (end := _MESSAGE_END.search(text, begin.end() + 1)):
        text = text[begin.end() : end.start()]
    return _redact_and_shorten(text)


def _strip_advice(text: str) -> str:
    """The text up to the sentence that is about settings of litellm's, which nobody here can reach."""
    own_text = text[: advice.start()] if (advice := _OF_LITELLM.search(text)) else f"{text}\n"
    return own_text[: max(own_text.rfind(end) for end in (".", "!", "?", ";", "\n")) + 1]


def _redact_and_shorten(text: str) -> str:
    text = " ".join(redact(text[:_LONGEST_READ]).split())
    return text if len(text) <= _LONGEST_DETAIL else text[:_LONGEST_DETAIL] + "…"

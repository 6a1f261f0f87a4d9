"""Every provider litellm knows, and the bundled model registered there.

litellm makes the request: address, headers, the shape each provider wants. What comes back is read from the provider's
own bytes where their protocol is known, since litellm's reading drops and invents (a finish reason and a usage for a
stream that merely closed); only for further protocols are its pieces taken. Its retries, price downloads, tokenizer
downloads and callbacks are off. This is the only module that imports litellm, in functions.
"""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

from lib.errors import ProviderError
from lib.providers.adapters import embeddings, failures, local, reranking
from lib.providers.adapters.claude import fit_parameters, fit_thoughts, is_claude
from lib.providers.adapters.exchange import UpstreamExchange, record_exchange
from lib.providers.adapters.mending import mend
from lib.providers.adapters.tool_ids import fit_ids
from lib.providers.adapters.translate import ResponseFormatReader, close_stream, convert_to_document, unwrap_stream
from lib.providers.adapters.unsupported import make_not_taken_error, send_what_is_taken
from lib.providers.chunks import Chunk, EmbeddingRequest, Embeddings, Endpoint, ModelRequest, OmittedParameters
from lib.providers.kinds import Protocol, ProviderKind, can_speak, look_up_facts
from lib.providers.old_functions import convert_to_tool_calls
from lib.providers.parameter_rules import AS_NAMED, select_allowed
from lib.providers.protocols import find_reader
from lib.providers.protocols.framing import DocumentFramer, Unreadable, is_events, parse
from lib.providers.protocols.openai_chat import OpenAIChat
from lib.providers.protocols.reader import Reader
from lib.providers.protocols.refusal import read_refusal
from lib.providers.protocols.usage import count_images

_SLOWEST_S = 3600.0  # the call path keeps its own, shorter deadlines
_RESPONSES = "responses/"
_OTHER_CLIENT = "aiohttp_"  # litellm's word before `openai/` for an HTTP client that judges no address
_ready = threading.Lock()
_module: Any = None


def load_litellm() -> Any:
    """litellm, imported and quieted once; takes seconds the first time, so call it in a thread."""
    global _module
    with _ready:
        if _module is None:
            os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
            os.environ["EXPERIMENTAL_OPENAI_BASE_LLM_HTTP_HANDLER"] = "True"  # its own client for OpenAI's family, too
            os.environ.setdefault("LITELLM_MODE", "PRODUCTION")  # or it reads .env by itself
            sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # its command line: 7 MB of colours
            import litellm
            from litellm.llms.custom_httpx import http_handler
            from litellm.llms.ollama.common_utils import OllamaModelInfo

            mend(litellm, http_handler, OllamaModelInfo)
            litellm.telemetry = False
            litellm.suppress_debug_info = True
            litellm.disable_hf_tokenizer_download = True
            litellm.drop_params = False
            litellm.num_retries = 0
            for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
            litellm.utils.json_data = None  # 10 MB: a tokenizer, kept a second time as text
            _register_local(litellm)
            _module = litellm
    return _module


class ViaLitellm:
    """The adapter."""

    async def stream(self, endpoint: Endpoint, request: ModelRequest) -> AsyncIterator[Chunk]:
        """Send the request through litellm and yield what the provider really sends."""
        litellm = _module or await asyncio.to_thread(load_litellm)
        images = count_images(request.messages)
        shape = ResponseFormatReader(request.parameters)
        reader: Reader = OpenAIChat(images)
        exchange = UpstreamExchange()
        answer = None
        try:
            with record_exchange(allow_private=_allows_private(endpoint)) as exchange:
                answer, left_out = await _ask(litellm, endpoint, request, exchange)
            if left_out:
                yield OmittedParameters(left_out)
            own_reader = find_reader(exchange.path, images)
            reader = own_reader or reader
            if exchange.is_good:
                reader.note_headers(exchange.response.headers)
            chunks = (
                _yield_raw_chunks(exchange, reader, endpoint, request)
                if own_reader
                else _yield_translated_chunks(answer, reader, endpoint)
            )
            async for chunk in chunks:
                for restored in shape.restore(chunk):
                    yield restored
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except Exception as error:  # the boundary to some dozens of exception classes
            raise _explain_failure(error, exchange, endpoint, request.model, has_content=reader.has_begun) from None
        finally:
            await asyncio.shield(exchange.close())
            if answer is not None and not exchange.path:
                await close_stream(answer)

    async def embed(self, endpoint: Endpoint, request: EmbeddingRequest) -> Embeddings:
        """One vector per text."""
        litellm = _module or await asyncio.to_thread(load_litellm)
        if request.reranks and endpoint.kind not in reranking.KINDS:
            raise failures.explain_missing_reranking(endpoint)
        if endpoint.kind in embeddings.KINDS_WITHOUT:
            raise failures.explain_missing_embeddings(endpoint)
        way: Any = reranking if request.reranks else embeddings
        exchange = UpstreamExchange()
        try:
            with record_exchange(allow_private=_allows_private(endpoint)) as exchange:
                access = _build_access(endpoint, request.model)
                client = _find_client()
                answer, left_out = await way.ask(litellm, client, endpoint, request, access)
            vectors: Embeddings = way.read(exchange, answer, request)
            return replace(vectors, left_out=left_out)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # the same boundary
            raise _explain_failure(error, exchange, endpoint, request.model, has_content=False) from None
        finally:
            await exchange.close()


def _find_client() -> Any:
    """litellm's HTTP client of this event loop."""
    from litellm.llms.custom_httpx.http_handler import get_async_httpx_client

    return get_async_httpx_client(llm_provider="openai")


async def _ask(
    litellm: Any, endpoint: Endpoint, request: ModelRequest, exchange: UpstreamExchange
) -> tuple[Any, tuple[str, ...]]:
    """litellm's own answer, and the names of the parameters that it could not be asked with."""
    parameters = select_allowed(request.parameters)
    unfit = list[str]()
    if is_claude(endpoint, request.model):
        parameters, unfit = fit_parameters(litellm, endpoint, request.model, parameters, request.messages)
        if unfit and not request.drops:
            raise make_not_taken_error(request.model, unfit)

    async def send(accepted: dict[str, Any]) -> Any:
        return await _complete(litellm, _build_arguments(endpoint, request, accepted), exchange)

    refused = litellm.UnsupportedParamsError
    answer, left_out = await send_what_is_taken(send, refused, request.model, parameters, drops=request.drops)
    return answer, (*unfit, *left_out)


async def _complete(litellm: Any, arguments: Mapping[str, Any], exchange: UpstreamExchange) -> Any:
    """litellm's own answer; its failure to read one that came is no failure, since the bytes are there."""
    try:
        answer = await litellm.acompletion(**arguments)
        if getattr(answer, "completion_stream", answer) is None and getattr(answer, "make_call", None) is not None:
            await answer.fetch_stream()
    except Exception:
        if exchange.is_good and find_reader(exchange.path) is not None:
            return None
        raise
    return answer


async def _yield_raw_chunks(
    exchange: UpstreamExchange, reader: Reader, endpoint: Endpoint, request: ModelRequest
) -> AsyncIterator[Chunk]:
    """The provider's bytes as chunks."""
    documents = DocumentFramer()
    if request.stream:
        count = 0
        async for document in _yield_documents(exchange, documents):
            count += 1
            for chunk in reader.read(document):
                yield chunk
        if count == 1 and not exchange.is_stream and reader.has_begun:  # told at once
            reader.is_whole = reader.is_complete(document)
    else:
        body = b"".join([data async for data in exchange.body()])
        is_document = body.strip() and not is_events(body)
        chunks = reader.whole(_require_mapping(parse(body))) if is_document else iter(reader.read_events(body))
        for chunk in chunks:
            yield chunk
    if not reader.has_begun and not (request.stream and exchange.is_stream):
        raise failures.explain_not_model_server(endpoint, "an answer without a model's words in it")
    for chunk in reader.end(is_done=documents.is_done):
        yield chunk


async def _yield_documents(exchange: UpstreamExchange, documents: DocumentFramer) -> AsyncIterator[dict[str, Any]]:
    """A stream's documents; a server that does not stream sends its whole answer as the only one."""
    async for data in exchange.body():
        for document in documents.feed(data):
            for element in _list_objects(document):
                yield element
    for document in documents.end():
        for element in _list_objects(document):
            yield element


def _list_objects(document: Any) -> list[dict[str, Any]]:
    return [
        element for element in (document if isinstance(document, list) else [document]) if isinstance(element, dict)
    ]


def _require_mapping(document: Any) -> dict[str, Any]:
    if isinstance(document, dict):
        return document
    if isinstance(document, list) and document and isinstance(document[0], dict) and "error" in document[0]:
        raise read_refusal(document)
    raise Unreadable(str(document)[:200])


async def _yield_translated_chunks(answer: Any, reader: Reader, endpoint: Endpoint) -> AsyncIterator[Chunk]:
    """litellm's reading, for protocols that are not known here."""
    names_model = endpoint.kind != ProviderKind.LOCAL
    if hasattr(answer, "completion_stream"):
        async for piece in unwrap_stream(answer):
            for chunk in reader.read(convert_to_document(piece, names_model=names_model)):
                yield chunk
    else:
        for chunk in reader.whole(convert_to_document(answer, names_model=names_model)):
            yield chunk
    for chunk in reader.end():
        yield chunk


def _explain_failure(
    error: Exception, exchange: UpstreamExchange, endpoint: Endpoint, model: str, *, has_content: bool
) -> ProviderError:
    """Said from the raw answer where there is one."""
    if (response := exchange.response) is not None and not exchange.is_good:
        return failures.explain_answer(endpoint, model, response)
    if response is None and exchange.failure is None and failures.is_about_the_request(error):
        return failures.explain_unsendable_request(endpoint, error)
    return failures.explain(exchange.failure or error, endpoint, model, has_content=has_content)


def _build_arguments(endpoint: Endpoint, request: ModelRequest, parameters: Mapping[str, Any]) -> dict[str, Any]:
    if parameters.get("parallel_tool_calls") is True:  # the default everywhere, and unknown to some
        parameters = {name: value for name, value in parameters.items() if name != "parallel_tool_calls"}
    arguments: dict[str, Any] = {
        **parameters,
        **_build_access(endpoint, request.model),
        "messages": fit_ids(
            fit_thoughts(convert_to_tool_calls(request.messages), endpoint, request.model), endpoint.kind, request.model
        ),
        "stream": request.stream or endpoint.kind == ProviderKind.LOCAL,
        "num_retries": 0,
        "max_retries": 0,
        "timeout": _SLOWEST_S,
        "no-log": True,
    }
    if arguments["stream"]:
        arguments["stream_options"] = {"include_usage": True}
    if can_speak(endpoint.kind, Protocol.CHAT):  # there a name that litellm has not heard of needs no translation
        own = {*AS_NAMED, "thinking"} if endpoint.kind == ProviderKind.CUSTOM else AS_NAMED
        arguments["allowed_openai_params"] = sorted(own.intersection(parameters))
    if endpoint.kind == ProviderKind.OPENROUTER:
        arguments["extra_body"] = {"usage": {"include": True}}  # the cost
    return arguments


def _build_access(endpoint: Endpoint, model: str) -> dict[str, Any]:
    """Which model, where, and with what key. `responses/` before a model asks for OpenAI's newer protocol."""
    prefix = look_up_facts(endpoint.kind).litellm_prefix
    model = model.removeprefix(_OTHER_CLIENT)
    if model.startswith(_RESPONSES) and endpoint.base_url:
        prefix = "openai"
    access: dict[str, Any] = {"model": f"{prefix}/{model}" if prefix else model, "api_key": endpoint.api_key or "none"}
    if endpoint.base_url:
        access["api_base"] = endpoint.base_url
    headers = dict(endpoint.headers)
    if endpoint.organisation and endpoint.kind == ProviderKind.OPENAI:
        headers["OpenAI-Organization"] = endpoint.organisation
    if headers:
        access["extra_headers"] = headers
    return access


def _allows_private(endpoint: Endpoint) -> bool:
    """Whether connections may lead to private addresses: an administrator said so, or it is of its kind (Ollama)."""
    is_by_kind = not endpoint.base_url and endpoint.kind != ProviderKind.LITELLM
    return endpoint.allow_private or is_by_kind


def _register_local(litellm: Any) -> None:
    """Make the bundled model a provider of litellm's."""
    from litellm.llms.custom_llm import CustomLLM

    class Bundled(CustomLLM):  # type: ignore[misc]
        """litellm's door to the bundled model."""

        async def astreaming(self, *args: Any, **kwargs: Any) -> AsyncIterator[dict[str, Any]]:
            """Stream chunks of the bundled model."""
            async for piece in local.stream(kwargs["messages"], kwargs.get("optional_params") or {}):
                yield piece

    handler = {"provider": look_up_facts(ProviderKind.LOCAL).litellm_prefix, "custom_handler": Bundled()}
    litellm.custom_provider_map = [handler]
    from litellm.utils import custom_llm_setup

    custom_llm_setup()


async def close_connections() -> None:
    """Close the connections litellm keeps open between calls (at shutdown)."""
    if _module is not None:
        await _module.close_litellm_async_clients()

"""Every provider litellm knows, and the bundled model registered there: litellm's streams as our chunks.

litellm makes the request and translates; what it would add on top is left out. Its stream wrapper invents a finish
reason and a usage for a stream that merely closed, so the provider's stream inside the wrapper is read instead: a
`Finish` comes only from a finish reason that was sent, a `UsageReport` only from counts that were sent. Its retries,
price downloads, tokenizer downloads and callbacks are off. This is the only module that imports litellm, in functions.
"""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

from lib.errors import ErrorKind, InvalidInput, ProviderError
from lib.providers import hosts
from lib.providers.adapters import failures, local
from lib.providers.adapters.translate import Translation
from lib.providers.chunks import Chunk, Endpoint, ModelRequest
from lib.providers.kinds import ProviderKind, facts
from lib.providers.parameter_rules import allowed

_SLOWEST_S = 3600.0  # the call path keeps its own, shorter deadlines
_ready = threading.Lock()
_module: Any = None


def litellm_module() -> Any:
    """litellm, imported and quieted once; takes seconds the first time, so call it in a thread."""
    global _module
    with _ready:
        if _module is None:
            os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
            os.environ.setdefault("LITELLM_MODE", "PRODUCTION")  # or it reads .env by itself
            sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # its command line: 7 MB of colours
            import litellm

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
        litellm = await asyncio.to_thread(litellm_module)
        await _check_host(endpoint)
        translation = Translation(endpoint.kind)
        wrapper: Any = None
        try:
            wrapper = await litellm.acompletion(**_arguments(endpoint, request))
            source = await _source(wrapper)
            async for piece in source:
                for chunk in translation.chunks(piece):
                    yield chunk
            if not translation.has_begun:
                _refuse_other_answers(endpoint, source)
            for chunk in translation.end():
                yield chunk
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except Exception as error:  # the boundary to some dozens of exception classes
            raise failures.explain(error, endpoint, request.model, has_content=translation.has_begun) from None
        finally:
            if wrapper is not None:
                await _close(wrapper)


def _arguments(endpoint: Endpoint, request: ModelRequest) -> dict[str, Any]:
    prefix = facts(endpoint.kind).litellm_prefix
    arguments: dict[str, Any] = {
        **allowed(request.parameters),
        "model": f"{prefix}/{request.model}" if prefix else request.model,
        "messages": request.messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        "num_retries": 0,
        "max_retries": 0,
        "timeout": _SLOWEST_S,
        "no-log": True,
        "api_key": endpoint.api_key or "none",
    }
    if endpoint.base_url:
        arguments["api_base"] = endpoint.base_url
    if endpoint.headers:
        arguments["extra_headers"] = dict(endpoint.headers)
    if endpoint.organisation and endpoint.kind == ProviderKind.OPENAI:
        arguments["organization"] = endpoint.organisation
    return arguments


async def _check_host(endpoint: Endpoint) -> None:
    """Refuse, at connect, what the name resolves to now."""
    if not endpoint.base_url or facts(endpoint.kind).in_process:
        return
    try:
        await asyncio.to_thread(hosts.check, endpoint.base_url, allow_private=endpoint.allow_private)
    except InvalidInput as error:
        raise ProviderError(ErrorKind.REFUSED, error.title, error.why, error.fix) from None


async def _source(wrapper: Any) -> Any:
    """The provider's own stream inside litellm's wrapper; the wrapper itself where there is none to iterate."""
    if getattr(wrapper, "completion_stream", None) is None and getattr(wrapper, "make_call", None) is not None:
        await wrapper.fetch_stream()
    inner = getattr(wrapper, "completion_stream", None)
    return inner if hasattr(inner, "__aiter__") else _Wrapped(wrapper)


class _Wrapped:
    """litellm's wrapper, without the finish reason and the usage it makes up: for the few synchronous providers."""

    def __init__(self, wrapper: Any) -> None:
        self._wrapper = wrapper

    async def __aiter__(self) -> AsyncIterator[Any]:
        async for piece in self._wrapper:
            if getattr(self._wrapper, "sent_last_chunk", False):
                if reason := self._wrapper.received_finish_reason or self._wrapper.intermittent_finish_reason:
                    yield {"text": "", "is_finished": True, "finish_reason": reason, "usage": None}
                return
            yield piece


def _refuse_other_answers(endpoint: Endpoint, source: Any) -> None:
    """A success that held no event: a web page, plain JSON, or nothing at all."""
    headers: Mapping[str, str] = getattr(getattr(source, "response", None), "headers", None) or {}
    kind = headers.get("content-type", "").partition(";")[0]
    if kind and kind not in ("text/event-stream", "application/x-ndjson", "application/octet-stream"):
        raise failures.not_a_model_server(endpoint, "a web page" if kind == "text/html" else f"{kind}, not a stream")


async def _close(wrapper: Any) -> None:
    """Close the upstream connection, even while this task is being cancelled."""
    inner = getattr(wrapper, "completion_stream", None)
    response = getattr(inner, "response", None) or getattr(getattr(inner, "streaming_response", None), "response", None)
    with suppress(Exception):
        await asyncio.shield(wrapper.aclose())
    for closing in (inner, response):
        if closing is not None and hasattr(closing, "aclose"):
            with suppress(Exception):
                await asyncio.shield(closing.aclose())


def _register_local(litellm: Any) -> None:
    """Make the bundled model a provider of litellm's."""
    from litellm.llms.custom_llm import CustomLLM

    class Bundled(CustomLLM):  # type: ignore[misc]
        """litellm's door to the bundled model."""

        async def astreaming(self, *args: Any, **kwargs: Any) -> AsyncIterator[dict[str, Any]]:
            """Stream chunks of the bundled model."""
            async for piece in local.stream(kwargs["messages"], kwargs.get("optional_params") or {}):
                yield piece

    handler = {"provider": facts(ProviderKind.LOCAL).litellm_prefix, "custom_handler": Bundled()}
    litellm.custom_provider_map = [handler]
    from litellm.utils import custom_llm_setup

    custom_llm_setup()


async def close_connections() -> None:
    """Close the connections litellm keeps open between calls (at shutdown)."""
    if _module is not None:
        await _module.close_litellm_async_clients()

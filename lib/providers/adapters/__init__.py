"""From a provider's kind to the adapter that speaks to it; heavy ones are imported at first use.

A request in a program's own bytes is relayed. `local` goes through litellm as well (the bundled model is registered
there as a custom provider), so that one adapter translates everything but the scripted provider.
"""

import asyncio
import threading
from functools import cache
from typing import TYPE_CHECKING

from lib.providers.chunks import Adapter, ModelRequest
from lib.providers.kinds import ProviderKind

if TYPE_CHECKING:
    from lib.providers.adapters.local_embeddings import LocalEmbeddings
    from lib.providers.adapters.relay import Relay


def select_adapter(kind: str, request: ModelRequest | None = None) -> Adapter:
    """The adapter for a `ProviderKind` value; cheap: litellm itself is imported in a thread by the first stream.

    A request with a `wire` is relayed.
    """
    if request is not None and request.wire is not None:
        return _build_relay()
    if kind == ProviderKind.LOCAL and request is not None and request.texts is not None:
        return _build_local_embeddings()
    return _build_scripted() if kind == ProviderKind.SCRIPTED else _build_litellm_adapter()


def warm() -> threading.Thread:
    """Import the relay, and litellm in a background thread, so that the first call does not pay for it."""
    _build_relay()
    thread = threading.Thread(target=_import_litellm, name="warm-litellm", daemon=True)
    thread.start()
    return thread


def warm_embeddings() -> None:
    """Start the bundled embedding model in the background."""
    _build_local_embeddings().start()


async def close() -> None:
    """Close the connections kept open between calls, on the loop that made them."""
    if _build_litellm_adapter.cache_info().currsize:
        from lib.providers.adapters.via_litellm import close_connections

        await close_connections()
    if _build_relay.cache_info().currsize:
        await _build_relay().close()
    if _build_local_embeddings.cache_info().currsize:
        await asyncio.to_thread(_build_local_embeddings().stop)


@cache
def _build_scripted() -> Adapter:
    from lib.providers.adapters.scripted import Scripted

    return Scripted()


@cache
def _build_local_embeddings() -> "LocalEmbeddings":
    from lib.providers.adapters.local_embeddings import LocalEmbeddings

    return LocalEmbeddings()


@cache
def _build_relay() -> "Relay":
    from lib.providers.adapters.relay import Relay

    return Relay()


@cache
def _build_litellm_adapter() -> Adapter:
    from lib.providers.adapters.via_litellm import ViaLitellm

    return ViaLitellm()


def _import_litellm() -> None:
    from lib.providers.adapters.via_litellm import load_litellm

    load_litellm()

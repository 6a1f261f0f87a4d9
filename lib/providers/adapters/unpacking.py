"""What an answer is packed as: gzip is undone piece by piece, so that who reads can count; anything else is refused."""

import zlib
from collections.abc import Awaitable, Callable

_AT_ONCE = 256 * 1024  # bytes


class RemoteProtocolError(ConnectionError):
    """The answer is no HTTP, or breaks off."""


class AnswerTooLarge(RemoteProtocolError):
    """The answer is longer than it may be."""


class Gunzip:
    """Undoes gzip, once."""

    def __init__(self) -> None:
        self._state = zlib.decompressobj(wbits=31)

    async def unpack(self, receive: Callable[[], Awaitable[bytes]]) -> bytes:
        """The next piece of what `receive` brings packed; empty at its end. RemoteProtocolError when it is spoilt."""
        state = self._state
        data = b""
        while not data:
            packed = state.unconsumed_tail or await receive()
            if not packed and not state.eof:
                raise RemoteProtocolError("The packed answer breaks off.")
            if not packed:
                break
            try:
                data = state.decompress(packed, _AT_ONCE)
            except zlib.error:
                raise RemoteProtocolError("The answer is not packed as it says.") from None
            if state.unused_data:
                raise RemoteProtocolError("Something follows the packed answer.")
        return data


def select_unpacker(packing: str) -> Gunzip | None:
    """Return what unpacks a body of this Content-Encoding; None where it is not packed.

    RemoteProtocolError for every other encoding than gzip, and for several at once.
    """
    match packing.strip().lower():
        case "identity" | "":
            return None
        case "gzip" | "x-gzip":
            return Gunzip()
    raise RemoteProtocolError(f"The answer is packed as {packing[:40]!r}, which was not asked for.")

"""What litellm can't send: left out by name, or refused in our words.

litellm raises `UnsupportedParamsError` before it sends anything, with advice for settings of its own. Its text is read
for the names of our parameters and goes no further.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from lib.errors import ErrorKind, ProviderError
from lib.patterns import compile_pattern

_WORD = compile_pattern(r"[A-Za-z_][A-Za-z0-9_]*+")
_LABELS = frozenset({"user"})  # they change neither answer nor bill


async def send_what_is_taken(
    send: Callable[[dict[str, Any]], Awaitable[Any]],
    unsupported: type[Exception],
    model: str,
    parameters: Mapping[str, Any],
    *,
    drops: bool,
) -> tuple[Any, tuple[str, ...]]:
    """Call `send`, again without the parameters that it refuses; its result and the names that were left out.

    `unsupported` is the exception that names parameters, raised before anything is sent. ProviderError (BAD_REQUEST)
    with the names unless `drops`; labels, which change no answer, never stop a call.
    """
    left_out = list[str]()
    accepted = dict(parameters)
    while True:
        try:
            return await send(accepted), tuple(left_out)
        except unsupported as error:
            names = _list_blamed(str(error), accepted)
            if not names or not (drops or _LABELS.issuperset(names)):
                raise make_not_taken_error(model, names or sorted(accepted)) from None
        left_out += names
        accepted = {name: value for name, value in accepted.items() if name not in names}


def make_not_taken_error(model: str, names: list[str]) -> ProviderError:
    """The refusal that names what a model does not take."""
    return ProviderError(
        ErrorKind.BAD_REQUEST,
        f"{model} does not take {', '.join(names)} here.",
        "Nothing was sent: the name, its value, or the two together are not known there.",
        "Remove it, or let the configuration leave out what its model does not take.",
    )


def _list_blamed(text: str, parameters: Mapping[str, Any]) -> list[str]:
    """The parameters whose names stand in the text, as words of their own."""
    words = set(_WORD.findall(text))
    return [name for name in parameters if name in words or (not name.isidentifier() and name in text)]

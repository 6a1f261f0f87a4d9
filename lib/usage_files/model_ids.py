"""The id of a model that a provider's console names as its price page does.

Anthropic's consoles write `Claude Haiku 4.5` for claude-haiku-4-5, and for the third generation, whose ids have the
version first, `Claude Haiku 3.5` for claude-3-5-haiku (platform.claude.com/docs, models overview). One console says in
its costs what another of its files says with the day of the snapshot, so a day is told apart from the id.
"""

import re

from lib.patterns import compile_pattern

_CLAUDE = compile_pattern(r"Claude (?:(?P<family>[A-Za-z]+) )?v?(?P<version>\d+(?:\.\d+)?)", re.IGNORECASE)
_VERSION_FIRST = ("3", "3.5", "3.7")
_SNAPSHOT = compile_pattern(r"(?:-\d{8}|@\d{8}|-latest)$")


def derive_model_id(name: str) -> str:
    """The id behind a display name, without what a line item says beside it; any other name as it is."""
    display_name = name.partition(" (")[0].partition(" Usage")[0].strip()
    claude = _CLAUDE.fullmatch(display_name)
    if claude is None:
        return name
    family = (claude["family"] or "").lower()
    version = claude["version"]
    if not family:
        return f"claude-{version}"
    number = version.replace(".", "-")
    return f"claude-{number}-{family}" if version in _VERSION_FIRST else f"claude-{family}-{number}"


def strip_snapshot(model: str) -> str:
    """An id of Anthropic's without the day of its snapshot."""
    return _SNAPSHOT.sub("", model) if model.startswith("claude-") else model

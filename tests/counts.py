"""How often the proofs repeat: little in `make test`, in full in `make proof`, which sets LLM_MANAGER_PROOF."""

import os
from collections.abc import Iterable
from typing import Any

FULL = os.environ.get("LLM_MANAGER_PROOF", "") == "1"


def repeats(small: int, full: int) -> int:
    """`small` of every run, or `full` of the proof."""
    return full if FULL else small


def cases(*small: Any, full: Iterable[Any] = ()) -> list[Any]:
    """The parameters of every run, and those that only the proof adds."""
    return [*small, *full] if FULL else [*small]

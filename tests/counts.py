"""How often the proofs repeat: little in `make test`, in full in `make proof`, which sets LLM_MANAGER_PROOF."""

import os

FULL = os.environ.get("LLM_MANAGER_PROOF", "") == "1"


def repeats(small: int, full: int) -> int:
    """`small` of every run, or `full` of the proof."""
    return full if FULL else small

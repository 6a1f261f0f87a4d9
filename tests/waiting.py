"""How tests wait: for a fact, with one ceiling that only a fault reaches, however busy the machine is."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CEILING_S = 120.0
CEILING_MS = CEILING_S * 1_000  # as browsers count


def until(holds: Callable[[], object], ceiling_s: float = CEILING_S) -> None:
    """Return when `holds()` is true; fail when it is not within `ceiling_s` seconds."""
    deadline = time.monotonic() + ceiling_s
    while not holds():
        assert time.monotonic() < deadline, f"it did not happen within {ceiling_s:.0f} s"
        threading.Event().wait(0.01)


def notes_on_disk(folder: Path) -> list[dict[str, Any]]:
    """What running calls of an installation have noted of their answers in its spool, whole lines only, in order."""
    lines = [line for path in sorted(folder.rglob("*.part")) for line in path.read_text().splitlines(keepends=True)]
    return [json.loads(line) for line in lines if line.endswith("\n")]

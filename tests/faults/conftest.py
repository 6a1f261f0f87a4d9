"""The rigs of the calls' and providers' tests and of the gateway's benchmarks, for faults over real sockets."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / part) for part in ("calls", "providers", "../benchmarks")]

"""The wire and the recorded answers of the providers' tests, for the doors over real sockets."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "providers")]

"""A gateway under load for half an hour while 5 % of its model's answers fail: nothing is lost and nothing grows.

    .venv/bin/python benchmarks/soak.py [--minutes 30] [--faults 0.05] [--database URL]

Two workers, eight clients that stream. Prints the memory and the open descriptors of the workers as time passes; the
exit status is 1 when an acknowledged answer has no row, money is still held, a row is open, or memory or descriptors
after the first fifth of the time have grown by more than the limits at its end. `make soak MINUTES=3` tries it shortly.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psutil

from benchmarks.gateway_rig.load import Load, finish, start
from benchmarks.gateway_rig.product import Installation, free_port, module, rest

CLIENTS, WORKERS, SAMPLES = 8, 2, 20
MOST_GROWTH, MOST_DESCRIPTORS = 0.15, 30  # a share of the memory; SQLite and upstream connections come and go


def sample(supervisor: int) -> tuple[float, int]:
    """Megabytes and descriptors of the gateway's processes now."""
    family = [psutil.Process(supervisor), *psutil.Process(supervisor).children()]
    return sum(one.memory_info().rss for one in family) / 2**20, sum(one.num_fds() for one in family)


def main() -> int:
    """Print the samples; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--faults", type=float, default=0.05)
    parser.add_argument("--database", default="")
    arguments = parser.parse_args()
    seconds = arguments.minutes * 60
    samples: list[tuple[float, int]] = []
    faults: list[str] = []
    print(f"{'minutes':>8}{'MB':>8}{'descriptors':>13}")
    upstream, port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder, module("upstream", upstream, 5, arguments.faults):
        installation = Installation(Path(folder), upstream, arguments.database)
        with installation.gateway(port, WORKERS) as gateway:
            rest(gateway.pid)
            running = start(Load(port, CLIENTS, True, seconds, installation.key, ids=True))
            for number in range(1, SAMPLES + 1):
                time.sleep(seconds / SAMPLES)
                samples.append(sample(gateway.pid))
                print(
                    f"{number * arguments.minutes / SAMPLES:8.1f}{samples[-1][0]:8.0f}{samples[-1][1]:13}", flush=True
                )
            found = finish(running)
        unwritten, sums = installation.unwritten(found.ids), installation.sums()
    early, late = samples[SAMPLES // 5], samples[-1]
    if late[0] > early[0] * (1 + MOST_GROWTH):
        faults.append(f"memory grew from {early[0]:.0f} to {late[0]:.0f} MB")
    if late[1] > early[1] + MOST_DESCRIPTORS:
        faults.append(f"descriptors grew from {early[1]} to {late[1]}")
    if unwritten:
        faults.append(f"{len(unwritten)} acknowledged answers have no finished row")
    if not found.statuses:
        faults.append("no answer failed, so no fault was tried")
    faults += sums.faults(found.calls, exactly=False)
    print(f"{found.calls:,} whole answers, failed {found.statuses}, {sums.ended:,} rows, {len(unwritten)} lost")
    print("\n".join(faults) or "Nothing was lost and nothing grew.")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())

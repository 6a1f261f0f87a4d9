"""kill -9 of gateway workers under load, fifty times: what is lost, and what a kill costs.

    .venv/bin/python benchmarks/gateway_kills.py [--kills 50] [--database URL]

Two workers, sixteen clients, half of the kills while plain answers are given, half while streams are; the hard budget
has room for a part of them. Prints a table; the exit status is 1 when an acknowledged answer has no finished row, the
budget was passed, money is still held, or a row is open or was closed twice. `--database` names an empty database
instead of a SQLite file, for plain answers and streams together.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.gateway_rig.kills import kill_under_load
from benchmarks.gateway_rig.load import Load
from benchmarks.gateway_rig.product import COST_NANO, Installation, free_port, module, rest

CLIENTS, WORKERS = 16, 2
EVERY_S = 1.5  # a worker that is started again serves after about two seconds
ROOM = {False: 1_000, True: 200}  # answers that the budget has room for, by whether they are streams
HEADS = ("acknowledged", "lost", "refused", "orphaned", "no row")


def kill(folder: Path, database: str, streams: bool, kills: int) -> list[str]:
    """One line of the table; what does not fit."""
    folder.mkdir()
    upstream, port = free_port(), free_port()
    with module("upstream", upstream, 3 if streams else 30):
        installation = Installation(folder, upstream, database, ROOM[streams] * COST_NANO)
        with installation.gateway(port, WORKERS) as gateway:
            rest(gateway.pid)
            load = Load(port, CLIENTS, streams, 3600.0, installation.key, ids=True)
            found = kill_under_load(gateway.pid, load, kills, EVERY_S)
    unwritten, sums = installation.unwritten(found.ids), installation.sums()
    faults = sums.faults(found.calls, exactly=False)
    if unwritten:
        faults.append(f"{len(unwritten)} acknowledged answers have no finished row")
    if sums.spent > installation.limit_nano:
        faults.append("the budget was passed")
    if installation.sums() != sums:
        faults.append("a second start found something left to do")
    counts = (found.calls, found.statuses.get("lost", 0), found.statuses.get("429", 0), sums.orphaned, len(unwritten))
    line = "".join(f"{count:>14,}" for count in counts)
    what, share = "streams" if streams else "plain", sums.spent / installation.limit_nano
    print(f"{what:10}{kills:>7}{line}{share:>8.0%}", flush=True)
    return faults


def main() -> int:
    """Print the table; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--database", default="")
    arguments = parser.parse_args()
    print(f"{'':10}{'kills':>7}{''.join(f'{head:>14}' for head in HEADS)}{'spent':>8}")
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        for streams in (False, True) if not arguments.database else (True,):
            faults += kill(Path(folder) / str(streams), arguments.database, streams, arguments.kills // 2)
    for fault in faults:
        print(f"FAULT: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

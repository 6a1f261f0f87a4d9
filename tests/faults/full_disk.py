"""A process whose disk fills up while calls are under way: `python full_disk.py FOLDER CALLS`.

It prints a line of JSON when every call has ended, what each was told by then and what readiness says, and is then
killed. The kernel's own limit on the size of files stands for the disk.
"""

import json
import os
import resource
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))


def main(folder: Path, count: int) -> None:
    """Begin, fill the disk in mid-answer, tell, die."""
    from lib.calls import attempt
    from lib.errors import LLMManagerError
    from lib.ledger import readiness
    from lib.settings import Settings
    from tests.calls.rig import AMIRA, Rig

    attempt.WRITTEN_WITHIN_S = 0.2
    readiness.GOOD_FOR_S = 0.0
    rig = Rig(Settings(data_dir=folder, database_url=f"sqlite:///{folder / 'llm_manager.db'}"))
    calls = rig.services.calls
    request = rig.request("lorem:10+wait:300ms")
    ids = [calls.start(request) for _ in range(count)]
    calls.check_writes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    for call_id in ids:
        assert calls._calls[call_id].ended.wait(60)
    try:
        calls.check_writes()
        ready = ""
    except LLMManagerError as error:
        ready = error.title
    views = {call_id: calls.view(AMIRA, call_id) for call_id in ids}
    told = {call_id: [view.status, view.error_kind] for call_id, view in views.items()}
    print(json.dumps({"told": told, "ready": ready}), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

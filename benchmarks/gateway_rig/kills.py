"""kill -9 of gateway workers while they answer."""

import random
import time
from concurrent.futures import ThreadPoolExecutor

import psutil

from gateway_rig.load import Found, Load, measure

_MOST_WAIT_S = 60.0


def busy_workers(supervisor: int, port: int) -> list[psutil.Process]:
    """The workers that have a client now."""
    busy = []
    for worker in psutil.Process(supervisor).children():
        try:
            connections = worker.net_connections("tcp")
        except psutil.Error:  # it has just ended
            continue
        if any(one.status == psutil.CONN_ESTABLISHED and one.laddr.port == port for one in connections):
            busy.append(worker)
    return busy


def kill_under_load(supervisor: int, load: Load, kills: int, pause_s: float = 1.5) -> Found:
    """Load a gateway and kill busy workers one after another; what its clients found."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(measure, load)
        for _ in range(kills):
            time.sleep(pause_s * random.uniform(0.5, 1.5))
            deadline = time.monotonic() + _MOST_WAIT_S
            while not (busy := busy_workers(supervisor, load.port)):
                if time.monotonic() > deadline or running.done():
                    raise RuntimeError("no worker has a client")
                time.sleep(0.02)
            random.choice(busy).kill()
        return running.result()

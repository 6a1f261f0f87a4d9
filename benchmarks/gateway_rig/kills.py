"""kill -9 of gateway workers while they answer."""

import random
import time

import psutil

from benchmarks.gateway_rig.load import Found, Load, finish, start

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


def kill_under_load(supervisor: int, load: Load, kills: int, every_s: float = 1.0) -> Found:
    """Load a gateway, kill busy workers one after another, and end the load; what its clients found."""
    running = start(load)
    try:
        for _ in range(kills):
            time.sleep(every_s * random.uniform(0.5, 1.5))
            deadline = time.monotonic() + _MOST_WAIT_S
            while not (busy := busy_workers(supervisor, load.port)):
                if time.monotonic() > deadline or running.poll() is not None:
                    raise RuntimeError("no worker has a client")
                time.sleep(0.02)
            random.choice(busy).kill()
    finally:
        running.terminate()
    return finish(running)

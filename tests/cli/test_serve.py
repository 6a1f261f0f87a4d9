"""`serve` becomes the server: it prints its address and the set-up code, answers, and ends cleanly at SIGTERM."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.waiting import CEILING_S

PROJECT = Path(__file__).resolve().parent.parent.parent


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.feature("SET-1")
@pytest.mark.feature("GATE-5")
def test_serve_prints_its_address_answers_and_stops(tmp_path: Path) -> None:
    port = free_port()
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment = kept | {"LLM_MANAGER_DATA": str(tmp_path), "PORT": str(port), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "lib", "serve"]
    with subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            said = server.stdout.readline()
            while "Set-up code" not in said:
                line = server.stdout.readline()
                assert line, f"the server ended after {said!r}"
                said += line
            assert f"http://localhost:{port}" in said
            assert "External URL" not in said
            # The socket is bound before this line is printed, so the request waits in its queue until it is served.
            with urllib.request.urlopen(f"http://localhost:{port}/readyz", timeout=CEILING_S) as answer:
                assert json.load(answer) == {"status": "ready"}
        finally:
            server.send_signal(signal.SIGTERM)
            status = server.wait(CEILING_S)
    assert status in (0, -signal.SIGTERM)

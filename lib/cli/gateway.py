"""`gateway`: the HTTP doors without the pages, in worker processes."""

import argparse
import sys
from typing import Any

from lib.cli.arguments import parse_count
from lib.cli.installation import load_ready_settings, require_free_port


def add_commands(commands: Any) -> None:
    """Register the command `gateway`."""
    command = commands.add_parser("gateway", help="serve the HTTP interface alone, without the pages")
    command.add_argument("--port", type=int, required=True)
    command.add_argument("--workers", type=parse_count, default=1, metavar="N", help="processes; default 1")
    command.add_argument("--host", default="127.0.0.1", help="the address to listen on; default 127.0.0.1")
    command.set_defaults(run=serve)


def serve(arguments: argparse.Namespace) -> None:
    """Check folder and port, then keep the workers running until a signal."""
    load_ready_settings()
    require_free_port(arguments.port)
    from lib.gateway.serve.supervisor import Supervisor

    def say() -> None:
        print(f"LLM Manager gateway: http://{arguments.host}:{arguments.port}", flush=True)

    if (status := Supervisor(arguments.host, arguments.port, arguments.workers).run(say)) != 0:
        sys.exit(status)

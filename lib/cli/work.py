"""Commands about work that outlives its process: `work run`, `show`, `cancel`, `resume`, `schedules`."""

import argparse
import signal
import threading
from typing import Any

from lib.cli import output
from lib.cli.operator import open_services
from lib.errors import NotFound
from lib.providers import adapters


def add_commands(commands: Any) -> None:
    """Register the command `work` with its actions; without one it runs work until it is stopped."""
    parser = commands.add_parser("work", help="run work that outlives its process, and look after it")
    parser.set_defaults(run=run)
    actions = parser.add_subparsers(metavar="ACTION")
    actions.add_parser("run", help="run work here until stopped; any number of processes may").set_defaults(run=run)
    command = actions.add_parser("show", help="where a run is, and which of its steps have ended")
    command.add_argument("run_id", metavar="RUN")
    output.add_json_option(command)
    command.set_defaults(run=show)
    for name, help_text, function in (
        ("cancel", "cancel a run; what has ended stays", cancel),
        ("resume", "go on with a run that was cancelled", resume),
    ):
        command = actions.add_parser(name, help=help_text)
        command.add_argument("run_id", metavar="RUN")
        command.set_defaults(run=function)
    command = actions.add_parser("schedules", help="what is done at certain moments")
    output.add_json_option(command)
    command.set_defaults(run=list_schedules)


def run(arguments: argparse.Namespace) -> None:
    """Run work until the process is asked to end."""
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with open_services() as services:
        services.launch_work()
        adapters.warm()  # the first call of a run that was taken over waits seconds for it otherwise
        print(f"Running work as {services.work.executor_id}.", flush=True)
        stopped.wait()


def show(arguments: argparse.Namespace) -> None:
    """Print where a run is."""
    with open_services() as services:
        status = services.work.state(arguments.run_id)
        if status is None:
            raise NotFound("There is no such run.", "It was never started, or it is gone.")
        steps = services.work.list_steps(arguments.run_id)
    names = ("run_id", "kind", "state", "error", "attempts", "executor_id", "created_at", "updated_at")
    record = {name: getattr(status, name) for name in names}
    output.show_record({**record, "steps": [step["name"] for step in steps]}, as_json=arguments.json)


def cancel(arguments: argparse.Namespace) -> None:
    """Cancel a run."""
    with open_services() as services:
        services.work.cancel(arguments.run_id)
    print(f"Cancelled {arguments.run_id}.")


def resume(arguments: argparse.Namespace) -> None:
    """Go on with a cancelled run."""
    with open_services() as services:
        services.work.resume(arguments.run_id)
    print(f"Resumed {arguments.run_id}.")


def list_schedules(arguments: argparse.Namespace) -> None:
    """Print all schedules."""
    with open_services() as services:
        schedules = services.work.schedules.list()
    rows = [
        {
            "name": schedule.name,
            "kind": schedule.kind,
            "cron": schedule.cron,
            "time_zone": schedule.time_zone,
            "paused": schedule.is_paused,
        }
        for schedule in schedules
    ]
    output.show(rows, as_json=arguments.json, empty="There are no schedules.")

"""The commands and the boundary around them: `main(argv)` returns the exit status.

0 done, 1 refused or failed (one line on standard error says what happened, why and what to do), 2 wrong usage.
Nothing of the product is imported before a command runs, so that `--help` answers at once.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from lib.cli import (
    budgets,
    cache,
    configurations,
    demo,
    experiments,
    gateway,
    imports,
    installation,
    metrics,
    models,
    prices,
    prompts,
    providers,
    retention,
    work,
)
from lib.cli.access import keyring, keys, people, teams
from lib.cli.knowledge import rag
from lib.cli.statistics import rates, usage
from lib.cli.tools import approvals, servers, tools
from lib.cli.workflows import workflow
from lib.errors import LLMManagerError

EPILOG = "Settings come from the environment and .env: LLM_MANAGER_DATA, DATABASE_URL, PORT. See docs/configuration.md."


def build_parser() -> argparse.ArgumentParser:
    """Every command with its options."""
    parser = argparse.ArgumentParser(
        prog="python -m lib", description="LLM Manager: one control room for a team's language models.", epilog=EPILOG
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    modules = (
        installation,
        gateway,
        people,
        teams,
        providers,
        models,
        configurations,
        prompts,
        experiments,
        prices,
        rates,
        budgets,
        cache,
        keys,
        usage,
        imports,
        metrics,
        servers,
        rag,
        approvals,
        workflow,
        tools,
        keyring,
        retention,
        work,
        demo,
    )
    for module in modules:
        module.add_commands(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = build_parser().parse_args(argv)
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except LLMManagerError as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader has gone (`| head`). Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    return 0

"""Arguments: those of an action, types (a positive count, a day, names, a pair), the text of a file that is named."""

import argparse
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from lib.cli import output
from lib.errors import InvalidInput
from lib.files.text import decode_text


def add_action(
    actions: Any, name: str, words: str, run: Callable[[argparse.Namespace], None], *arguments: str, json: bool = False
) -> argparse.ArgumentParser:
    """Register an action of a command, with arguments that have to be given; `json`: it can print JSON.

    An argument is its name, or `name:SHOWN` where people are shown another word in its place.
    """
    command: argparse.ArgumentParser = actions.add_parser(name, help=words)
    for argument in arguments:
        argument_name, _, shown_name = argument.partition(":")
        command.add_argument(argument_name, metavar=shown_name or argument_name.upper())
    if json:
        output.add_json_option(command)
    command.set_defaults(run=run)
    return command


def parse_count(text: str) -> int:
    """Read a whole number above zero from a command's argument."""
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")


def parse_day(text: str) -> date:
    """Read a day written as YYYY-MM-DD."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day; write it as 2026-10-31") from None


def parse_names(text: str) -> list[str]:
    """Read names parted by commas; each stands in the list once, in the order given."""
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def parse_pair(text: str) -> tuple[str, str]:
    """Read `NAME=VALUE` as (name, value)."""
    name, sign, value = text.partition("=")
    if not (name and sign and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def read_text(path: Path | str) -> str:
    """Read a file, or standard input for `-`, as text without a byte order mark; raises InvalidInput."""
    try:
        return decode_text(sys.stdin.buffer.read() if str(path) == "-" else Path(path).read_bytes())
    except OSError as error:
        raise InvalidInput(f"{path} can't be read.", f"{error.strerror}.", "Name another file.") from None

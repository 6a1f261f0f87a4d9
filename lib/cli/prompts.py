"""`prompts list`, `show`, `add`, `save`, `label`, `diff`, `fill`, `export` and `import`."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.cli import output
from lib.cli.arguments import parse_count, parse_pair, read_text
from lib.cli.operator import OPERATOR, open_services
from lib.errors import InvalidInput

if TYPE_CHECKING:
    from lib.prompts.template import VersionDraft


def add_commands(commands: Any) -> None:
    """Register the command `prompts` with its actions."""
    actions = commands.add_parser("prompts", help="prompt templates, their versions and labels").add_subparsers(
        metavar="ACTION", required=True
    )
    command = actions.add_parser("list", help="list prompts")
    command.add_argument("--app", help="only those that this app can use")
    command.add_argument("--category")
    command.add_argument("--search", default="", metavar="TEXT")
    output.add_json_option(command)
    command.set_defaults(run=list_prompts)
    command = actions.add_parser("show", help="print a version of a prompt")
    command.add_argument("slug")
    _add_which(command)
    output.add_json_option(command)
    command.set_defaults(run=show)
    command = actions.add_parser("add", help="make a prompt, its text from a file or standard input (-)")
    _add_text(command)
    command.add_argument("--app", help="default: every app")
    command.add_argument("--category", default="")
    command.add_argument("--description", default="")
    command.set_defaults(run=add)
    command = actions.add_parser("save", help="add a version to a prompt")
    _add_text(command)
    command.set_defaults(run=save)
    command = actions.add_parser("label", help="point a label to a version")
    command.add_argument("slug")
    command.add_argument("label")
    command.add_argument("version", type=parse_count)
    command.set_defaults(run=label)
    command = actions.add_parser("diff", help="what two versions, numbers or labels, differ in")
    command.add_argument("slug")
    command.add_argument("old", type=parse_version_or_label)
    command.add_argument("new", type=parse_version_or_label)
    command.set_defaults(run=diff)
    command = actions.add_parser("fill", help="print a prompt with its variables filled in")
    command.add_argument("slug")
    command.add_argument("--set", type=parse_pair, action="append", default=[], metavar="NAME=VALUE", dest="values")
    _add_which(command)
    command.set_defaults(run=fill)
    command = actions.add_parser("export", help="prompts with all versions, as JSON")
    command.add_argument("slugs", nargs="*", metavar="SLUG", help="default: all")
    command.set_defaults(run=export)
    command = actions.add_parser("import", help="bring in an export; names that are taken stay as they are")
    command.add_argument("file", type=Path)
    command.set_defaults(run=import_file)


def parse_version_or_label(text: str) -> int | str:
    """Read a version's number or a label."""
    return int(text) if text.isdecimal() else text


def _add_which(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--version", type=parse_version_or_label, metavar="N|LABEL", help="default: show the newest, fill production"
    )


def _add_text(command: argparse.ArgumentParser) -> None:
    command.add_argument("slug")
    command.add_argument("file", metavar="FILE")
    command.add_argument("--system", metavar="FILE", help="a file with the system prompt")
    command.add_argument("--variables", metavar="JSON", help='like [{"name": "n", "type": "number", "default": 3}]')
    command.add_argument("--parameters", metavar="JSON", help='like {"temperature": 0.2}')
    command.add_argument("--reason", default="", metavar="TEXT", help="why")


def list_prompts(arguments: argparse.Namespace) -> None:
    """Print every prompt."""
    with open_services() as services:
        prompts = services.prompts.list(OPERATOR, arguments.app, arguments.category, arguments.search)
    rows = [
        {
            "slug": prompt.slug,
            "app": prompt.app,
            "category": prompt.category,
            "newest": prompt.newest,
            "labels": [f"{name}={version}" for name, version in prompt.labels.items()],
            "description": prompt.description,
        }
        for prompt in prompts
    ]
    output.show(rows, as_json=arguments.json, empty="No prompts yet.")


def show(arguments: argparse.Namespace) -> None:
    """Print a version: its text alone, or everything as JSON."""
    with open_services() as services:
        version = services.prompts.version(OPERATOR, arguments.slug, arguments.version)
    if not arguments.json:
        print(version.text)
        return
    record = vars(version) | {"variables": [variable.to_record() for variable in version.variables]}
    output.show_record(record, as_json=True)


def add(arguments: argparse.Namespace) -> None:
    """Make a prompt."""
    attributes = {"app": arguments.app, "category": arguments.category, "description": arguments.description}
    with open_services() as services:
        prompt = services.prompts.create(
            OPERATOR, arguments.slug, _read_draft(arguments), reason=arguments.reason, **attributes
        )
    print(f"Added the prompt {prompt.slug}; its version 1 is labelled draft.")


def save(arguments: argparse.Namespace) -> None:
    """Add a version, made from the newest one."""
    draft = _read_draft(arguments)
    with open_services() as services:
        newest = services.prompts.get(OPERATOR, arguments.slug).newest
        version = services.prompts.save(OPERATOR, arguments.slug, draft, newest, arguments.reason)
    print(f"Saved version {version.version} of {arguments.slug}, labelled draft.")


def label(arguments: argparse.Namespace) -> None:
    """Move a label."""
    with open_services() as services:
        services.prompts.move_label(OPERATOR, arguments.slug, arguments.label, arguments.version)
    print(f"{arguments.label} of {arguments.slug} is version {arguments.version} now.")


def diff(arguments: argparse.Namespace) -> None:
    """Print a unified diff."""
    with open_services() as services:
        print("\n".join(services.prompts.diff(OPERATOR, arguments.slug, arguments.old, arguments.new)))


def fill(arguments: argparse.Namespace) -> None:
    """Print a prompt's text with its variables filled in, as it would be sent."""
    version_or_label = arguments.version
    selector = (
        {"version" if isinstance(version_or_label, int) else "label": version_or_label}
        if version_or_label is not None
        else {}
    )
    with open_services() as services:
        print(services.prompts.fill(OPERATOR, arguments.slug, dict(arguments.values), **selector).text)


def export(arguments: argparse.Namespace) -> None:
    """Print prompts with all their versions as a JSON document."""
    with open_services() as services:
        print(services.prompts.export_json(OPERATOR, arguments.slugs or None), end="")


def import_file(arguments: argparse.Namespace) -> None:
    """Import a JSON document of prompts; slugs that exist stay as they are."""
    document = read_text(str(arguments.file))
    with open_services() as services:
        done = services.prompts.import_json(OPERATOR, document)
    print(f"Imported {len(done.created)} prompts; {len(done.skipped)} were there already.")


def _read_draft(arguments: argparse.Namespace) -> "VersionDraft":
    from lib.prompts.template import VersionDraft

    return VersionDraft(
        read_text(arguments.file).removesuffix("\n"),
        read_text(arguments.system).removesuffix("\n") if arguments.system else None,
        _parse_json(arguments.variables, list) if arguments.variables else [],
        _parse_json(arguments.parameters, dict) if arguments.parameters else {},
    )


def _parse_json(text: str, kind: type) -> Any:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InvalidInput("That is not JSON.", f"{error}.", "Correct it.") from None
    if not isinstance(value, kind):
        raise InvalidInput("That is JSON of another shape.", "Variables are a list, parameters an object.")
    return value

"""`configs list`, `configs add` and `test-config`."""

import argparse
from typing import Any

from lib.cli import output
from lib.cli.operator import OPERATOR, open_services
from lib.errors import UserError
from lib.providers.kinds import ProviderKind


def add_commands(commands: Any) -> None:
    """Register the commands `configs` and `test-config`."""
    actions = commands.add_parser("configs", help="which model an app uses, and how").add_subparsers(
        metavar="ACTION", required=True
    )
    command = actions.add_parser("list", help="list configurations")
    command.add_argument("--app", help="only this app's")
    output.add_json_option(command)
    command.set_defaults(run=list_configurations)
    command = actions.add_parser("add", help="make a configuration")
    command.add_argument("slug")
    command.add_argument("--app", required=True)
    command.add_argument("--provider", required=True, help="a provider's name")
    command.add_argument("--model", required=True)
    command.set_defaults(run=add)
    command = commands.add_parser("test-config", help="ask a configuration's model one short question")
    command.add_argument("slug")
    output.add_json_option(command)
    command.set_defaults(run=test)


def list_configurations(arguments: argparse.Namespace) -> None:
    """Print every configuration."""
    with open_services() as services:
        rows = [
            {
                "slug": configuration.slug,
                "app": configuration.app,
                "provider": configuration.provider_name,
                "model": configuration.model,
                "state": describe_state(configuration.needs),
                "default": "everywhere" if configuration.is_global_default else configuration.is_default,
            }
            for configuration in services.configurations.list(OPERATOR, arguments.app)
        ]
    output.show(rows, as_json=arguments.json, empty="No configurations yet.")


def describe_state(needs: str | None) -> str:
    """Say in words what keeps a configuration from working (`ready` where nothing does)."""
    return {None: "ready", "off": "off", "provider off": "provider off"}.get(needs, f"needs {needs}")


def add(arguments: argparse.Namespace) -> None:
    """Make a configuration of a provider's model for an app."""
    with open_services() as services:
        configuration = services.configurations.create(
            OPERATOR, slug=arguments.slug, app=arguments.app, provider=arguments.provider, model=arguments.model
        )
    print(f"Added the configuration {configuration.slug}.")


def test(arguments: argparse.Namespace) -> None:
    """Ask the model one short question and print what came of it; UserError when it failed."""
    from lib.calls.connection_test import check_connection
    from lib.providers.adapters import warm

    with open_services() as services:
        configuration = services.configurations.get(OPERATOR, arguments.slug)
        if configuration.provider_kind != ProviderKind.SCRIPTED:
            warm().join()  # so that the latency is the provider's, not our import's
        check = check_connection(OPERATOR, configuration, services.calls, services.providers)
    result = {
        "configuration": configuration.slug,
        "ok": check.ok,
        "provider": configuration.provider_name,
        "model": check.model,
        "latency_ms": check.latency_ms,
        "first_token_ms": check.first_token_ms,
        "message": check.message,
        "log_id": check.log_id,
    }
    if check.ok or arguments.json:
        output.show_record(result, as_json=arguments.json)
    if not check.ok:
        raise UserError(f"{configuration.slug} does not work.", check.message)

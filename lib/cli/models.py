"""`models list`: what models the providers offer, from the kept lists; a list that is due is fetched first."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from lib.cli import output
from lib.cli.operator import OPERATOR, open_services
from lib.errors import UserError
from lib.money import convert_nano_to_usd

if TYPE_CHECKING:
    from lib.providers.provider import Provider
    from lib.services import Services


def add_commands(commands: Any) -> None:
    """Register the command `models`."""
    actions = commands.add_parser("models", help="models the providers offer").add_subparsers(
        metavar="ACTION", required=True
    )
    command = actions.add_parser("list", help="list models")
    command.add_argument("--provider", help="only this one's, by name")
    command.add_argument("--refresh", action="store_true", help="ask the providers now")
    output.add_json_option(command)
    command.set_defaults(run=list_models)


def list_models(arguments: argparse.Namespace) -> None:
    """Print every model; a provider that can't be asked is said on standard error, and fails when it was named."""
    rows: list[dict[str, Any]] = []
    failures: list[str] = []
    with open_services() as services:
        all_providers = services.providers.list(OPERATOR)
        providers = [services.providers.get(OPERATOR, arguments.provider)] if arguments.provider else all_providers
        for provider in providers:
            if provider.state == "ready" or arguments.provider:
                rows += _list_rows(services, provider, failures, refresh=arguments.refresh)
    output.show(rows, as_json=arguments.json, empty="No models are listed.")
    if failures and arguments.provider:
        raise UserError(failures[0], "The list shown is the last good one." if rows else "")
    for failure in failures:
        print(failure, file=sys.stderr)


def _list_rows(
    services: "Services", provider: "Provider", failures: list[str], *, refresh: bool
) -> list[dict[str, Any]]:
    listed = services.models.list(OPERATOR, provider.id)
    if refresh or listed.is_due:
        listed = services.models.refresh(OPERATOR, provider.id)
    if listed.error:
        failures.append(listed.error)
    return [
        {
            "provider": provider.name,
            "model": facts.model,
            "context_tokens": facts.context_tokens,
            "output_tokens": facts.output_tokens,
            "capabilities": facts.capabilities,
            "input_usd": _convert_to_usd(facts.input_nano),
            "output_usd": _convert_to_usd(facts.output_nano),
            "fetched_at": listed.fetched_at,
        }
        for facts in listed.models
    ]


def _convert_to_usd(nano: int | None) -> Any:
    """Turn nano-dollars per million tokens into exact dollars; None stays None."""
    return None if nano is None else convert_nano_to_usd(nano)

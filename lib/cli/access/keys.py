"""`keys create`, `keys list`, `keys revoke` and `keys limit`: what programs call the HTTP interface with."""

import argparse
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from lib.access.grants import MODEL_ENDPOINTS, NO_LIMITS, Limits
from lib.cli import output
from lib.cli.access.teams import act_in, find_user_id
from lib.cli.arguments import parse_count, parse_day
from lib.cli.operator import OPERATOR, open_services


def add_commands(commands: Any) -> None:
    """Register the command `keys` with its actions."""
    actions = commands.add_parser("keys", help="API keys of programs, and limits").add_subparsers(
        metavar="ACTION", required=True
    )
    command = actions.add_parser(
        "create", help="make an API key", description="The key is the last line printed; it can't be shown again."
    )
    command.add_argument("--app", required=True, help="what its calls count for")
    command.add_argument(
        "--model", nargs="+", action="extend", default=[], metavar="M", help="a configuration or provider/model; * fits"
    )
    command.add_argument("--endpoint", nargs="+", action="extend", default=[], metavar="E", help="default: all but api")
    command.add_argument("--expires", type=_parse_last_day, metavar="D", help="the last day (UTC), or a number of days")
    command.add_argument("--user", help="its owner, whose permissions bound it; default: nobody, it calls models only")
    command.add_argument("--name", default="")
    command.add_argument("--team", help="whose calls it makes, by the team's short name; default: the first team")
    _add_limits(command)
    command.add_argument("--concurrency", type=parse_count, metavar="N", help="calls at once")
    command.set_defaults(run=create)
    command = actions.add_parser("list", help="list API keys")
    output.add_json_option(command)
    command.set_defaults(run=list_keys)
    command = actions.add_parser("revoke", help="end an API key")
    command.add_argument("prefix", help="its first characters")
    command.set_defaults(run=revoke)
    command = actions.add_parser("limit", help="limit an app; without numbers its limits end")
    command.add_argument("--app", required=True)
    _add_limits(command)
    command.set_defaults(run=limit)


def _add_limits(command: argparse.ArgumentParser) -> None:
    command.add_argument("--requests-per-minute", type=parse_count, metavar="N")
    command.add_argument("--tokens-per-minute", type=parse_count, metavar="N")


def create(arguments: argparse.Namespace) -> None:
    """Make an API key and print it as the last line."""
    with open_services() as services:
        token, key = services.api_keys.create(
            act_in(services, arguments.team),
            app=arguments.app,
            name=arguments.name,
            owner_id=find_user_id(services, arguments.user) if arguments.user else None,
            models=arguments.model,
            endpoints=arguments.endpoint or MODEL_ENDPOINTS,
            limits=Limits(arguments.requests_per_minute, arguments.tokens_per_minute, arguments.concurrency),
            expires_at=_compute_expiry(arguments.expires),
        )
    print(f"Made the API key {key.prefix}… for the app {key.app}. It is shown this once:")
    print(token)


def list_keys(arguments: argparse.Namespace) -> None:
    """Print every key by its first characters."""
    with open_services() as services:
        team_names = {team.id: team.slug for team in services.teams.list(OPERATOR)}
        rows = [
            {
                "prefix": key.prefix,
                "name": key.name,
                "app": key.app,
                "owner": key.owner or None,
                "team": team_names.get(key.team_id),
                "state": key.state(),
                "models": list(key.grant.models) or ["*"],
                "endpoints": [endpoint.value for endpoint in key.grant.endpoints],
                **vars(key.grant.limits),
                "expires_at": key.expires_at,
                "last_used_at": key.last_used_at,
                "created_at": key.created_at,
            }
            for key in services.api_keys.list(OPERATOR)
        ]
    output.show(rows, as_json=arguments.json, empty="No API keys yet. Make one: python -m lib keys create --app APP")


def revoke(arguments: argparse.Namespace) -> None:
    """End a key; running servers know within five seconds."""
    with open_services() as services:
        key = services.api_keys.find(OPERATOR, arguments.prefix)
        services.api_keys.revoke(OPERATOR, key.id)
    print(f"Revoked the API key {key.prefix}… ({output.flatten_line(key.name)}).")


def limit(arguments: argparse.Namespace) -> None:
    """Set or end the limits of an app."""
    limits = Limits(arguments.requests_per_minute, arguments.tokens_per_minute)
    with open_services() as services:
        services.limits.set_app(OPERATOR, arguments.app, limits)
    print(
        f"The app {output.flatten_line(arguments.app)} has {'no limits now' if limits == NO_LIMITS else 'new limits'}."
    )


def _parse_last_day(text: str) -> date:
    return (
        datetime.now(UTC).date() + timedelta(days=int(text)) if text.isdecimal() and len(text) < 5 else parse_day(text)
    )


def _compute_expiry(last: date | None) -> datetime | None:
    return None if last is None else datetime.combine(last, time.min, UTC) + timedelta(days=1)

"""`workflow schedules`, `schedule`, `unschedule`, `webhooks` and `webhook`: what begins runs without a person."""

import argparse
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lib.cli import output
from lib.cli.arguments import add_action, parse_pair
from lib.cli.operator import OPERATOR, open_services

if TYPE_CHECKING:
    from lib.services import Services
    from lib.workflows.triggers.schedules import WorkflowSchedule
    from lib.workflows.triggers.webhooks import WorkflowWebhook


def add_trigger_commands(actions: Any) -> None:
    """Register the actions for schedules and webhooks."""
    add_action(actions, "schedules", "list a workflow's schedules", list_schedules, "slug", json=True)
    command = add_action(
        actions, "schedule", "run a workflow by itself at certain times", add_schedule, "slug", json=True
    )
    command.add_argument("cron", metavar="CRON", help="minute, hour, day, month and weekday, such as '30 2 * * 1-5'")
    command.add_argument("--zone", default="UTC", help="such as Europe/Berlin; default: UTC")
    command.add_argument("--set", type=parse_pair, action="append", default=[], metavar="NAME=VALUE", dest="values")
    command.add_argument("--name", default="")
    command.add_argument(
        "--overlap", choices=("skip", "queue", "parallel"), default="skip", help="while the last run still goes"
    )
    add_action(actions, "unschedule", "delete a schedule; runs that have begun go on", remove_schedule, "id:SCHEDULE")
    add_action(actions, "webhooks", "list a workflow's webhooks", list_webhooks, "slug", json=True)
    kinds = actions.add_parser("webhook", help="addresses that begin runs").add_subparsers(
        metavar="ACTION", required=True
    )
    command = add_action(kinds, "add", "make one; its secret is printed this once", add_webhook, "slug", json=True)
    command.add_argument("--name", default="")
    for name, words, run, defaults in (
        ("renew", "print another secret; the old one ends at once", renew_webhook, {}),
        ("off", "take no deliveries; `on` takes them again", switch_webhook, {"is_active": False}),
        ("on", "take deliveries again", switch_webhook, {"is_active": True}),
        ("remove", "delete one; runs that have begun go on", remove_webhook, {}),
    ):
        add_action(kinds, name, words, run, "id:WEBHOOK").set_defaults(**defaults)


def list_schedules(arguments: argparse.Namespace) -> None:
    """Print the schedules of a workflow."""
    with open_services() as services:
        schedules = services.workflows.schedules.list(OPERATOR, arguments.slug)
    rows = [_describe_schedule(schedule) for schedule in schedules]
    output.show(rows, as_json=arguments.json, empty="No schedules yet.")


def add_schedule(arguments: argparse.Namespace) -> None:
    """Make a schedule and print it."""
    with open_services() as services:
        schedule = services.workflows.schedules.add(
            OPERATOR,
            arguments.slug,
            arguments.cron,
            arguments.zone,
            dict(arguments.values),
            name=arguments.name,
            overlap=arguments.overlap,
        )
        _print_needs(services, arguments.slug)
    output.show_record(_describe_schedule(schedule), as_json=arguments.json)


def _print_needs(services: "Services", slug: str) -> None:
    """Say on standard error what the workflow's tools need of a person; its runs here are those of the operator."""
    for need in services.workflows.explain_unattended(OPERATOR, slug):
        print(need, file=sys.stderr)


def remove_schedule(arguments: argparse.Namespace) -> None:
    """Delete a schedule."""
    with open_services() as services:
        services.workflows.schedules.remove(OPERATOR, arguments.id)
    print("It is deleted.")


def list_webhooks(arguments: argparse.Namespace) -> None:
    """Print the webhooks of a workflow."""
    with open_services() as services:
        rows = [_describe_webhook(webhook) for webhook in services.workflows.webhooks.list(OPERATOR, arguments.slug)]
    output.show(rows, as_json=arguments.json, empty="No webhooks yet.")


def add_webhook(arguments: argparse.Namespace) -> None:
    """Make a webhook and print it with its secret."""
    with open_services() as services:
        webhook, secret = services.workflows.webhooks.add(OPERATOR, arguments.slug, arguments.name)
        _print_needs(services, arguments.slug)
    output.show_record({**_describe_webhook(webhook), "secret": secret}, as_json=arguments.json)


def renew_webhook(arguments: argparse.Namespace) -> None:
    """Print a webhook's new secret."""
    with open_services() as services:
        print(services.workflows.webhooks.renew(OPERATOR, arguments.id))


def switch_webhook(arguments: argparse.Namespace) -> None:
    """Switch a webhook on or off."""
    with open_services() as services:
        services.workflows.webhooks.switch(OPERATOR, arguments.id, is_active=arguments.is_active)
    print("It is on." if arguments.is_active else "It is off.")


def remove_webhook(arguments: argparse.Namespace) -> None:
    """Delete a webhook."""
    with open_services() as services:
        services.workflows.webhooks.remove(OPERATOR, arguments.id)
    print("It is deleted.")


def _describe_schedule(schedule: "WorkflowSchedule") -> Mapping[str, Any]:
    return {
        "id": schedule.id,
        "name": schedule.name,
        "cron": schedule.cron,
        "zone": schedule.zone,
        "overlap": schedule.overlap,
        "active": schedule.is_active,
        "next": schedule.next_at,
        "last_run": schedule.last_run_id,
        "note": schedule.last_note,
    }


def _describe_webhook(webhook: "WorkflowWebhook") -> Mapping[str, Any]:
    return {
        "id": webhook.id,
        "name": webhook.name,
        "path": webhook.path,
        "active": webhook.is_active,
        "made": webhook.created_at,
        "used": webhook.used_at,
    }

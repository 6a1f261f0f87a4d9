"""`cache stats`, `set`, `purge`, `shadow` and `prove`: remembered answers."""

import argparse
from dataclasses import replace
from datetime import timedelta
from typing import Any

from lib.cli import output
from lib.cli.arguments import parse_count
from lib.cli.operator import OPERATOR, open_services
from lib.errors import InvalidInput
from lib.money import convert_nano_to_usd

MODES = ("off", "shadow", "judged", "proved")
SCOPES = ("person", "team", "app")


def add_commands(commands: Any) -> None:
    """Register the command `cache` with its actions."""
    actions = commands.add_parser("cache", help="answers from memory: rules, figures, proofs").add_subparsers(
        metavar="ACTION", required=True
    )
    command = actions.add_parser("stats", help="what each configuration's cache holds and saved")
    command.add_argument("--days", type=parse_count, default=30, metavar="N")
    output.add_json_option(command)
    command.set_defaults(run=show_stats)
    command = actions.add_parser("set", help="set what a configuration remembers")
    command.add_argument("configuration", metavar="SLUG")
    command.add_argument("--exact", action=argparse.BooleanOptionalAction, default=None)
    command.add_argument("--loose", action=argparse.BooleanOptionalAction, default=None)
    command.add_argument("--semantic", choices=MODES)
    command.add_argument("--judge", metavar="SLUG", help="the configuration that decides")
    command.add_argument("--scope", choices=SCOPES)
    command.add_argument("--ttl", type=parse_count, metavar="SECONDS")
    command.add_argument("--bound", type=parse_count, metavar="N", help="wrong answers among a thousand, at most")
    command.set_defaults(run=set_rules)
    command = actions.add_parser("purge", help="forget answers")
    command.add_argument("--configuration", metavar="SLUG")
    command.add_argument("--older-than", type=parse_count, metavar="SECONDS")
    command.add_argument("--all", action="store_true", help="forget everything")
    command.set_defaults(run=purge)
    command = actions.add_parser("shadow", help="questions that were, or would have been, answered with another's")
    command.add_argument("configuration", metavar="SLUG")
    command.add_argument("--refused", action="store_true", help="the nearest that a guard refused")
    command.add_argument("--limit", type=parse_count, default=20, metavar="N")
    output.add_json_option(command)
    command.set_defaults(run=show_decisions)
    command = actions.add_parser("prove", help="how often other words would be wrong, as an upper bound")
    output.add_json_option(command)
    command.set_defaults(run=show_proofs)


def show_stats(arguments: argparse.Namespace) -> None:
    """Print a line for each configuration with a cache."""
    with open_services() as services:
        rows = [
            {
                "configuration": figures.slug,
                "exact": figures.rules.exact,
                "loose": figures.rules.loose,
                "semantic": figures.rules.semantic.value,
                "scope": figures.rules.scope.value,
                "entries": figures.entries,
                "bytes": figures.bytes,
                "hits": sum(figures.hits.values()),
                "misses": figures.outcomes.get("miss", 0),
                "saved_usd": convert_nano_to_usd(figures.saved_nano_usd),
                "unpriced_hits": figures.unpriced_hits,
            }
            for figures in services.cache.figures(OPERATOR, arguments.days)
        ]
    output.show(rows, as_json=arguments.json, empty="Nothing is remembered. Set rules with `cache set`.")


def set_rules(arguments: argparse.Namespace) -> None:
    """Change the rules that were named, and keep the others."""
    from lib.cache.policy import SemanticMode, SharingScope

    with open_services() as services:
        configuration = services.configurations.get(OPERATOR, arguments.configuration)
        changes: dict[str, Any] = {
            "exact": arguments.exact,
            "loose": arguments.loose,
            "semantic": arguments.semantic and SemanticMode(arguments.semantic),
            "scope": arguments.scope and SharingScope(arguments.scope),
            "ttl_s": arguments.ttl,
            "bound_per_mille": arguments.bound,
            "judge_configuration_id": arguments.judge and services.configurations.get(OPERATOR, arguments.judge).id,
        }
        changed_rules = {name: value for name, value in changes.items() if value is not None}
        if not changed_rules:
            raise InvalidInput("Say what is to change.", "", "For example --exact, or --semantic shadow.")
        rules = replace(services.cache.rules(OPERATOR, configuration.id), **changed_rules)
        services.cache.change_rules(OPERATOR, configuration.id, rules)
    print(f"{configuration.slug} remembers {'answers' if rules.is_on else 'nothing'} now.")


def purge(arguments: argparse.Namespace) -> None:
    """Forget, and print how many answers that were."""
    with open_services() as services:
        configuration = arguments.configuration
        gone = services.cache.purge(
            OPERATOR,
            configuration_id=services.configurations.get(OPERATOR, configuration).id if configuration else None,
            older_than=timedelta(seconds=arguments.older_than) if arguments.older_than is not None else None,
            everything=arguments.all,
        )
    print(f"Forgot {gone:,} answers.")


def show_decisions(arguments: argparse.Namespace) -> None:
    """Print would-be hits, or the nearest that were refused."""
    with open_services() as services:
        configuration = services.configurations.get(OPERATOR, arguments.configuration)
        decisions = services.cache.decisions(
            OPERATOR, configuration.id, refused=arguments.refused, limit=arguments.limit
        )
    rows = [
        {
            "created_at": decision.created_at,
            "similarity": round(decision.similarity, 3),
            "guard": decision.guard,
            "verdict": decision.verdict,
            "label": decision.label,
            "question": decision.question,
            "candidate": decision.candidate,
        }
        for decision in decisions
    ]
    output.show(rows, as_json=arguments.json, empty="None yet. The mode shadow notes what would have been served.")


def show_proofs(arguments: argparse.Namespace) -> None:
    """Print what is proved of each pool of questions."""
    with open_services() as services:
        slugs = {each.id: each.slug for each in services.configurations.list(OPERATOR)}
        rows = [
            {
                "configuration": slugs.get(pool.configuration_id, "—"),
                "pool": pool.pool[:8],
                "would_be_hits": pool.would_be_hits,
                "labelled": pool.proof.samples,
                "different": pool.proof.errors,
                "proved_at_most": pool.proof.bound,
                "next_look_at": pool.proof.next_size,
                "would_have_saved_usd": convert_nano_to_usd(pool.saved_nano_usd),
            }
            for pool in services.cache.proofs(OPERATOR)
        ]
    output.show(rows, as_json=arguments.json, empty="No would-be hits in the last 30 days.")

"""`budgets add`, `list`, `remove` and `check`. Limits are US dollars."""

import argparse
from decimal import Decimal, InvalidOperation
from typing import Any

from lib.cli import output
from lib.cli.arguments import parse_count, parse_names
from lib.cli.operator import OPERATOR, open_services
from lib.errors import UserError

SCOPES = ("global", "provider", "configuration", "app", "user", "key", "team")
PERIODS = ("day", "week", "month")


def add_commands(commands: Any) -> None:
    """Register the command `budgets` with its actions."""
    actions = commands.add_parser("budgets", help="how much may be spent on what").add_subparsers(
        metavar="ACTION", required=True
    )
    command = actions.add_parser("add", help="set a budget")
    _add_which(command)
    command.add_argument("--limit", type=parse_dollars, required=True, metavar="USD")
    command.add_argument("--soft", action="store_true", help="tell only, never stop a call")
    command.add_argument(
        "--thresholds", type=parse_percents, default=(50, 80, 100), metavar="P[,P]", help="percents to tell"
    )
    command.add_argument("--block-unpriced", action="store_true", help="stop calls of models without a price too")
    command.set_defaults(run=add)
    command = actions.add_parser("list", help="list budgets")
    output.add_json_option(command)
    command.set_defaults(run=list_budgets)
    command = actions.add_parser("remove", help="remove a budget with its past windows")
    _add_which(command)
    command.set_defaults(run=remove)
    command = actions.add_parser("check", help="would a call pass; status 1 when it would not")
    command.add_argument("configuration", metavar="SLUG")
    command.add_argument("--app", help="default: the configuration's")
    command.add_argument("--user", metavar="NAME", help="who makes the call")
    command.add_argument("--key", metavar="ID", help="an API key's id")
    command.add_argument("--prompt-tokens", type=parse_count, default=1000, metavar="N")
    command.add_argument("--max-tokens", type=parse_count, metavar="N")
    output.add_json_option(command)
    command.set_defaults(run=check)


def _add_which(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--scope",
        type=parse_scope,
        required=True,
        metavar="SCOPE:NAME",
        help=f"global, or one of {', '.join(SCOPES[1:])}",
    )
    command.add_argument("--period", choices=PERIODS, required=True)


def parse_scope(text: str) -> tuple[str, str]:
    """Read `app:support-bot` as (scope, name); `global` has an empty name."""
    kind, _, name = text.partition(":")
    if kind in SCOPES and (bool(name) or kind == "global"):
        return kind, name
    raise argparse.ArgumentTypeError(f"{text!r} is not a scope; write global, or app:NAME, team:NAME, key:ID …")


def parse_dollars(text: str) -> Decimal:
    """Read an amount of US dollars above zero."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(0)
    if amount.is_finite() and amount > 0:
        return amount
    raise argparse.ArgumentTypeError(f"{text!r} is not an amount of dollars above zero")


def parse_percents(text: str) -> tuple[int, ...]:
    """Read percents parted by commas."""
    return tuple(parse_count(part) for part in parse_names(text))


def add(arguments: argparse.Namespace) -> None:
    """Set a budget; it begins with what the ledger shows of its window."""
    from lib.money import convert_usd_to_nano, format_money, format_sum

    kind, name = arguments.scope
    with open_services() as services:
        state = services.budgets.create(
            OPERATOR,
            scope=kind,
            subject=name,
            period=arguments.period,
            limit_nano=convert_usd_to_nano(arguments.limit),
            is_hard=not arguments.soft,
            thresholds=arguments.thresholds,
            block_unpriced=arguments.block_unpriced,
        )
    spent = format_sum(state.now.spent_nano, state.now.unpriced_calls)
    print(
        f"Set {format_money(state.now.limit_nano)} per {state.budget.period} for {_describe_scope(state)}; "
        f"{spent} is spent."
    )


def list_budgets(arguments: argparse.Namespace) -> None:
    """Print every budget as it stands now."""
    from lib.money import convert_nano_to_usd

    with open_services() as services:
        rows = [
            {
                "scope": str(state.budget.scope),
                "name": state.budget.label,
                "period": str(state.budget.period),
                "kind": "hard" if state.budget.is_hard else "soft",
                "limit_usd": convert_nano_to_usd(state.now.limit_nano),
                "spent_usd": convert_nano_to_usd(state.now.spent_nano),
                "held_usd": convert_nano_to_usd(state.now.held_nano),
                "unpriced_calls": state.now.unpriced_calls,
                "percent": state.now.percent,
                "state": state.state,
                "ends_at": state.now.window.end,
            }
            for state in services.budgets.list(OPERATOR)
        ]
    output.show(
        rows,
        as_json=arguments.json,
        empty="No budgets yet. Add one: python -m lib budgets add --scope global --period month --limit 100",
    )


def remove(arguments: argparse.Namespace) -> None:
    """Remove a budget; the calls stay."""
    with open_services() as services:
        kind, name = arguments.scope
        state = services.budgets.find(OPERATOR, kind, name, arguments.period)
        services.budgets.delete(OPERATOR, state.budget.id)
    print(f"Removed the budget per {state.budget.period} for {_describe_scope(state)}.")


def check(arguments: argparse.Namespace) -> None:
    """Print what each budget that applies says to a call; raises UserError when one would stop it."""
    from lib.budgets.dry_run import ask_budgets
    from lib.money import convert_nano_to_usd, format_money

    with open_services() as services:
        assessment = ask_budgets(
            OPERATOR,
            services.budgets,
            services.prices,
            services.providers,
            services.configurations.get(OPERATOR, arguments.configuration),
            prompt_tokens=arguments.prompt_tokens,
            max_tokens=arguments.max_tokens,
            app=arguments.app,
            user=arguments.user,
            api_key_id=arguments.key,
        )
    rows = [
        {
            "budget": _describe_scope(verdict.state),
            "period": str(verdict.state.budget.period),
            "passes": verdict.refusal is None,
            "spent_usd": convert_nano_to_usd(verdict.state.now.spent_nano),
            "unpriced_calls": verdict.state.now.unpriced_calls,
            "limit_usd": convert_nano_to_usd(verdict.state.now.limit_nano),
        }
        for verdict in assessment.own.verdicts
    ]
    if arguments.json:
        usd = None if assessment.own.amount_nano is None else convert_nano_to_usd(assessment.own.amount_nano)
        instead = assessment.instead and f"{assessment.instead.provider}/{assessment.instead.model}"
        record = {"passes": assessment.passes, "most_usd": usd, "budgets": rows, "instead": instead}
        output.show_record(record, as_json=True)
    else:
        most = {None: "Nobody knows what the call costs.", 0: "The call is free."}
        print(
            most.get(assessment.own.amount_nano, f"The call may cost up to {format_money(assessment.own.amount_nano)}.")
        )
        output.show(rows, as_json=False, empty="No budget applies to it.")
        if assessment.instead is not None:
            print(
                "A budget stops it there; it would go to "
                f"{assessment.instead.provider}/{assessment.instead.model} instead."
            )
    refusal = next((verdict.refusal for verdict in assessment.own.verdicts if verdict.refusal), None)
    if refusal is not None and assessment.instead is None:
        raise UserError(refusal.title, refusal.why, refusal.fix)


def _describe_scope(state: Any) -> str:
    """Say what a budget is about: `everything`, or `app support-bot`."""
    budget = state.budget
    return str(budget.label) if budget.scope == "global" else f"{budget.scope} {budget.label}"

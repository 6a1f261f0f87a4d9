"""Commands about what waits for a decision: `approvals list`, `show`, `approve`, `deny`, `standing`, `revoke`."""

import argparse
import json
from dataclasses import asdict
from typing import Any

from lib.approvals.approval import Approval, ApprovalState, Decision, GrantScope, Verdict
from lib.cli import output
from lib.cli.arguments import read_text
from lib.cli.operator import OPERATOR, open_services
from lib.errors import InvalidInput


def add_commands(commands: Any) -> None:
    """Register the command `approvals` with its actions."""
    parser = commands.add_parser("approvals", help="what waits for a decision before it acts")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    command = actions.add_parser("list", help="what waits, the oldest last")
    command.add_argument("--all", action="store_true", help="decided ones too")
    output.add_json_option(command)
    command.set_defaults(run=list_requests)
    command = actions.add_parser("show", help="one request with its data")
    command.add_argument("id", metavar="ID")
    output.add_json_option(command)
    command.set_defaults(run=show)
    for verdict, help_text in ((Verdict.APPROVE, "let it go on"), (Verdict.DENY, "do not let it")):
        command = actions.add_parser(verdict.value, help=help_text)
        command.add_argument("id", metavar="ID")
        command.add_argument("--comment", default="", metavar="TEXT")
        if verdict is Verdict.APPROVE:
            command.add_argument("--scope", choices=[scope.value for scope in GrantScope], default="once")
            command.add_argument("--data", metavar="FILE", help="JSON in place of what was asked, or the form's answer")
        command.set_defaults(run=decide, verdict=verdict)
    command = actions.add_parser("standing", help="what runs without a question")
    output.add_json_option(command)
    command.set_defaults(run=list_grants)
    command = actions.add_parser("revoke", help="let it ask again")
    command.add_argument("grant", metavar="GRANT")
    command.set_defaults(run=revoke)


def list_requests(arguments: argparse.Namespace) -> None:
    """Print what waits."""
    states = () if arguments.all else (ApprovalState.WAITING,)
    with open_services() as services:
        approvals = services.approvals.recent(OPERATOR, states)
    output.show(
        [_describe(approval) for approval in approvals], as_json=arguments.json, empty="Nothing waits for a decision."
    )


def show(arguments: argparse.Namespace) -> None:
    """Print one request."""
    with open_services() as services:
        approval = services.approvals.get(OPERATOR, arguments.id)
    data = approval.data if arguments.json else json.dumps(approval.data, ensure_ascii=False)
    record = {**_describe(approval), "reason": approval.reason, "data": data, "comment": approval.comment}
    output.show_record(record, as_json=arguments.json)


def decide(arguments: argparse.Namespace) -> None:
    """Approve or deny, and print what that means."""
    data = None
    scope = GrantScope.ONCE
    if arguments.verdict is Verdict.APPROVE:
        scope = GrantScope(arguments.scope)
        try:
            data = None if arguments.data is None else json.loads(read_text(arguments.data))
        except ValueError:
            raise InvalidInput("The data is not JSON.", "", "Correct the file.", field="data") from None
    decision = Decision(verdict=arguments.verdict, scope=scope, data=data, comment=arguments.comment)
    with open_services() as services:
        approval = services.approvals.decide(OPERATOR, arguments.id, decision)
    print(f"{approval.state.value.capitalize()}: {output.flatten_line(approval.title)}")


def list_grants(arguments: argparse.Namespace) -> None:
    """Print what runs without a question."""
    with open_services() as services:
        grants = services.approvals.standing(OPERATOR)
    output.show([asdict(grant) for grant in grants], as_json=arguments.json, empty="Nothing runs without a question.")


def revoke(arguments: argparse.Namespace) -> None:
    """End a standing grant."""
    with open_services() as services:
        services.approvals.revoke(OPERATOR, arguments.grant)
    print("Revoked: it asks again.")


def _describe(approval: Approval) -> dict[str, Any]:
    return {
        "id": approval.id,
        "state": approval.state.value,
        "kind": approval.kind.value,
        "title": approval.title,
        "for": approval.user_name,
        "asked_at": approval.asked_at,
        "deadline": approval.deadline,
        "decided_by": approval.decided_by_name or None,
    }

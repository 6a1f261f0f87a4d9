"""`workflow list`, `show`, `validate`, `run`, `runs`, `steps`, `recover`, `resume`, `test`, `export` and others."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.cli import output
from lib.cli.arguments import parse_pair, read_text
from lib.cli.budgets import parse_dollars
from lib.cli.operator import OPERATOR, open_services
from lib.cli.workflows.tables import add_table_commands
from lib.cli.workflows.triggers import add_trigger_commands
from lib.errors import InvalidInput, UserError

if TYPE_CHECKING:
    from lib.services import Services
    from lib.workflows.run import Run


def add_commands(commands: Any) -> None:
    """Register the command `workflow` with its actions."""
    actions = commands.add_parser("workflow", help="workflows, their runs and tests").add_subparsers(
        metavar="ACTION", required=True
    )
    command = actions.add_parser("list", help="list workflows")
    command.add_argument("--templates", action="store_true", help="those in the box")
    output.add_json_option(command)
    command.set_defaults(run=list_workflows)
    command = actions.add_parser("show", help="print a version of a workflow")
    command.add_argument("slug")
    command.add_argument("--version", metavar="N|LABEL")
    command.add_argument("--json", action="store_true", help="print JSON instead of YAML")
    command.set_defaults(run=show)
    command = actions.add_parser("validate", help="check a definition from a file or standard input (-)")
    command.add_argument("file", metavar="FILE")
    command.set_defaults(run=validate)
    _add_run_commands(actions)
    add_table_commands(actions)
    add_trigger_commands(actions)
    command = actions.add_parser("test", help="run a workflow's test cases; status 1 when one fails")
    command.add_argument("slug", nargs="+")
    command.add_argument("--version", metavar="N|LABEL")
    command.add_argument("--case", action="append", default=[], metavar="NAME", help="only this one")
    command.add_argument("--junit", type=Path, metavar="FILE", help="write the results as JUnit XML")
    command.set_defaults(run=test)
    command = actions.add_parser("import", help="bring in an export or a definition (JSON, YAML, the original's)")
    command.add_argument("file", metavar="FILE", help="- is standard input; with --template none is read", nargs="?")
    command.add_argument("--slug", default="", help="the name of a single definition")
    command.add_argument("--template", metavar="NAME", help="take one from the box")
    command.set_defaults(run=import_workflows)
    command = actions.add_parser("export", help="workflows with all versions, as JSON")
    command.add_argument("slugs", nargs="*", metavar="SLUG", help="default: all")
    command.set_defaults(run=export)


def _add_run_commands(actions: Any) -> None:
    command = actions.add_parser("run", help="run a workflow here, to its end or until it waits")
    command.add_argument("slug")
    command.add_argument("--set", type=parse_pair, action="append", default=[], metavar="NAME=VALUE", dest="values")
    command.add_argument("--version", metavar="N|LABEL")
    command.add_argument("--cap", type=parse_dollars, metavar="USD", help="begin no call that might pass it")
    command.add_argument("--quote", action="store_true", help="only say what it would cost")
    output.add_json_option(command)
    command.set_defaults(run=run_workflow)
    command = actions.add_parser("runs", help="list runs, the newest first")
    command.add_argument("slug", nargs="?")
    output.add_json_option(command)
    command.set_defaults(run=list_runs)
    command = actions.add_parser("steps", help="the steps of a run")
    command.add_argument("id", metavar="RUN")
    output.add_json_option(command)
    command.set_defaults(run=list_steps)
    command = actions.add_parser("cancel", help="cancel a run, wherever it goes")
    command.add_argument("id", metavar="RUN")
    command.set_defaults(run=cancel)
    command = actions.add_parser("recover", help="go on here with the runs whose process is gone")
    command.set_defaults(run=recover)
    command = actions.add_parser("resume", help="go on here with a run that stopped")
    command.add_argument("id", metavar="RUN")
    command.add_argument("--cap", type=parse_dollars, metavar="USD", help="a cap in place of the run's")
    command.add_argument("--from", metavar="STEP", dest="step", help="repeat it from this step, as a new run")
    output.add_json_option(command)
    command.set_defaults(run=resume)


def list_workflows(arguments: argparse.Namespace) -> None:
    """Print the workflows of the installation, or those in the box."""
    if arguments.templates:
        from lib.workflows.templates import list_templates

        boxed = [{"template": t.slug, "name": t.name, "description": t.description} for t in list_templates()]
        output.show(boxed, as_json=arguments.json, empty="There are none.")
        return
    with open_services() as services:
        rows = [
            {
                "slug": workflow.slug,
                "name": workflow.name,
                "version": workflow.current,
                "newest": workflow.newest,
                "active": workflow.is_active,
                "labels": ", ".join(f"{label}={number}" for label, number in workflow.labels.items()),
            }
            for workflow in services.workflows.definitions.list(OPERATOR)
        ]
    output.show(rows, as_json=arguments.json, empty="No workflows yet. See `workflow list --templates`.")


def show(arguments: argparse.Namespace) -> None:
    """Print a version's definition."""
    from lib.workflows.definition import encode_definition, write_yaml

    with open_services() as services:
        version = services.workflows.definitions.version(OPERATOR, arguments.slug, arguments.version)
    print(encode_definition(version.definition) if arguments.json else write_yaml(version.definition).rstrip())


def validate(arguments: argparse.Namespace) -> None:
    """Print every problem of a definition; raises InvalidInput when it can't run."""
    with open_services() as services:
        definition, problems = services.workflows.definitions.check(OPERATOR, read_text(arguments.file))
    for problem in problems:
        print(("" if problem.is_error else "hint: ") + output.flatten_line(str(problem)), file=sys.stderr)
    count = sum(1 for problem in problems if problem.is_error)
    if count:
        raise InvalidInput("The workflow can't run.", f"It has {count} problems.", "Correct them.")
    print(f"It can run: {sum(len(graph.nodes) for _, graph in definition.graphs())} nodes.")


def run_workflow(arguments: argparse.Namespace) -> None:
    """Run a workflow in this process and print its output; raises UserError when it did not come to its end."""
    from lib.money import convert_usd_to_nano
    from lib.workflows.run import Trigger

    inputs = dict(arguments.values)
    with open_services() as services:
        if arguments.quote:
            _print_quote(services, arguments, inputs)
            return
        run = services.workflows.runs.start(
            OPERATOR,
            arguments.slug,
            inputs,
            trigger=Trigger.COMMAND,
            version=arguments.version,
            cap_nano_usd=None if arguments.cap is None else convert_usd_to_nano(arguments.cap),
            launches=False,
        )
        _execute(services, run.id, as_json=arguments.json)


def _print_quote(services: "Services", arguments: argparse.Namespace, inputs: dict[str, Any]) -> None:
    from lib.money import convert_nano_to_usd

    quote = services.workflows.runs.quote(OPERATOR, arguments.slug, inputs, arguments.version)
    record = {
        "low_usd": None if quote.low_nano is None else convert_nano_to_usd(quote.low_nano),
        "high_usd": None if quote.high_nano is None else convert_nano_to_usd(quote.high_nano),
        "basis": f"{quote.samples} past runs" if quote.basis == "past" else f"ceilings of {quote.samples} calls",
        "unpriced_models": list(quote.unpriced),
    }
    output.show_record(record, as_json=arguments.json)


def _execute(services: "Services", run_id: str, *, as_json: bool) -> None:
    import asyncio

    asyncio.run(services.workflows.interpreter.execute(run_id))
    run = services.workflows.runs.get(OPERATOR, run_id)
    if as_json:
        output.show_record(_describe_run(run) | {"output": run.output}, as_json=True)
    elif run.state == "done":
        print(run.output if isinstance(run.output, str) else _encode_json(run.output))
    if run.state != "done":
        at_step = f" at {run.failed_step}" if run.failed_step else ""
        fix = f"Go on with `workflow resume {run.id}`." if run.state in ("failed", "paused", "cancelled") else ""
        raise UserError(f"The run is {run.state}{at_step}.", run.reason, fix or f"Its id is {run.id}.")


def _encode_json(value: Any) -> str:
    from lib.fast_json import encode_text

    return encode_text(value)


def list_runs(arguments: argparse.Namespace) -> None:
    """Print runs, the newest first."""
    with open_services() as services:
        rows = [_describe_run(run) for run in services.workflows.runs.list(OPERATOR, arguments.slug)]
    output.show(rows, as_json=arguments.json, empty="No runs yet.")


def list_steps(arguments: argparse.Namespace) -> None:
    """Print the steps of a run in the order in which they began."""
    from lib.money import choose_least_sign, convert_nano_to_usd

    with open_services() as services:
        steps = services.workflows.runs.outline(OPERATOR, arguments.id)
    rows = [
        {
            "step": step.path,
            "kind": step.kind,
            "state": str(step.state),
            "left_by": step.port,
            "attempts": step.attempts,
            "ms": step.duration_ms,
            "tokens": step.prompt_tokens + step.completion_tokens,
            "cost_least": choose_least_sign(step.has_partial_cost),
            "cost_usd": None if step.cost_nano_usd is None else convert_nano_to_usd(step.cost_nano_usd),
            "error": step.error,
        }
        for step in steps
    ]
    output.show(rows, as_json=arguments.json, empty="No step has begun.")


def cancel(arguments: argparse.Namespace) -> None:
    """Cancel a run."""
    with open_services() as services:
        run = services.workflows.runs.cancel(OPERATOR, arguments.id)
    print("It is cancelled." if run.state == "cancelled" else "Asked to stop.")


def recover(arguments: argparse.Namespace) -> None:
    """Go on with the runs that a process which is gone left at work, one after another."""
    import asyncio

    with open_services() as services:
        runs = services.workflows.runs.recover(OPERATOR)
        for run in runs:
            asyncio.run(services.workflows.interpreter.execute(run.id))
            ended = services.workflows.runs.get(OPERATOR, run.id)
            print(f"{ended.id}  {ended.slug}  {ended.state}")
    if not runs:
        print("No run has lost its process.")


def resume(arguments: argparse.Namespace) -> None:
    """Go on with a run here, or repeat it from a step."""
    from lib.money import convert_usd_to_nano

    cap = None if arguments.cap is None else convert_usd_to_nano(arguments.cap)
    with open_services() as services:
        runs = services.workflows.runs
        if arguments.step is None:
            run = runs.resume(OPERATOR, arguments.id, cap, launches=False)
        else:
            run = runs.rerun(OPERATOR, arguments.id, arguments.step, cap_nano_usd=cap, launches=False)
        _execute(services, run.id, as_json=arguments.json)


def test(arguments: argparse.Namespace) -> None:
    """Run test cases and say how each ended; raises UserError when one failed."""
    from lib.workflows.bench import BenchResult, CaseResult, write_junit

    def tell(result: CaseResult) -> None:
        print(f"{'ok' if result.passed else 'FAILED':7}{result.name} ({result.seconds:.1f} s)")
        for failure in result.failures:
            print(f"       {output.flatten_line(failure)}")

    results: list[BenchResult] = []
    with open_services() as services:
        for slug in arguments.slug:
            print(slug)
            result = services.workflows.bench.test(OPERATOR, slug, arguments.version, arguments.case, tell)
            print(f"       {result.ways_taken} of {result.ways} ways taken" + _tell_missed(result.missed))
            results.append(result)
    if arguments.junit is not None:
        arguments.junit.write_text(write_junit(results), encoding="utf-8")
    failed = sum(not case.passed for result in results for case in result.cases)
    if failed:
        raise UserError(f"{failed} test cases failed.")
    if not any(result.cases for result in results):
        raise UserError("There are no test cases.", "", "Write some under `cases` in the definition.")


def _tell_missed(missed: tuple[str, ...]) -> str:
    return f"; not {', '.join(missed[:8])}" if missed else ""


def import_workflows(arguments: argparse.Namespace) -> None:
    """Import workflows from a file, or take one from the box."""
    with open_services() as services:
        if arguments.template is not None:
            from lib.workflows.templates import get_template

            template = get_template(arguments.template)
            workflow = services.workflows.definitions.create(
                OPERATOR,
                arguments.slug or template.slug,
                template.definition,
                name=template.name,
                description=template.description,
            )
            print(f"{workflow.slug} is made.")
            return
        if arguments.file is None:
            raise InvalidInput("There is nothing to import.", "", "Name a file, or --template.")
        done = services.workflows.definitions.import_document(OPERATOR, read_text(arguments.file), arguments.slug)
    for word, slugs in (("made", done.created), ("left as they are", done.skipped)):
        if slugs:
            print(f"{word}: {', '.join(slugs)}")


def export(arguments: argparse.Namespace) -> None:
    """Print workflows with all their versions as JSON."""
    with open_services() as services:
        print(services.workflows.definitions.export_json(OPERATOR, arguments.slugs or None))


def _describe_run(run: "Run") -> dict[str, Any]:
    from lib.money import choose_least_sign, convert_nano_to_usd

    return {
        "id": run.id,
        "workflow": run.slug,
        "version": run.version,
        "state": str(run.state),
        "steps": run.steps_done,
        "tokens": run.tokens,
        "cost_least": choose_least_sign(run.has_partial_cost),
        "cost_usd": None if run.cost_nano_usd is None else convert_nano_to_usd(run.cost_nano_usd),
        "began": run.created_at,
        "reason": run.reason,
    }

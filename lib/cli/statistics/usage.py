"""`stats` and `calls export`: figures and rows of the ledger, for spreadsheets and other programs."""

import argparse
import sys
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lib.cli import output
from lib.cli.arguments import parse_day, parse_names
from lib.cli.operator import OPERATOR, open_services
from lib.cli.statistics import comparisons
from lib.clock import utc_now
from lib.errors import InvalidInput


def add_commands(commands: Any) -> None:
    """Register the commands `stats` and `calls`."""
    command = commands.add_parser("stats", help="usage and cost by provider, model, app, user …")
    command.add_argument("--by", type=parse_names, default=[], metavar="D[,D]", help="dimensions, parted by commas")
    add_range(command)
    command.add_argument("--format", choices=["csv", "json", "parquet"], default="csv")
    command.add_argument("--currency", metavar="CODE", help="cost in this currency, too, each day at its rate")
    command.set_defaults(run=print_statistics, wrong_usage=command.error)
    actions = command.add_subparsers(metavar="ACTION")
    command = actions.add_parser("forecast", help="this month's cost at its end")
    command.add_argument("--zone", default="UTC", help="time zone of days and months, as Europe/Berlin")
    command.add_argument("--format", choices=["csv", "json"], default="csv")
    command.set_defaults(run=print_forecast)
    comparisons.add_commands(actions)
    actions = commands.add_parser("calls", help="the log of calls").add_subparsers(metavar="ACTION", required=True)
    command = actions.add_parser("export", help="write the log to standard output")
    command.add_argument("--format", choices=["csv", "json", "sql"], default="csv")
    add_range(command)
    command.set_defaults(run=export)


def add_range(command: argparse.ArgumentParser) -> None:
    """Give a command the options `--from` and `--to`, days in UTC."""
    command.add_argument("--from", dest="first", type=parse_day, metavar="DAY", help="first day (UTC), as 2026-10-01")
    command.add_argument("--to", dest="last", type=parse_day, metavar="DAY", help="last day (UTC), included")


def print_statistics(arguments: argparse.Namespace) -> None:
    """Print usage by the given dimensions; users by their names."""
    from lib.cli.statistics import frames
    from lib.statistics.filters import StatisticsFilter

    if not arguments.by:
        arguments.wrong_usage("give --by, or one of forecast, whatif and reconcile")
    if arguments.format == "parquet" and sys.stdout.isatty():
        raise InvalidInput("Parquet is not text.", "", "Send it to a file: … --format parquet > usage.parquet")
    start, end = convert_to_moments(arguments.first, arguments.last)
    with open_services() as services:
        money = arguments.currency and services.exchange_rates.book(OPERATOR, arguments.currency.upper())
        currency_filter = StatisticsFilter(money=money or None)
        frame = services.statistics.stats_table(OPERATOR, arguments.by, start, end, currency_filter)
        if "user" in frame:
            user_names = get_sample_names() | services.users.names(frame["user"].dropna().unique())
            frame["user"] = frame["user"].map(lambda user_id: user_names.get(user_id, user_id))
        if "team" in frame:
            team_names = {str(team.id): team.slug for team in services.teams.list(OPERATOR)}
            frame["team"] = frame["team"].map(lambda team_id: team_names.get(team_id, team_id))
        services.audit.note_export(OPERATOR, "statistics.export", arguments.format, rows=len(frame), by=arguments.by)
    write = {"csv": frames.write_csv, "json": frames.write_json, "parquet": frames.write_parquet}[arguments.format]
    output.write_bytes([write(frame)])


def print_forecast(arguments: argparse.Namespace) -> None:
    """Print the month's forecast with its interval and back-test; empty cells where there is too little history."""
    import pandas as pd

    from lib.cli.statistics import frames
    from lib.statistics.filters import StatisticsFilter
    from lib.statistics.forecast import build_record, forecast_month_end

    try:
        zone = ZoneInfo(arguments.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput(f"There is no time zone {arguments.zone}.", "", "Name one as Europe/Berlin.") from error
    with open_services() as services:
        outlook = forecast_month_end(services.statistics, OPERATOR, StatisticsFilter(zone=zone), utc_now())
        frame = pd.DataFrame([build_record(outlook)], dtype=object)
        services.audit.note_export(OPERATOR, "statistics.export", arguments.format, rows=1, forecast=True)
    output.write_bytes([{"csv": frames.write_csv, "json": frames.write_json}[arguments.format](frame)])


def export(arguments: argparse.Namespace) -> None:
    """Stream every attempt of the range, newest first."""
    from lib.activity.call_filter import CUSTOM, ActivityFilter

    start, end = convert_to_moments(arguments.first, arguments.last)
    activity_filter = ActivityFilter(period=CUSTOM, start=start, end=end)
    with open_services() as services:
        write = {
            "csv": services.activity.export_csv,
            "json": services.activity.export_json,
            "sql": services.activity.export_sql,
        }[arguments.format]
        output.write_bytes(write(OPERATOR, activity_filter, get_sample_names()))


def get_sample_names() -> dict[str, str]:
    """Names of the people of the sample data, who have no account, by their ids."""
    from lib.demo import name_demo_users

    return name_demo_users()


def convert_to_moments(first: date | None, last: date | None) -> tuple[datetime | None, datetime | None]:
    """Turn days into moments in UTC: the start of the first and the end (exclusive) of the last; None is open."""
    if first is not None and last is not None and last < first:
        raise InvalidInput("The range is empty.", f"--from {first} is after --to {last}.", "Swap the two days.")
    start, end = (None if day is None else datetime.combine(day, time(), UTC) for day in (first, last))
    return start, end if end is None else end + timedelta(days=1)

"""When a schedule is due: a cron expression read in a time zone's local time.

An hour that falls out in spring is made up for at the first minute that exists; one that comes twice in autumn counts
once, the first time. So a nightly run is done each night, and never twice.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter  # type: ignore[import-untyped]

from lib.errors import InvalidInput

_LONGEST_GAP = 24 * 60  # minutes: a whole day fell out in Samoa
_MOST_TRIES = 400


def check_cron(cron: str, zone: str) -> None:
    """Raise InvalidInput for an expression of other than five fields, or a zone that does not exist."""
    if len(cron.split()) != 5 or not croniter.is_valid(cron):
        why = f"{cron[:60]!r} is not minute, hour, day, month and weekday."
        raise InvalidInput("The schedule can't be used.", why, "Write it like 30 2 * * 1-5.", field="cron")
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        why = f"{zone[:60]!r} is no time zone."
        raise InvalidInput("The schedule can't be used.", why, "Write it like Europe/Berlin.", field="zone") from None


def find_next(cron: str, zone: str, after: datetime) -> datetime | None:
    """Find the first moment after another at which a schedule is due, in UTC; None when there is none."""
    local_zone = ZoneInfo(zone)
    moments = croniter(cron, after.astimezone(local_zone).replace(tzinfo=None) - timedelta(days=1, minutes=1))
    for _ in range(_MOST_TRIES * 24 * 60):
        try:
            local = moments.get_next(datetime)
        except CroniterError:
            return None
        moment = _convert_to_utc(local, local_zone)
        if moment > after:
            return moment
    return None


def _convert_to_utc(local: datetime, zone: ZoneInfo) -> datetime:
    """The moment of a local time: its first, where it comes twice; that of the next minute that exists otherwise."""
    for minutes in range(_LONGEST_GAP + 1):
        target = local + timedelta(minutes=minutes)
        moment = target.replace(tzinfo=zone).astimezone(UTC)
        if moment.astimezone(zone).replace(tzinfo=None) == target:
            return moment
    return local.replace(tzinfo=zone).astimezone(UTC)

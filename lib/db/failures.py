"""What a database's failure means, in one place for every reader and writer: `Store` raises what this makes of it.

A database that is away (stopped, starting, unreachable, out of connections) is `DatabaseAway`: nothing is wrong with
what was asked, and asking again in a moment helps. Text that no database holds (NUL, halves of surrogate pairs) is the
asker's to correct, and so is a number that is too large.
"""

from pathlib import Path

from sqlalchemy.exc import DBAPIError, DisconnectionError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionLeft

from lib.errors import InstallationError, InvalidInput, LLMManagerError

_AWAY_STATES = {"57P01", "57P02", "57P03", "53300"}  # PostgreSQL: shut down, crashed, starting, too many connections
_FULL_STATES = {"53100"}
_TOO_LONG_STATE = "22001"  # of PostgreSQL; SQLite keeps texts of any length


class DatabaseAway(InstallationError):
    """The database can't be reached now. `was_connected`: it went while something was asked, which may have counted."""

    def __init__(self, *, was_connected: bool = False) -> None:
        super().__init__(
            "The database does not answer.",
            "It is being restarted, or can't be reached.",
            "Try again in a moment; if that does not help, start it, or correct DATABASE_URL.",
        )
        self.was_connected = was_connected


def translate_error(error: Exception, database: str | None) -> LLMManagerError | None:
    """Make the error that says what is wrong and what to do from a database's failure; None for a bug."""
    if isinstance(error, NoConnectionLeft | DisconnectionError):
        return DatabaseAway()
    driver = error.orig if isinstance(error, DBAPIError) else error
    if is_too_large(driver):
        return InvalidInput("The number can't be stored.", "No database keeps one as large.", "Use a smaller one.")
    if is_unsayable(driver):
        return InvalidInput(
            "The text can't be stored.",
            "It holds a NUL or half a letter, which no database keeps.",
            "Leave that letter out.",
        )
    if getattr(driver, "sqlstate", None) == _TOO_LONG_STATE:
        return InvalidInput("The text can't be stored.", "It is longer than its place.", "Shorten it.")
    if not isinstance(error, SQLAlchemyError):
        return None
    if isinstance(error, DBAPIError) and (error.connection_invalidated or _is_away(driver)):
        return DatabaseAway(was_connected=error.connection_invalidated)
    if getattr(driver, "sqlstate", None) in _FULL_STATES:
        return explain_message("disk is full", database)
    return explain_message(str(driver), database)


def is_unsayable(error: BaseException | None) -> bool:
    """Whether a driver could not write a text as UTF-8, or PostgreSQL took offence at a NUL."""
    return isinstance(error, UnicodeEncodeError) or "cannot contain NUL" in str(error)


def is_too_large(error: BaseException | None) -> bool:
    """Whether a number did not fit: Python's driver for SQLite says it itself, PostgreSQL by its state 22003."""
    return isinstance(error, OverflowError) or getattr(error, "sqlstate", None) == "22003"


def is_lost_connection(error: BaseException) -> bool:
    """Say whether the connection broke while something was written, so that it may be committed or not."""
    return isinstance(error, DatabaseAway) and error.was_connected


def _is_away(error: BaseException | None) -> bool:
    """Whether psycopg lost its connection, or got none: failures of that kind without a state, or with one of these."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if not type(error).__module__.startswith("psycopg") or not kinds & {"OperationalError", "InterfaceError"}:
        return False
    state = getattr(error, "sqlstate", None)
    return state is None or state in _AWAY_STATES or state.startswith("08")


def explain_message(message: str, database: str | None) -> InstallationError | None:
    """Make the error for a driver's message that an operator can act on; None where nobody can."""
    lowered = message.lower()
    name = Path(database).name if database else "The database"
    if "malformed" in lowered or "not a database" in lowered:
        return InstallationError(
            f"{name} is damaged.",
            "SQLite can't read it.",
            "Nothing was changed. Put back your last backup of the data folder, or move the file away to start empty.",
        )
    if "disk is full" in lowered or "disk i/o error" in lowered:
        return InstallationError(f"The disk that holds {name} is full.", "", "Free some space and try again.")
    if "readonly database" in lowered or "unable to open database" in lowered:
        return InstallationError(
            f"{name} can't be written.", "The data folder or the file is read-only.", "Correct its permissions."
        )
    if "database is locked" in lowered:
        return InstallationError(f"{name} is busy.", "Another process holds it for long.", "Try again in a moment.")
    if "connection refused" in lowered or "could not translate host" in lowered or "connection failed" in lowered:
        return InstallationError(
            "The database does not answer.", "No connection to DATABASE_URL's host.", "Start it, or correct the URL."
        )
    return None

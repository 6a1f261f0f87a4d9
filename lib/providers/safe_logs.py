"""Nothing secret reaches a log or the terminal: `install()`, once, at the start of a process.

Log records are cleaned where they are made, so that whoever handles them, and whichever library wrote them, has the
clean text; traces of exceptions too. Exceptions that nobody catches are printed clean.
"""

import logging
import sys
import threading
import traceback
from types import TracebackType
from typing import Any

from lib.providers.redaction import redact

_installed = False


def install() -> None:
    """Clean what is logged and what is printed of exceptions from now on."""
    global _installed
    if _installed:
        return
    _installed = True
    make = logging.getLogRecordFactory()

    def make_clean(*args: Any, **keywords: Any) -> logging.LogRecord:
        return clean(make(*args, **keywords))

    logging.setLogRecordFactory(make_clean)
    sys.excepthook = print_clean
    threading.excepthook = _report_thread_failure
    sys.unraisablehook = _report_unraisable


def clean(record: logging.LogRecord) -> logging.LogRecord:
    """A record whose message, arguments and trace hold no secret."""
    if isinstance(record.args, tuple):
        record.args = tuple(redact(value) if isinstance(value, str) else value for value in record.args)
    record.msg = redact(record.msg) if isinstance(record.msg, str) else record.msg
    try:
        message = record.getMessage()
    except (TypeError, ValueError, KeyError):  # the handler reports it
        message = ""
    if (safe := redact(message)) != message or not isinstance(record.msg, str):
        record.msg = safe
        record.args = ()
    if record.exc_info and record.exc_info[0] is not None:
        record.exc_text = redact("".join(traceback.format_exception(*record.exc_info)).rstrip("\n"))
    if record.stack_info:
        record.stack_info = redact(record.stack_info)
    return record


def print_clean(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an uncaught exception and its trace to stderr without secrets; serves as `sys.excepthook`."""
    sys.stderr.write(redact("".join(traceback.format_exception(kind, error, trace))))


def _report_thread_failure(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        name = args.thread.name if args.thread is not None else "a thread"
        sys.stderr.write(f"Exception in thread {name}:\n")
        print_clean(args.exc_type, args.exc_value, args.exc_traceback)


def _report_unraisable(args: "sys.UnraisableHookArgs") -> None:
    if args.exc_value is not None:
        sys.stderr.write(f"Exception ignored in {type(args.object).__name__}:\n")
        print_clean(args.exc_type, args.exc_value, args.exc_traceback)

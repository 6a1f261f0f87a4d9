"""Commands about the installation itself: `migrate` and `serve`."""

import argparse
import os
import socket
import sys
from typing import Any

from lib.errors import InstallationError
from lib.settings import PROJECT, Settings


def add_commands(commands: Any) -> None:
    """Register `migrate` and `serve`."""
    command = commands.add_parser("migrate", help="bring the database to this version")
    command.set_defaults(run=migrate)
    command = commands.add_parser("serve", help="serve the pages and routes on PORT")
    command.add_argument("--port", type=int, help="instead of PORT (8501)")
    command.set_defaults(run=serve)


def migrate(arguments: argparse.Namespace) -> None:
    """Run the missing migrations and say which."""
    settings = load_ready_settings()
    from lib.db import schema
    from lib.db.database_file import open_store

    store = open_store(settings)
    try:
        done = schema.upgrade(store)
    finally:
        store.dispose()
    print(f"Migrated: {', '.join(done)}." if done else "The database is up to date.")


def serve(arguments: argparse.Namespace) -> None:
    """Check folder, database and port, then become `streamlit run app.py`."""
    settings = load_ready_settings()
    port = settings.port if arguments.port is None else arguments.port
    require_free_port(port)
    print(f"LLM Manager: http://localhost:{port}", flush=True)
    options = ["--server.port", str(port), "--server.headless", "true", "--logger.hideWelcomeMessage", "true"]
    os.chdir(PROJECT)
    os.execve(  # noqa: S606 (no shell: the same interpreter, our own arguments)
        sys.executable,
        [sys.executable, "-m", "streamlit", "run", str(PROJECT / "app.py"), *options],
        dict(os.environ) | {"PORT": str(port)},
    )


def load_ready_settings() -> Settings:
    """Load the settings after making sure that the data folder can be written; raises InstallationError."""
    settings = Settings.from_environment()
    settings.require_data_folder()
    return settings


def require_free_port(port: int) -> None:
    """Raise InstallationError unless a server could listen on the port now."""
    if not 0 < port < 65536:
        raise InstallationError("That is not a port number.", f"It reads {port}.", "Choose one from 1 to 65535.")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 (where the server will listen)
        except PermissionError as error:
            raise InstallationError(
                f"Port {port} needs special rights.", "", "Choose one above 1023: PORT=8501 make run"
            ) from error
        except OSError as error:
            raise InstallationError(
                f"Port {port} is in use.",
                "Another program listens on it, perhaps an LLM Manager that runs already.",
                f"Stop it, or choose another port: PORT={port % 65535 + 1} make run",
            ) from error

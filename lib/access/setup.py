"""The first account: made on a page by whoever holds the set-up code, or from the environment without a page.

Whoever reaches the port of a new installation first must not become its administrator, so the page asks for a code
that stands in the terminal and in a 0600 file of the data folder. Both ways work only while nobody has an account.
"""

import hmac
import os
import secrets
from dataclasses import replace

from sqlalchemy import insert, select, text

from lib.access import audit
from lib.access.membership import join_team
from lib.access.permissions import OPERATOR, Role
from lib.access.users import User, Users, build_row
from lib.db.engine import Store
from lib.db.tables import users
from lib.errors import Conflict, InstallationError, InvalidInput
from lib.settings import Settings

_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"


class Setup:
    """Creates the first administrator's account."""

    def __init__(self, settings: Settings, store: Store, people: Users) -> None:
        self._settings = settings
        self._store = store
        self._people = people
        self._file = settings.data_dir / "setup-code.txt"
        self._done = False

    def is_needed(self) -> bool:
        """Whether nobody has an account yet; cheap once somebody has."""
        self._done = self._done or self._people.exists()
        return not self._done

    def read_code(self) -> str:
        """Return the set-up code; it is made at the first call and kept in its file until the account is there."""
        try:
            return self._file.read_text().strip()
        except FileNotFoundError:
            pass
        code = "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(3))
        try:
            file = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return self._file.read_text().strip()
        with os.fdopen(file, "w") as out:
            out.write(code + "\n")
        return code

    def create_administrator(self, code: str, name: str, password: str, came_from: str | None = None) -> User:
        """The first account, a super-admin; InvalidInput for a wrong code, Conflict when somebody was faster."""
        typed_code = "".join(code.split()).replace("-", "").upper()
        if not hmac.compare_digest(typed_code.encode(), self.read_code().replace("-", "").encode()):
            hint = "It stands in the terminal that started LLM Manager and in setup-code.txt in the data folder."
            raise InvalidInput("The set-up code is not right.", hint, field="code")
        user = self._create(name, password, came_from)
        self._file.unlink(missing_ok=True)
        return user

    def create_from_environment(self) -> User | None:
        """The account that LLM_MANAGER_ADMIN_USER and _PASSWORD ask for, if nobody has one yet."""
        name = self._settings.admin_user
        password = self._settings.admin_password
        if not name or not password or not self.is_needed():
            return None
        try:
            return self._create(name, password, "environment")
        except InvalidInput as error:
            fix = "Correct LLM_MANAGER_ADMIN_USER or LLM_MANAGER_ADMIN_PASSWORD."
            raise InstallationError("The first account can't be made.", str(error), fix) from error
        except Conflict:
            return None  # another process with the same environment was faster

    def _create(self, name: str, password: str, came_from: str | None) -> User:
        row = build_row(name, password, Role.SUPER_ADMIN)
        with self._store.write() as connection:
            if not self._store.is_sqlite:  # SQLite's write transactions follow one another by themselves
                connection.execute(text("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE"))
            if connection.scalar(select(users.c.id).limit(1)) is not None:
                raise Conflict("The first account exists already.", "", "Sign in, or ask its owner for an account.")
            connection.execute(insert(users), row)
            join_team(connection, row["id"], row["team_id"])
            actor = replace(OPERATOR, came_from=came_from)
            audit.record(connection, actor, "user.create", row["name"], role=row["role"], first=True)
        self._done = True
        return next(user for user in self._people.list(OPERATOR) if user.id == row["id"])

"""Password rule and hashes; hashing and checking are streamlit-authenticator's `Hasher` (bcrypt)."""

import logging
from functools import cache
from typing import Any

from lib.errors import InvalidInput

SHORTEST = 12
LONGEST_BYTES = 72  # bcrypt reads no further


def check_password_rule(password: str, name: str) -> None:
    """InvalidInput when the password is too short, too long or the user name."""
    if len(password) < SHORTEST:
        raise InvalidInput(f"The password needs {SHORTEST} characters or more.", field="password")
    if "\0" in password:
        raise InvalidInput("The password holds a character that can't be typed.", field="password")
    if len(password.encode()) > LONGEST_BYTES:
        raise InvalidInput(f"The password is longer than {LONGEST_BYTES} bytes.", "", "Shorten it.", field="password")
    if password.casefold() == name.casefold() or len(set(password)) < 4:
        raise InvalidInput("The password is too easy to guess.", "", "Choose another one.", field="password")


def hash_password(password: str) -> str:
    """A bcrypt hash; takes a fifth of a second by design."""
    return str(_load_hasher().hash(password))


_NOT_A_PAGE = ("runtime.scriptrunner_utils.script_run_context", "runtime.caching.cache_data_api")


@cache
def _load_hasher() -> Any:
    """The library's hasher. Importing it touches Streamlit's session, which warns outside a page: not here."""
    loggers = [logging.getLogger(f"streamlit.{name}") for name in _NOT_A_PAGE]
    for logger in loggers:
        logger.addFilter(_drop_record)  # a level would be set anew by the import
    try:
        from streamlit_authenticator.utilities.hasher import Hasher
    finally:
        for logger in loggers:
            logger.removeFilter(_drop_record)
    return Hasher


def _drop_record(_record: logging.LogRecord) -> bool:
    return False


def matches(password: str, password_hash: str | None) -> bool:
    """Whether the password is the hashed one; without a hash the same work is done, and the answer is False."""
    dummy_hash = (
        _get_dummy_hash()
    )  # before it is known who asks: the first call pays for it, not the first unknown name
    if len(password.encode("utf-8", "replace")) > LONGEST_BYTES or "\0" in password:
        password = ""
        password_hash = None
    return bool(_load_hasher().check_pw(password, password_hash or dummy_hash)) and password_hash is not None


@cache
def _get_dummy_hash() -> str:
    """Return the hash that stands for a user who does not exist, so that right and wrong names take the same time."""
    return hash_password("nobody has this password")

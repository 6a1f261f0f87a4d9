"""The vault's keys as text: in a file (one a line, the newest first) or in LLM_MANAGER_MASTER_KEY (commas between).

A key's id is taken from the key itself, so that it can stand beside every ciphertext without telling anything.
"""

import base64
import hashlib
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.fernet import Fernet

from lib.errors import InstallationError

_SHORTEST = 16
_HEAD = (
    "# LLM Manager's master keys, the newest first. Whoever has this file and the database has every provider key.\n"
)


@dataclass(frozen=True)
class Key:
    """A Fernet key and its id."""

    id: str
    value: bytes = field(repr=False)

    @classmethod
    def of(cls, value: bytes) -> "Key":
        """Make the key of these bytes, with its id."""
        return cls(hashlib.sha256(b"llm-manager key id:" + value).hexdigest()[:12], value)

    @classmethod
    def new(cls) -> "Key":
        """Make a fresh random key."""
        return cls.of(Fernet.generate_key())


def parse_keys(text: str) -> list[Key]:
    """Read the keys of LLM_MANAGER_MASTER_KEY: Fernet keys as they are, other texts of 16 characters or more stretched
    by scrypt. Raises InstallationError.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if any(len(part) < _SHORTEST for part in parts):
        parts = [text.strip()]  # one text that holds commas
    if not parts or len(parts[0]) < _SHORTEST:
        raise InstallationError(
            "LLM_MANAGER_MASTER_KEY is too short.",
            f"It needs {_SHORTEST} characters.",
            "Use a long random text, for instance from `openssl rand -base64 32`.",
        )
    return [Key.of(_make_fernet_key(part)) for part in parts]


def read_file(path: Path) -> list[Key]:
    """Read the keys of a key file, newest first; raises InstallationError."""
    lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    values = [line.strip().encode() for line in lines if line.strip() and not line.startswith("#")]
    if not values or not all(_is_fernet_key(value) for value in values):
        raise InstallationError(
            "The key file can't be read.", f"{path} does not hold keys.", "Put it back from a backup."
        )
    return [Key.of(value) for value in values]


def write_file(path: Path, keys: list[Key], *, only_if_absent: bool = False) -> None:
    """Write a key file in one step, readable by its owner alone, on disk before this returns."""
    text = _HEAD + "".join(key.value.decode() + "\n" for key in keys)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".master-")  # made 0600
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if only_if_absent:
            _link(temporary, path)
        else:
            os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise InstallationError(
            "The key file can't be written.", f"{path}: {error.strerror}.", "Make the data folder writable."
        ) from error


def _link(temporary: str, path: Path) -> None:
    """Give a temporary file its name, unless another process made that name first."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(temporary)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _make_fernet_key(text: str) -> bytes:
    if _is_fernet_key(text.encode()):
        return text.encode()
    stretched = hashlib.scrypt(text.encode(), salt=b"llm-manager vault", n=2**14, r=8, p=1, dklen=32)
    return base64.urlsafe_b64encode(stretched)


def _is_fernet_key(value: bytes) -> bool:
    try:
        return len(base64.urlsafe_b64decode(value)) == 32
    except ValueError:
        return False

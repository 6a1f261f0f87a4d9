"""Files of a conversation: images and text, kept in the database, handed to their owner alone.

What a file is, its first bytes say, never its name. The limits keep a question sendable: providers take images of up
to some megabytes, and text counts as tokens.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import Connection, func, insert, select

from lib.access.permissions import Actor
from lib.clock import make_id, utc_now
from lib.conversations.conversation import require_owner
from lib.conversations.rows import find
from lib.db.engine import Store
from lib.db.tables import conversation_files
from lib.errors import InvalidInput, NotFound
from lib.providers.kinds import ProviderKind
from lib.tokens.image_size import read_size
from lib.tokens.prompt_size import Image
from lib.tokens.prompt_tokens import estimate_image_tokens
from lib.tokens.text_estimate import estimate_tokens

LARGEST_IMAGE = 4 * 1024 * 1024  # bytes
LARGEST_TEXT = 400_000
MOST_FILES = 8  # with one message
MOST_BYTES = 500 * 1024 * 1024  # of one owner
_F = conversation_files.c
_SIGNATURES = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))


@dataclass(frozen=True)
class File:
    """A file with its bytes."""

    id: str
    name: str
    media_type: str
    data: bytes

    @property
    def is_image(self) -> bool:
        """Whether it is shown, not quoted."""
        return self.media_type.startswith("image/")

    @cached_property
    def text(self) -> str:
        """The text of a text file, from UTF-8."""
        return self.data.decode("utf-8")

    @property
    def tokens(self) -> int:
        """Estimated tokens of the file in a prompt."""
        if not self.is_image:
            return estimate_tokens(self.text)
        return estimate_image_tokens(Image(*(read_size(self.data) or (0, 0))), ProviderKind.ANTHROPIC, "")

    @property
    def part(self) -> dict[str, object]:
        """The message part that names the file: type, id, name, media_type, size in bytes."""
        return {
            "type": "file",
            "id": self.id,
            "name": self.name,
            "media_type": self.media_type,
            "size": len(self.data),
        }


class ConversationFiles:
    """Upload and read; the owner stands in every statement."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, actor: Actor, file_id: str) -> File:
        """Return a file of the actor with its bytes; raises NotFound for any other."""
        query = select(_F.id, _F.name, _F.media_type, _F.data)
        with self._store.read() as connection:
            row = connection.execute(query.where(_F.id == file_id, _F.owner_id == require_owner(actor))).first()
        if row is None:
            raise NotFound("There is no such file.", "It was removed, or it belongs to somebody else.")
        return File(*row)

    def add(self, actor: Actor, conversation_id: str, uploads: Sequence[tuple[str, bytes]]) -> list[File]:
        """Keep files (name, bytes) for the next message; InvalidInput, and none kept, when one can't be."""
        if len(uploads) > MOST_FILES:
            raise InvalidInput(f"{len(uploads)} files are too many.", f"A message takes {MOST_FILES}.", "Send fewer.")
        files = [check_file(name, data) for name, data in uploads]
        with self._store.write() as connection:
            conversation = find(connection, actor, conversation_id)
            used = connection.scalar(select(func.sum(_F.size)).where(_F.owner_id == conversation.owner_id)) or 0
            if used + sum(len(file.data) for file in files) > MOST_BYTES:
                raise InvalidInput(
                    "Your conversations' files fill their space.",
                    f"They may hold {MOST_BYTES // 1024**2} MB together.",
                    "Delete conversations with files that you no longer need.",
                )
            insert_files(connection, conversation_id, conversation.owner_id, files)
        return files


def insert_files(connection: Connection, conversation_id: str, owner_id: str, files: Iterable[File]) -> None:
    """Write rows of `conversation_files` for a conversation and its owner."""
    shared = {"conversation_id": conversation_id, "owner_id": owner_id, "created_at": utc_now()}
    for file in files:
        values = {"id": file.id, "name": file.name, "media_type": file.media_type, "data": file.data}
        connection.execute(insert(conversation_files).values(**values, **shared, size=len(file.data)))


def load_files(connection: Connection, conversation_id: str, owner_id: str, ids: Iterable[str]) -> dict[str, File]:
    """Files of a conversation, by id; ids of other conversations' files are not there."""
    if not (file_ids := [*ids]):
        return {}
    query = select(_F.id, _F.name, _F.media_type, _F.data).where(
        _F.id.in_(file_ids), _F.conversation_id == conversation_id, _F.owner_id == owner_id
    )
    return {row.id: File(*row) for row in connection.execute(query)}


def check_file(name: str, data: bytes) -> File:
    """A file as it may be kept."""
    name = "".join(sign for sign in name.replace("\\", "/").rpartition("/")[2] if sign.isprintable())[:200] or "file"
    media_type = _detect_media_type(data)
    if media_type is None:
        raise InvalidInput(
            f"{name} can't be attached.",
            "It is neither an image (PNG, JPEG, GIF, WebP) nor text in UTF-8.",
            "Save it as one of these.",
            field="files",
        )
    largest = LARGEST_IMAGE if media_type.startswith("image/") else LARGEST_TEXT
    if not data or len(data) > largest:
        why = f"It has {len(data):,} bytes; the limit is {largest:,}." if data else "It is empty."
        raise InvalidInput(f"{name} can't be attached.", why, "Attach a smaller one." if data else "", field="files")
    return File(make_id(), name, media_type, data)


def _detect_media_type(data: bytes) -> str | None:
    for signature, media_type in _SIGNATURES:
        if data.startswith(signature):
            return media_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    try:
        return None if "\x00" in data.decode("utf-8") else "text/plain"
    except UnicodeDecodeError:
        return None

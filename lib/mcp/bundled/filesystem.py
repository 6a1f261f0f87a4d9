"""Files of allowed folders, for models: listed, found, read, and written where that is allowed.

There is no way out of a root. A path is walked from the root's own descriptor, one name at a time, and no step follows
a link (`O_NOFOLLOW`), so what is checked is what is opened and nobody can swap a folder in between. Regular files with
one name alone are read: another hard link may stand for a file elsewhere. Files are text of the allowed extensions, at
most 1 MiB; a file without an extension, or whose name begins with a dot, is not shown. Closed folders stay closed
wherever a root lies: the installation's own, which holds keys and everybody's words, and those of the kernel.
"""

import fnmatch
import os
import secrets
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from msgspec import Meta

from lib.access.permissions import Actor
from lib.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from lib.mcp.bundled.tool import Arguments, BundledServer, BundledTool

LARGEST_FILE = 1024 * 1024  # bytes
EXTENSIONS = (
    *(".c", ".cfg", ".conf", ".cpp", ".css", ".csv", ".go", ".h", ".html", ".ini", ".java", ".js", ".json", ".jsonl"),
    *(".jsx", ".log", ".md", ".py", ".rb", ".rs", ".rst", ".sh", ".sql", ".tex", ".toml", ".ts", ".tsv", ".tsx"),
    *(".txt", ".xml", ".yaml", ".yml"),
)
_NOTHING_ALLOWED = "No folder is allowed yet. An administrator allows some on the page MCP servers."
_MOST_ENTRIES = 1_000
_MOST_VISITED = 20_000  # entries that a search looks at
_MOST_MATCHES = 100
_DEEPEST = 32
_SEARCH_S = 20.0
_OF_THE_KERNEL = (Path("/proc"), Path("/sys"), Path("/dev"))
_LONGEST_LINE = 300
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # not blocked by a pipe without a writer

FolderPath = Annotated[str, Meta(description="A folder as ROOT/folder; empty lists the roots.")]
FilePath = Annotated[str, Meta(description="A file as ROOT/folder/name.txt.", min_length=1)]


class ListFolder(Arguments, frozen=True):
    path: FolderPath = ""


class ReadFile(Arguments, frozen=True):
    path: FilePath
    first_line: Annotated[int, Meta(ge=1, description="The first line to read.")] = 1
    lines: Annotated[int, Meta(ge=1, le=100_000, description="How many lines at most.")] = 2_000


class FindFiles(Arguments, frozen=True):
    path: FolderPath
    name: Annotated[str, Meta(max_length=200, description="A pattern of the name, as *.md.")] = "*"
    text: Annotated[str, Meta(max_length=200, description="Text that a line must hold, in any case.")] = ""


class WriteFile(Arguments, frozen=True):
    path: FilePath
    text: str
    overwrite: Annotated[bool, Meta(description="Whether a file that is there is replaced.")] = False


class MakeFolder(Arguments, frozen=True):
    path: FilePath


@dataclass(frozen=True)
class FilesystemSettings:
    """Allowed folders by name, extensions with their dot in small letters, and whether files may be written.

    `closed` are folders that nobody enters, though they lie in a root.
    """

    roots: dict[str, Path]
    extensions: Sequence[str] = EXTENSIONS
    may_write: bool = False
    closed: tuple[Path, ...] = ()


def check_roots(
    folders: Sequence[str], *, closed: Sequence[Path] = (), unwritten: Sequence[Path] = ()
) -> dict[str, Path]:
    """Name folders by their last part, numbered where two are called alike; raises InvalidInput for what is none.

    A root may not lie in a closed folder, nor in or around one that stays unwritten.
    """
    roots = dict[str, Path]()
    for folder in folders:
        path = Path(folder)
        if not path.is_absolute() or not path.is_dir():
            why = "It must be the absolute path of a folder that is there."
            raise InvalidInput(f"{folder} can't be a root.", why, "Correct it.", field="roots")
        real = path.resolve()
        if _lies_in(real, (*closed, *_OF_THE_KERNEL)):
            raise InvalidInput(f"{folder} can't be a root.", "It is a closed folder.", "Name another.", field="roots")
        if _lies_in(real, unwritten) or any(_lies_in(other.resolve(), [real]) for other in unwritten):
            why = "The program of this installation is in it, and would be written."
            raise InvalidInput(f"{folder} can't be a root.", why, "Name another, or allow no writing.", field="roots")
        name = real.name or "root"
        namesakes = sum(1 for other in roots if other == name or other.startswith(f"{name}-"))
        roots[f"{name}-{namesakes + 1}" if namesakes else name] = real
    return roots


def build_server(settings: FilesystemSettings) -> BundledServer:
    """Build the server of the folders that are allowed."""
    files = _Files(settings)
    tools = [
        BundledTool("list_folder", "List a folder", "Lists files and folders with sizes.", ListFolder, files.list),
        BundledTool("read_file", "Read a file", "Reads lines of a text file.", ReadFile, files.read),
        BundledTool(
            "find_files",
            "Find files",
            "Finds files by name and by text in them.",
            FindFiles,
            files.find,
        ),
    ]
    if settings.may_write:
        tools += [
            BundledTool("write_file", "Write a file", "Writes a whole text file.", WriteFile, files.write, False),
            BundledTool("make_folder", "Make a folder", "Makes a folder.", MakeFolder, files.make_folder, False),
        ]
    absence = "" if settings.roots else _NOTHING_ALLOWED
    return BundledServer("filesystem", "Files of allowed folders", tuple(tools) if settings.roots else (), absence)


class _Files:
    def __init__(self, settings: FilesystemSettings) -> None:
        self._settings = settings
        self._closed = {_identify(path.stat()) for path in (*settings.closed, *_OF_THE_KERNEL) if path.is_dir()}

    def list(self, _actor: Actor, arguments: ListFolder) -> dict[str, Any]:
        if not arguments.path.strip("/"):
            return {"folders": sorted(self._settings.roots), "files": [], "is_complete": True}
        with self._open_folder(self._split(arguments.path)) as folder:
            entries, is_complete = _list_entries(folder)
        return {
            "folders": [name for name, status in entries if stat.S_ISDIR(status.st_mode)],
            "files": [
                {"name": name, "bytes": status.st_size} for name, status in entries if self._is_shown(name, status)
            ],
            "is_complete": is_complete,
        }

    def read(self, _actor: Actor, arguments: ReadFile) -> dict[str, Any]:
        parts = self._split(arguments.path)
        self._check_name(parts[-1])
        with self._open_folder(parts[:-1]) as folder:
            lines = _read_text(folder, parts[-1]).splitlines(keepends=True)
        first = arguments.first_line - 1
        selected_lines = lines[first : first + arguments.lines]
        return {
            "text": "".join(selected_lines),
            "first_line": arguments.first_line,
            "lines": len(selected_lines),
            "of": len(lines),
        }

    def find(self, _actor: Actor, arguments: FindFiles) -> dict[str, Any]:
        matches = list[dict[str, Any]]()
        with self._open_folder(self._split(arguments.path)) as top:
            for path, folder, name in self._walk(top):
                if fnmatch.fnmatch(name, arguments.name):
                    matches += _find_lines(folder, name, path, arguments.text)
                if len(matches) >= _MOST_MATCHES:
                    return {"matches": matches[:_MOST_MATCHES], "is_complete": False}
        return {"matches": matches, "is_complete": True}

    def write(self, _actor: Actor, arguments: WriteFile) -> str:
        parts = self._split(arguments.path)
        self._check_name(parts[-1])
        data = arguments.text.encode("utf-8", "replace")
        if len(data) > LARGEST_FILE:
            raise InvalidInput("The text is too long.", f"A file has at most {LARGEST_FILE:,} bytes.", "Write less.")
        with self._open_folder(parts[:-1]) as folder:
            _write_text(folder, parts[-1], data, overwrite=arguments.overwrite)
        return f"Wrote {len(data):,} bytes to {arguments.path}."

    def make_folder(self, _actor: Actor, arguments: MakeFolder) -> str:
        parts = self._split(arguments.path)
        with self._open_folder(parts[:-1]) as folder:
            try:
                os.mkdir(parts[-1], 0o755, dir_fd=folder)
            except FileExistsError:
                raise Conflict(f"{arguments.path} is there already.") from None
        return f"Made {arguments.path}."

    def _split(self, path: str) -> tuple[str, ...]:
        """The root's name and the names below it; no name leads up, and none is empty."""
        parts = PurePosixPath(path.strip("/")).parts if "\0" not in path and "\\" not in path else ("..",)
        if not parts or ".." in parts or len(parts) > _DEEPEST:
            raise InvalidInput(f"{path[:80]!r} is no path here.", "", "Write it as ROOT/folder/file.", field="path")
        if parts[0] not in self._settings.roots:
            allowed = ", ".join(sorted(self._settings.roots))
            raise NotFound(f"There is no root {parts[0][:80]}.", f"Allowed are {allowed}.", "Begin with one of them.")
        return parts

    def _check_name(self, name: str) -> None:
        if name.startswith(".") or PurePosixPath(name).suffix.lower() not in self._settings.extensions:
            raise PermissionDenied(
                f"{name[:80]} can't be used.", "Files of its extension are not allowed.", "Name another file."
            )

    def _is_shown(self, name: str, status: os.stat_result) -> bool:
        suffix = PurePosixPath(name).suffix.lower()
        is_plain = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
        return is_plain and not name.startswith(".") and suffix in self._settings.extensions

    @contextmanager
    def _open_folder(self, parts: tuple[str, ...]) -> Iterator[int]:
        """A descriptor of a folder, reached from its root one name at a time without following a link."""
        if not parts:
            raise InvalidInput("The path names a root alone.", "", "Name a file in it.", field="path")
        root = self._settings.roots[parts[0]]
        if _lies_in(root.resolve(), (*self._settings.closed, *_OF_THE_KERNEL)):
            raise _make_closed(parts[0])
        descriptor = os.open(root, _FOLDER)
        try:
            for name in parts[1:]:
                inner = self._enter(descriptor, name)
                os.close(descriptor)
                descriptor = inner
            yield descriptor
        finally:
            os.close(descriptor)

    def _enter(self, folder: int, name: str) -> int:
        """Open a folder in a folder; PermissionDenied for one that is closed, or whose name begins with a dot."""
        if name.startswith("."):
            raise _make_closed(name)
        descriptor = _open_at(folder, name, _FOLDER)
        if _identify(os.fstat(descriptor)) in self._closed:
            os.close(descriptor)
            raise _make_closed(name)
        return descriptor

    def _walk(self, top: int) -> Iterator[tuple[str, int, str]]:
        """Every file that is shown below a folder: its path, its folder's descriptor, its name."""
        pending = [("", os.dup(top))]
        visited = 0
        ends_at = time.monotonic() + _SEARCH_S
        try:
            while pending:
                prefix, folder = pending.pop()
                try:
                    for name, status in _list_entries(folder)[0]:
                        visited += 1
                        if visited > _MOST_VISITED or time.monotonic() > ends_at:
                            return
                        if stat.S_ISDIR(status.st_mode) and not name.startswith(".") and len(pending) < 200:
                            with suppress(NotFound, PermissionDenied):
                                pending.append((f"{prefix}{name}/", self._enter(folder, name)))
                        elif self._is_shown(name, status):
                            yield f"{prefix}{name}", folder, name
                finally:
                    os.close(folder)
        finally:
            for _, folder in pending:
                os.close(folder)


def _lies_in(path: Path, folders: Sequence[Path]) -> bool:
    return any(path.is_relative_to(folder.resolve()) for folder in folders)


def _identify(status: os.stat_result) -> tuple[int, int]:
    """Device and number: the same folder by whatever name it is reached."""
    return status.st_dev, status.st_ino


def _make_closed(name: str) -> PermissionDenied:
    return PermissionDenied(f"{name[:80]} can't be opened.", "It is a closed folder.", "Name another.")


def _open_at(folder: int, name: str, flags: int) -> int:
    """Open a name in a folder; raises NotFound, or PermissionDenied for a link and for what may not be read."""
    try:
        return os.open(name, flags, dir_fd=folder)
    except FileNotFoundError:
        raise NotFound(f"There is no {name[:80]}.", "", "List the folder to see what there is.") from None
    except OSError as error:
        why = "Links are not followed." if _is_link(folder, name) else f"The system says: {error.strerror}."
        raise PermissionDenied(f"{name[:80]} can't be opened.", why, "Name another.") from None


def _is_link(folder: int, name: str) -> bool:
    with suppress(OSError):
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    return False


def _list_entries(folder: int) -> tuple[list[tuple[str, os.stat_result]], bool]:
    """Names in a folder with what stands behind them, links as links; and whether that is all."""
    names = sorted(os.listdir(folder))
    entries = list[tuple[str, os.stat_result]]()
    for name in names[:_MOST_ENTRIES]:
        with suppress(OSError):
            entries.append((name, os.stat(name, dir_fd=folder, follow_symlinks=False)))
    return entries, len(names) <= _MOST_ENTRIES


def _read_text(folder: int, name: str) -> str:
    descriptor = _open_at(folder, name, _FILE)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            why = "It is no regular file with one name: another name may stand for a file elsewhere."
            raise PermissionDenied(f"{name[:80]} can't be read.", why, "Name another file.")
        data = bytearray()
        while len(data) <= LARGEST_FILE and (part := os.read(descriptor, LARGEST_FILE + 1 - len(data))):
            data += part
    finally:
        os.close(descriptor)
    if len(data) > LARGEST_FILE:
        raise InvalidInput(f"{name[:80]} is too large.", f"A file has at most {LARGEST_FILE:,} bytes.", "Name another.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput(f"{name[:80]} is not text.", "It is not UTF-8.", "Name another file.") from None


def _find_lines(folder: int, name: str, path: str, text: str) -> list[dict[str, Any]]:
    """Lines of a file that hold a text; without a text the file itself. What can't be read holds nothing."""
    if not text:
        return [{"path": path}]
    try:
        lines = _read_text(folder, name).splitlines()
    except (InvalidInput, NotFound, PermissionDenied):
        return []
    folded_text = text.casefold()
    hits = ((number, line) for number, line in enumerate(lines, 1) if folded_text in line.casefold())
    return [{"path": path, "line": number, "text": line[:_LONGEST_LINE]} for number, line in hits]


def _write_text(folder: int, name: str, data: bytes, *, overwrite: bool) -> None:
    """Write beside the file and move it into place: a link of that name is replaced, never written through."""
    draft = f".{secrets.token_hex(8)}.tmp"
    descriptor = os.open(
        draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=folder
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        if overwrite:
            os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
        else:
            os.link(draft, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        raise Conflict(f"{name[:80]} is there already.", "", "Set overwrite to replace it.") from None
    except IsADirectoryError:
        raise Conflict(f"{name[:80]} is a folder.", "", "Name a file.") from None
    finally:
        with suppress(FileNotFoundError):
            os.unlink(draft, dir_fd=folder)

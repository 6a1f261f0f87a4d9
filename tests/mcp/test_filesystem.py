"""The server of files shows what is in its roots and nothing else, whatever links and names are tried."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from lib.access.permissions import OPERATOR
from lib.errors import Conflict, InvalidInput, LLMManagerError, NotFound, PermissionDenied
from lib.mcp.bundled.filesystem import LARGEST_FILE, FilesystemSettings, build_server, check_roots

pytestmark = pytest.mark.feature("TOOL-3")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a text and a folder, and a secret beside it."""
    root = tmp_path / "notes"
    (root / "inner").mkdir(parents=True)
    (root / "a.md").write_text("alpha\nbeta\n")
    (root / "inner" / "b.txt").write_text("Beta again\n")
    (root / ".env").write_text("KEY=1")
    (tmp_path / "secret.md").write_text("outside")
    return root


def run(root: Path, tool: str, *, may_write: bool = False, **arguments: Any) -> Any:
    server = build_server(FilesystemSettings(check_roots([str(root)]), may_write=may_write))
    found = server.find(tool)
    assert found is not None
    return found.call(OPERATOR, arguments)


def test_folders_are_listed_and_files_read_and_found(root: Path) -> None:
    assert run(root, "list_folder")["folders"] == ["notes"]
    assert run(root, "list_folder", path="notes") == {
        "folders": ["inner"],
        "files": [{"name": "a.md", "bytes": 11}],
        "is_complete": True,
    }
    assert run(root, "read_file", path="notes/a.md", first_line=2)["text"] == "beta\n"
    assert run(root, "find_files", path="notes", text="BETA")["matches"] == [
        {"path": "a.md", "line": 2, "text": "beta"},
        {"path": "inner/b.txt", "line": 1, "text": "Beta again"},
    ]


@pytest.mark.parametrize(
    "path", ["notes/../secret.md", "../secret.md", "/etc/passwd", "notes/\0a.md", "notes\\..\\secret.md", "secret.md"]
)
def test_no_path_leads_out(root: Path, path: str) -> None:
    with pytest.raises((InvalidInput, NotFound)):
        run(root, "read_file", path=path)


def test_links_lead_nowhere_whether_soft_or_hard(root: Path) -> None:
    (root / "soft.md").symlink_to(root.parent / "secret.md")
    (root / "folder").symlink_to(root.parent)
    os.link(root.parent / "secret.md", root / "hard.md")
    for path in ("notes/soft.md", "notes/folder/secret.md", "notes/hard.md"):
        with pytest.raises(PermissionDenied):
            run(root, "read_file", path=path)
    assert [file["name"] for file in run(root, "list_folder", path="notes")["files"]] == ["a.md"]
    assert run(root, "find_files", path="notes", text="outside")["matches"] == []


def test_a_folder_that_is_swapped_for_a_link_meanwhile_never_shows_the_outside(root: Path) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "b.txt").write_text("outside")
    swapped = threading.Event()
    spare = root / "spare"

    def swap() -> None:
        while not swapped.is_set():
            (root / "inner").rename(spare)
            (root / "inner").symlink_to(outside)
            (root / "inner").unlink()
            spare.rename(root / "inner")

    thread = threading.Thread(target=swap)
    thread.start()
    answers = set()
    try:
        for _ in range(500):
            try:
                answers.add(run(root, "read_file", path="notes/inner/b.txt")["text"])
            except LLMManagerError:
                answers.add(None)
    finally:
        swapped.set()
        thread.join()
    assert "outside" not in answers


def test_other_files_than_texts_of_the_allowed_size_and_extension_are_refused(root: Path) -> None:
    (root / "large.txt").write_bytes(b"x" * (LARGEST_FILE + 1))
    (root / "binary.txt").write_bytes(b"\xff\xfe\x00")
    os.mkfifo(root / "pipe.txt")
    for name in ("large.txt", "binary.txt", "pipe.txt", ".env", "missing.txt"):
        with pytest.raises(LLMManagerError):
            run(root, "read_file", path=f"notes/{name}")


def test_files_are_written_only_where_that_is_allowed_and_never_through_a_link(root: Path) -> None:
    assert build_server(FilesystemSettings(check_roots([str(root)]))).find("write_file") is None
    run(root, "write_file", may_write=True, path="notes/new.md", text="new")
    with pytest.raises(Conflict):
        run(root, "write_file", may_write=True, path="notes/new.md", text="newer")
    (root / "soft.md").symlink_to(root.parent / "secret.md")
    run(root, "write_file", may_write=True, path="notes/soft.md", text="mine", overwrite=True)
    assert (root.parent / "secret.md").read_text() == "outside"
    assert (root / "soft.md").read_text() == "mine"
    with pytest.raises(PermissionDenied):
        run(root, "write_file", may_write=True, path="notes/run.exe", text="")
    assert not [path.name for path in root.iterdir() if path.name.endswith(".tmp")]


@pytest.mark.feature("CFG-6")
def test_the_installations_own_folder_is_closed_wherever_a_root_lies(root: Path) -> None:
    own = root / "data"
    (own / "spool").mkdir(parents=True)
    (own / "setup-code.txt").write_text("code alpha")
    (own / "spool" / "calls.jsonl").write_text("words alpha")
    files = FilesystemSettings(check_roots([str(root)]), may_write=True, closed=(own,))
    server = build_server(files)

    def call(tool: str, **arguments: Any) -> Any:
        found = server.find(tool)
        assert found is not None
        return found.call(OPERATOR, arguments)

    for tool, path in (
        ("list_folder", "notes/data"),
        ("read_file", "notes/data/setup-code.txt"),
        ("read_file", "notes/data/spool/calls.jsonl"),
        ("find_files", "notes/data/spool"),
        ("make_folder", "notes/data/new"),
    ):
        with pytest.raises(PermissionDenied):
            call(tool, path=path)
    with pytest.raises(PermissionDenied):
        call("write_file", path="notes/data/setup-code.txt", text="mine", overwrite=True)
    assert [match["path"] for match in call("find_files", path="notes", text="alpha")["matches"]] == ["a.md"]
    for inside in (own, own / "spool"):
        with pytest.raises(InvalidInput):
            check_roots([str(inside)], closed=[own])
        inner = build_server(FilesystemSettings({"inner": inside}, closed=(own,))).find("list_folder")
        assert inner is not None
        with pytest.raises(PermissionDenied):
            inner.call(OPERATOR, {"path": "inner"})


@pytest.mark.parametrize("folder", ["/proc", "/proc/self", "/sys", "/dev"])
def test_folders_of_the_kernel_are_no_roots(folder: str) -> None:
    with pytest.raises(InvalidInput):
        check_roots([folder])


def test_the_program_itself_is_not_written(root: Path) -> None:
    for folder in (root, root / "inner", root.parent):
        with pytest.raises(InvalidInput):
            check_roots([str(folder)], unwritten=[root])
    assert check_roots([str(root)]) == {"notes": root}


def test_a_folder_whose_name_begins_with_a_dot_is_closed(root: Path) -> None:
    (root / ".ssh").mkdir()
    (root / ".ssh" / "config.txt").write_text("Host a")
    with pytest.raises(PermissionDenied):
        run(root, "read_file", path="notes/.ssh/config.txt")


def test_a_server_without_roots_says_what_it_waits_for() -> None:
    server = build_server(FilesystemSettings({}))
    assert server.tools == ()
    assert "No folder is allowed yet" in server.absence

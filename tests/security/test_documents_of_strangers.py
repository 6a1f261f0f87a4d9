"""Documents are read and drawn in children whose memory, time and number are bounded: never in the server itself."""

import ast
import io
import resource
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from lib.access.permissions import OPERATOR
from lib.errors import InvalidInput, Throttled
from lib.knowledge.documents import page_image, sandbox
from lib.limited.slots import Slots

LIB = Path(__file__).resolve().parents[2] / "lib"
pytestmark = pytest.mark.feature("RAG-1")


def pdf(size: str, drawing: bytes, more: bytes = b"") -> bytes:
    """A PDF of one page of a size, drawn by a compressed stream; `more` are resources."""
    packed = zlib.compress(drawing, 9)
    stream = b"<</Length %d/Filter/FlateDecode>>stream\n%b\nendstream" % (len(packed), packed)
    page = f"<</Type/Page/Parent 2 0 R/MediaBox[{size}]/Contents 4 0 R/Resources<<".encode() + more + b">>>>"
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>", page, stream]
    out = io.BytesIO()
    out.write(b"%PDF-1.4\n")
    for number, one in enumerate(objects, start=1):
        out.write(b"%d 0 obj\n%b\nendobj\n" % (number, one))
    out.write(b"trailer<</Size 5/Root 1 0 R>>\n%%EOF")
    return out.getvalue()


@pytest.mark.parametrize("size", ["0 0 20000 20000", "0 0 1000000 1000000", "0 0 1 14000", "0 0 14000 1", "0 0 0 0"])
def test_a_page_is_drawn_in_bounded_pixels_whatever_size_it_says_it_has(size: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    picture = sandbox.draw(pdf(size, b"0 0 m 9 9 l S"), 0, 0, 0, 1.6, OPERATOR)
    width, height = struct.unpack(">II", picture[16:24])
    assert width * height <= 1.1 * page_image.MOST_PIXELS
    assert max(width, height) <= page_image.LONGEST_SIDE + 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


@pytest.mark.parametrize(
    "drawing",
    [
        b"".join(b"%d %d m 0 0 600 800 %d 0 c S\n" % (n % 600, n % 800, n % 600) for n in range(200_000)),
        b"q " * 2_000_000,
    ],
    ids=["curves", "states"],
)
def test_a_page_that_is_drawn_for_ever_is_given_up(drawing: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "DRAWING", replace(sandbox.DRAWING, cpu_s=1, memory=300 * 1024 * 1024))
    with pytest.raises(InvalidInput, match="can't be drawn"):
        sandbox.draw(pdf("0 0 600 800", drawing), 0, 0, 0, 1.6, OPERATOR)


def test_at_most_two_children_run_at_once_and_one_for_a_person() -> None:
    turns, gate = Slots(2), threading.Event()
    running, most, own = list[str](), list[int](), list[int]()

    def read(person: str) -> None:
        with turns.take(person, None):
            running.append(person)
            most.append(len(running))
            own.append(running.count(person))
            if len(most) >= 2:  # two have met: nobody has to wait for time to pass
                gate.set()
            gate.wait()
            running.remove(person)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, ["amira", "amira", "ben", "cleo", "amira", "ben", "ben", "dora"]))
    assert (max(most), max(own), running) == (2, 1, [])


def test_who_gets_no_turn_is_told_and_can_come_again() -> None:
    turns = Slots(2)
    with turns.take("amira", 0):
        with pytest.raises(Throttled, match="Other files are being read"), turns.take("amira", 0):
            pass
        with turns.take("ben", 0), pytest.raises(Throttled), turns.take("cleo", 0):
            pass
        with turns.take("cleo", 0):
            pass


def test_what_reads_documents_is_imported_by_no_other_module() -> None:
    readers = {f"lib.knowledge.documents.{name}" for name in ("parsing", "page_image", "text_recognition")}
    libraries = {"pypdfium2", "docx", "pptx", "openpyxl", "lxml", "PIL"}
    for path in LIB.rglob("*.py"):
        module = ".".join(("lib", *path.relative_to(LIB).with_suffix("").parts))
        names = set[str]()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        parses = module in readers or module.startswith("lib.knowledge.readers")
        assert parses or not {name for name in names if name in readers or name.startswith("lib.knowledge.readers.")}, (
            module
        )
        assert parses or not {name.partition(".")[0] for name in names} & libraries, module

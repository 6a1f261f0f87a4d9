"""Words of pictures, in a process of its own that may do little: `python text_recognition.py [PAGE,…] < file > JSON`.

`file` is a PDF, of which the pages named (from 0) are drawn and read, or a picture. The answer is a list of texts, one
a page, lines in reading order. The models (PP-OCRv6, small, Apache-2.0: Latin scripts, Chinese, Japanese) lie in
rapidocr's wheel; nothing is fetched, and the process could not.
"""

import io
import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lib.knowledge.documents.page_image import MOST_PIXELS, bound_scale

_MOST_UNPACKED = 20 * MOST_PIXELS  # pixels of a picture
_PER_POINT = 150 / 72  # pixels: what small print needs
_SURE = 0.5  # of a line
_OF_ONE_LINE = 0.5  # how much of the lower one's height two boxes share
_SPANNING = 0.6  # of the page's width: a line over all columns
_COLUMN = 0.2  # of the page's width: what the lines of a column have
_COLUMN_LINES = 4


@dataclass(frozen=True)
class RecognisedLine:
    """A stretch of words and its box, in pixels from the page's upper left corner."""

    text: str
    left: float
    top: float
    right: float
    bottom: float


def main(pages: str) -> None:
    """Read the pages and write their texts."""
    from rapidocr import RapidOCR

    threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
    engine = RapidOCR(params={"Global.log_level": "error", "Global.use_cls": False, **threads})
    texts = [read_picture(engine, picture) for picture in _yield_pictures(sys.stdin.buffer.read(), json.loads(pages))]
    sys.stdout.buffer.write(json.dumps(texts, ensure_ascii=False).encode())


def read_picture(engine: Any, picture: Any) -> str:
    """The words of a picture of Pillow's; empty where none are sure enough."""
    import numpy as np

    detections = engine(np.asarray(picture)[:, :, ::-1])
    if detections.boxes is None:
        return ""
    lines = [
        RecognisedLine(text, *box.min(axis=0).tolist(), *box.max(axis=0).tolist())
        for text, box, score in zip(detections.txts, detections.boxes, detections.scores, strict=True)
        if score >= _SURE and text.strip()
    ]
    return join_lines(lines, picture.width)


def join_lines(lines: Sequence[RecognisedLine], width: float) -> str:
    """The text of lines in reading order: columns one after the other, stretches of one line beside each other."""
    return "\n".join(row for block in _split_blocks(lines, width) for row in _join_rows(block))


def _split_blocks(lines: Sequence[RecognisedLine], width: float) -> Iterator[Sequence[RecognisedLine]]:
    """Lines over the whole page part it; what is between them may stand in two columns or more."""
    between: list[RecognisedLine] = []
    for line in sorted(lines, key=lambda line: line.top):
        if line.right - line.left < _SPANNING * width:
            between.append(line)
            continue
        yield from _split_columns(between, width)
        yield [line]
        between = []
    yield from _split_columns(between, width)


def _split_columns(lines: Sequence[RecognisedLine], width: float) -> Iterator[Sequence[RecognisedLine]]:
    for edge in sorted({line.left for line in lines})[1:]:
        left = [line for line in lines if line.right <= edge]
        right = [line for line in lines if line.left >= edge]
        if len(left) + len(right) == len(lines) and _is_column(left, width) and _is_column(right, width):
            yield left
            yield from _split_columns(right, width)
            return
    yield lines


def _is_column(lines: Sequence[RecognisedLine], width: float) -> bool:
    """Whether lines are as long as those of a text: the cells of a table are not."""
    return (
        len(lines) >= _COLUMN_LINES and statistics.median(line.right - line.left for line in lines) >= _COLUMN * width
    )


def _join_rows(lines: Sequence[RecognisedLine]) -> Iterator[str]:
    row: list[RecognisedLine] = []
    for line in sorted(lines, key=lambda line: line.top):
        if row and min(line.bottom, row[0].bottom) - line.top < _OF_ONE_LINE * (line.bottom - line.top):
            yield _join_row(row)
            row = []
        row.append(line)
    if row:
        yield _join_row(row)


def _join_row(row: Sequence[RecognisedLine]) -> str:
    return "  ".join(line.text.strip() for line in sorted(row, key=lambda line: line.left))


def _yield_pictures(data: bytes, pages: Sequence[int]) -> Iterator[Any]:
    if not data.startswith(b"%PDF-") and b"%PDF-" not in data[:1024]:
        yield _open_picture(data)
        return
    import pypdfium2

    document = pypdfium2.PdfDocument(data)
    for number in pages:
        page = document[number]
        width, height = page.get_size()
        yield page.render(scale=bound_scale(width, height, _PER_POINT)).to_pil().convert("RGB")


def _open_picture(data: bytes) -> Any:
    from PIL import Image, ImageOps

    picture = Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP", "TIFF", "GIF"))
    if picture.width * picture.height > _MOST_UNPACKED:
        raise MemoryError
    upright = ImageOps.exif_transpose(picture).convert("RGB")
    scale = bound_scale(upright.width, upright.height, 1.0)
    return upright if scale == 1 else upright.resize((int(upright.width * scale), int(upright.height * scale)))


if __name__ == "__main__":
    main(sys.argv[1])

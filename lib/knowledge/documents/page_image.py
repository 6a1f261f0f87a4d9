"""A page of a PDF as a picture, with a stretch of its text marked, in a process of its own that may do little:
`python page_image.py PAGE START COUNT SCALE < PDF > PNG`.

The page says how large it is, so the picture's size is bounded here: a page of 600 bytes may want gigabytes. How long
drawing takes, and what memory its pictures need, the process's limits say.
"""

import io
import math
import sys

from lib.knowledge.readers.paper import PageText, read_page_text

MOST_PIXELS = 8_000_000
LONGEST_SIDE = 8_000
_MARK = (255, 214, 0, 96)


def draw(data: bytes, page_number: int, start: int, count: int, scale: float) -> bytes:
    """PNG of a page (from 0), `count` characters from `start` on marked; smaller than `scale` where it is too large."""
    import pypdfium2
    from PIL import Image, ImageDraw

    document = pypdfium2.PdfDocument(data)
    page = document[page_number]
    width, height = page.get_size()
    scale = bound_scale(width, height, scale)
    read = read_page_text(page)
    rectangles = [read.words.get_rect(n) for n in range(_count_rects(read, start, count))]
    picture = page.render(scale=scale).to_pil().convert("RGBA")
    marks = Image.new("RGBA", picture.size)
    pen = ImageDraw.Draw(marks)
    for x_min, y_min, x_max, y_max in rectangles:
        box = (x_min * scale, (height - y_max) * scale, x_max * scale, (height - y_min) * scale)
        pen.rectangle(box, fill=_MARK)
    out = io.BytesIO()
    Image.alpha_composite(picture, marks).convert("RGB").save(out, "PNG", optimize=False)
    return out.getvalue()


def _count_rects(read: PageText, start: int, count: int) -> int:
    """How many stretches of a page the characters are; what was added at the page's end has none."""
    last = min(start + count, len(read.text)) - 1
    if last < start:
        return 0
    if read.places is not None:
        start = read.places[start]
        last = read.places[last]
    return int(read.words.count_rects(start, last - start + 1))


def bound_scale(width: float, height: float, scale: float) -> float:
    """The scale, or a smaller one at which a page of this size (in points) keeps to the bounds."""
    largest_side = max(width, height, 1.0)
    area = max(width, 1.0) * max(height, 1.0)
    return min(scale, LONGEST_SIDE / largest_side, math.sqrt(MOST_PIXELS / area))


if __name__ == "__main__":
    page_number, start, count = map(int, sys.argv[1:4])
    sys.stdout.buffer.write(draw(sys.stdin.buffer.read(), page_number, start, count, float(sys.argv[4])))

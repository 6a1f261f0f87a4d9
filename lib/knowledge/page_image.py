"""A page of a PDF as a picture, with a stretch of its text marked."""

import io
import threading

_lock = threading.Lock()  # PDFium is one for the process and takes one caller at a time
_MARK = (255, 214, 0, 96)


def draw(data: bytes, page_number: int, start: int, count: int, scale: float) -> bytes:
    """PNG of a page (from 0); `start` and `count` are characters of its text."""
    import pypdfium2
    from PIL import Image, ImageDraw

    with _lock:
        document = pypdfium2.PdfDocument(data)
        page = document[page_number]
        height = page.get_height()
        words = page.get_textpage()
        count = min(count, words.count_chars() - start)
        found = [words.get_rect(n) for n in range(words.count_rects(start, count))] if count > 0 else []
        picture = page.render(scale=scale).to_pil().convert("RGBA")
        document.close()
    marks = Image.new("RGBA", picture.size)
    pen = ImageDraw.Draw(marks)
    for left, bottom, right, top in found:
        box = (left * scale, (height - top) * scale, right * scale, (height - bottom) * scale)
        pen.rectangle(box, fill=_MARK)
    out = io.BytesIO()
    Image.alpha_composite(picture, marks).convert("RGB").save(out, "PNG", optimize=False)
    return out.getvalue()

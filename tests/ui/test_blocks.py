"""What models write is shown as they wrote it, and loads nothing."""

import pytest

from lib.ui.blocks import sanitise_markdown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ink dries on the page,\nnumbers settle", "Ink dries on the page,  \nnumbers settle"),
        ("one\n\ntwo", "one\n\ntwo"),
        ("```py\na\nb\n```\nc\nd", "```py\na\nb\n```\nc  \nd"),
        ("````\n```\na\n````\nb\nc", "````\n```\na\n````\nb  \nc"),
        ("![x](http://a)", "[x](http://a)"),
        ("from $5 to $9", "from \\$5 to \\$9"),
        ("", ""),
    ],
)
def test_lines_stay_lines_and_code_stays_code(text: str, shown: str) -> None:
    assert sanitise_markdown(text) == shown

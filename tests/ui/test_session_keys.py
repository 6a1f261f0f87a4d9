"""Keys of the session state that pages read or write by name stand in one module."""

import re
from pathlib import Path

from lib.ui import session_keys

ROOT = Path(__file__).parents[2]
_LITERAL = re.compile(r"session_state(?:\[|\.get\(|\.pop\(|\.setdefault\()\"")


def test_no_page_names_a_key_of_its_own() -> None:
    files = [*(ROOT / "lib" / "ui").rglob("*.py"), *(ROOT / "pages").glob("*.py")]
    offenders = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if _LITERAL.search(line)
    ]
    assert files
    assert offenders == []


def test_no_two_keys_are_the_same() -> None:
    keys = [key for name, key in vars(session_keys).items() if name.isupper()]
    assert sorted(keys) == sorted(set(keys))

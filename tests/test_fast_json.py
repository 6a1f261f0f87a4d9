"""What is written is JSON that every store takes, whatever was read."""

import json
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.fast_json import decode, encode, encode_text
from lib.settings import PROJECT

pytestmark = pytest.mark.feature("GATE-1")
TEXT = st.text(st.characters(codec=None, categories=None))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_no_number_is_written_that_json_has_no_word_for(value: Any) -> None:
    for text in (encode(value).decode(), encode_text(value)):
        constants = list[str]()  # NaN and Infinity, which Python would read
        json.loads(text, parse_constant=constants.append)
        assert constants == []


def test_what_the_fast_road_refuses_is_read_and_written_like_the_rest() -> None:
    for text in ('{"\\ud800": NaN, "b": [Infinity, {"c": -1e999}]}', '{"a": NaN, "\\ud800": 1e999}'):
        assert "NaN" not in encode_text(decode(text))
        assert "nfinity" not in encode_text(decode(text))
    assert encode_text({"a": float("nan")}) == '{"a":null}'
    assert encode_text({"\ud800": float("nan"), "b": (1, float("inf"))}) == '{"\\ud800":null,"b":[1,null]}'


_AT_ONCE = """
import sys, threading
from lib.workflows.definition import decode_definition, parse_definition
sys.setswitchinterval(1e-6)
text = '{"nodes":[{"kind":"input","id":"a","fields":[{"name":"x"}]},{"kind":"output","id":"b","text":"x"}]}'
barrier = threading.Barrier(8)
def read(number):
    barrier.wait()
    decode_definition(text) if number % 2 else parse_definition({"nodes": [{"kind": "input", "id": "a"}]})
threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_threads_that_meet_a_struct_first_and_at_once_do_not_end_the_process() -> None:
    assert subprocess.run([sys.executable, "-c", _AT_ONCE], cwd=PROJECT, check=False).returncode == 0


def test_structs_are_read_by_one_module_while_threads_run() -> None:
    reads = re.compile(r"msgspec\.convert\(|msgspec\.json\.decode\([^)]*type=|^ .*msgspec\.json\.Decoder\(", re.M)
    sources = {path for path in (PROJECT / "lib").rglob("*.py") if reads.search(path.read_text())}
    assert {path.name for path in sources} == {"fast_json.py"}

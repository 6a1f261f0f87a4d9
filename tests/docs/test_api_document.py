"""docs/api.md tells the truth: its program runs, its answer has the fields that are sent."""

import json
import re
from pathlib import Path

import pytest

from lib.gateway.api.openapi import build_document
from lib.settings import Settings
from tests.gateway.api_rig import live

pytestmark = pytest.mark.feature("SET-7")
TEXT = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)\n```", TEXT, flags=re.DOTALL)


def test_the_answer_that_is_shown_has_every_field() -> None:
    answer, error = (json.loads(block) for block in blocks("json"))
    schemas = build_document()["components"]["schemas"]
    assert set(answer) == set(schemas["Answer"]["properties"])
    assert set(answer["usage"]) == set(schemas["Usage"]["properties"])
    assert set(error["error"]) == set(schemas["ErrorDetail"]["properties"])


@pytest.mark.feature("GATE-2")
def test_the_program_runs(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = blocks("python")
    with live(settings) as (address, rig):
        key = rig.of_jonas["authorization"].removeprefix("Bearer ")
        for shown, real in (("http://localhost:8501", address), ("llmm_...", key), ("local-default", "rivers")):
            assert shown in program
            program = program.replace(shown, real)
        exec(compile(program, "docs/api.md", "exec"), {})
    said = capsys.readouterr().out
    assert "'key': 'answer.rating'" in said
    assert "'calls': 1" in said

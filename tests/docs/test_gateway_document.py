"""docs/gateway.md tells the truth: its addresses, codes and programs are the code's."""

import json
import re
from pathlib import Path

import pytest
import yaml

from lib.access.grants import GatewayEndpoint
from lib.errors import ErrorKind
from lib.gateway.http import program_routes as programs
from lib.gateway.http import refusals
from lib.gateway.mcp import door as mcp_door
from lib.gateway.serve import health
from lib.gateway.serve.routes import program_routes
from lib.snippets.app_snippets import GatewayAccess, build_snippets

pytestmark = pytest.mark.feature("SET-7")
TEXT = (Path(__file__).resolve().parents[2] / "docs" / "gateway.md").read_text()


def rows(heading: str) -> list[list[str]]:
    section = TEXT.split(f"\n{heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_address_of_programs_is_there_and_nothing_else() -> None:
    documented = {row[0].strip("`"): row[1] for row in rows("## Addresses")}
    served = {path: method for path, (method, _) in programs._MODEL_HANDLERS.items()}
    served[mcp_door.PATH] = "POST"
    for route in (*program_routes, *health.routes):
        served[route.path] = ", ".join(sorted(route.methods - {"HEAD"}))  # type: ignore[attr-defined]
    assert documented == served


def test_every_endpoint_of_a_key_opens_something() -> None:
    named = {name for row in rows("## Addresses") for name in re.findall(r"`(\w+)`", row[3])}
    assert named == {endpoint.value for endpoint in GatewayEndpoint}


def test_every_kind_of_failure_has_the_status_it_is_said_to_have() -> None:
    said = {code: int(row[0]) for row in rows("## Errors") for code in re.findall(r"`(\w+)`", row[1])}
    ours = {code for _, _, code in refusals._STATUS_OF_CLASS}
    for kind in set(ErrorKind) - {ErrorKind.PROCESS_ENDED, ErrorKind.OVERLOADED}:  # no client is left; two meanings
        assert said[kind.value] == refusals._choose_status(kind.value), kind
    assert ours <= set(said)
    for _, status, code in refusals._STATUS_OF_CLASS:
        assert said[code] == status or code == "overloaded", code


def test_the_programs_are_those_of_the_page() -> None:
    made = {
        one.text for one in build_snippets(GatewayAccess("http://localhost:8501", "llmm_...", "local-default", "e"))
    }
    shown = [one for one in re.findall(r"```(?:python|bash)\n(.*?)\n```", TEXT, flags=re.DOTALL) if "/api" not in one]
    assert len(shown) >= 5
    assert set(shown) <= made


def test_the_other_blocks_can_be_read() -> None:
    for block in re.findall(r"```json\n(.*?)\n```", TEXT, flags=re.DOTALL):
        assert {"error", "call_id"} & set(json.loads(block))
    [scrape] = re.findall(r"```yaml\n(.*?)\n```", TEXT, flags=re.DOTALL)
    assert yaml.safe_load(scrape)["scrape_configs"][0]["static_configs"] == [{"targets": ["localhost:8501"]}]

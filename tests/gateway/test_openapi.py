"""`/openapi.json` is true: it names what is mounted and no more, and a live server keeps to it whatever is sent."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from lib.access.grants import GatewayEndpoint
from lib.access.permissions import OPERATOR
from lib.gateway.api.openapi import build_document
from lib.gateway.http.program_routes import _MODEL_HANDLERS, ProgramRoutes
from lib.gateway.models import model_list
from lib.gateway.serve import health
from lib.gateway.serve.routes import program_routes
from lib.settings import Settings
from tests.counts import FULL, repeats
from tests.gateway.api_rig import live
from tests.waiting import CEILING_S

pytestmark = pytest.mark.feature("GATE-5")
_PHASES = "coverage,fuzzing" if FULL else "fuzzing"  # coverage: each field at each of its edges, minutes of them
_CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def described() -> dict[str, set[str]]:
    return {path: {method.upper() for method in item} for path, item in build_document()["paths"].items()}


def test_the_document_names_what_is_mounted_and_nothing_else() -> None:
    mounted: dict[str, set[str]] = {path: {method} for path, (method, _) in _MODEL_HANDLERS.items()}
    mounted[f"{model_list.PATH}/{{model}}"] = {"GET"}
    for route in [*program_routes, *health.routes]:
        methods = set(route.methods) - {"HEAD"}  # type: ignore[attr-defined]
        mounted.setdefault(route.path, set()).update(methods)  # type: ignore[attr-defined]
    assert described() == mounted


def test_every_reference_leads_somewhere() -> None:
    names = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(build_document())))
    assert names == set(build_document()["components"]["schemas"])
    ids = [operation["operationId"] for item in build_document()["paths"].values() for operation in item.values()]
    assert len(ids) == len(set(ids))


def test_it_is_served_without_a_key() -> None:
    async def nobody(*_: Any) -> None:
        raise AssertionError

    answer = TestClient(ProgramRoutes(nobody, program_routes)).get("/openapi.json")
    assert answer.json() == build_document()
    assert answer.json()["openapi"].startswith("3.1")


def narrowed(path: Path) -> Path:
    """The document with names that are there in it, so that most requests get past the first check."""
    found = json.loads(json.dumps(build_document()))
    for name, schema in found["components"]["schemas"].items():
        if name.endswith("Request"):
            schema["properties"]["model"] = {"enum": ["rivers", "script/echo", "none-such"]}
        elif name == "Question":
            schema["properties"]["model"] = {"enum": [None, "script/echo"]}
            schema["properties"]["configuration"] = {"enum": ["rivers", None]}
    path.write_text(json.dumps(found))
    return path


@pytest.mark.feature("GATE-2")
def test_a_live_server_keeps_to_it_whatever_is_sent(settings: Settings, tmp_path: Path) -> None:
    with live(settings) as (address, rig):
        key = rig.key(rig.jonas, endpoints=[endpoint.value for endpoint in GatewayEndpoint])
        done = subprocess.run(
            [
                *(str(Path(sys.executable).parent / "st"), "run", str(narrowed(tmp_path / "openapi.json"))),
                *("--url", address, "--header", f"Authorization: {key['authorization']}", "--checks", _CHECKS),
                *("--phases", _PHASES, "--max-examples", str(repeats(4, 12)), "--seed", "1"),
                *("--generation-database", "none"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=5 * CEILING_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-6_000:]
        operations = sum(len(item) for item in build_document()["paths"].values())
        assert re.search(rf"Tested: +{operations}\b", done.stdout), done.stdout[-2_000:]
        figures = rig.services.statistics.stats_table(OPERATOR, ["status"])
        assert "ok" in set(figures["status"]), "requests came as far as a model"

"""`/api/tools`: listed, run under the policy, read back."""

from typing import Any

import pytest

from lib.access.permissions import OPERATOR
from lib.approvals.approval import Decision, Verdict
from lib.configs.tool_rules import ToolRules
from lib.settings import Settings
from lib.tools.native import NativeTools
from tests.gateway.api_rig import opened

pytestmark = [pytest.mark.feature("TOOL-1"), pytest.mark.feature("GATE-2")]


def test_tools_are_listed_run_once_allowed_and_read_back(settings: Settings) -> None:
    rung: list[str] = []

    def ring(note: str) -> str:
        """Ring the bell."""
        rung.append(note)
        return "It rang."

    with opened(settings) as (rig, client):
        native = NativeTools()
        native.register(ring)
        rig.services.tools.sources.append(native)

        def post(name: str, **arguments: Any) -> Any:
            return client.post(f"/api/tools/{name}/run", headers=rig.of_jonas, json={"arguments": arguments})

        listed = {tool["name"]: tool for tool in client.get("/api/tools", headers=rig.of_jonas).json()["tools"]}
        assert (listed["calculate"]["approval"], listed["ring"]["approval"]) == ("auto", "ask")
        ran = post("calculate", expression="6 * 7").json()
        assert (ran["status"], ran["result"]["structured"]) == ("ok", {"text": "42", "value": 42})
        assert post("calculate", expression=5).json()["status"] == "invalid_arguments"
        assert post("nothing").status_code == 404
        assert post("ring", note=5).status_code == 400
        refused = post("ring", note="c")
        assert (refused.status_code, rung) == (403, [])
        (approval,) = rig.services.approvals.waiting(rig.jonas)
        assert approval.id in refused.json()["error"]["message"]
        assert post("ring", note="c").status_code == 403
        assert len(rig.services.approvals.waiting(rig.jonas)) == 1
        rig.services.approvals.decide(rig.jonas, approval.id, Decision(verdict=Verdict.APPROVE))
        assert (post("ring", note="c").json()["status"], rung) == ("ok", ["c"])
        assert (post("ring", note="c").status_code, rung) == (403, ["c"])
        runs = client.get("/api/tool-executions?tool=ring", headers=rig.of_jonas).json()["executions"]
        assert [(run["status"], run["arguments"], run["app"]) for run in runs] == [("ok", {"note": "c"}, "bot")]
        one = client.get(f"/api/tool-executions/{runs[0]['id']}", headers=rig.of_jonas).json()
        assert one == runs[0]


def test_a_question_with_tools_is_answered_after_they_ran(settings: Settings) -> None:
    with opened(settings) as (rig, client):
        rules = ToolRules(names=("calculate",), programs="run").to_record()  # type: ignore[arg-type]
        rig.services.configurations.create(
            OPERATOR, slug="sums", app="bot", provider="script", model="call:calculate+say:It is 42.", tools=rules
        )
        body = {"configuration": "sums", "prompt": '{"expression": "20 + 22"}'}
        told = client.post("/api/generate", headers=rig.of_jonas, json=body).json()
        assert (told["text"], told["tool_calls"]) == ("It is 42.", [])

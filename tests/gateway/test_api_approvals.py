"""Decisions for programs: a key decides what waits for its owner, strangers see nothing."""

from typing import Any

import pytest

from lib.access.permissions import Role
from lib.approvals.approval import ApprovalKind, ApprovalRequest
from lib.settings import Settings
from tests.gateway.api_rig import opened

pytestmark = [pytest.mark.feature("FLOW-4"), pytest.mark.feature("GATE-2")]


def test_a_key_decides_what_waits_for_its_owner(settings: Settings) -> None:
    with opened(settings) as (rig, client):
        of_li = rig.key(rig.person("li-wei", Role.DEVELOPER))
        request = ApprovalRequest(kind=ApprovalKind.TOOL, title="Send the mail?", subject="tool:mail", data={"to": "a"})
        asked = rig.services.approvals.ask(rig.jonas, request)
        address = f"/api/approvals/{asked.id}"

        def post(key: dict[str, str], **body: Any) -> Any:
            return client.post(address, headers=key, json=body)

        [waiting] = client.get("/api/approvals", headers=rig.of_jonas).json()["approvals"]
        assert (waiting["id"], waiting["data"], waiting["state"]) == (asked.id, {"to": "a"}, "waiting")
        for stranger in (of_li, rig.of_nobody):
            assert client.get("/api/approvals", headers=stranger).json().get("approvals", []) == []
        assert post(of_li, decision="approve").status_code == 404
        assert post(rig.of_jonas, decision="perhaps").status_code == 400
        decided = post(rig.of_jonas, decision="approve", scope="always", data={"to": "b"}, comment="once more")
        assert (decided.status_code, decided.json()["state"], decided.json()["data"]) == (200, "approved", {"to": "b"})
        assert post(rig.of_jonas, decision="deny").status_code == 409
        [grant] = client.get("/api/approval-grants", headers=rig.of_jonas).json()["grants"]
        assert grant["subject"] == "tool:mail"
        revoked = client.post(f"/api/approval-grants/{grant['id']}/revoke", headers=rig.of_jonas, json={})
        assert revoked.json() == {"revoked": grant["id"]}

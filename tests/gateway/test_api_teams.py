"""Teams for programs: a key with the endpoint `teams` rules what the person who made it rules, and no key more."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, update

from lib.access.membership import find_person
from lib.access.permissions import OPERATOR, Actor, Role
from lib.access.team_choices import StopKind
from lib.clock import utc_now
from lib.db.tables import api_keys, audit_log
from lib.settings import Settings
from tests.activity.activity_rig import log
from tests.gateway.api_rig import ApiRig, opened

pytestmark = [pytest.mark.feature("ACC-5"), pytest.mark.feature("GATE-2")]


def enter(rig: ApiRig, name: str, role: Role, team_id: int) -> Actor:
    """Somebody with an account who acts in a team."""
    user = rig.services.users.create(OPERATOR, name, "correct horse battery", role, team_id)
    with rig.services.store.read() as connection:
        actor = find_person(connection, user.id, team_id)
    assert actor is not None
    return actor


Ask = Callable[..., tuple[int, Any]]
ONE = "/research"


def test_a_key_rules_teams_as_the_person_who_made_it(settings: Settings) -> None:
    with opened(settings) as (rig, client):

        def ask(key: dict[str, str], path: str, body: Any = None) -> tuple[int, Any]:
            method = "GET" if body is None else "POST"
            answer = client.request(method, f"/api/teams{path}", headers=key, json=body)
            return answer.status_code, answer.json()

        root = enter(rig, "root", Role.SUPER_ADMIN, 1)
        of_root = rig.key(root, endpoints=["teams"])
        status, team = ask(of_root, "", {"name": "Research"})
        assert (status, team["slug"], team["members"]) == (201, "research", [])
        lead = enter(rig, "lead", Role.TEAM_ADMINISTRATOR, team["id"])
        enter(rig, "amira", Role.DEVELOPER, 1)
        of_lead = rig.key(lead, endpoints=["teams", "api"])
        rule_people(ask, of_lead)
        rule_the_rest(rig, ask, of_lead, lead)
        hand_over(rig, ask, of_lead, team["id"])
        strangers = {"lead": of_lead, "jonas": rig.of_jonas, "nobody": rig.of_nobody}
        strangers["made by an operator"] = rig.key(OPERATOR, owner_id=root.user_id, endpoints=["teams", "api"])
        refuse_others(ask, strangers)
        assert ask(of_root, f"{ONE}/move", {"kind": "configuration", "name": "rivers"})[0] == 200
        assert ask(of_root, f"{ONE}/delete", {})[0] == 409
        status, body = ask(of_root, "/first-team")
        assert (status, {member["name"] for member in body["members"]}) == (200, {"root", "jonas", "amira"})
        with rig.services.store.read() as connection:
            entries = connection.execute(select(audit_log.c.action, audit_log.c.came_from)).all()
            key_id = connection.scalar(select(api_keys.c.id).where(api_keys.c.user_id == root.user_id).limit(1))
        by_program = {action for action, came_from in entries if (came_from or "").startswith("gateway")}
        assert by_program >= {"team.create", "team.add", "team.role", "team.rename", "stop.team", "person.hand_over"}
        rig.services.teams.set_role(OPERATOR, team["id"], lead.user_id or "", Role.DEVELOPER)
        assert ask(of_lead, f"{ONE}/rename", {"name": "Mine"})[0] == 403, "no more an administrator"
        rig.services.stops.stop(OPERATOR, StopKind.KEY, key_id or "", "a leak")
        status, body = ask(of_root, "/first-team")
        assert (status, "a leak" in body["error"]["message"]) == (403, True), "a stopped key opens nothing"


def rule_people(ask: Ask, key: dict[str, str]) -> None:
    """Add, give roles, take out, invite."""
    status, body = ask(key, f"{ONE}/members", {"name": "Amira", "role": "administrator"})
    people = [(member["name"], member["own_role"]) for member in body["members"]]
    assert (status, people) == (201, [("amira", "administrator"), ("lead", None)])
    assert ask(key, f"{ONE}/members", {"name": "amira"})[0] == 409
    assert ask(key, f"{ONE}/members/amira/role", {"role": None})[1]["members"][0]["role"] == "developer"
    assert ask(key, f"{ONE}/members/amira/role", {"role": "super-admin"})[0] == 400
    [member] = ask(key, f"{ONE}/members/amira/remove", {})[1]["members"]
    assert member["name"] == "lead"


def rule_the_rest(rig: ApiRig, ask: Ask, key: dict[str, str], lead: Actor) -> None:
    """Name, limits, budget, invitation, switch, statement."""
    assert ask(key, f"{ONE}/rename", {"name": "Labs"})[1]["name"] == "Labs"
    assert ask(key, f"{ONE}/limits", {"requests_per_minute": 9})[1]["requests_per_minute"] == 9
    assert ask(key, f"{ONE}/limits", {})[1]["requests_per_minute"] is None
    for limit in ("5", "7.5"):
        status, budget = ask(key, f"{ONE}/budgets", {"period": "month", "limit_usd": limit})
        assert (status, budget["limit_usd"], budget["is_hard"]) == (200, limit, True)
    assert ask(key, f"{ONE}/budgets")[1]["budgets"] == [budget]
    link = ask(key, f"{ONE}/invite", {"role": "developer"})[1]["link"]
    assert rig.services.access_links.look(link.partition("token=")[2]).team == "Labs"
    assert ask(key, f"{ONE}/stop", {"reason": "a leak"})[1]["stopped"]
    assert not ask(key, f"{ONE}/start", {})[1]["stopped"], "its own key starts it again"
    log(rig.services.store, lead, team_id=lead.team_id, cost_nano_usd=1_500_000_000)
    status, line = ask(key, f"{ONE}/statement?month={utc_now():%Y-%m}")
    assert (status, line["calls"], line["cost_usd"]) == (200, 1, "1.5")


def hand_over(rig: ApiRig, ask: Ask, of_lead: dict[str, str], team_id: int) -> None:
    """What jonas had becomes the lead's; his key goes on, and rules nothing."""
    rig.services.teams.add(OPERATOR, team_id, "jonas")
    with rig.services.store.read() as connection:
        jonas = find_person(connection, rig.jonas.user_id or "", team_id)
    assert jonas is not None
    of_jonas = rig.key(jonas, endpoints=["teams", "api"])
    assert ask(of_jonas, f"{ONE}/rename", {"name": "Mine"})[0] == 403
    assert ask(of_lead, f"{ONE}/hand-over", {"person": "jonas", "to": "amira"})[0] == 403
    assert ask(of_lead, f"{ONE}/hand-over", {"person": "jonas"}) == (200, {"counts": {"keys": 1}})
    assert ask(of_jonas, "")[0] == 200
    assert ask(of_jonas, f"{ONE}/rename", {"name": "Mine"})[0] == 403


def refuse_others(ask: Ask, strangers: dict[str, dict[str, str]]) -> None:
    """The lead in another team, keys without the endpoint, and those that somebody else made."""
    for name, key in strangers.items():
        for path, body in (
            ("", {"name": "X"}),
            ("/first-team", None),
            ("/first-team/rename", {"name": "X"}),
            ("/1/members", {"name": "lead"}),
            ("/first-team/members/root/remove", {}),
            ("/first-team/stop", {}),
            ("/first-team/budgets", {"period": "day", "limit_usd": "1"}),
            ("/first-team/statement?month=2026-11", None),
            ("/research/move", {"kind": "configuration", "name": "rivers"}),
            ("/research/delete", {}),
        ):
            assert ask(key, path, body)[0] in (403, 404), (name, path)


def test_only_its_owner_or_a_super_admin_lets_a_key_rule(settings: Settings) -> None:
    with opened(settings) as (rig, _):
        services = rig.services
        lead = enter(rig, "lead", Role.TEAM_ADMINISTRATOR, 1)
        _, key = services.api_keys.create(rig.jonas, app="bot", endpoints=["api"])
        wider: dict[str, Any] = {"name": "", "models": [], "endpoints": ["api", "teams"], "limits": key.grant.limits}
        with pytest.raises(Exception, match="let others' keys rule teams"):
            services.api_keys.update(lead, key.id, expires_at=None, **wider)
        services.api_keys.update(rig.jonas, key.id, expires_at=None, **wider)
        assert services.api_keys.find_ruler(key.id).user_id == rig.jonas.user_id
        with services.store.write() as connection:
            connection.execute(update(api_keys).values(revoked_at=utc_now()))
        with pytest.raises(Exception, match="belongs to nobody"):
            services.api_keys.find_ruler(key.id)

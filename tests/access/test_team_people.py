"""Links that let in once, hand-over in one action, erasing a person, the stop switch, limits and budgets of teams."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Table, event, insert, select, update

from lib.access import teams
from lib.access.access_links import AccessLinks
from lib.access.api_keys import ApiKeys
from lib.access.grants import Limits
from lib.access.limits import Claim, RateLimits
from lib.access.membership import find_person
from lib.access.permissions import OPERATOR, Actor, Permission, Role
from lib.access.sessions import Sessions
from lib.access.stop_switch import StopSwitch
from lib.access.team_choices import StopKind
from lib.access.teams import Teams
from lib.access.users import Users
from lib.budgets.budget import CallFacts
from lib.budgets.budgets import Budgets
from lib.budgets.holds import Want, reserve_many
from lib.budgets.refusal import BudgetRefusal
from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.tables import (
    access_links,
    audit_log,
    collections,
    conversations,
    documents,
    messages,
    metadata,
    saved_views,
    tool_executions,
    usage_logs,
    usage_payloads,
    users,
)
from lib.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from lib.jobs import erasure
from lib.jobs.erasure import Erasure
from lib.jobs.hand_over import HandOver
from tests.activity.activity_rig import log

pytestmark = pytest.mark.feature("ACC-5")
PASSWORD = "a long enough phrase"
SECRET = "the merger is on Tuesday"


def person(store: Store, name: str, role: Role = Role.DEVELOPER, team_id: int = 1) -> Actor:
    user = Users(store).create(OPERATOR, name, PASSWORD, role, team_id)
    with store.read() as connection:
        actor = find_person(connection, user.id)
    assert actor is not None
    return actor


def test_an_invitation_makes_one_account_in_its_team_with_the_teams_role(store: Store) -> None:
    team = Teams(store).create(OPERATOR, "Research")
    lead = person(store, "lead", Role.TEAM_ADMINISTRATOR, team.id)
    links = AccessLinks(store)
    token = links.invite(lead, team.id, Role.MASTER_DEVELOPER)
    assert links.look(token).team == "Research"
    with pytest.raises(InvalidInput):
        links.accept(token, "guest", "short")
    user_id = links.accept(token, "guest", PASSWORD)
    with store.read() as connection:
        guest = find_person(connection, user_id)
        assert token not in repr(connection.execute(select(access_links)).all())
    assert guest is not None
    assert (guest.team_ids, guest.role) == ((team.id,), Role.MASTER_DEVELOPER)
    assert not guest.can(Permission.MANAGE_PROVIDERS)  # a team gives nothing of the installation's
    for again in (token, "unknown"):
        with pytest.raises(NotFound):
            links.accept(again, "second", PASSWORD)
    with pytest.raises(PermissionDenied):
        links.invite(guest, team.id)
    late = links.invite(lead, team.id)
    with store.write() as connection:
        connection.execute(update(access_links).values(expires_at=utc_now() - timedelta(seconds=1)))
    with pytest.raises(NotFound):
        links.look(late)


def test_a_reset_sets_a_password_once_and_ends_sessions(store: Store) -> None:
    jonas = person(store, "jonas")
    sessions = Sessions(store)
    links = AccessLinks(store)
    open_session = sessions.login("jonas", PASSWORD, "192.0.2.1")
    token = links.reset_password(OPERATOR, jonas.user_id or "")
    links.accept(token, "", "another long phrase")
    assert sessions.find_actor(open_session) is None
    assert sessions.find_actor(sessions.login("jonas", "another long phrase", "192.0.2.1")) is not None
    with pytest.raises(NotFound):
        links.accept(token, "", "a third long phrase")
    with pytest.raises(PermissionDenied):
        links.reset_password(jonas, jonas.user_id or "")


def test_a_key_stops_when_its_owner_leaves_the_team_and_goes_on_when_handed_over(store: Store) -> None:
    teams = Teams(store)
    team = teams.create(OPERATOR, "Research")
    lead = person(store, "lead", Role.TEAM_ADMINISTRATOR, team.id)
    jonas = person(store, "jonas", team_id=team.id)
    token, key = ApiKeys(store).create(jonas, app="bot")
    with store.write() as connection:
        fixed = {"owner_id": jonas.user_id, "team_id": team.id, "created_at": utc_now(), "updated_at": utc_now()}
        connection.execute(insert(collections).values(id=make_id(), name="papers", embedding_model="m", **fixed))
    teams.remove(lead, team.id, jonas.user_id or "")
    assert ApiKeys(store).authenticate(token) is None
    assert ApiKeys(store).list(lead)[0].state() == "owner left the team"
    with pytest.raises(PermissionDenied):
        HandOver(store).run(lead, jonas.user_id or "", person(store, "li", team_id=team.id).user_id or "")
    assert HandOver(store).preview(lead, jonas.user_id or "") == {"keys": 1, "collections": 1}
    assert HandOver(store).run(lead, jonas.user_id or "", lead.user_id or "") == {"keys": 1, "collections": 1}
    found = ApiKeys(store).authenticate(token)
    assert found is not None
    assert (found.id, found.actor and found.actor.user_id) == (key.id, lead.user_id)
    with store.read() as connection:
        entries = connection.execute(
            select(audit_log.c.team_id, audit_log.c.detail).where(audit_log.c.action == "person.hand_over")
        ).all()
    assert len(entries) == 1
    stranger = person(store, "stranger")
    with pytest.raises(Conflict):  # of another team: nothing may become theirs
        HandOver(store).run(OPERATOR, lead.user_id or "", stranger.user_id or "")


def test_a_persons_words_are_erased_and_the_figures_stay(store: Store) -> None:
    person(store, "root", Role.SUPER_ADMIN)
    jonas = person(store, "jonas")
    ApiKeys(store).create(jonas, app="bot")
    words: dict[str, Any] = {"prompt_text": SECRET, "response_text": SECRET, "error_message": SECRET}
    words |= {"request": [{"role": "user", "content": SECRET}], "parameters": {"stop": [SECRET], "temperature": 0.5}}
    own = [log(store, jonas, **words) for _ in range(3)]
    other = log(store, **words)
    fixed = {"owner_id": jonas.user_id, "created_at": utc_now()}
    talk, papers = make_id(), make_id()
    with store.write() as connection:
        connection.execute(insert(conversations).values(id=talk, app="a", title=SECRET, last_at=utc_now(), **fixed))
        said = {"role": "user", "content": SECRET, "tokens": 1, "status": "ok", "conversation_id": talk}
        connection.execute(insert(messages).values(id=make_id(), **said, **fixed))
        connection.execute(
            insert(collections).values(id=papers, name=SECRET, embedding_model="m", updated_at=utc_now(), **fixed)
        )
        paper = {"title": SECRET, "kind": "manual", "source": "paste", "media_type": "text/plain", "size": 1}
        paper |= {"sha256": "", "state": "ready", "created_by": jonas.user_id, "updated_at": utc_now()}
        connection.execute(insert(documents).values(id=make_id(), collection_id=papers, created_at=utc_now(), **paper))
        connection.execute(
            insert(saved_views).values(id=make_id(), user_id=jonas.user_id, name=SECRET, query={}, created_at=utc_now())
        )
        run = {"id": make_id(), "started_at": utc_now(), "deadline_at": utc_now(), "tool": "t", "source": "native"}
        run |= {"status": "ok", "user_id": jonas.user_id, "app": "a", "origin": "tool", "content_policy": "full"}
        run |= {"arguments": {"q": SECRET}, "arguments_hash": "", "arguments_bytes": 1}
        connection.execute(insert(tool_executions).values(**run))
        figures = connection.execute(_FIGURES).all()
    with pytest.raises(PermissionDenied):
        Erasure(store).erase(jonas, jonas.user_id or "")
    erased = Erasure(store, batch=2).erase(OPERATOR, jonas.user_id or "")
    assert erased.counts["calls"] == 3
    assert (erased.counts["messages"], erased.counts["documents"]) == (1, 1)
    assert "between" in erased.backup_note
    with store.read() as connection:
        assert connection.execute(_FIGURES).all() == figures
        for name, table in metadata.tables.items():
            holding = [row for row in connection.execute(select(table)).mappings() if SECRET in repr(row)]
            assert {row["id"] for row in holding} <= {other}, name
        assert connection.scalars(select(usage_payloads.c.id)).all() == [other]
        parameters = connection.scalars(select(usage_logs.c.parameters).where(usage_logs.c.id == own[0])).one()
        assert parameters["temperature"] == 0.5
        assert "jonas" not in repr(connection.execute(select(users)).all())
        actions = connection.scalars(select(audit_log.c.action).where(audit_log.c.action.startswith("person"))).all()
    assert sorted(actions) == ["person.erase", "person.erase_begin"]
    assert Erasure(store).erase(OPERATOR, jonas.user_id or "").counts.get("calls") is None  # again: nothing is left


def test_the_busiest_person_goes_in_batches_and_what_copies_may_hold_is_told_again(store: Store) -> None:
    person(store, "root", Role.SUPER_ADMIN)
    jonas = person(store, "jonas")
    began = utc_now() - timedelta(days=30)
    row = {"deadline_at": began, "tool": "t", "source": "native", "status": "ok", "user_id": jonas.user_id, "app": "a"}
    row |= {"origin": "tool", "content_policy": "full", "arguments": {"q": SECRET}, "arguments_hash": ""}
    talk: dict[str, Any] = {"app": "a", "title": SECRET, "last_at": began, "owner_id": jonas.user_id}
    with store.write() as connection:
        for number in range(7):
            at = began + timedelta(hours=number)
            connection.execute(insert(conversations).values(id=make_id(), created_at=at, **talk))
            run = {"id": make_id(), "started_at": at + timedelta(minutes=1), "arguments_bytes": 1}
            connection.execute(insert(tool_executions).values(**row, **run))
    transactions = list[str]()
    event.listen(store.engine, "commit", lambda _connection: transactions.append("commit"))
    erased = Erasure(store, batch=3).erase(OPERATOR, jonas.user_id or "")
    assert (erased.counts["conversations"], erased.counts["tool_executions"], erased.words_since) == (7, 7, began)
    in_one_go = len(erasure.DELETED) + len(erasure.EMPTIED) + 5  # the account, calls, documents, metrics, the name
    assert len(transactions) == in_one_go + 2 + 2, "seven rows go in three transactions"
    with store.read() as connection:
        assert SECRET not in repr(connection.execute(select(tool_executions)).all())
    again = Erasure(store).erase(OPERATOR, jonas.user_id or "")
    assert again.words_since == began, "copies still hold what is gone here"
    assert f"{began:%Y-%m-%d %H:%M}" in again.backup_note


_FIGURES = select(
    usage_logs.c.id, usage_logs.c.user_id, usage_logs.c.cost_nano_usd, usage_logs.c.total_tokens
).order_by(usage_logs.c.id)


@pytest.mark.quick
def test_every_table_that_names_a_person_is_decided_about() -> None:
    """A new table with somebody's id is deleted from, emptied or kept when they are erased: somebody has to say."""
    deleted = {column.table.name for column, *_ in erasure.DELETED}
    names_people = {
        name
        for name, table in metadata.tables.items()
        if {"user_id", "owner_id", "created_by"} & set(table.columns.keys())
    }
    assert names_people <= deleted | set(erasure.EMPTIED) | set(erasure.KEPT)


def test_every_table_of_a_team_keeps_it_from_going_or_is_what_was_done_in_it() -> None:
    """A new table with a team's id is asked before the team is removed, or keeps the id of a team that is gone."""
    done = {
        *("approval_grants", "approvals", "audit_log", "cache_counts", "cache_decisions", "cache_entries"),
        *(
            "cache_hits",
            "cache_policies",
            "conversations",
            "custom_metrics",
            "experiments",
            "message_links",
            "open_calls",
        ),
        *("playground_runs", "saved_views", "stored_messages", "tool_executions", "tool_turns", "usage_logs"),
        "workflow_runs",
    }
    people = {"access_links", "team_members", "users"}
    asked_apart = {"api_keys", "tools"}  # those that work, those that are not built in
    of_teams = {name for name, table in metadata.tables.items() if "team_id" in table.c}
    assert of_teams - {table.name for table in teams.OWNED} == done | people | asked_apart


@pytest.mark.parametrize("table", [table for table in teams.OWNED if table.name.startswith("workflow")], ids=str)
def test_a_workflow_moves_with_what_begins_its_runs_and_keeps_a_team_from_going(store: Store, table: Table) -> None:
    made, other = (Teams(store).create(OPERATOR, name).id for name in ("Research", "Support"))
    rows: dict[str, dict[str, Any]] = {
        "workflows": {
            "slug": "triage",
            "name": "",
            "description": "",
            "newest": 1,
            "runners": {},
            "updated_at": utc_now(),
        },
        "workflow_schedules": {
            **{"workflow_id": "w", "name": "", "cron": "0 6 * * *", "zone": "UTC", "inputs": {}, "overlap": "skip"},
            "last_note": "",
        },
        "workflow_webhooks": {"workflow_id": "w", "name": "", "sealed": ""},
    }
    with store.write() as connection:
        for name in {"workflows", table.name}:
            ids = {"id": "w", "team_id": made, "is_active": True, "created_at": utc_now()}
            connection.execute(insert(metadata.tables[name]).values(**ids, **rows[name]))
    with pytest.raises(Conflict, match="belong to the team"):
        Teams(store).delete(OPERATOR, made)
    Teams(store).move(OPERATOR, "workflow", "triage", other)
    with store.read() as connection:
        assert connection.scalars(select(table.c.team_id)).all() == [other]
    Teams(store).delete(OPERATOR, made)


def test_the_switch_stops_a_key_a_team_and_everything_in_every_process(store: Store) -> None:
    team = Teams(store).create(OPERATOR, "Research")
    lead = person(store, "lead", Role.TEAM_ADMINISTRATOR, team.id)
    token, key = ApiKeys(store).create(lead, app="bot")
    program = ApiKeys(store).authenticate(token)
    assert program is not None
    assert program.actor is not None
    outsider = person(store, "outsider")
    here = StopSwitch(store, fresh_s=0.0)
    elsewhere = StopSwitch(store, fresh_s=0.0)
    for kind, subject, stopped, going in (
        (StopKind.KEY, key.id, [program.actor], [lead, outsider]),
        (StopKind.TEAM, str(team.id), [program.actor, lead], [outsider]),
        (StopKind.EVERYTHING, "", [program.actor, lead, outsider], []),
    ):
        here.stop(OPERATOR, kind, subject, "a leak")
        elsewhere.refresh()
        for actor in stopped:
            with pytest.raises(PermissionDenied, match="a leak"):
                elsewhere.check(actor)
        for actor in going:
            elsewhere.check(actor)
        assert [stop.kind for stop in here.list(OPERATOR)] == [kind]
        with pytest.raises(Conflict):
            here.stop(OPERATOR, kind, subject)
        here.start(OPERATOR, kind, subject)
        elsewhere.refresh()
        for actor in stopped:
            elsewhere.check(actor)
    here.stop(OPERATOR, StopKind.TOOL, "search", "it lies")
    elsewhere.refresh()
    elsewhere.check(lead, tool="fetch")
    with pytest.raises(PermissionDenied, match="it lies"):
        elsewhere.check(lead, tool="search")
    here.start(OPERATOR, StopKind.TOOL, "search")
    here.stop(lead, StopKind.TEAM, "research")
    here.start(lead, StopKind.TEAM, "research")
    for kind, subject in ((StopKind.TEAM, "first-team"), (StopKind.EVERYTHING, ""), (StopKind.TOOL, "fetch")):
        with pytest.raises(PermissionDenied):
            here.stop(lead, kind, subject)


def test_who_is_switched_off_or_leaves_the_team_is_paused_in_every_process(store: Store) -> None:
    team = Teams(store).create(OPERATOR, "Research")
    Teams(store).add(OPERATOR, team.id, person(store, "jonas").name, Role.DEVELOPER)
    li = person(store, "li")
    with store.read() as connection:
        here, there = (find_person(connection, Users(store).list(OPERATOR)[0].id, team_id) for team_id in (1, team.id))
    assert here is not None
    assert there is not None
    switch = StopSwitch(store, fresh_s=0.0)
    Teams(store).remove(OPERATOR, team.id, here.user_id or "")
    Users(store).create(OPERATOR, "root", PASSWORD, Role.SUPER_ADMIN)
    Users(store).set_active(OPERATOR, li.user_id or "", False)
    switch.refresh()
    switch.check(here)
    for actor, why in ((there, "no more as a member"), (li, "switched off")):
        with pytest.raises(PermissionDenied, match=why):
            switch.check(actor)


@pytest.mark.feature("COST-2")
def test_a_teams_budget_holds_for_its_calls_alone(store: Store) -> None:
    team = Teams(store).create(OPERATOR, "Research")
    lead = person(store, "lead", Role.TEAM_ADMINISTRATOR, team.id)
    budgets = Budgets(store)
    log(store, team_id=team.id, cost_nano_usd=400)
    log(store, cost_nano_usd=10_000)
    budget = budgets.create(lead, scope="team", subject="research", period="month", limit_nano=1_000)
    assert (budget.now.spent_nano, budget.budget.label) == (400, "research")
    with store.write() as connection:
        ours, theirs, more = reserve_many(
            connection,
            [
                Want(make_id(), CallFacts("openai", "bot", team_id=team.id), 600),
                Want(make_id(), CallFacts("openai", "bot"), 600),
                Want(make_id(), CallFacts("openai", "bot", team_id=team.id), 1),
            ],
            utc_now(),
        )
    assert not isinstance(ours, BudgetRefusal)
    assert not isinstance(theirs, BudgetRefusal)
    assert isinstance(more, BudgetRefusal)


@pytest.mark.feature("COST-2")
def test_a_teams_limit_counts_the_calls_of_all_its_keys(store: Store) -> None:
    team = Teams(store).create(OPERATOR, "Research")
    limits = RateLimits(store)
    limits.set_team(OPERATOR, team.id, Limits(2))
    claims = [Claim("one", 1, team_id=team.id), Claim("two", 1, team_id=team.id), Claim("three", 1, team_id=team.id)]
    with store.write() as connection:
        decisions = limits.check_many(connection, [*claims, Claim("one", 1)], utc_now())
    assert [decision.refused is None for decision in decisions] == [True, True, False, True]
    assert "limit of this team" in str(decisions[2].refused and decisions[2].refused.error())
    with pytest.raises(PermissionDenied):
        limits.set_team(person(store, "jonas"), team.id, Limits(None, 5))


def test_several_who_use_one_link_make_one_account(store: Store) -> None:
    links = AccessLinks(store)
    token = links.invite(OPERATOR, 1)
    outcomes = list[str]()

    def use(name: str) -> None:
        try:
            links.accept(token, name, PASSWORD)
            outcomes.append("made")
        except NotFound:
            outcomes.append("refused")

    threads = [threading.Thread(target=use, args=(f"guest{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["made", "refused", "refused", "refused"]

"""People see their own calls. Others' figures need the permission to view statistics; words stay with their author."""

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pytest

from lib.access.permissions import OPERATOR, Actor, Permission
from lib.access.preferences import Preferences
from lib.activity.call_filter import CUSTOM, ActivityFilter
from lib.activity.call_log import Activity
from lib.calls.past_call import PastCalls
from lib.db.engine import Store
from lib.errors import NotFound
from tests.activity.activity_rig import AMIRA, JONAS, LI, NOBODY, account, log, log_all, opened

pytestmark = pytest.mark.feature("ACC-4")
ALL = ActivityFilter(period=CUSTOM)
SECRET = "the merger is on Tuesday"
EACH = 8  # times that a row says it: prompt, answer, error, tag, and four in its parameters
PARAMETERS = {
    **{"temperature": 0.2, "reasoning_effort": "low", "stop": [SECRET], "user": SECRET},
    "tools": [{"type": "function", "function": {"name": "f", "description": SECRET}}],
    "response_format": {"type": "json_schema", "json_schema": {"schema": {"title": SECRET}}},
}
EVERYBODY = [AMIRA, JONAS, LI, NOBODY, OPERATOR]


@pytest.fixture
def ids(store: Store) -> dict[str, str]:
    """A call of each person and one of nobody's, all with the same words."""
    for actor in (AMIRA, JONAS, LI):
        account(store, actor)
    words: dict[str, Any] = {
        "prompt_text": SECRET,
        "response_text": SECRET,
        "request": [{"role": "user", "content": SECRET}],
        "parameters": PARAMETERS,
        "tags": {"project": SECRET},
        "error_message": f"It failed. It said: {SECRET}",
    }
    made = {actor.name: log(store, actor, app=actor.name, **words) for actor in (AMIRA, JONAS, LI)}
    (made["gateway"],) = log_all(store, [{"user_id": None, "app": "gateway", **words}])
    return made


def seen(store: Store, actor: Actor, asked: ActivityFilter = ALL) -> set[str]:
    return {row.id for row in Activity(store).page(actor, asked).rows}


def test_without_the_permission_only_own_rows_are_there(store: Store, ids: dict[str, str]) -> None:
    assert seen(store, LI) == {ids["li-wei"]}
    assert seen(store, NOBODY) == set()
    assert seen(store, JONAS) == seen(store, AMIRA) == seen(store, OPERATOR) == set(ids.values())
    for asked in (ActivityFilter(users=(JONAS.user_id or "",)), ActivityFilter(apps=("jonas",))):
        assert seen(store, LI, asked) == set()
    options = Activity(store).options(LI)
    assert (options.apps, list(options.users)) == (["li-wei"], [LI.user_id])
    assert Activity(store).page(LI, ALL).calls == 1
    assert Activity(store).is_empty(NOBODY)


def test_what_runs_is_hidden_alike(store: Store) -> None:
    going = opened(store, JONAS, request=[{"role": "user", "content": SECRET}])
    assert seen(store, LI) == seen(store, NOBODY) == set()
    for actor in (LI, NOBODY):
        with pytest.raises(NotFound):
            Activity(store).detail(actor, going)
    assert Activity(store).detail(JONAS, going).messages is not None
    administrator = replace(LI, permissions=frozenset({Permission.VIEW_STATS}))
    assert Activity(store).detail(administrator, going).messages is None


def test_a_foreign_call_and_an_unknown_one_are_the_same(store: Store, ids: dict[str, str]) -> None:
    def refusal(actor: Actor, log_id: str) -> str:
        with pytest.raises(NotFound) as caught:
            Activity(store).detail(actor, log_id)
        return str(caught.value)

    assert refusal(LI, ids["jonas"]) == refusal(LI, ids["gateway"]) == refusal(LI, "unknown")
    assert refusal(NOBODY, ids["gateway"]) == refusal(LI, "unknown")
    call_id = Activity(store).detail(JONAS, ids["jonas"]).log["call_id"]
    assert refusal(LI, call_id) == refusal(LI, "unknown")


def test_words_are_for_their_author_and_super_admins(store: Store, ids: dict[str, str]) -> None:
    for actor in (JONAS, AMIRA, OPERATOR):
        for name, log_id in ids.items():
            detail = Activity(store).detail(actor, log_id)
            may_read = actor in (AMIRA, OPERATOR) or name == actor.name
            assert detail.reads_content == may_read
            assert (SECRET in repr(detail)) == may_read
            assert detail.is_own == (name == actor.name)


def test_searching_does_not_tell_what_may_not_be_read(store: Store, ids: dict[str, str]) -> None:
    asked = ActivityFilter(text="merger")
    assert seen(store, JONAS, asked) == {ids["jonas"]}
    assert seen(store, LI, asked) == {ids["li-wei"]}
    assert seen(store, NOBODY, asked) == set()
    assert seen(store, AMIRA, asked) == set(ids.values())


@pytest.mark.parametrize("actor", EVERYBODY, ids=lambda actor: actor.name)
def test_exports_hold_what_the_page_shows(store: Store, ids: dict[str, str], actor: Actor) -> None:
    activity = Activity(store)
    by_id = {row["ID"]: row for row in csv.DictReader(io.StringIO(b"".join(activity.export_csv(actor, ALL)).decode()))}
    objects = json.loads(b"".join(activity.export_json(actor, ALL)))
    script = b"".join(activity.export_sql(actor, ALL)).decode()
    assert set(by_id) == {row["id"] for row in objects} == seen(store, actor)
    readable = 0
    for name, log_id in ids.items():
        if log_id in by_id:
            may_read = actor in (AMIRA, OPERATOR) or name == actor.name
            assert (by_id[log_id]["Prompt"] == by_id[log_id]["Response"] == SECRET) == may_read
            readable += may_read
    assert sum(row["prompt_text"] == SECRET for row in objects) == readable
    assert script.count(SECRET) == EACH * readable
    assert json.dumps(objects).count(SECRET) == EACH * readable
    assert json.dumps(list(by_id.values())).count(SECRET) == EACH * readable
    for row in objects:
        assert (row["parameters"]["temperature"], row["parameters"]["reasoning_effort"]) == (0.2, "low")
        assert row["error_message"].startswith("It failed. ")


def test_runs_are_the_actors_own_whatever_the_role(store: Store, ids: dict[str, str]) -> None:
    call_id = Activity(store).detail(JONAS, ids["jonas"]).log["call_id"]
    assert PastCalls(store).view(JONAS, call_id).text == SECRET
    for actor in (AMIRA, LI):
        with pytest.raises(NotFound):
            PastCalls(store).view(actor, call_id)


def test_preferences_are_nobody_elses(store: Store) -> None:
    preferences = Preferences(store)
    preferences.set(JONAS, "playground.configuration", "secret-project")
    for actor in (AMIRA, LI, NOBODY, OPERATOR):
        assert preferences.get(actor, "playground.configuration") is None

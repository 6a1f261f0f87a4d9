"""A remembered answer is served to the same request of the same person, costs nothing, and never reaches another."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select, update

from lib.access.grants import KeyGrant
from lib.access.permissions import Permission
from lib.cache.eligibility import is_personal
from lib.cache.policy import CacheRules, SharingScope
from lib.calls.request import CachePolicy, CallRequest
from lib.clock import utc_now
from lib.db.tables import cache_entries, cache_hits, usage_logs
from lib.errors import Conflict, PermissionDenied
from lib.settings import Settings
from tests.cache.rig import AMIRA, JONAS, CacheRig

QUESTION = "What is the capital of France?"


@pytest.fixture
def rig(settings: Settings) -> Iterator[CacheRig]:
    rig = CacheRig(settings)
    yield rig
    rig.services.close()


@pytest.mark.feature("CACHE-1")
@pytest.mark.feature("CACHE-3")
@pytest.mark.feature("CALL-9")
def test_the_same_request_is_answered_from_memory_with_a_row_that_says_what_it_saved(rig: CacheRig) -> None:
    first = rig.ask(QUESTION)
    rig.services.cache.recall.flush()
    again = rig.ask(QUESTION)
    rig.services.cache.recall.flush()
    (paid,), (row,) = rig.rows(first.call_id), rig.rows(again.call_id)
    assert (first.text, again.text) == (QUESTION, QUESTION)
    assert (paid["cache"], paid["saved_nano_usd"]) == ("none", None)
    assert paid["cost_nano_usd"] > 0
    assert (row["cache"], row["lane"], row["cost_nano_usd"], row["cost_status"]) == ("exact", "cache", 0, "free")
    assert row["saved_nano_usd"] == paid["cost_nano_usd"]
    with rig.services.store.read() as connection:
        (hit,) = connection.execute(select(cache_hits)).all()
        (entry,) = connection.execute(select(cache_entries)).all()
    assert (hit.call_id, hit.original_call_id, hit.tier) == (again.call_id, first.call_id, "exact")
    assert (entry.uses, entry.call_id) == (1, first.call_id)
    assert "France" not in f"{entry.answer}{entry.question}", "words are encrypted"


@pytest.mark.feature("CACHE-1")
def test_how_old_an_answer_was_is_told_to_its_asker_and_to_who_sees_the_teams_calls(rig: CacheRig) -> None:
    first, again = rig.ask(QUESTION, JONAS), rig.ask(QUESTION, JONAS)
    five_minutes_before = rig.rows(again.call_id)[0]["started_at"] - timedelta(minutes=5)
    with rig.services.store.write() as connection:
        is_first = usage_logs.c.call_id == first.call_id
        connection.execute(update(usage_logs).where(is_first).values(finished_at=five_minutes_before))
    asker = replace(JONAS, permissions=frozenset({Permission.TEST_CONFIGS}))
    stranger = replace(asker, user_id=AMIRA.user_id)
    for actor, expected in (
        *((reader, {again.call_id: 300}) for reader in (asker, JONAS, AMIRA)),
        *((reader, {}) for reader in (stranger, replace(asker, team_id=7), replace(JONAS, team_id=7))),
    ):
        assert rig.services.cache.find_answer_ages(actor, [first.call_id, again.call_id]) == expected, actor


@pytest.mark.feature("CACHE-2")
def test_any_part_that_shapes_an_answer_or_says_whose_it_is_keeps_it_apart(rig: CacheRig) -> None:
    """Each change of one part is another question; the unchanged one is a hit to the end."""
    other_app = KeyGrant("00000000-0000-7000-8000-0000000000ff", "elsewhere")
    changes: dict[str, Mapping[str, Any]] = {
        "person": {"actor": JONAS},
        "app": {"actor": replace(AMIRA, key=other_app)},
        "end user": {"parameters": {"user": "ada"}},
        "model": {"configuration": rig.configure("echo+priced+served:other", slug="other-model")},
        "system prompt": {"system_prompt": "Be brief."},
        "temperature": {"parameters": {"temperature": 0.5}},
        "ceiling": {"parameters": {"max_tokens": 50}},
        "stop": {"parameters": {"stop": ["."]}},
        "response format": {"parameters": {"response_format": {"type": "json_object"}}},
        "one more turn": {"messages": [{"role": "assistant", "content": "Hi"}, {"role": "user", "content": QUESTION}]},
    }
    assert rig.tiers(QUESTION, QUESTION) == ["none", "exact"]
    for part, change in changes.items():
        assert rig.tiers(QUESTION, **change) == ["none"], part
    assert rig.tiers(QUESTION) == ["exact"]


@pytest.mark.feature("CACHE-2")
def test_a_changed_configuration_is_another_namespace(rig: CacheRig) -> None:
    assert rig.tiers(QUESTION, QUESTION) == ["none", "exact"]
    configuration = rig.configurations.get(AMIRA, rig.slug)
    rig.configurations.update(AMIRA, configuration.id, configuration.revision, description="Another revision")
    assert rig.tiers(QUESTION) == ["none"]


@pytest.mark.feature("CACHE-1")
@pytest.mark.parametrize(
    ("script", "request_parts", "rule"),
    [
        ("echo", {"parameters": {"tools": [{"type": "function", "function": {"name": "mail"}}]}}, "tools"),
        ("echo", {"parameters": {"logprobs": True}}, "unknown field"),
        ("echo+finish:length", {}, "cut or filtered"),
        ("echo+finish:content_filter", {}, "cut or filtered"),
        ("echo", {"cache_policy": CachePolicy(reads=False, writes=False)}, "no-store"),
    ],
)
def test_what_may_not_be_remembered_is_not_and_is_counted(
    settings: Settings, script: str, request_parts: Mapping[str, Any], rule: str
) -> None:
    rig = CacheRig(settings, script)
    try:
        for _ in range(2):
            asked = {"messages": [{"role": "user", "content": QUESTION}], "configuration": rig.slug, **request_parts}
            view = rig.services.calls.run(CallRequest(actor=AMIRA, **asked))
            rig.services.cache.recall.flush()
            assert rig.tier(view) == "none"
        (figures,) = rig.services.cache.figures(AMIRA)
        assert figures.outcomes[rule] == 2
        assert figures.entries == 0
    finally:
        rig.services.close()


@pytest.mark.feature("CACHE-2")
@pytest.mark.parametrize(
    ("question", "is_left_out"),
    [
        ("What is my balance?", True),
        ("Write to ada.l+x@mail.example.org about it", True),
        ("Is 4111 1111 1111 1111 valid?", True),
        ("Is DE89370400440532013000 valid?", True),
        ("Wie geht es meiner Mutter?", True),
        ("What is the capital of France?", False),
        ("Who is the mayor of Memphis?", False),
        ("What does a @ b mean in 2024?", False),
    ],
)
def test_what_speaks_of_a_person_is_not_shared(question: str, is_left_out: bool) -> None:
    call: Any = SimpleNamespace(
        first=SimpleNamespace(model_request=SimpleNamespace(messages=[{"role": "user", "content": question}]))
    )
    assert is_personal(call) == is_left_out


@pytest.mark.feature("CACHE-2")
def test_a_key_for_many_people_has_memory_for_those_it_names_alone(rig: CacheRig) -> None:
    key = KeyGrant("00000000-0000-7000-8000-0000000000ff", "tests", serves_many=True)
    program = {"actor": replace(AMIRA, key=key)}
    assert rig.tiers(QUESTION, QUESTION, **program) == ["none", "none"]
    assert rig.tiers(QUESTION, QUESTION, parameters={"user": "ada"}, **program) == ["none", "exact"]
    assert rig.tiers(QUESTION, parameters={"user": "ben"}, **program) == ["none"]
    assert rig.services.cache.figures(AMIRA)[0].outcomes["nobody named"] == 2


@pytest.mark.feature("CACHE-1")
def test_an_answer_that_is_not_written_yet_is_too_old_like_every_other(rig: CacheRig) -> None:
    rig.services.cache.change_rules(AMIRA, _id(rig), CacheRules(exact=True, loose=True))
    cold: dict[str, Any] = {"parameters": {"temperature": 0}}
    rig.ask(QUESTION, **cold)
    again = rig.ask(f"Hello, {QUESTION}", cache_policy=CachePolicy(ttl_s=0), **cold)
    assert rig.tier(again) == "none"


@pytest.mark.feature("CACHE-1")
def test_what_could_not_be_written_is_not_served(rig: CacheRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody could purge it, and another process would answer otherwise."""

    def fail(self: Any, rows: Any) -> None:
        raise OSError("The disk is full")

    monkeypatch.setattr("lib.cache.entries.Entries.store", fail)
    rig.ask(QUESTION)
    with pytest.raises(OSError, match="full"):
        rig.services.cache.recall.flush()
    assert rig.services.cache.recall._fresh == {}
    monkeypatch.undo()
    assert rig.tiers(QUESTION, QUESTION) == ["none", "exact"]


@pytest.mark.feature("CACHE-1")
def test_a_person_passes_by_the_cache_for_one_request_and_renews_it(rig: CacheRig) -> None:
    first = rig.ask(QUESTION)
    rig.services.cache.recall.flush()
    assert rig.tiers(QUESTION, cache_policy=CachePolicy(reads=False)) == ["none"]
    again = rig.ask(QUESTION)
    rig.services.cache.recall.flush()
    with rig.services.store.read() as connection:
        (hit,) = connection.execute(select(cache_hits).where(cache_hits.c.call_id == again.call_id)).all()
    assert hit.original_call_id != first.call_id, "the newer answer took the older one's place"


@pytest.mark.feature("CACHE-3")
def test_equal_requests_at_once_ask_the_model_once(settings: Settings) -> None:
    rig = CacheRig(settings, "echo+wait:150ms+priced")
    try:
        ids = [
            rig.services.calls.start(
                CallRequest(actor=AMIRA, messages=[{"role": "user", "content": QUESTION}], configuration=rig.slug)
            )
            for _ in range(100)
        ]
        views = [rig.services.calls.wait(AMIRA, call_id) for call_id in ids]
        assert {view.text for view in views} == {QUESTION}
        assert sorted(rig.tier(view) for view in views) == ["exact"] * 99 + ["none"]
        assert len(rig.services.cache.recall._flights) == 0
    finally:
        rig.services.close()


@pytest.mark.feature("CACHE-3")
def test_a_leader_that_fails_hands_on_to_one_at_a_time(settings: Settings) -> None:
    """Of three equal requests at once each one fails by itself: none waits for ever, none is told another's error."""
    rig = CacheRig(settings, "error:400+wait:50ms")
    try:
        request = CallRequest(actor=AMIRA, messages=[{"role": "user", "content": QUESTION}], configuration=rig.slug)
        ids = [rig.services.calls.start(request) for _ in range(3)]
        assert [rig.services.calls.wait(AMIRA, call_id).status for call_id in ids] == ["error"] * 3
        assert len(rig.services.cache.recall._flights) == 0
    finally:
        rig.services.close()


@pytest.mark.feature("CACHE-1")
def test_rules_are_administrators_and_a_masking_policy_remembers_nothing(rig: CacheRig) -> None:
    configuration = rig.configurations.get(AMIRA, rig.slug)
    change = rig.services.cache.change_rules
    with pytest.raises(PermissionDenied):
        change(replace(JONAS, permissions=frozenset()), configuration.id, CacheRules())
    with pytest.raises(PermissionDenied):
        change(JONAS, configuration.id, CacheRules(exact=True, scope=SharingScope.APP))
    rig.configurations.update(AMIRA, configuration.id, configuration.revision, content_policy="redacted")
    with pytest.raises(Conflict):
        change(AMIRA, configuration.id, CacheRules(exact=True))
    assert rig.tiers(QUESTION, QUESTION) == ["none", "none"]


@pytest.mark.feature("CACHE-1")
def test_entries_are_purged_by_person_configuration_age_and_call_and_grow_old(rig: CacheRig) -> None:
    cache = rig.services.cache
    assert rig.tiers(QUESTION, QUESTION) == ["none", "exact"]
    assert rig.tiers(QUESTION, actor=JONAS) == ["none"]
    assert cache.purge_own(JONAS) == 1
    assert rig.tiers(QUESTION) == ["exact"]
    with pytest.raises(PermissionDenied):
        cache.purge(replace(JONAS, permissions=JONAS.permissions - {"edit-llm-configs"}), everything=True)
    assert cache.purge(AMIRA, configuration_id=rig.configurations.get(AMIRA, rig.slug).id) == 1
    assert rig.tiers(QUESTION) == ["none"]
    call = rig.ask(QUESTION)
    assert cache.forget_call(AMIRA, call.call_id) == 1
    assert rig.tiers(QUESTION, QUESTION) == ["none", "exact"]
    with rig.services.store.write() as connection:  # two days pass
        connection.execute(update(cache_entries).values(created_at=_two_days_before(connection)))
    assert rig.tiers(QUESTION) == ["none"]


def _two_days_before(connection: Any) -> Any:
    return connection.scalar(select(cache_entries.c.created_at).limit(1)) - timedelta(days=2)


@pytest.mark.feature("CACHE-1")
def test_the_least_recently_used_go_when_there_is_too_much(rig: CacheRig) -> None:
    rig.tiers("One fish", "Two fish", "Red fish", "One fish")
    with rig.services.store.read() as connection:
        sizes = connection.execute(select(cache_entries.c.bytes)).scalars().all()
    rules = replace(rig.services.cache.rules(AMIRA, _id(rig)), most_bytes=sum(sizes) - 1)
    assert rig.services.cache._entries.shrink({_id(rig): rules}) == 1
    rig.services.cache.recall.forget()
    assert rig.tiers("One fish", "Two fish") == ["exact", "none"]


def _id(rig: CacheRig) -> str:
    return rig.configurations.get(AMIRA, rig.slug).id


@pytest.mark.feature("CACHE-3")
def test_another_process_finds_what_this_one_remembers(rig: CacheRig, settings: Settings) -> None:
    from lib import services as service_root

    rig.tiers(QUESTION)
    other = service_root.build(settings)
    try:
        view = other.calls.run(
            CallRequest(actor=AMIRA, messages=[{"role": "user", "content": QUESTION}], configuration=rig.slug)
        )
        other.calls.flush()
        with other.store.read() as connection:
            found = connection.scalar(select(usage_logs.c.cache).where(usage_logs.c.call_id == view.call_id))
        assert found == "exact"
    finally:
        other.close()


@pytest.mark.feature("CACHE-1")
def test_a_configuration_without_rules_is_not_looked_at(settings: Settings) -> None:
    rig = CacheRig(settings, exact=False)
    try:
        assert rig.tiers(QUESTION, QUESTION) == ["none", "none"]
        assert rig.services.cache.recall._rules == {}
    finally:
        rig.services.close()


@pytest.mark.feature("CACHE-1")
def test_what_was_not_found_is_counted_by_the_team_that_asked(rig: CacheRig) -> None:
    rig.tiers("How deep is the sea?", "How high is the sky?")
    rig.services.cache._entries.note_counts(utc_now().date(), {(7, _id(rig), "miss"): 5})
    counted = [rig.services.cache.figures(actor)[0].outcomes["miss"] for actor in (AMIRA, JONAS)]
    assert [AMIRA.sees_every_team, JONAS.sees_every_team] == [True, False]
    assert counted == [7, 2]

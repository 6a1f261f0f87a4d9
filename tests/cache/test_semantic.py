"""Other words: found by their vectors, refused by guards, decided by a judge, served only where that is proved."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import insert, select

from lib.access.audit import AuditCriteria
from lib.access.permissions import Actor, Role, make_actor
from lib.cache.judge import Judge
from lib.cache.policy import SemanticMode
from lib.clock import make_id, utc_now
from lib.db.tables import cache_decisions, cache_entries
from lib.errors import NotFound
from lib.knowledge.embedding import Embedder
from lib.settings import Settings
from tests.cache.rig import AMIRA, JONAS, CacheRig
from tests.waiting import CEILING_S

pytestmark = pytest.mark.feature("CACHE-4")
COLD: dict[str, Any] = {"parameters": {"temperature": 0}}
FIRST = "What is the capital of France?"
REWORDED = "Which city is the capital of France?"
NEAR_MISS = "What is the capital of Spain?"


def words_as_vector(text: str) -> Any:
    """A vector that hears countries softly and not how a question begins: near misses and rewordings are near."""
    import numpy as np

    vector = np.zeros(64, dtype="<f4")
    for word in text.lower().strip("?").split():
        loudness = {"what": 0, "which": 0, "city": 0, "town": 0, "france": 0.5, "spain": 0.5}.get(word, 1)
        vector[sum(map(ord, word)) % 64] += loudness
    return vector / np.linalg.norm(vector)


def embed_words(_embedder: Embedder, _actor: Actor, _model: str, texts: Sequence[str]) -> Any:
    """In place of the bundled model: `Embedder.embed`."""
    import numpy as np

    return np.stack([words_as_vector(text) for text in texts])


@pytest.fixture
def rig(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[CacheRig]:
    monkeypatch.setattr(Embedder, "embed", embed_words)
    rig = CacheRig(settings, "say:It is Paris+priced")
    yield rig
    rig.services.close()


def set_rules(rig: CacheRig, **rules: Any) -> None:
    configuration = rig.configurations.get(AMIRA, rig.slug)
    rules.setdefault("exact", True)
    rig.services.cache.change_rules(
        AMIRA, configuration.id, replace(rig.services.cache.rules(AMIRA, configuration.id), **rules)
    )


def decisions(rig: CacheRig) -> list[Any]:
    with rig.services.store.read() as connection:
        return list(connection.execute(select(cache_decisions).order_by(cache_decisions.c.id)).all())


@pytest.mark.feature("CACHE-4")
def test_greetings_and_thanks_make_no_difference_in_the_loose_tier_and_only_there(rig: CacheRig) -> None:
    polite = "Hi, could you please tell me what is the capital of France? Thanks!"
    assert rig.tiers(FIRST, polite, **COLD) == ["none", "none"]
    set_rules(rig, loose=True)
    assert rig.tiers(f"Hello, {FIRST}", NEAR_MISS, **COLD) == ["loose", "none"]
    assert rig.tiers(f"Hey there, {FIRST}") == ["none"], "a temperature that is not named may be warm"
    assert rig.tiers(f"Hey there, {FIRST}", actor=JONAS, **COLD) == ["none"], "another person"


@pytest.mark.feature("CACHE-2")
def test_shadow_serves_nothing_and_notes_what_it_would_have(rig: CacheRig) -> None:
    set_rules(rig, semantic=SemanticMode.SHADOW)
    assert rig.tiers(FIRST, REWORDED, NEAR_MISS, **COLD) == ["none"] * 3
    hit, *refused = decisions(rig)
    assert (hit.guard, hit.label, hit.labelled_by, hit.was_served) == (None, "same", "answers", False)
    assert {row.guard for row in refused} == {"name"}
    (figures,) = rig.services.cache.decisions(AMIRA, hit.configuration_id)
    assert (figures.question, figures.candidate) == (REWORDED, FIRST)
    other = make_actor(make_id(), "ada", Role.DEVELOPER)
    (unseen,) = rig.services.cache.decisions(other, hit.configuration_id)
    assert "capital" not in unseen.question + unseen.candidate
    with rig.services.store.read() as connection:
        stored = [*connection.execute(select(cache_decisions)), *connection.execute(select(cache_entries))]
    assert "capital" not in str(stored)


def test_a_judge_decides_and_one_that_fails_or_rambles_is_a_miss(rig: CacheRig) -> None:
    told = {"say:SAME": "semantic", "say:DIFFERENT": "none", "say:Maybe": "none", "error:500": "none"}
    for script, tier in told.items():
        judge = rig.configurations.create(
            AMIRA, slug=f"judge-{make_id()[-6:]}", app="tests", provider="scripted", model=script
        )
        set_rules(rig, semantic=SemanticMode.JUDGED, judge_configuration_id=judge.id)
        rig.services.cache.purge(AMIRA, everything=True)
        assert rig.tiers(FIRST, REWORDED, NEAR_MISS, **COLD) == ["none", tier, "none"], script


@pytest.mark.feature("CACHE-5")
def test_without_a_judge_it_serves_only_what_is_proved_and_a_person_takes_that_back(
    rig: CacheRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lib.cache.semantic.EXPLORED", 0.0)
    set_rules(rig, semantic=SemanticMode.PROVED)
    assert rig.tiers(FIRST, REWORDED, **COLD) == ["none", "none"]
    (sample,) = decisions(rig)
    fill = {**sample._mapping, "label": "same", "labelled_by": "answers"}
    with rig.services.store.write() as connection:
        connection.execute(
            insert(cache_decisions), [{**fill, "id": make_id(), "created_at": utc_now()} for _ in range(298)]
        )
    (pool,) = rig.services.cache.proofs(AMIRA)
    assert pool.proof.is_proved
    assert pool.proof.bound == pytest.approx(0.00997, abs=1e-5)
    assert rig.tiers("Which town is the capital of France?", **COLD) == ["semantic"]
    served = decisions(rig)[-1]
    assert served.was_served
    with pytest.raises(NotFound):
        rig.services.cache.label(make_actor(make_id(), "ada", Role.DEVELOPER), served.id, "different")
    for row in decisions(rig)[:4]:
        rig.services.cache.label(AMIRA, row.id, "different")
    rig.services.cache.label(AMIRA, served.id, "different")
    assert not rig.services.cache.proofs(AMIRA)[0].proof.is_proved
    entries = rig.services.audit.page(AMIRA, AuditCriteria(), size=50).entries
    assert [entry.action for entry in entries].count("cache.label") == 5
    assert rig.tiers("Which town is the capital of France?", **COLD) == ["none"]


def test_storing_and_serving_go_on_beside_a_judge_that_hangs(rig: CacheRig, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    judging = threading.Event()
    goes_on = threading.Event()

    def hang(*_args: Any) -> str:
        judging.set()
        assert goes_on.wait(60)
        return "same"

    monkeypatch.setattr(Judge, "compare", hang)
    judge = rig.configurations.create(AMIRA, slug="judge", app="tests", provider="scripted", model="say:SAME")
    set_rules(rig, semantic=SemanticMode.SHADOW, judge_configuration_id=judge.id)
    recall = rig.services.cache.recall
    for question in (FIRST, REWORDED, "How deep is the sea?"):
        assert rig.tier(rig.ask(question, **COLD)) == "none"
        recall.flush()
    try:
        assert judging.wait(CEILING_S)
        assert [rig.tier(rig.ask(question, **COLD)) for question in (REWORDED, "How deep is the sea?")] == ["exact"] * 2
        with rig.services.store.read() as connection:
            assert len(connection.execute(select(cache_entries.c.id)).all()) == 3
        assert decisions(rig) == []
    finally:
        goes_on.set()
    recall.settle()
    assert [row.verdict for row in decisions(rig)] == ["same"]


def test_what_can_not_be_compared_in_time_is_left_out_and_counted() -> None:
    import threading

    from lib.cache.comparisons import Comparisons

    goes_on = threading.Event()
    compared: list[int] = []
    comparisons = Comparisons(most_waiting=2)

    def compare(number: int) -> None:
        if goes_on.wait(CEILING_S):
            compared.append(number)

    taken = [comparisons.put(partial(compare, number)) for number in range(9)]
    assert taken.count(False) >= 5, "two are being made, two wait"
    goes_on.set()
    comparisons.wait()
    assert len(compared) == taken.count(True)
    comparisons.stop()
    assert not comparisons.put(lambda: None)

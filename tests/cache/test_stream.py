"""A stream of questions full of near misses: nobody is told another question's answer, whichever tier it came from.

The model repeats what it is asked, so an answer names the question it was made for. `LLM_MANAGER_PROOF=1` asks 10,000.
"""

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from lib.cache.judge import DIFFERENT, SAME, Judge
from lib.cache.policy import CacheRules, SemanticMode
from lib.knowledge.embedding import Embedder
from lib.settings import Settings
from tests.cache.rig import AMIRA, CacheRig
from tests.cache.test_semantic import COLD, embed_words
from tests.cache.wording_pairs import NEAR_MISSES, PARAPHRASES
from tests.counts import repeats

pytestmark = pytest.mark.feature("CACHE-4")
QUESTIONS = repeats(300, 10_000)
JUDGE_ERRS = 0.01
POLITE = {
    "en": ("Hi, {}", "{} Thanks!"),
    "de": ("Hallo, {}", "{} Vielen Dank!"),
    "fr": ("Bonjour, {}", "{} Merci !"),
    "es": ("Hola, {}", "{} ¡Gracias!"),
    "it": ("Ciao, {}", "{} Grazie!"),
    "pt": ("Olá, {}", "{} Obrigado!"),
}
SLOTS = {
    "en": ("Is the {} train from {} to {} late?", ("first", "last", "2nd"), ("Oslo", "Bern", "Graz")),
    "de": ("Ist der {} Zug von {} nach {} verspätet?", ("erste", "letzte", "2."), ("Oslo", "Bern", "Graz")),
    "fr": (
        "Est-ce que le {} train de {} à {} part tard ?",
        ("premier", "dernier", "2e"),
        ("Oslo", "Bern", "Graz"),
    ),
    "es": ("¿Llega tarde el {} tren de {} a {}?", ("primer", "último", "2.º"), ("Oslo", "Berna", "Graz")),
    "it": ("Il {} treno da {} a {} è in ritardo?", ("primo", "ultimo", "2°"), ("Oslo", "Berna", "Graz")),
    "pt": ("O {} trem de {} para {} está atrasado?", ("primeiro", "último", "2º"), ("Oslo", "Berna", "Graz")),
}


def list_meanings() -> dict[str, int]:
    """Every question with the number of what it means."""
    meanings: dict[str, int] = {}
    number = itertools.count()
    for language, phrases in POLITE.items():
        form, orders, cities = SLOTS[language]
        slotted = [form.format(order, *pair) for order in orders for pair in itertools.permutations(cities, 2)]
        groups = [[text] for pair in NEAR_MISSES[language] for text in pair] + [[text] for text in slotted]
        groups += [list(pair) for pair in PARAPHRASES[language]]
        for group in groups:
            meaning = next(number)
            for text in group:
                meanings |= dict.fromkeys((text, *(phrase.format(text) for phrase in phrases)), meaning)
    return meanings


MEANINGS = list_meanings()


def draw(dice: random.Random, count: int) -> Iterator[str]:
    """Questions, some far more often than others."""
    texts = list(MEANINGS)
    dice.shuffle(texts)
    weights = [1 / (rank + 1) for rank in range(len(texts))]
    return iter(dice.choices(texts, weights, k=count))


@pytest.mark.parametrize("mode", [SemanticMode.JUDGED, SemanticMode.PROVED])
def test_nobody_is_told_the_answer_to_another_question(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, mode: SemanticMode
) -> None:
    dice = random.Random(27)
    judged = Counter[str]()

    def judge(_self: Judge, _rules: CacheRules, _template: str, first: str, second: str, *_: Any) -> str:
        is_right = dice.random() >= JUDGE_ERRS
        judged["right" if is_right else "wrong"] += 1
        return SAME if (MEANINGS[first] == MEANINGS[second]) == is_right else DIFFERENT

    monkeypatch.setattr(Embedder, "embed", embed_words)
    monkeypatch.setattr(Judge, "compare", judge)
    rig = CacheRig(settings, "echo+priced", loose=True)
    try:
        asked = rig.configurations.get(AMIRA, rig.slug)
        rules = CacheRules(exact=True, loose=True, semantic=mode, judge_configuration_id=asked.id)
        rig.services.cache.change_rules(AMIRA, asked.id, rules)
        told: list[tuple[str, str, str]] = []
        count = QUESTIONS if mode is SemanticMode.JUDGED else QUESTIONS // 3
        for question in draw(random.Random(11), count):
            view = rig.ask(question, **COLD)
            told.append((question, view.text, view.call_id))
            if len(told) % 20 == 0:
                rig.services.cache.recall.settle()
        rig.services.calls.flush()
        tiers = rig.find_tiers()
        hits = Counter(tiers[call_id] for _, _, call_id in told)
        false = Counter(tiers[call_id] for question, text, call_id in told if MEANINGS[question] != MEANINGS[text])
        assert (false["none"], false["exact"], false["loose"]) == (0, 0, 0), false
        assert hits["exact"] > count / 10
        assert hits["loose"] > 0
        if mode is SemanticMode.PROVED:
            assert hits["semantic"] == 0, "nothing is served before it is proved"
        else:
            assert hits["semantic"] > 0
            assert false["semantic"] <= judged["wrong"], "no more than the judge was wrong"
    finally:
        rig.services.close()

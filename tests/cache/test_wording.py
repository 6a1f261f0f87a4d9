"""The loose tier takes politeness off a question and nothing else; guards refuse what only shares a form."""

import pytest

from lib.cache import guards, wording
from tests.cache.wording_pairs import NEAR_MISSES as UNSEEN
from tests.cache.wording_pairs import PARAPHRASES

pytestmark = [pytest.mark.feature("CACHE-2"), pytest.mark.feature("CACHE-4")]

SAME = {
    "en": (
        "What is the capital of France?",
        "what is the capital of France",
        "Hi, could you please tell me what is the capital of France? Thanks!",
        "Hello there! What is the capital of France, please?",
        "Good morning. I would like to know what is the capital of France. Thanks in advance.",
    ),
    "de": (
        "Was ist die Hauptstadt von Frankreich?",
        "Hallo, was ist die Hauptstadt von Frankreich? Vielen Dank!",
        "Guten Tag! Was ist die Hauptstadt von Frankreich, bitte?",
    ),
    "fr": (
        "Quelle est la capitale de la France ?",
        "Bonjour, quelle est la capitale de la France ? Merci d'avance.",
        "Bonjour ! Quelle est la capitale de la France, s'il vous plaît ?",
    ),
    "es": ("¿Cuál es la capital de Francia?", "Hola, ¿cuál es la capital de Francia? Muchas gracias."),
    "it": ("Qual è la capitale della Francia?", "Ciao, qual è la capitale della Francia? Grazie mille!"),
    "pt": ("Qual é a capital da França?", "Olá, qual é a capital da França? Muito obrigado."),
}
NEAR_MISSES = {
    "en": [
        ("How far is it from Boston to Denver?", "How far is it from Denver to Boston?"),
        ("What is the distance to the moon in miles?", "What is the distance to the moon in kilometers?"),
        ("Is it safe to eat raw fish?", "Is it not safe to eat raw fish?"),
        ("What is the weather in Rome today?", "What is the weather in Rome tomorrow?"),
        ("List all planets of the solar system", "List some planets of the solar system"),
        ("What is the cheapest phone in this list?", "What is the most expensive phone in this list?"),
        ("Is this a public method of the class?", "Is this a private method of the class?"),
        ("How do I enable dark mode?", "How do I disable dark mode?"),
        ("What is 15 percent of 80?", "What is 50 percent of 80?"),
        ("Who wrote the book before the war?", "Who wrote the book after the war?"),
        ("How do you say thank you in French?", "How do you say please in French?"),
        ("Can you swim in the Dead Sea?", "Could you see the Dead Sea?"),
        ("Paris is the capital of France.", "Paris is the capital of France?"),
        ("What does `a+b` mean in Python?", "What does `a-b` mean in Python?"),
        ("Repeat after me, thank you", "Repeat after me, please"),
        ("What is the largest city of Brazil?", "What is the second largest city of Brazil?"),
        ("How old is my brother?", "How old is your brother?"),
    ],
    "de": [
        ("Wie weit ist es von Bonn nach Köln?", "Wie weit ist es von Köln nach Bonn?"),
        ("Was kostet das Zimmer heute?", "Was kostet das Zimmer morgen?"),
        ("Ist das erlaubt und sicher?", "Ist das nicht erlaubt und sicher?"),
        ("Wie viele Meter hat eine Meile?", "Wie viele Kilometer hat eine Meile?"),
    ],
    "fr": [
        ("Quel est le prix pour trois personnes ?", "Quel est le prix pour quatre personnes ?"),
        ("Quels sont les avantages de la voiture ?", "Quels sont les inconvénients de la voiture ?"),
    ],
    "es": [("¿Qué tiempo hace hoy en Madrid?", "¿Qué tiempo hace mañana en Madrid?")],
    "it": [("Quanto costa il treno per Roma?", "Quanto costa il treno per Milano?")],
    "pt": [("Qual é a maior cidade do Brasil?", "Qual é a menor cidade do Brasil?")],
}


@pytest.mark.parametrize("language", SAME)
def test_the_same_question_politely(language: str) -> None:
    words = {tuple(wording.list_significant_words(text, language) or ()) for text in SAME[language]}
    assert len(words) == 1
    assert [wording.find_language(text) for text in SAME[language]] == [language] * len(SAME[language])


@pytest.mark.parametrize("language", SAME)
def test_questions_with_the_same_words_have_one_sketch(language: str) -> None:
    assert len({wording.make_sketch(text) for text in SAME[language]}) == 1


@pytest.mark.parametrize(
    ("language", "question", "other"), [(code, *pair) for code, pairs in NEAR_MISSES.items() for pair in pairs]
)
def test_near_misses_have_other_words_and_a_guard_that_refuses_most_of_them(
    language: str, question: str, other: str
) -> None:
    assert wording.list_significant_words(question, language) != wording.list_significant_words(other, language) or (
        wording.list_significant_words(question, language) is None
    )


def test_guards_refuse_near_misses_whichever_comes_first() -> None:
    """None of these passes where no judge looks at them."""
    passed = [
        (question, other)
        for language, pairs in NEAR_MISSES.items()
        for question, other in pairs
        if guards.find_refusal(question, other, language) is None
    ]
    assert passed == []
    for language, pairs in NEAR_MISSES.items():
        for question, other in pairs:
            there = guards.find_refusal(question, other, language)
            assert (there is None) == (guards.find_refusal(other, question, language) is None)


@pytest.mark.parametrize("language", UNSEEN)
def test_near_misses_that_no_list_was_made_for_have_other_words_and_are_refused_where_no_judge_looks(
    language: str,
) -> None:
    for question, other in UNSEEN[language]:
        for first, second in ((question, other), (other, question)):
            assert guards.find_refusal(first, second, language) is not None, (first, second)
        words = [wording.list_significant_words(text, language) for text in (question, other)]
        assert words[0] is None or words[0] != words[1], (question, other)


def test_some_rewordings_pass_every_guard() -> None:
    pairs = [(language, *pair) for language, listed in PARAPHRASES.items() for pair in listed]
    passed = [pair for pair in pairs if guards.find_refusal(pair[1], pair[2], pair[0]) is None]
    assert len(passed) >= 5, passed


@pytest.mark.parametrize("language", SAME)
def test_guards_let_a_question_pass_beside_itself_politely(language: str) -> None:
    first = SAME[language][0]
    assert guards.find_refusal(first, first, language) is None


@pytest.mark.parametrize(
    "text",
    [
        "日本の首都はどこですか",
        "Hvad er hovedstaden i Frankrig",
        "xyzzy plugh",
        "",
    ],
)
def test_a_language_that_nobody_knows_has_no_rewordings(text: str) -> None:
    assert wording.find_language(text) is None


@pytest.mark.parametrize(
    "text", ["Print `x` and\nwhat is in it", 'What is "the capital" of France?', "What is {x} for?"]
)
def test_code_quotations_and_lines_are_compared_sign_by_sign(text: str) -> None:
    assert wording.list_significant_words(text, "en") is None

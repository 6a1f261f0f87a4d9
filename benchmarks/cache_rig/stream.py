"""A stream of questions for the cache's benchmark: six languages, near misses, rewordings, politeness, repetition.

A question's meaning is its template with its slots: two questions ask for the same exactly when these are equal, so a
false hit is known without anybody's judgement. Slots are what a similarity hears badly: who comes first, units,
numbers, negation, days, opposites.
"""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """A question with its language and what it means."""

    text: str
    language: str
    meaning: tuple[str, ...]


Template = tuple[Sequence[str], Mapping[str, Sequence[str]]]  # wordings of one question, and what its slots may hold
_CITIES = ("Boston", "Denver", "Berlin", "Madrid", "Rome", "Lisbon")
_NUMBERS = ("12", "15", "50", "80", "120")
POLITE: Mapping[str, Sequence[str]] = {
    "en": ("{q}", "Hi, {q}", "{q} Thanks!", "Hello, {q} Thank you."),
    "de": ("{q}", "Hallo, {q}", "{q} Danke!", "Guten Tag, {q} Vielen Dank."),
    "fr": ("{q}", "Bonjour, {q}", "{q} Merci !", "Bonjour, {q} Merci d'avance."),
    "es": ("{q}", "Hola, {q}", "{q} ¡Gracias!", "Hola, {q} Muchas gracias."),
    "it": ("{q}", "Ciao, {q}", "{q} Grazie!", "Ciao, {q} Grazie mille."),
    "pt": ("{q}", "Olá, {q}", "{q} Obrigado!", "Olá, {q} Muito obrigado."),
}
TEMPLATES: Mapping[str, Sequence[Template]] = {
    "en": (
        (
            ("How far is it from {a} to {b} in {u}?", "What is the distance from {a} to {b} in {u}?"),
            {"a": _CITIES, "b": _CITIES, "u": ("miles", "kilometers")},
        ),
        (
            ("Is it {n} to eat raw {f} during a journey?", "During a journey, is it {n} to eat raw {f}?"),
            {"n": ("safe", "not safe"), "f": ("fish", "eggs", "meat")},
        ),
        (
            ("How do I {v} dark mode in the settings?", "What do I do to {v} dark mode in the settings?"),
            {"v": ("enable", "disable")},
        ),
        (
            ("What is {x} percent of {y}?", "How much is {x} percent of {y}?"),
            {"x": _NUMBERS, "y": _NUMBERS},
        ),
        (
            ("What is the weather in {a} {d}?", "How is the weather in {a} {d}?"),
            {"a": _CITIES, "d": ("today", "tomorrow", "on Monday")},
        ),
    ),
    "de": (
        (
            ("Wie weit ist es von {a} nach {b} in {u}?", "Was ist die Entfernung von {a} nach {b} in {u}?"),
            {"a": _CITIES, "b": _CITIES, "u": ("Meilen", "Kilometern")},
        ),
        (
            ("Ist es {n} sicher, rohen {f} zu essen?", "Kann man {n} sicher rohen {f} essen?"),
            {"n": ("immer", "nicht"), "f": ("Fisch", "Teig", "Schinken")},
        ),
        (
            ("Wie kann ich den dunklen Modus {v}?", "Was muss ich tun, um den dunklen Modus zu {v}?"),
            {"v": ("aktivieren", "deaktivieren")},
        ),
        (("Was sind {x} Prozent von {y}?", "Wie viel sind {x} Prozent von {y}?"), {"x": _NUMBERS, "y": _NUMBERS}),
        (
            ("Wie ist das Wetter in {a} {d}?", "Was für ein Wetter ist in {a} {d}?"),
            {"a": _CITIES, "d": ("heute", "morgen", "am Montag")},
        ),
    ),
    "fr": (
        (
            ("Quelle est la distance de {a} à {b} en {u} ?", "À combien de {u} est {b} en partant de {a} ?"),
            {"a": _CITIES, "b": _CITIES, "u": ("miles", "kilomètres")},
        ),
        (
            ("Est-il {n} de manger du {f} cru ?", "Manger du {f} cru, est-ce {n} ?"),
            {"n": ("sûr", "dangereux"), "f": ("poisson", "porc", "bœuf")},
        ),
        (
            ("Comment puis-je {v} le mode sombre ?", "Que dois-je faire pour {v} le mode sombre ?"),
            {"v": ("activer", "désactiver")},
        ),
        (("Combien font {x} pour cent de {y} ?", "Que font {x} pour cent de {y} ?"), {"x": _NUMBERS, "y": _NUMBERS}),
        (
            ("Quel temps fait-il à {a} {d} ?", "Quel est le temps à {a} {d} ?"),
            {"a": _CITIES, "d": ("aujourd'hui", "demain", "lundi")},
        ),
    ),
    "es": (
        (
            ("¿A qué distancia está {b} de {a} en {u}?", "¿Cuál es la distancia de {a} a {b} en {u}?"),
            {"a": _CITIES, "b": _CITIES, "u": ("millas", "kilómetros")},
        ),
        (
            ("¿Es {n} comer {f} en el viaje?", "En el viaje, ¿es {n} comer {f}?"),
            {"n": ("seguro", "peligroso"), "f": ("pescado crudo", "huevos crudos", "carne cruda")},
        ),
        (
            ("¿Cómo puedo {v} el modo oscuro?", "¿Qué hago para {v} el modo oscuro?"),
            {"v": ("activar", "desactivar")},
        ),
        (("¿Cuánto es el {x} por ciento de {y}?", "¿Qué es el {x} por ciento de {y}?"), {"x": _NUMBERS, "y": _NUMBERS}),
        (
            ("¿Qué tiempo hace en {a} {d}?", "¿Cómo es el tiempo en {a} {d}?"),
            {"a": _CITIES, "d": ("hoy", "mañana", "el lunes")},
        ),
    ),
    "it": (
        (
            ("Quanto dista {b} da {a} in {u}?", "Qual è la distanza da {a} a {b} in {u}?"),
            {"a": _CITIES, "b": _CITIES, "u": ("miglia", "chilometri")},
        ),
        (
            ("È {n} mangiare {f} in viaggio?", "In viaggio, è {n} mangiare {f}?"),
            {"n": ("sicuro", "pericoloso"), "f": ("pesce crudo", "uova crude", "carne cruda")},
        ),
        (
            ("Come posso {v} la modalità scura?", "Che cosa devo fare per {v} la modalità scura?"),
            {"v": ("attivare", "disattivare")},
        ),
        (("Quanto è il {x} per cento di {y}?", "Che cosa è il {x} per cento di {y}?"), {"x": _NUMBERS, "y": _NUMBERS}),
        (
            ("Che tempo fa a {a} {d}?", "Com'è il tempo a {a} {d}?"),
            {"a": _CITIES, "d": ("oggi", "domani", "lunedì")},
        ),
    ),
    "pt": (
        (
            ("A que distância fica {b} de {a} em {u}?", "Qual é a distância de {a} a {b} em {u}?"),
            {"a": _CITIES, "b": _CITIES, "u": ("milhas", "quilómetros")},
        ),
        (
            ("É {n} comer {f} na viagem?", "Na viagem, é {n} comer {f}?"),
            {"n": ("seguro", "perigoso"), "f": ("peixe cru", "ovos crus", "carne crua")},
        ),
        (
            ("Como posso {v} o modo escuro?", "O que devo fazer para {v} o modo escuro?"),
            {"v": ("ativar", "desativar")},
        ),
        (("Quanto é {x} por cento de {y}?", "Qual é o valor de {x} por cento de {y}?"), {"x": _NUMBERS, "y": _NUMBERS}),
        (
            ("Que tempo faz em {a} {d}?", "Como está o tempo em {a} {d}?"),
            {"a": _CITIES, "d": ("hoje", "amanhã", "na segunda-feira")},
        ),
    ),
}


def draw_questions(count: int, seed: int = 7) -> Iterator[Question]:
    """So many questions: languages in equal parts, meanings by Zipf's law, as people ask."""
    dice = random.Random(seed)
    meanings: dict[str, list[tuple[int, dict[str, str]]]] = {}
    for language, templates in TEMPLATES.items():
        listed = [
            (index, slots)
            for index, (_, choices) in enumerate(templates)
            for slots in _list_slots(choices)
            if slots.get("a") != slots.get("b") or "b" not in slots
        ]
        dice.shuffle(listed)
        meanings[language] = listed
    languages = sorted(TEMPLATES)
    for number in range(count):
        language = languages[number % len(languages)]
        listed = meanings[language]
        weights = [1 / (rank + 3) for rank in range(len(listed))]
        index, slots = dice.choices(listed, weights)[0]
        wording = dice.choice(TEMPLATES[language][index][0]).format(**slots)
        text = dice.choice(POLITE[language]).format(q=wording)
        yield Question(text, language, (language, str(index), *(f"{name}={slots[name]}" for name in sorted(slots))))


def _list_slots(choices: Mapping[str, Sequence[str]]) -> Iterator[dict[str, str]]:
    for values in itertools.product(*choices.values()):
        yield dict(zip(choices, values, strict=True))

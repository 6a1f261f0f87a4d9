"""Who and what the sample data is made of: fictional people, their apps, and models with how they behave.

Names are invented; user ids are derived from them, so that every installation shows the same people and the pages can
name them without rows in `users`. Models and their prices are real; only `acme-chat-2` is one nobody has a price for.
"""

import uuid
from dataclasses import dataclass

_NAMESPACE = uuid.UUID("6f1d1c7e-5d0b-5c38-9d5c-3b1f6a1f0d10")
BATCH = "demo"


@dataclass(frozen=True)
class DemoModel:
    """A model's part of the traffic and its manners: medians of first-token time and speed, share of failures."""

    provider: str
    model: str
    weight: float
    first_token_ms: int
    tokens_per_s: int
    failure_share: float
    caches_prompts: bool = False
    from_year_part: float = 0.0  # parts of the year in which the team uses it
    until_year_part: float = 1.0
    price_fell_at: float = 0.0  # until this part of the year it cost so many times as much
    price_before: int = 1


MODELS = (
    DemoModel("openai", "gpt-5.1", 1.3, 780, 70, 0.021, True, 0.15),
    DemoModel("openai", "gpt-5-mini", 3.3, 620, 110, 0.018, True),
    DemoModel("openai", "gpt-4o-mini", 1.6, 450, 95, 0.014, True, 0.0, 0.55),
    DemoModel("anthropic", "claude-sonnet-4-5", 1.1, 900, 64, 0.012, True),
    DemoModel("anthropic", "claude-haiku-4-5", 2.3, 420, 140, 0.009, True),
    DemoModel("gemini", "gemini-2.5-pro", 0.6, 1100, 85, 0.013, True),
    DemoModel("gemini", "gemini-2.5-flash", 1.1, 380, 180, 0.011, True, 0.3),
    DemoModel("ollama", "qwen3:8b", 1.7, 210, 38, 0.004),
    DemoModel("mistral", "mistral-large-2512", 0.5, 690, 60, 0.014, False, 0.4),
    DemoModel("mistral", "mistral-small-latest", 0.6, 310, 130, 0.012),
    DemoModel("groq", "openai/gpt-oss-120b", 0.8, 190, 420, 0.041),
    DemoModel("deepseek", "deepseek-chat", 0.6, 1050, 45, 0.026, True, price_fell_at=0.62, price_before=2),
    DemoModel("local", "smollm2-135m-instruct", 0.4, 520, 22, 0.004),
    DemoModel("custom", "acme-chat-2", 0.08, 1300, 30, 0.031, False, 0.7),
)


@dataclass(frozen=True)
class DemoApp:
    """An app's part of the traffic, its door, its typical sizes, and whether it works at night as well."""

    name: str
    weight: float
    origin: str
    prompt_tokens: int
    completion_tokens: int
    night_share: float  # of the day's level
    cache_share: float  # answers that came from the cache
    favourites: tuple[str, ...] = ()
    question: str = ""
    answer: str = ""
    from_year_part: float = 0.0
    until_year_part: float = 1.0


APPS = (
    DemoApp(
        "support-bot", 0.34, "gateway", 2100, 320, 0.45, 0.05, ("gpt-5-mini", "claude-haiku-4-5"),
        "A customer asks why order {n} has not arrived. Write a reply.",
        "Thank you for writing. Order {n} left our warehouse on Tuesday and should reach you within two days.",
    ),
    DemoApp(
        "docs-search", 0.22, "rag", 5200, 260, 0.15, 0.04, ("gemini-2.5-flash", "qwen3:8b"),
        "Using only the passages below, how is the retention period of log file {n} changed?",
        "Set `retention.days` in the service's settings and restart it. The default is 90 days.",
    ),
    DemoApp(
        "code-review", 0.22, "gateway", 11800, 1150, 0.08, 0.0, ("claude-sonnet-4-5", "gpt-5.1"),
        "Review merge request {n}: does the new index cover the query in `orders.py`?",
        "Mostly. The query filters by `status` first, so put it before `created_at` in the index.",
    ),
    DemoApp(
        "invoice-reader", 0.14, "workflow", 4600, 420, 0.3, 0.0, ("gpt-4o-mini", "gemini-2.5-pro"),
        "Extract supplier, date and total of invoice {n} as JSON.",
        '{{"supplier": "Nordlicht GmbH", "date": "2026-03-14", "total": "{n}.00 EUR"}}',
        from_year_part=0.35,
    ),
    DemoApp(
        "playground", 0.08, "playground", 640, 480, 0.05, 0.0, ("smollm2-135m-instruct", "acme-chat-2"),
        "Explain idea {n} of the workshop in three sentences for a new colleague.",
        "The idea is to measure first. Everything else follows from what the figures show. Start small.",
    ),
)  # fmt: skip

PEOPLE = ("amira.haddad", "jonas.weber", "li-wei.chen", "sofia.rossi", "tomas.novak", "grace.okafor", "noah.lind")
PEOPLE_WEIGHTS = (0.24, 0.2, 0.17, 0.14, 0.11, 0.08, 0.06)


def derive_demo_user_id(name: str) -> str:
    """Derive the id of a fictional person from the name; it is the same everywhere."""
    return str(uuid.uuid5(_NAMESPACE, name))


def name_demo_users() -> dict[str, str]:
    """User id → name of every fictional person."""
    return {derive_demo_user_id(name): name for name in PEOPLE}

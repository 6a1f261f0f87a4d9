"""What a model is known not to take: by its provider's word first, then the shipped list, then its kind."""

from collections.abc import Sequence

import pytest

from lib.providers.models import Catalogue, ModelFacts
from lib.providers.support import list_not_taken

pytestmark = pytest.mark.feature("CFG-5")
ALL = ("temperature", "max_tokens", "top_k", "seed", "min_p", "num_ctx", "tools", "thinking", "user")


@pytest.mark.parametrize(
    ("kind", "refused"),
    [
        ("openai", ["top_k", "min_p", "num_ctx"]),
        ("anthropic", ["seed", "min_p", "num_ctx"]),
        ("ollama", []),
        ("openrouter", ["num_ctx"]),
        ("local", ["top_k", "min_p", "num_ctx", "tools", "thinking"]),
        ("custom", []),
        ("litellm", []),
    ],
)
def test_a_kinds_own_rules(kind: str, refused: Sequence[str]) -> None:
    assert list_not_taken(kind, ModelFacts("m"), ALL) == refused


def test_the_providers_word_counts_alone() -> None:
    facts = ModelFacts("m", parameters=("max_tokens", "reasoning"), refuses=("thinking",))
    assert list_not_taken("openrouter", facts, ("max_completion_tokens", "thinking", "seed", "user")) == ["seed"]


def test_what_the_shipped_list_refuses_is_refused_by_any_kind() -> None:
    known = Catalogue().find("openai", "o3")
    assert known is not None
    assert list_not_taken("openai", known, ("top_p", "seed")) == ["top_p"]
    assert list_not_taken("custom", ModelFacts("m", refuses=("seed",)), ("seed",)) == ["seed"]

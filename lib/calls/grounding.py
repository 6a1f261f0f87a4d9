"""Passages that go with a question: what whoever asks needs of whoever finds them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lib.access.permissions import Actor
from lib.configs.configuration import Configuration

MOST_COLLECTIONS = 8


@dataclass(frozen=True)
class Grounded:
    """The question's words as they go to the model, and the parts of the answer that name its sources."""

    text: str
    parts: tuple[dict[str, Any], ...]


class Grounding(Protocol):
    """Finds passages for a question."""

    def ground(
        self,
        actor: Actor,
        collections: Sequence[str],
        question: str,
        configuration: Configuration,
        history: Sequence[Mapping[str, str]],
        spent_tokens: int,
    ) -> Grounded:
        """The question with passages; NotFound for a collection that the actor may not read."""
        ...


def replace_question(messages: list[dict[str, Any]], text: str) -> None:
    """Give the last message, the question, other words; its files stay."""
    content = messages[-1]["content"]
    if isinstance(content, list):
        first = next((part for part in content if part.get("type") == "text"), None)
        other_parts = [part for part in content if part is not first]
        messages[-1] = {**messages[-1], "content": [{"type": "text", "text": text}, *other_parts]}
    else:
        messages[-1] = {**messages[-1], "content": text}

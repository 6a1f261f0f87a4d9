"""What is known of a model: context window, longest answer, capabilities, prices, and the parameters it takes.

Facts come from the provider's own listing (see `lib.providers.listings`) and, where that says nothing, from the
shipped list `data/models/models.csv`, which is dated and names its source. What nobody states is None, never a guess.
"""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from lib.providers.model_names import list_model_keys

SHIPPED = Path(__file__).resolve().parents[2] / "data" / "models" / "models.csv"
CAPABILITIES = ("streaming", "tools", "vision", "json", "reasoning", "embeddings")
_ANY = "*"


@dataclass(frozen=True)
class ModelFacts:
    """A model and what is stated about it; None is unknown. Prices are nano-dollars per million tokens.

    `parameters` are all it takes, by the provider's own word; `refuses` those known not to be taken.
    """

    model: str
    context_tokens: int | None = None
    output_tokens: int | None = None
    capabilities: tuple[str, ...] | None = None
    input_nano: int | None = None
    output_nano: int | None = None
    parameters: tuple[str, ...] | None = None
    refuses: tuple[str, ...] = ()

    def filled_from(self, other: "ModelFacts") -> "ModelFacts":
        """These facts, and the other's where these are silent."""
        missing = {
            field.name: getattr(other, field.name)
            for field in fields(self)
            if getattr(self, field.name) in (None, ()) and field.name != "model"
        }
        return replace(self, **missing)

    def as_record(self) -> dict[str, Any]:
        """Return the facts that are known as a dictionary for JSON, tuples as lists; unknown facts are left out."""
        stated = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in stated.items()
            if value not in (None, ())
        }


def build_facts(record: dict[str, Any]) -> ModelFacts:
    """The reverse of `as_record`."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in record.items()
    }
    return ModelFacts(**values)


class Catalogue:
    """The shipped list, read at first use; tests bring their own file."""

    def __init__(self, path: Path = SHIPPED) -> None:
        self._path = path

    def find(self, kind: str, model: str) -> ModelFacts | None:
        """The facts of a model by the most specific of its names that is listed; None when none is."""
        facts = next((self._models[key] for key in list_model_keys(kind, model) if key in self._models), None)
        return replace(facts, model=model) if facts else None

    def any_of(self, kind: str) -> ModelFacts:
        """Return the facts that hold for every model of a kind that is not listed; empty facts where there are none."""
        return self._models.get((kind, _ANY), ModelFacts(_ANY))

    def of_kind(self, kind: str) -> list[ModelFacts]:
        """Every listed model of a kind, by name."""
        return sorted((facts for (of, name), facts in self._models.items() if of == kind and name != _ANY), key=_name)

    @cached_property
    def source(self) -> str:
        """Date and source of the list, as its head states them."""
        with self._path.open(encoding="utf-8") as file:
            return file.readline().lstrip("# ").strip()

    @property
    def _models(self) -> Mapping[tuple[str, str], ModelFacts]:
        return _read_list(self._path)


@lru_cache(4)
def _read_list(path: Path) -> Mapping[tuple[str, str], ModelFacts]:
    """Read a list once a process; it does not change while a version runs."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return {(row["kind"], row["model"]): _read(row) for row in rows}


def _read(row: dict[str, str]) -> ModelFacts:
    return ModelFacts(
        row["model"],
        int(row["context_tokens"]) if row["context_tokens"] else None,
        int(row["output_tokens"]) if row["output_tokens"] else None,
        sort_capabilities(row["capabilities"].split()) if row["capabilities"] else None,
        refuses=tuple(row["refuses"].split()),
    )


def sort_capabilities(capabilities: Iterable[str]) -> tuple[str, ...]:
    """Known capabilities, each once, in the order they are shown."""
    unordered = set(capabilities)
    return tuple(name for name in CAPABILITIES if name in unordered)


def _name(facts: ModelFacts) -> str:
    return facts.model

"""Configurations as a JSON document: to move them between installations. It never holds a key or an address.

    {"format": "llm-manager/configurations", "version": 1, "configurations": [{"slug", "app", "description",
     "provider", "provider_kind", "model", "system_prompt", "parameters", "capabilities", "content_policy",
     "is_active"}]}

A provider is matched by name, else by kind when there is just one of that kind; without a match the configuration comes
in switched off and says that it needs a provider.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lib.configs.configuration import Configuration, Draft
from lib.errors import InvalidInput

FORMAT = "llm-manager/configurations"
VERSION = 1
_LARGEST = 5_000_000
_TEXT = ("slug", "app", "model", "description", "system_prompt")
_EXPORTED = (*_TEXT, "provider_kind", "parameters", "capabilities", "content_policy", "is_active")


@dataclass(frozen=True)
class Entry:
    """One configuration of a document."""

    draft: Draft
    provider: str
    provider_kind: str
    is_active: bool


@dataclass
class Imported:
    """What an import did, by slug."""

    created: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    without_provider: list[str] = field(default_factory=list)


def to_json(chosen: Sequence[Configuration]) -> str:
    """The document of some configurations."""
    entries = [
        {"provider": c.provider_name} | {name: getattr(c, name) for name in _EXPORTED}
        for c in sorted(chosen, key=lambda c: c.slug)
    ]
    head = {"format": FORMAT, "version": VERSION, "configurations": entries}
    return json.dumps(head, indent=2, ensure_ascii=False) + "\n"


def from_json(document: str | bytes) -> list[Entry]:
    """The entries of a document, each checked; InvalidInput names the first that can't be used."""
    try:
        if len(document) > _LARGEST:
            raise ValueError
        data = json.loads(document)
        entries = data["configurations"] if data["format"] == FORMAT and data["version"] == VERSION else None
    except (ValueError, KeyError, TypeError, RecursionError):
        entries = None
    if not isinstance(entries, list):
        raise InvalidInput(
            "The file is not an export of configurations.",
            f"It must be JSON of the format {FORMAT}, version {VERSION}.",
            "Choose a file made by Export.",
        )
    return [_entry(number, entry) for number, entry in enumerate(entries, 1)]


def _entry(number: int, entry: Any) -> Entry:
    where = f"Entry {number}"
    if not isinstance(entry, dict) or not all(isinstance(entry.get(name, ""), str) for name in (*_TEXT, "provider")):
        raise InvalidInput(f"{where} can't be read.", "Nothing was imported.", "Correct the file.")
    parameters, capabilities = entry.get("parameters") or {}, entry.get("capabilities") or []
    if not isinstance(parameters, dict) or not isinstance(capabilities, list):
        raise InvalidInput(f"{where} can't be read.", "Nothing was imported.", "Correct the file.")
    text = {name: entry.get(name, "") for name in _TEXT}
    draft = Draft(**text, parameters=parameters, capabilities=[str(name) for name in capabilities])
    draft = replace(draft, content_policy=str(entry.get("content_policy", "full")))
    try:
        draft.checked()
    except InvalidInput as error:
        raise InvalidInput(f"{where}: {error.title}", f"{error.why} Nothing was imported.", error.fix) from None
    return Entry(
        draft, entry.get("provider", ""), str(entry.get("provider_kind", "")), bool(entry.get("is_active", True))
    )


def match(entry: Entry, known: Sequence[tuple[str, str, str]]) -> str | None:
    """The id of the provider an entry means, among (id, name, kind), or None."""
    by_name = [provider for provider in known if provider[1] == entry.provider and provider[2] == entry.provider_kind]
    by_kind = [provider for provider in known if provider[2] == entry.provider_kind]
    if by_name:
        return by_name[0][0]
    return by_kind[0][0] if len(by_kind) == 1 else None

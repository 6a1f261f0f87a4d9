"""Configurations as a JSON document: to move them between installations. It never holds a key or an address.

    {"format": "llm-manager/configurations", "version": 1, "configurations": [{"slug", "app", "description",
     "provider", "provider_kind", "model", "system_prompt", "parameters", "capabilities", "routing", "content_policy",
     "unsupported_parameters", "tools", "is_active"}]}

A provider is matched by name, else by kind when there is just one of that kind; without a match the configuration comes
in switched off and says that it needs a provider. The routing's targets name their providers the same way; those
without a match are left out, and the import says so.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lib.configs.configuration import Configuration, ConfigurationDraft
from lib.configs.routing import Routing
from lib.errors import InvalidInput

FORMAT = "llm-manager/configurations"
VERSION = 1
_LARGEST = 5_000_000
_TEXT = ("slug", "app", "model", "description", "system_prompt")
_POLICIES = ("content_policy", "unsupported_parameters")
_EXPORTED = (*_TEXT, "provider_kind", "parameters", "capabilities", *_POLICIES, "tools", "is_active")
_LISTS = ("deployments", "fallbacks")
KnownProviders = Sequence[tuple[str, str, str]]  # id, name and kind of the registered providers


@dataclass(frozen=True)
class ConfigurationEntry:
    """One configuration of a document."""

    draft: ConfigurationDraft
    provider: str
    provider_kind: str
    routing: Mapping[str, Any]
    is_active: bool


@dataclass
class ImportedConfigurations:
    """Slugs of an import by what became of them."""

    created: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    without_provider: list[str] = field(default_factory=list)
    shorter_routing: list[str] = field(default_factory=list)


def write_json(exported: Sequence[Configuration], providers: KnownProviders) -> str:
    """Write configurations as a document."""
    entries = [
        {"provider": c.provider_name, "routing": _name_providers(c.routing, providers)}
        | {name: getattr(c, name) for name in _EXPORTED}
        for c in sorted(exported, key=lambda c: c.slug)
    ]
    head = {"format": FORMAT, "version": VERSION, "configurations": entries}
    return json.dumps(head, indent=2, ensure_ascii=False) + "\n"


def parse_json(document: str | bytes) -> list[ConfigurationEntry]:
    """Read the entries of a document and check each; raises InvalidInput for the first that can't be used."""
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
    return [_read_entry(number, entry) for number, entry in enumerate(entries, 1)]


def _read_entry(number: int, entry: Any) -> ConfigurationEntry:
    position = f"Entry {number}"
    if not isinstance(entry, dict) or not all(isinstance(entry.get(name, ""), str) for name in (*_TEXT, "provider")):
        raise InvalidInput(f"{position} can't be read.", "Nothing was imported.", "Correct the file.")
    parameters = entry.get("parameters") or {}
    capabilities = entry.get("capabilities") or []
    if not isinstance(parameters, dict) or not isinstance(capabilities, list):
        raise InvalidInput(f"{position} can't be read.", "Nothing was imported.", "Correct the file.")
    text = {name: entry.get(name, "") for name in _TEXT}
    draft = ConfigurationDraft(**text, parameters=parameters, capabilities=[str(name) for name in capabilities])
    routing = entry.get("routing") or {}
    policies: dict[str, Any] = {name: str(entry[name]) for name in _POLICIES if name in entry}
    draft = replace(draft, tools=entry.get("tools") or {}, **policies)
    try:
        draft.to_columns()
        Routing.from_record(_read_routing(routing, lambda target: str(target.get("provider", ""))))
    except InvalidInput as error:
        raise InvalidInput(f"{position}: {error.title}", f"{error.why} Nothing was imported.", error.fix) from None
    names = entry.get("provider", ""), str(entry.get("provider_kind", ""))
    return ConfigurationEntry(draft, *names, routing, bool(entry.get("is_active", True)))


def match_provider(provider: str, kind: str, providers: KnownProviders) -> str | None:
    """Find the id of the provider that a name and a kind mean; None without one, or with several of the kind."""
    by_name = [entry for entry in providers if entry[1] == provider and entry[2] == kind]
    by_kind = [entry for entry in providers if entry[2] == kind]
    if by_name:
        return by_name[0][0]
    return by_kind[0][0] if len(by_kind) == 1 else None


def match_routing(routing: Mapping[str, Any], providers: KnownProviders) -> tuple[dict[str, Any], bool]:
    """Put the ids of this installation's providers into a document's routing; also say whether every target has one."""
    matched = _read_routing(
        routing, lambda t: match_provider(str(t.get("provider", "")), str(t.get("provider_kind", "")), providers)
    )
    return matched, all(len(matched.get(part, ())) == len(routing.get(part, ())) for part in _LISTS)


def _name_providers(routing: Mapping[str, Any], providers: KnownProviders) -> dict[str, Any]:
    """Write a routing with providers' names and kinds instead of ids; a target whose provider is gone is left out."""
    by_id = {provider_id: {"provider": name, "provider_kind": kind} for provider_id, name, kind in providers}

    def name_target(target: Mapping[str, Any]) -> dict[str, Any]:
        return by_id[target["provider_id"]] | {name: value for name, value in target.items() if name != "provider_id"}

    lists = {
        part: [name_target(t) for t in routing[part] if t["provider_id"] in by_id] for part in _LISTS if part in routing
    }
    return {**routing, **lists}


def _read_routing(routing: Any, provider_id: Callable[[Mapping[str, Any]], str | None]) -> dict[str, Any]:
    """Read a document's routing with ids in place of names; targets without one are left out. Raises InvalidInput."""
    if not isinstance(routing, Mapping):
        raise InvalidInput("The routing can't be read.", "", "Correct the file.", field="routing")
    read = dict(routing)
    for part in (part for part in _LISTS if part in routing):
        if not isinstance(routing[part], list) or not all(isinstance(target, Mapping) for target in routing[part]):
            raise InvalidInput(f"The routing's {part} can't be read.", "", "Correct the file.", field="routing")
        with_ids = ((target, provider_id(target)) for target in routing[part])
        read[part] = [
            {name: value for name, value in target.items() if name not in ("provider", "provider_kind")}
            | {"provider_id": matched_id}
            for target, matched_id in with_ids
            if matched_id is not None
        ]
    return read

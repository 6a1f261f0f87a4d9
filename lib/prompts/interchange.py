"""Prompt templates as a JSON document: to move them between installations, with every version and label.

    {"format": "llm-manager/prompts", "version": 1, "prompts": [{"slug", "app", "category", "description",
     "labels": {name: version}, "versions": [{"text", "system_prompt", "variables", "parameters", "reason"}, …]}]}

Versions stand in order, the first is number 1. Who wrote them stays behind: the import is the importer's.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lib.configs.configuration import check_slug
from lib.errors import InvalidInput
from lib.prompts.template import Template, Version, VersionDraft, check_label

FORMAT = "llm-manager/prompts"
VERSION = 1
_LARGEST = 20_000_000
_TEXTS = ("slug", "app", "category", "description")


@dataclass(frozen=True)
class Entry:
    """One template of a document: its versions, each with its reason, in order."""

    slug: str
    app: str | None
    category: str
    description: str
    labels: Mapping[str, int]
    versions: Sequence[tuple[VersionDraft, str]]


@dataclass
class Imported:
    """What an import did, by slug."""

    created: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def to_json(chosen: Sequence[tuple[Template, Sequence[Version]]]) -> str:
    """The document of some templates, each with its versions, the newest first."""
    prompts = [
        {name: getattr(template, name) for name in _TEXTS}
        | {"labels": dict(template.labels), "versions": [_record(one) for one in reversed(versions)]}
        for template, versions in chosen
    ]
    return json.dumps({"format": FORMAT, "version": VERSION, "prompts": prompts}, indent=2, ensure_ascii=False) + "\n"


def lines(version: Version) -> list[str]:
    """A version as lines to compare: system prompt, text, a line for each variable and parameter."""
    found = [f"system: {line}" for line in (version.system_prompt or "").splitlines()] + version.text.splitlines()
    for one in version.variables:
        given = {name: value for name, value in one.to_record().items() if name != "name" and value not in (None, "")}
        found.append(f"variable {one.name}: {json.dumps(given, ensure_ascii=False)}")
    parameters = sorted(version.parameters.items())
    return found + [f"parameter {name}: {json.dumps(value, ensure_ascii=False)}" for name, value in parameters]


def from_json(document: str | bytes) -> list[Entry]:
    """The entries of a document, each checked; InvalidInput names the first that can't be used."""
    try:
        if len(document) > _LARGEST:
            raise ValueError
        data = json.loads(document)
        entries = data["prompts"] if data["format"] == FORMAT and data["version"] == VERSION else None
    except (ValueError, KeyError, TypeError, RecursionError):
        entries = None
    if not isinstance(entries, list):
        raise InvalidInput(
            "The file is not an export of prompts.",
            f"It must be JSON of the format {FORMAT}, version {VERSION}.",
            "Choose a file made by Export.",
        )
    return [_entry(number, entry) for number, entry in enumerate(entries, 1)]


def _record(version: Version) -> dict[str, Any]:
    return {
        "text": version.text,
        "system_prompt": version.system_prompt,
        "variables": [variable.to_record() for variable in version.variables],
        "parameters": dict(version.parameters),
        "reason": version.reason,
    }


def _entry(number: int, entry: Any) -> Entry:
    where = f"Entry {number}"
    unreadable = InvalidInput(f"{where} can't be read.", "Nothing was imported.", "Correct the file.")
    try:
        texts = {name: entry.get(name) or "" for name in _TEXTS}
        versions = [_version(one) for one in entry["versions"]]
        labels = {check_label(label): version for label, version in (entry.get("labels") or {}).items()}
        if not versions or not all(isinstance(text, str) for text in texts.values()):
            raise unreadable
        if not all(type(version) is int and 0 < version <= len(versions) for version in labels.values()):
            raise unreadable
        check_slug(texts["slug"], "slug")
        for name in ("app", "category"):
            if texts[name]:
                check_slug(texts[name], name)
    except (AttributeError, KeyError, TypeError):
        raise unreadable from None
    except InvalidInput as error:
        if error is unreadable:
            raise
        raise InvalidInput(f"{where}: {error.title}", f"{error.why} Nothing was imported.", error.fix) from None
    return Entry(texts["slug"], texts["app"] or None, texts["category"], texts["description"], labels, versions)


def _version(one: Mapping[str, Any]) -> tuple[VersionDraft, str]:
    text, system, reason = one["text"], one.get("system_prompt"), one.get("reason") or ""
    variables, parameters = one.get("variables") or [], one.get("parameters") or {}
    if not isinstance(text, str) or not isinstance(system, str | None) or not isinstance(reason, str):
        raise TypeError
    if not isinstance(variables, list) or not isinstance(parameters, dict):
        raise TypeError
    draft = VersionDraft(text, system, variables, parameters)
    draft.checked()
    return draft, reason

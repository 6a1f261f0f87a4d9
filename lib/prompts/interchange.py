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
from lib.prompts.template import PromptVersion, Template, VersionDraft, check_label

FORMAT = "llm-manager/prompts"
VERSION = 1
_LARGEST = 20_000_000
_TEXTS = ("slug", "app", "category", "description")


@dataclass(frozen=True)
class PromptEntry:
    """One template of a document: its versions, each with its reason, in order."""

    slug: str
    app: str | None
    category: str
    description: str
    labels: Mapping[str, int]
    versions: Sequence[tuple[VersionDraft, str]]


@dataclass
class ImportedPrompts:
    """Slugs of an import by what became of them."""

    created: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def write_json(templates: Sequence[tuple[Template, Sequence[PromptVersion]]]) -> str:
    """Write templates, each with its versions (newest first), as a document."""
    prompts = [
        {name: getattr(template, name) for name in _TEXTS}
        | {"labels": dict(template.labels), "versions": [_build_record(version) for version in reversed(versions)]}
        for template, versions in templates
    ]
    return json.dumps({"format": FORMAT, "version": VERSION, "prompts": prompts}, indent=2, ensure_ascii=False) + "\n"


def list_lines(version: PromptVersion) -> list[str]:
    """Write a version as lines to compare: system prompt, text, a line for each variable and parameter."""
    compared_lines = [
        f"system: {line}" for line in (version.system_prompt or "").splitlines()
    ] + version.text.splitlines()
    for variable in version.variables:
        declaration = {
            name: value for name, value in variable.to_record().items() if name != "name" and value not in (None, "")
        }
        compared_lines.append(f"variable {variable.name}: {json.dumps(declaration, ensure_ascii=False)}")
    parameters = sorted(version.parameters.items())
    return compared_lines + [f"parameter {name}: {json.dumps(value, ensure_ascii=False)}" for name, value in parameters]


def parse_json(document: str | bytes) -> list[PromptEntry]:
    """Read the entries of a document and check each; raises InvalidInput for the first that can't be used."""
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
    return [_read_entry(number, entry) for number, entry in enumerate(entries, 1)]


def _build_record(version: PromptVersion) -> dict[str, Any]:
    return {
        "text": version.text,
        "system_prompt": version.system_prompt,
        "variables": [variable.to_record() for variable in version.variables],
        "parameters": dict(version.parameters),
        "reason": version.reason,
    }


def _read_entry(number: int, entry: Any) -> PromptEntry:
    position = f"Entry {number}"
    unreadable = InvalidInput(f"{position} can't be read.", "Nothing was imported.", "Correct the file.")
    try:
        texts = {name: entry.get(name) or "" for name in _TEXTS}
        versions = [_read_version(record) for record in entry["versions"]]
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
        raise InvalidInput(f"{position}: {error.title}", f"{error.why} Nothing was imported.", error.fix) from None
    return PromptEntry(texts["slug"], texts["app"] or None, texts["category"], texts["description"], labels, versions)


def _read_version(record: Mapping[str, Any]) -> tuple[VersionDraft, str]:
    text = record["text"]
    system = record.get("system_prompt")
    reason = record.get("reason") or ""
    variables = record.get("variables") or []
    parameters = record.get("parameters") or {}
    if not isinstance(text, str) or not isinstance(system, str | None) or not isinstance(reason, str):
        raise TypeError
    if not isinstance(variables, list) or not isinstance(parameters, dict):
        raise TypeError
    draft = VersionDraft(text, system, variables, parameters)
    draft.to_columns()
    return draft, reason

"""Tools as a JSON document, to move them between installations: HTTP tools whole, settings of every tool, no secret.

    {"format": "llm-manager/tools", "version": 1, "tools": [{"name", "source", "definition"?, "secret_headers": [names],
     "settings": {is_enabled, approval, role_approval, roles, apps, timeout_s, price_nano_usd}}]}

Of secret headers only the names travel: whoever imports enters them again. A name that exists stays as it is. Settings
of a tool that is not here (of a server not yet added) are left out, and the import says so.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import ValidationError, convert, to_builtins
from msgspec.structs import replace

from lib.access import audit
from lib.access.permissions import Actor, Permission
from lib.db.engine import Store
from lib.errors import InvalidInput
from lib.tools.http_tools import HttpTools, read_draft
from lib.tools.registry import Tools
from lib.tools.tool import SourceKind
from lib.tools.tool_settings import ToolSettings

FORMAT = "llm-manager/tools"
VERSION = 1
_LARGEST = 5_000_000
_MOST = 2_000


@dataclass
class ImportedTools:
    """Names of an import by what became of them."""

    created: list[str] = field(default_factory=list)
    configured: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    without_secrets: list[str] = field(default_factory=list)


class ToolExchange:
    """Exports and imports."""

    def __init__(self, store: Store, tools: Tools, http_tools: HttpTools) -> None:
        self._store = store
        self._tools = tools
        self._http_tools = http_tools

    def export_json(self, actor: Actor) -> str:
        """Write every HTTP tool and every setting as a document."""
        actor.require(Permission.VIEW_CONFIGS)
        settings = self._tools.settings(actor)
        entries = []
        for definition in self._tools.definitions(actor):
            entry: dict[str, Any] = {"name": definition.name, "source": str(definition.source)}
            if definition.source == SourceKind.HTTP:
                tool = self._http_tools.get(actor, definition.name)
                described = {name: getattr(definition, name) for name in _DEFINITION}
                entry["definition"] = to_builtins({**described, "request": tool.request})
                entry["secret_headers"] = list(tool.secret_names)
            elif definition.name not in settings:
                continue
            if definition.name in settings:
                own = to_builtins(settings[definition.name])
                entry["settings"] = {name: own[name] for name in own if name != "revision"}
            entries.append(entry)
        with self._store.write() as connection:
            audit.record(connection, actor, "tool.export", "json", rows=len(entries))
        return json.dumps({"format": FORMAT, "version": VERSION, "tools": entries}, indent=2, ensure_ascii=False) + "\n"

    def import_json(self, actor: Actor, document: str | bytes) -> ImportedTools:
        """Add the tools of a document: all are read before any is added; names that exist are skipped."""
        actor.require(Permission.MANAGE_TOOLS)
        entries = [_read_entry(number, entry) for number, entry in enumerate(_read_entries(document), 1)]
        imported = ImportedTools()
        names = {definition.name for definition in self._tools.definitions(actor)}
        for entry, settings in entries:
            name = str(entry["name"])
            is_new = "definition" in entry and name not in names
            if is_new:
                self._http_tools.create(actor, read_draft({**entry["definition"], "name": name}))
                imported.created.append(name)
                if entry.get("secret_headers"):
                    imported.without_secrets.append(name)
            is_free = is_new or (name in names and name not in self._tools.settings(actor))
            if settings is not None and is_free:
                self._tools.save_settings(actor, name, replace(settings, revision=1 if is_new else 0))
                if not is_new:
                    imported.configured.append(name)
            elif not is_new:
                imported.skipped.append(name)
        return imported


_DEFINITION = ("description", "title", "parameters", "result_schema", "annotations")


def _read_entries(document: str | bytes) -> list[Any]:
    try:
        if len(document) > _LARGEST:
            raise ValueError
        parsed = json.loads(document)
        entries = parsed["tools"] if parsed["format"] == FORMAT and parsed["version"] == VERSION else None
    except (ValueError, KeyError, TypeError, RecursionError):
        entries = None
    if not isinstance(entries, list) or len(entries) > _MOST:
        raise InvalidInput(
            "The file is not an export of tools.",
            f"It must be JSON of the format {FORMAT}, version {VERSION}.",
            "Choose a file made by Export.",
        )
    return entries


def _read_entry(number: int, entry: Any) -> tuple[Mapping[str, Any], ToolSettings | None]:
    try:
        if not isinstance(entry, dict) or not isinstance(entry["name"], str):
            raise TypeError
        settings = convert(entry["settings"], ToolSettings) if entry.get("settings") is not None else None
        if "definition" in entry:
            read_draft({**entry["definition"], "name": entry["name"]}).check()
    except (ValidationError, TypeError, KeyError):
        why = "Nothing was imported."
        raise InvalidInput(f"Entry {number} can't be read.", why, "Correct the file.") from None
    except InvalidInput as error:
        why = f"{error.why} Nothing was imported."
        raise InvalidInput(f"Entry {number}: {error.title}", why, error.fix) from None
    return entry, settings

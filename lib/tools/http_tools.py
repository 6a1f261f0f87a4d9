"""HTTP tools: requests to programs outside, registered by people who may manage tools.

The address is judged like every other that leaves this process: private ones only where the tool allows them, at every
connection. No redirect is followed. Secret headers are sealed in the vault, bound to the host they were entered for,
and never shown again; what an answer echoes of them is hidden.
"""

import asyncio
import base64
import json
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, ValidationError, convert, field, to_builtins
from sqlalchemy import ColumnElement, Connection, RowMapping, delete, insert, select, update

from lib.access import audit
from lib.access.permissions import Actor, Permission
from lib.access.team_scope import filter_changeable, filter_usable, is_usable, require_team
from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import approval_grants, tools
from lib.db.vault import Vault, get_sealed_value
from lib.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from lib.fast_json import decode, encode_text
from lib.providers import hosts
from lib.providers.adapters.asking import HttpResponse, ask
from lib.providers.adapters.http_client import Client
from lib.providers.adapters.unpacking import AnswerTooLarge
from lib.providers.redaction import hide_known, remember
from lib.tools.checking import check_schema
from lib.tools.http_request import FilledRequest, HttpTemplate, check_headers, check_template, fill
from lib.tools.tool import (
    NO_PARAMETERS,
    SourceKind,
    ToolAnnotations,
    ToolContext,
    ToolDefinition,
    ToolImage,
    ToolOutput,
    check_name,
)
from lib.tools.tool_settings import LONGEST_TIMEOUT_S

LARGEST_ANSWER = 4 * 1024 * 1024
LONGEST_DESCRIPTION = 4_000
_FRESH_S = 2.0  # for so long definitions that were read count
_NO_COLUMNS: Mapping[str, Any] = {}
_T = tools.c


class HttpToolDraft(Struct, frozen=True):
    """The fields of an HTTP tool that a person may set. `secret_headers` None leaves those that are stored."""

    name: str
    description: str
    request: HttpTemplate
    title: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: dict(NO_PARAMETERS))
    result_schema: Mapping[str, Any] | None = None
    annotations: ToolAnnotations = ToolAnnotations()
    secret_headers: Mapping[str, str] | None = None

    def check(self) -> "HttpToolDraft":
        """Check every field; raises InvalidInput with the field that can't be used."""
        check_name(self.name)
        if "__" in self.name:
            why = "Names with two underscores are those of servers' tools."
            raise InvalidInput("The tool's name can't be used.", why, "Write one underscore.", field="name")
        if not self.description.strip() or len(self.description) > LONGEST_DESCRIPTION:
            why = f"The model chooses by it; it may have {LONGEST_DESCRIPTION:,} characters."
            raise InvalidInput("The tool needs a description.", why, field="description")
        check_schema(self.parameters, "parameters")
        if self.result_schema is not None:
            check_schema(self.result_schema, "result_schema")
        check_template(self.request, self.parameters)
        check_headers(self.secret_headers or {})
        return self

    def to_document(self) -> dict[str, Any]:
        """Write the definition as `tools.definition` holds it, without name and secrets."""
        document = to_builtins(self)
        return {name: document[name] for name in document if name not in ("name", "secret_headers")}


class HttpTool(Struct, frozen=True):
    """A registered HTTP tool; of its secret headers only the names are told."""

    definition: ToolDefinition
    request: HttpTemplate
    secret_names: tuple[str, ...]
    revision: int


class HttpTools:
    """The source of HTTP tools, and their administration."""

    name = "http"

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault
        self._lock = threading.Lock()
        self._read_at = -_FRESH_S
        self._definitions: list[tuple[int, ToolDefinition]] = []  # each with its team

    def definitions(self, actor: Actor) -> Sequence[ToolDefinition]:
        """List the HTTP tools of the actor's team and of all, as they stood two seconds ago at most."""
        with self._lock:
            if time.monotonic() - self._read_at >= _FRESH_S:
                query = select(tools).where(_T.source == SourceKind.HTTP.value)
                with self._store.read() as connection:
                    rows = connection.execute(query).mappings().all()
                self._definitions = [(row["team_id"], _read_tool(row).definition) for row in rows]
                self._read_at = time.monotonic()
            return [tool for team_id, tool in self._definitions if is_usable(actor, team_id)]

    def absences(self, actor: Actor) -> Mapping[str, str]:
        """List nothing: whether a host answers is known when it is asked."""
        return {}

    def get(self, actor: Actor, name: str) -> HttpTool:
        """Read one tool with its request; NotFound."""
        actor.require(Permission.VIEW_CONFIGS)
        with self._store.read() as connection:
            return _read_tool(_find(connection, name, filter_usable(actor, _T.team_id)))

    def create(self, actor: Actor, draft: HttpToolDraft) -> HttpTool:
        """Register a tool; Conflict when its name is taken by one of any source that has a row."""
        _require_address(actor, draft)
        draft.check()
        now = utc_now()
        row: dict[str, Any] = {"name": draft.name, "source": SourceKind.HTTP.value, "definition": draft.to_document()}
        row |= {"owner_id": actor.user_id, "team_id": require_team(actor), "created_at": now, "updated_at": now}
        with self._store.write() as connection:
            if connection.scalar(select(_T.name).where(_T.name == draft.name)):
                raise Conflict(f"The name {draft.name} is taken.", "Another tool has it.", "Choose another one.")
            row["secret_headers"] = self._seal(connection, draft)
            connection.execute(insert(tools).values(**row))
            audit.record(connection, actor, "tool.create", draft.name, **_describe(draft))
        return self._forget_and_get(actor, draft.name)

    def update(self, actor: Actor, draft: HttpToolDraft, revision: int) -> HttpTool:
        """Change a tool; Conflict when somebody changed it since `revision`. Secrets don't follow to another host."""
        _require_address(actor, draft)
        draft.check()
        with self._store.write() as connection:
            row = _find(connection, draft.name, filter_changeable(actor, _T.team_id))
            if row["definition"] != draft.to_document():
                _revoke_grants(connection, draft.name)
            change: dict[str, Any] = {"definition": draft.to_document(), "updated_at": utc_now()}
            if draft.secret_headers is not None:
                change["secret_headers"] = self._seal(connection, draft)
            elif row["secret_headers"] and row["secret_headers"].get("host") != hosts.parse_host(
                _read_base_address(draft.request)
            ):
                why = "They are not sent anywhere else."
                raise InvalidInput(
                    "The secret headers belong to another host.", why, "Enter them again.", field="headers"
                )
            current = update(tools).where(_T.name == draft.name, _T.revision == revision)
            if connection.execute(current.values(**change, revision=revision + 1)).rowcount == 0:
                raise Conflict(f"{draft.name} was changed meanwhile.", "", "Reload to see how, then change it again.")
            audit.record(connection, actor, "tool.edit", draft.name, **_describe(draft))
        return self._forget_and_get(actor, draft.name)

    def delete(self, actor: Actor, name: str) -> None:
        """Remove a tool and its secrets; the rows of its runs stay."""
        actor.require(Permission.MANAGE_TOOLS)
        with self._store.write() as connection:
            _find(connection, name, filter_changeable(actor, _T.team_id))
            connection.execute(delete(tools).where(_T.name == name))
            _revoke_grants(connection, name)
            audit.record(connection, actor, "tool.delete", name)
        self._forget()

    async def run(self, name: str, arguments: Mapping[str, Any], context: ToolContext) -> ToolOutput:
        """Send the request and read the whole answer; what is no success is an error for the model."""
        tool, secrets = await asyncio.to_thread(self._load, context.actor, name)
        request = fill(tool.request, arguments, secrets)
        client = Client()
        try:
            response = await ask(
                client,
                request.method,
                request.address,
                request.headers,
                request.body,
                seconds=LONGEST_TIMEOUT_S,
                most=LARGEST_ANSWER,
                allow_private=tool.request.allow_private,
            )
        except InvalidInput as error:
            raise PermissionDenied("The tool's address can't be asked.", error.title) from None
        except AnswerTooLarge:
            return ToolOutput(f"The answer is longer than {LARGEST_ANSWER:,} bytes.", is_error=True)
        except (OSError, UnicodeError) as error:
            return ToolOutput(hide_known(f"The connection failed: {str(error)[:300]}"), is_error=True)
        finally:
            client.close()
        return await asyncio.to_thread(read_response, request, response)  # of megabytes, in which secrets are hidden

    def _load(self, actor: Actor, name: str) -> tuple[HttpTool, dict[str, str]]:
        with self._store.read() as connection:
            row = _find(connection, name, filter_usable(actor, _T.team_id))
        sealed = get_sealed_value(row["secret_headers"])
        secrets: dict[str, str] = json.loads(self._vault.decrypt(sealed)) if sealed else {}
        for secret in secrets.values():
            remember(secret)
        return _read_tool(row), secrets

    def _seal(self, connection: Connection, draft: HttpToolDraft) -> dict[str, Any] | None:
        if not draft.secret_headers:
            return None
        for secret in draft.secret_headers.values():
            remember(secret)
        sealed = self._vault.encrypt(json.dumps(dict(draft.secret_headers)), within=connection)
        return {
            "names": list(draft.secret_headers),
            "sealed": sealed,
            "host": hosts.parse_host(_read_base_address(draft.request)),
        }

    def _forget_and_get(self, actor: Actor, name: str) -> HttpTool:
        self._forget()
        return self.get(actor, name)

    def _forget(self) -> None:
        with self._lock:
            self._read_at = -_FRESH_S


def _require_address(actor: Actor, draft: HttpToolDraft) -> None:
    """Tools are a team's, but hosts inside the network are the installation's to open."""
    actor.require(Permission.MANAGE_TOOLS)
    if draft.request.allow_private:
        actor.require_of_installation(Permission.MANAGE_TOOLS)


def _revoke_grants(connection: Connection, name: str) -> None:
    """Let a tool ask again: what was granted for good was granted to another one of its name."""
    connection.execute(delete(approval_grants).where(approval_grants.c.subject == f"tool:{name}"))


def read_response(request: FilledRequest, response: HttpResponse) -> ToolOutput:
    """Make the output of an answer: JSON with its structure, text, a picture; secrets that it echoes are hidden."""
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if 300 <= response.status < 400:
        target = hide_known(response.headers.get("location", "")[:200])
        return ToolOutput(f"It answered {response.status}: moved to {target}. That is not followed.", is_error=True)
    is_error = response.status >= 400
    if media_type.startswith("image/") and not is_error:
        picture = ToolImage(media_type, base64.b64encode(response.body).decode())
        return ToolOutput("A picture.", images=(picture,))
    if b"\0" in response.body[:1000]:
        return ToolOutput(f"It answered with {len(response.body):,} bytes of {media_type or 'no type'}.", is_error=True)
    text = hide_known(response.body.decode("utf-8", "replace"))
    if is_error:
        return ToolOutput(f"It answered with status {response.status}. {text[:2000]}", is_error=True)
    structured = _read_json(text) if media_type.endswith("json") else None
    return ToolOutput(text if structured is None else encode_text(structured), structured)


def _read_json(text: str) -> Any:
    try:
        return decode(text)
    except (ValueError, RecursionError):
        return None


def read_draft(document: Mapping[str, Any]) -> HttpToolDraft:
    """Read an HTTP tool of a JSON document; raises InvalidInput."""
    try:
        return convert(document, HttpToolDraft)
    except ValidationError as error:
        raise InvalidInput("The tool can't be read.", f"{error}.", "Correct it.", field="tool") from None


def _read_tool(row: RowMapping) -> HttpTool:
    draft = convert({"name": row["name"], **row["definition"]}, HttpToolDraft)
    definition = ToolDefinition(
        name=draft.name,
        title=draft.title,
        description=draft.description,
        parameters=draft.parameters,
        result_schema=draft.result_schema,
        annotations=draft.annotations,
        source=SourceKind.HTTP,
        server=hosts.parse(_read_base_address(draft.request)).hostname or "",
    )
    names = tuple((row["secret_headers"] or _NO_COLUMNS).get("names", ()))
    return HttpTool(definition, draft.request, names, row["revision"])


def _find(connection: Connection, name: str, *conditions: ColumnElement[bool]) -> RowMapping:
    query = select(tools).where(_T.name == name, _T.source == SourceKind.HTTP.value, *conditions)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFound(f"There is no HTTP tool {name[:64]!r}.", "", "Look at the Tools page for the names.")
    return row


def _read_base_address(request: HttpTemplate) -> str:
    """The address up to its host."""
    head, _, location = request.url.strip().partition("://")
    return f"{head}://{location.partition('/')[0]}/"


def _describe(draft: HttpToolDraft) -> dict[str, Any]:
    """Build the audit log's detail: no words that may be secret."""
    secret_names = None if draft.secret_headers is None else sorted(draft.secret_headers)
    return {"method": draft.request.method, "url": draft.request.url[:200], "secret_headers": secret_names}

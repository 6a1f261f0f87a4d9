"""The form of an HTTP tool, in a dialog; its secret headers are entered and never shown."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import streamlit as st
from msgspec import to_builtins

from lib.access.permissions import Actor
from lib.errors import InvalidInput, LLMManagerError
from lib.services import Services
from lib.tools.http_request import METHODS, WITH_BODY, HttpTemplate
from lib.tools.http_tools import HttpTool, HttpToolDraft
from lib.tools.tool import ToolAnnotations
from lib.ui import blocks, grammar

_EXAMPLE = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "A city"}},
    "required": ["city"],
}


def draw_buttons(services: Services, actor: Actor, name: str) -> None:
    """Draw the buttons that change and remove an HTTP tool."""
    if st.button("Edit", icon=":material/edit:", type="tertiary", key=f"edit-{name}"):
        st.dialog("Edit HTTP tool", width="large")(edit_dialog)(services, actor, name)
    if st.button(":red[Delete]", icon=":material/delete:", type="tertiary", key=f"delete-{name}"):
        grammar.confirm(
            f"Delete {blocks.escape_markdown(name)}?",
            "Models can't ask for it any more, and its secret headers are erased. The rows of its runs stay.",
            keep="Keep tool",
            act="Delete tool",
            action=lambda: services.http_tools.delete(actor, name),
            then=grammar.close,
        )


def create_dialog(services: Services, actor: Actor) -> None:
    """The form of a new tool."""
    _draw_form(services, actor, None)


def edit_dialog(services: Services, actor: Actor, name: str) -> None:
    """The form of a tool that exists."""
    _draw_form(services, actor, services.http_tools.get(actor, name))


def _draw_form(services: Services, actor: Actor, tool: HttpTool | None) -> None:
    fields = _draw_fields(tool)
    if not st.button("Save tool" if tool else "Create tool", type="primary"):
        return
    try:
        draft = _read_draft(fields, tool)
        save = partial(services.http_tools.update, revision=tool.revision) if tool else services.http_tools.create
        save(actor, draft)
    except LLMManagerError as error:
        blocks.show_error(error)
        return
    st.query_params["id"] = draft.name
    st.rerun()


@dataclass(frozen=True)
class _Fields:
    """What was typed into the form; texts as they stand there."""

    name: str
    title: str
    description: str
    method: str
    url: str
    parameters: str
    query: str
    body: str
    secrets: str
    annotations: ToolAnnotations
    allow_private: bool


def _draw_fields(tool: HttpTool | None) -> _Fields:
    definition = tool.definition if tool else None
    request = tool.request if tool else HttpTemplate("")
    first, second = st.columns(2)
    name = first.text_input(
        "Name",
        definition.name if definition else "",
        max_chars=64,
        placeholder="weather_today",
        disabled=tool is not None,
    )
    title = second.text_input("Title", definition.title if definition else "", max_chars=120)
    description = st.text_area(
        "Description", definition.description if definition else "", height=68, help="The model chooses the tool by it"
    )
    method = first.selectbox("Method", METHODS, METHODS.index(request.method))
    url = second.text_input("Address", request.url, placeholder="https://api.example.com/weather/{{city}}")
    parameters = st.text_area(
        "Parameters, a JSON Schema",
        json.dumps(to_builtins(definition.parameters) if definition else _EXAMPLE, indent=1),
        height=140,
    )
    query, body = _draw_request(request, method)
    secrets = st.text_area(
        "Secret headers",
        "",
        height=68,
        placeholder=f"Stored: {', '.join(tool.secret_names)}"
        if tool and tool.secret_names
        else "Authorization: Bearer …",
        help="Encrypted, sent to this host alone, never shown again. Empty leaves them as they are.",
    )
    annotations = _draw_effects(definition.annotations if definition else ToolAnnotations())
    private = st.toggle("Allow private hosts", request.allow_private, help="An address inside your own network")
    return _Fields(
        name.strip(), title, description, method, url, parameters, query, body, secrets, annotations, private
    )


def _draw_request(request: HttpTemplate, method: str) -> tuple[str, str]:
    """Draw the query and the body of the request, as texts."""
    query = st.text_area(
        "Query",
        "\n".join(f"{key}={text}" for key, text in request.query.items()),
        height=68,
        placeholder="units={{units}}",
        help="A line for each part. A part whose argument is absent is left out.",
    )
    body = st.text_area(
        "Body, as JSON",
        "" if request.body is None else json.dumps(request.body, indent=1),
        height=68,
        placeholder="Empty sends the arguments that stand nowhere else",
        disabled=method not in WITH_BODY,
    )
    return query, body


def _read_draft(fields: _Fields, tool: HttpTool | None) -> HttpToolDraft:
    """Read the fields, keeping what the form doesn't show of a tool that exists; raises InvalidInput."""
    template = HttpTemplate(
        fields.url,
        fields.method,
        _read_query(fields.query),
        _read_json(fields.body, "body") if fields.body.strip() else None,
        tool.request.headers if tool else {},
        fields.allow_private,
    )
    return HttpToolDraft(
        name=fields.name,
        description=fields.description,
        request=template,
        title=fields.title,
        parameters=_read_object(fields.parameters),
        result_schema=tool.definition.result_schema if tool else None,
        annotations=fields.annotations,
        secret_headers=_read_headers(fields.secrets),
    )


def _draw_effects(annotations: ToolAnnotations) -> ToolAnnotations:
    with blocks.start_row():
        read_only = st.toggle("Only reads", annotations.read_only, help="Otherwise a person is asked before it runs")
        idempotent = st.toggle("Twice is as once", annotations.idempotent)
        outside = st.toggle(
            "Returns text from outside", annotations.open_world, help="After it, tools that change something ask first"
        )
    return ToolAnnotations(
        read_only=read_only,
        destructive=not read_only and annotations.destructive,
        idempotent=idempotent,
        open_world=outside,
    )


def _read_query(text: str) -> dict[str, str]:
    lines = [line.partition("=") for line in text.splitlines() if line.strip()]
    return {name.strip(): value.strip() for name, _, value in lines}


def _read_headers(text: str) -> Mapping[str, str] | None:
    lines = [line.partition(":") for line in text.splitlines() if line.strip()]
    return {name.strip(): value.strip() for name, _, value in lines} or None


def _read_object(text: str) -> dict[str, Any]:
    parsed = _read_json(text, "parameters")
    if not isinstance(parsed, dict):
        raise InvalidInput("The parameters are not an object.", "", "Write a JSON Schema.", field="parameters")
    return parsed


def _read_json(text: str, field: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"The {field} is not JSON.", f"{error}.", "Correct it.", field=field) from None

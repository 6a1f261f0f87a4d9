"""Templates filled in, files scaffolded, schemas checked and Python read; nothing that is given is ever executed.

Schemas and Python are looked at in a child with little memory and processor time (`lib.limited`), since both can be
made to take for ever. A scaffold is text that is returned, not files that are written.
"""

import json
from typing import Annotated, Any, Literal

from msgspec import Meta

from lib.access.permissions import Actor
from lib.errors import InvalidInput
from lib.limited import rules
from lib.limited.child import NotComputed
from lib.mcp.bundled.tool import Arguments, BundledServer, BundledTool
from lib.patterns import compile_pattern
from lib.prompts.prompts import Prompts

LONGEST_SOURCE = 200_000
_NAME = compile_pattern(r"[a-z][a-z0-9_]{0,59}")


class RenderTemplate(Arguments, frozen=True):
    template: Annotated[str, Meta(min_length=1, max_length=80, description="The slug of a prompt template.")]
    variables: dict[str, Any] = {}
    label: Annotated[str, Meta(max_length=80, description="Empty: production.")] = ""
    version: Annotated[int, Meta(ge=1)] | None = None


class Scaffold(Arguments, frozen=True):
    kind: Literal["mcp_server", "python_tool", "http_tool", "prompt_template"]
    name: Annotated[str, Meta(max_length=60, description="In small letters, digits and underscores.")]
    description: Annotated[str, Meta(max_length=500)] = ""


class ValidateSchema(Arguments, frozen=True):
    schema: dict[str, Any]
    document: Annotated[
        str, Meta(max_length=LONGEST_SOURCE, description="JSON to hold against the schema; empty: the schema alone.")
    ] = ""


class AnalysePython(Arguments, frozen=True):
    source: Annotated[str, Meta(max_length=LONGEST_SOURCE)]


def build_server(prompts: Prompts) -> BundledServer:
    """Build the server over the prompt templates."""

    def render(actor: Actor, arguments: RenderTemplate) -> dict[str, Any]:
        label = arguments.label or None
        filled = prompts.fill(actor, arguments.template, arguments.variables, label, arguments.version)
        return {
            "text": filled.text,
            "system_prompt": filled.system_prompt,
            "version": filled.version,
            "parameters": dict(filled.parameters),
        }

    tools = (
        BundledTool(
            "render_template", "Render a template", "Fills in a prompt template's variables.", RenderTemplate, render
        ),
        BundledTool("scaffold", "Scaffold", "Returns the text of files to begin with.", Scaffold, _scaffold),
        BundledTool(
            "validate_schema",
            "Validate with JSON Schema",
            "Checks a JSON Schema, and a document against it; references lead nowhere outside the schema.",
            ValidateSchema,
            _validate,
        ),
        BundledTool(
            "analyse_python",
            "Analyse Python",
            "Imports, functions, classes, complexity and risky calls of a source, from its syntax tree; it is not run.",
            AnalysePython,
            _analyse,
        ),
    )
    return BundledServer("code", "Code and templates", tools)


def _validate(_actor: Actor, arguments: ValidateSchema) -> dict[str, Any]:
    try:
        rules.check_schema(arguments.schema)
    except NotComputed as error:
        return {"schema_is_valid": False, "errors": [error.why]}
    if not arguments.document:
        return {"schema_is_valid": True, "errors": []}
    try:
        errors = rules.list_schema_errors(arguments.schema, arguments.document)
    except NotComputed as error:
        raise InvalidInput("The document can't be checked.", error.why, "Correct the schema.") from None
    return {"schema_is_valid": True, "document_is_valid": not errors, "errors": errors}


def _analyse(_actor: Actor, arguments: AnalysePython) -> dict[str, Any]:
    try:
        return rules.analyse_python(arguments.source)
    except NotComputed as error:
        raise InvalidInput("The source can't be read as Python.", error.why, "Correct it.") from None


def _scaffold(_actor: Actor, arguments: Scaffold) -> dict[str, Any]:
    if not _NAME.fullmatch(arguments.name):
        why = f"{arguments.name[:60]!r} must be small letters, digits and underscores, with a letter first."
        raise InvalidInput("The name can't be used.", why, "Write it like weather_today.", field="name")
    description = " ".join(arguments.description.split()) or "Describe what it does and when to use it."
    text = _TEXTS[arguments.kind].replace("NAME", arguments.name)
    text = text.replace('"DESCRIPTION"', json.dumps(description, ensure_ascii=False))
    return {"files": [{"path": _PATHS[arguments.kind].replace("NAME", arguments.name), "text": text}]}


_PATHS = {
    "mcp_server": "NAME_server.py",
    "python_tool": "NAME.py",
    "http_tool": "NAME.json",
    "prompt_template": "NAME.json",
}
_TEXTS = {
    "mcp_server": '''"""A server of tools over standard input and output: python NAME_server.py"""

from mcp.server.mcpserver import MCPServer

server = MCPServer("NAME", instructions="DESCRIPTION")


@server.tool()
def echo(text: str) -> str:
    """Return the text as it came."""
    return text


if __name__ == "__main__":
    server.run("stdio")
''',
    "python_tool": '''"""A tool as a typed function: its JSON Schema is made from the hints."""

DESCRIPTION = "DESCRIPTION"


def NAME(text: str, most: int = 10) -> dict[str, object]:
    """Return the first words of a text."""
    return {"words": text.split()[:most]}
''',
    "http_tool": """{
  "name": "NAME",
  "description": "DESCRIPTION",
  "parameters": {
    "type": "object",
    "properties": {"id": {"type": "string"}},
    "required": ["id"],
    "additionalProperties": false
  },
  "method": "GET",
  "url": "https://api.example.com/things/{id}"
}
""",
    "prompt_template": """{
  "slug": "NAME",
  "description": "DESCRIPTION",
  "text": "Summarise in {{most}} sentences:\\n\\n{{text}}",
  "variables": [{"name": "text", "kind": "text"}, {"name": "most", "kind": "number", "default": 3}]
}
""",
}

"""Functions of this program as tools: schemas come from their type hints.

A function's parameters become the properties of a JSON Schema (descriptions by `Annotated[str, Meta(description=…)]`),
its docstring's first paragraph the description, its return type the schema of the result where it is a struct. A first
parameter named `context` is given the `ToolContext` and stands in no schema. A plain function runs in a thread of its
own, a coroutine on the loop of its caller.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_type_hints

import msgspec
from msgspec import NODEFAULT, Struct, defstruct, to_builtins

from lib.access.permissions import Actor
from lib.errors import InvalidInput, NotFound
from lib.fast_json import convert_struct, encode_text
from lib.tools.tool import SourceKind, ToolAnnotations, ToolContext, ToolDefinition, ToolOutput, check_name
from lib.tools.tool_threads import run_in_thread

CHANGES_THINGS = ToolAnnotations()
READS_ONLY = ToolAnnotations(read_only=True, destructive=False, idempotent=True, open_world=False)


class NativeTool:
    """One function with its definition."""

    def __init__(self, function: Callable[..., Any], annotations: ToolAnnotations, title: str) -> None:
        hints = get_type_hints(function, include_extras=True)
        parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "context"]
        fields = [(p.name, hints[p.name], NODEFAULT if p.default is p.empty else p.default) for p in parameters]
        self._function = function
        self._takes_context = "context" in hints
        self._arguments = defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=True)
        returned = hints.get("return")
        is_struct = isinstance(returned, type) and issubclass(returned, Struct) and returned is not ToolOutput
        self.definition = ToolDefinition(
            name=check_name(function.__name__),
            title=title,
            description=" ".join((inspect.getdoc(function) or "").split("\n\n")[0].split()),
            parameters=build_schema(self._arguments),
            result_schema=build_schema(returned) if is_struct else None,
            annotations=annotations,
        )

    async def run(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolOutput:
        """Call the function; raises InvalidInput for arguments of another type."""
        try:
            converted = convert_struct(arguments, self._arguments)
        except msgspec.ValidationError as error:
            raise InvalidInput("The arguments don't fit the tool.", f"{error}.") from None
        keywords = {name: getattr(converted, name) for name in self._arguments.__struct_fields__}
        if self._takes_context:
            keywords["context"] = context
        if inspect.iscoroutinefunction(self._function):
            returned = await self._function(**keywords)
        else:
            returned = await run_in_thread(self._function, **keywords)
        return write_output(returned)


class NativeTools:
    """The source of native tools; functions are registered at composition."""

    name = "native"

    def __init__(self) -> None:
        self._tools: dict[str, NativeTool] = {}

    def register(
        self, function: Callable[..., Any], annotations: ToolAnnotations = CHANGES_THINGS, *, title: str = ""
    ) -> None:
        """Offer a function as a tool under its own name; ValueError when the name is taken."""
        tool = NativeTool(function, annotations, title)
        if tool.definition.name in self._tools:
            raise ValueError(f"the tool {tool.definition.name} is registered twice")
        self._tools[tool.definition.name] = tool

    def definitions(self, actor: Actor) -> Sequence[ToolDefinition]:
        """List every registered function."""
        return [tool.definition for tool in self._tools.values()]

    def absences(self, actor: Actor) -> Mapping[str, str]:
        """List nothing: functions of this program are always there."""
        return {}

    async def run(self, name: str, arguments: Mapping[str, Any], context: ToolContext) -> ToolOutput:
        """Run a registered function; NotFound for another name."""
        if (tool := self._tools.get(name)) is None:
            raise NotFound(f"There is no tool {name[:LONGEST_SHOWN]}.")
        return await tool.run(arguments, context)


LONGEST_SHOWN = 64


def build_schema(type_: Any) -> dict[str, Any]:
    """Build the JSON Schema of a struct type, with the struct's own schema on top."""
    schema = msgspec.json.schema(type_)
    definitions = dict(schema.get("$defs", {}))
    top = definitions.pop(str(schema.get("$ref", "")).rpartition("/")[2], schema)
    top = {name: part for name, part in top.items() if name != "title"}
    return {**top, "$defs": definitions} if definitions else top


def write_output(returned: Any) -> ToolOutput:
    """Make the output of what a function returned: its text, or JSON both as structure and as text."""
    if isinstance(returned, ToolOutput):
        return returned
    if isinstance(returned, str):
        return ToolOutput(returned)
    structured = to_builtins(returned)
    return ToolOutput(encode_text(structured), structured)


__all__ = ["READS_ONLY", "NativeTools", "SourceKind"]

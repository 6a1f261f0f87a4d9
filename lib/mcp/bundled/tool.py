"""A bundled tool as a value: a function with typed arguments, whose JSON Schema is made from the types."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from lib.access.permissions import Actor
from lib.errors import InvalidInput
from lib.fast_json import convert_struct

Run = Callable[[Actor, Any], Any]  # returns text, or JSON


class Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The base of every tool's arguments: fields that are not known are refused."""


@dataclass(frozen=True)
class BundledTool:
    """One function that models may call. `run` takes the actor and an instance of `arguments`."""

    name: str
    title: str
    description: str
    arguments: type[Arguments]
    run: Run
    read_only: bool = True
    idempotent: bool = True

    @cached_property
    def parameters(self) -> Mapping[str, Any]:
        """The JSON Schema of the arguments, of one piece: without a reference at its top."""
        schema = msgspec.json.schema(self.arguments)
        definitions = schema.pop("$defs", {})
        top = dict(definitions.pop(schema["$ref"].rpartition("/")[2]) if "$ref" in schema else schema)
        top.pop("title", None)
        top.pop("description", None)
        return {**top, "$defs": definitions} if definitions else top

    def call(self, actor: Actor, arguments: Mapping[str, Any]) -> Any:
        """Check the arguments and run; returns text or JSON, raises LLMManagerError."""
        try:
            checked = convert_struct(dict(arguments), self.arguments)
        except msgspec.ValidationError as error:
            why = f"{error}."
            raise InvalidInput(f"{self.name} can't use these arguments.", why, "Correct them.") from None
        return self.run(actor, checked)


@dataclass(frozen=True)
class BundledServer:
    """A named group of tools. `absence` is a sentence that says why it offers nothing now; empty: it does."""

    name: str
    title: str
    tools: tuple[BundledTool, ...]
    absence: str = ""

    def find(self, name: str) -> BundledTool | None:
        """Find a tool by its own name."""
        return next((tool for tool in self.tools if tool.name == name), None)

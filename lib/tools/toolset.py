"""A toolset: the tools that one request may use, composed of others by filter, prefix and union.

Every composition is a new value. A prefixed tool is run under its own name: `original_name` tells it.
"""

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase

from msgspec import Struct
from msgspec.structs import replace

from lib.errors import InvalidInput, NotFound
from lib.tools.tool import ToolDefinition, check_name


class Toolset(Struct, frozen=True):
    """Tools by the name that the model sees. `absences` tells which servers' tools can't be had, and why."""

    tools: Mapping[str, ToolDefinition] = {}
    absences: Mapping[str, str] = {}
    names: Mapping[str, str] = {}  # of prefixed tools: name for the model → own name

    def filtered(self, *patterns: str) -> "Toolset":
        """Keep the tools whose name fits a pattern; `*` stands for anything."""
        return self.chosen(lambda tool: any(fnmatchcase(tool.name, pattern) for pattern in patterns))

    def chosen(self, is_wanted: Callable[[ToolDefinition], bool]) -> "Toolset":
        """Keep the tools that a predicate accepts."""
        return replace(self, tools={name: tool for name, tool in self.tools.items() if is_wanted(tool)})

    def read_only(self) -> "Toolset":
        """Keep the tools that say they only read."""
        return self.chosen(lambda tool: not tool.has_side_effects)

    def prefixed(self, prefix: str) -> "Toolset":
        """Show every tool to the model under a longer name; InvalidInput when one would be too long."""
        renamed = {check_name(prefix + name): tool for name, tool in self.tools.items()}
        own_names = {prefix + name: self.original_name(name) for name in self.tools}
        prefixed_tools = {name: replace(tool, name=name) for name, tool in renamed.items()}
        return replace(self, tools=prefixed_tools, names=own_names)

    def joined(self, other: "Toolset") -> "Toolset":
        """Add the tools of another set; InvalidInput when both have a tool of one name."""
        if shared_names := sorted(self.tools.keys() & other.tools.keys()):
            raise InvalidInput(
                f"Two tools are called {shared_names[0]}.", "", "Give one of the sets a prefix.", field="tools"
            )
        return Toolset(
            {**self.tools, **other.tools}, {**self.absences, **other.absences}, {**self.names, **other.names}
        )

    def original_name(self, name: str) -> str:
        """Tell under which name the registry knows a tool of this set."""
        return self.names.get(name, name)

    def find(self, name: str) -> ToolDefinition:
        """Find a tool by the name that the model sees; NotFound lists those there are."""
        if (tool := self.tools.get(name)) is None:
            listed = ", ".join(sorted(self.tools)[:20]) or "none"
            raise NotFound(f"There is no tool {name[:64]!r}.", f"The tools are: {listed}.", "Use one of these.")
        return tool

    def require(self, patterns: Iterable[str]) -> "Toolset":
        """Raise InvalidInput where tools are named and none can be had: it names the servers and the causes."""
        required = list(patterns)
        if not required or self.tools:
            return self
        causes = " ".join(f"{server}: {cause}" for server, cause in sorted(self.absences.items()))
        raise InvalidInput(
            "None of the tools can be had.",
            f"{', '.join(required)[:200]} was asked for. {causes or 'No tool of such a name may be used here.'}",
            "Look at the Tools page, or ask without tools.",
            field="tools",
        )

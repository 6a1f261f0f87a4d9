"""The search of tools: where there are many, a model is described this one and loads what it asks for.

Two hundred descriptions would cost thousands of tokens a round. The search compares words: those of a tool's name
count more than those of its description.
"""

from collections.abc import Iterable, Mapping, Sequence

from lib.fast_json import encode_text
from lib.patterns import compile_pattern
from lib.tools.native import READS_ONLY
from lib.tools.tool import ToolDefinition, ToolOutput

SEARCH = "search_tools"
MOST_FOUND = 8
_WORD = compile_pattern(r"[a-z0-9]+")
_HUMP = compile_pattern(r"(?<=[a-z])(?=[A-Z])")
_LONGEST_SUMMARY = 200
DEFINITION = ToolDefinition(
    name=SEARCH,
    title="Search tools",
    description="Find tools by what they do. Tools that are found can be called from the next step on.",
    parameters={
        "type": "object",
        "properties": {"query": {"type": "string", "description": "What a tool should do, in a few words"}},
        "required": ["query"],
        "additionalProperties": False,
    },
    annotations=READS_ONLY,
)


def search_tools(tools: Iterable[ToolDefinition], query: str) -> list[ToolDefinition]:
    """Find the tools that share most words with a query, the best first, at most eight."""
    query_words = set(_split(query))
    scored = [(_score(tool, query_words), tool.name, tool) for tool in tools]
    best = sorted((entry for entry in scored if entry[0]), key=lambda entry: (-entry[0], entry[1]))
    return [tool for _, _, tool in best[:MOST_FOUND]]


def describe(found_tools: Sequence[ToolDefinition]) -> ToolOutput:
    """Write what was found for the model."""
    if not found_tools:
        return ToolOutput("No tool fits. Try other words.")
    lines = [{"name": tool.name, "description": tool.description[:_LONGEST_SUMMARY]} for tool in found_tools]
    return ToolOutput(encode_text(lines), {"tools": lines})


def choose_described(
    tools: Mapping[str, ToolDefinition], most_described: int, loaded: Sequence[str]
) -> list[ToolDefinition]:
    """Choose the tools that a round describes: all where they are few, else the search and what was loaded."""
    if len(tools) <= most_described:
        return list(tools.values())
    return [DEFINITION, *(tools[name] for name in loaded if name in tools)]


def _score(tool: ToolDefinition, query_words: set[str]) -> int:
    name_words = set(_split(f"{tool.name} {tool.title}"))
    described = set(_split(f"{tool.description} {tool.server}"))
    return 3 * len(query_words & name_words) + len(query_words & described)


def _split(text: str) -> list[str]:
    """Split a text into words in lower case, without a plural's s."""
    words = _WORD.findall(_HUMP.sub(" ", text).lower())
    return [word.removesuffix("s") for word in words if len(word) > 1]

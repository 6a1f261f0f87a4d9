"""The tools that a workflow's steps name: what they need of a person is told before its runs begin by themselves."""

from collections.abc import Iterator

from lib.workflows.definition import AgentsNode, Definition, PromptNode, ToolNode


def list_tool_names(definition: Definition) -> list[str]:
    """List the names of the tools that steps of a definition use, each once, in the order of the document."""
    return list(dict.fromkeys(_list_names(definition)))


def _list_names(definition: Definition) -> Iterator[str]:
    for _, graph in definition.graphs():
        for node in graph.nodes:
            match node:
                case ToolNode():
                    yield node.tool
                case PromptNode():
                    yield from node.tools
                case AgentsNode():
                    for agent in node.agents:
                        yield from agent.tools
                case _:
                    pass

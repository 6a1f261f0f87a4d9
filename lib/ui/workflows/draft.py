"""A definition while it is drawn: what the canvas sends is joined with what forms say, and nothing typed is lost.

The canvas knows places, kinds and edges; all other fields of a node stay here, also of one that was removed, so that
undo brings it back whole. `version` is raised whenever the canvas has to take over what Python changed.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from lib.workflows.definition import ERROR, NODE_TYPES, Definition, build_document, parse_definition

_NEW: dict[str, dict[str, Any]] = {
    "prompt": {"prompt": ""},
    "agents": {"mode": "panel", "agents": [{"name": "one"}, {"name": "two"}], "task": "", "choices": ["yes", "no"]},
    "retrieve": {"collection": "", "question": ""},
    "tool": {"tool": "current_time"},
    "http": {"url": "https://", "allowed_hosts": ["example.org"]},
    "condition": {"when": "true"},
    "switch": {"cases": [{"port": "first", "when": "true"}]},
    "transform": {"value": "''"},
    "map": {"over": "[]", "part": "part"},
    "loop": {"part": "part", "until": "true"},
    "approval": {"question": "Go on?"},
    "wait": {"seconds": 60},
    "workflow": {"workflow": "other"},
    "output": {"text": ""},
}


@dataclass
class WorkflowDraft:
    """A definition's document that is being changed, made from the version `based_on`."""

    document: dict[str, Any]
    based_on: int
    version: int = 1
    fit: int = 1  # raised when the drawing is to be shown whole
    part: str = ""
    changed: bool = False
    known_nodes: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def begin(cls, definition: Definition, based_on: int) -> "WorkflowDraft":
        """Begin from a stored version; nodes without places are put in a row."""
        draft = cls(_convert_to_plain(build_document(definition)), based_on)
        for graph in draft.graphs().values():
            if all(not node.get("x") and not node.get("y") for node in graph["nodes"]):
                for number, node in enumerate(graph["nodes"]):
                    node["x"] = number * 220
        return draft

    def graphs(self) -> dict[str, dict[str, Any]]:
        """The graphs by part, the main one under an empty name; changing one changes the draft."""
        self.document.setdefault("nodes", [])
        self.document.setdefault("edges", [])
        graphs = {"": self.document}
        for name, graph in self.document.get("parts", {}).items():
            graph.setdefault("nodes", [])
            graph.setdefault("edges", [])
            graphs[name] = graph
        return graphs

    @property
    def graph(self) -> dict[str, Any]:
        """The graph that is shown."""
        graphs = self.graphs()
        return graphs.get(self.part) or graphs[""]

    def list_taken(self) -> list[str]:
        """Ids that a new node can't have: of the other graphs, and the words of the language."""
        other_graphs = [g for name, g in self.graphs().items() if name != self.part]
        return [node["id"] for graph in other_graphs for node in graph["nodes"]]

    def find(self, node_id: str) -> dict[str, Any] | None:
        """A node of the shown graph."""
        return next((node for node in self.graph["nodes"] if node["id"] == node_id), None)

    def take(self, drawn: Mapping[str, Any]) -> bool:
        """Join what was drawn; False when it was drawn on an older version, or changes nothing."""
        if drawn.get("base") != self.version:
            return False
        graph = self.graph
        earlier_nodes = {node["id"]: node for node in graph["nodes"]}
        self.known_nodes |= deepcopy(earlier_nodes)
        nodes = [self._join(node, earlier_nodes) for node in drawn.get("nodes", ()) if node.get("kind") in NODE_TYPES]
        edges = [
            {"from": e["from"], "to": e["to"]} | ({"port": e["port"]} if e.get("port") else {})
            for e in drawn.get("edges", ())
        ]
        if nodes == graph["nodes"] and edges == graph["edges"]:
            return False
        graph["nodes"] = nodes
        graph["edges"] = edges
        self.changed = True
        return True

    def _join(self, drawn: Mapping[str, Any], earlier_nodes: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
        node_id = str(drawn["id"])
        kind = str(drawn["kind"])
        old = earlier_nodes.get(node_id) or self.known_nodes.get(node_id)
        if old is None or old.get("kind") != kind:
            like = earlier_nodes.get(str(drawn.get("like"))) or self.known_nodes.get(str(drawn.get("like")))
            old = deepcopy(like) if like is not None and like.get("kind") == kind else {**_NEW.get(kind, {})}
            old.pop("label", None)
        node = {**old, "kind": kind, "id": node_id}
        node |= {"x": float(drawn.get("x", 0)), "y": float(drawn.get("y", 0))}
        return node

    def replace_node(self, node_id: str, changed: Mapping[str, Any]) -> None:
        """Put other fields into a node; a new id is followed by the edges."""
        graph = self.graph
        new_id = str(changed["id"])
        graph["nodes"] = [dict(changed) if node["id"] == node_id else node for node in graph["nodes"]]
        for edge in graph["edges"]:
            for end in ("from", "to"):
                edge[end] = new_id if edge[end] == node_id else edge[end]
        self.touch()

    def add_part(self, name: str) -> None:
        """Add an empty part and show it."""
        self.document.setdefault("parts", {})[name] = {"nodes": [], "edges": []}
        self.show(name)
        self.changed = True

    def remove_part(self, name: str) -> None:
        """Remove a part and show the main graph."""
        self.document.get("parts", {}).pop(name, None)
        self.show("")
        self.changed = True

    def show(self, part: str) -> None:
        """Show another graph."""
        self.part = part
        self.version += 1
        self.fit += 1

    def touch(self) -> None:
        """Have the canvas take over what was changed here."""
        self.version += 1
        self.changed = True

    def parse(self) -> Definition:
        """Read the draft; raises InvalidInput that names the node."""
        return parse_definition(deepcopy(self.document))


def list_ports(node: Mapping[str, Any], edges: list[dict[str, Any]]) -> list[str]:
    """The ports of a node as they are drawn; the error port of what may fail stands last."""
    kind = str(node["kind"])
    if kind == "switch":
        cases = node.get("cases")
        ports = [str(case.get("port", "")) for case in cases or () if isinstance(case, Mapping)]
        return [*ports, "else", ERROR]
    ports = [*NODE_TYPES[kind].ports]
    if kind in ("input", "note", "output", "transform", "condition", "join"):
        is_used = any(edge.get("port") == ERROR and edge["from"] == node["id"] for edge in edges)
        return [*ports, ERROR] if is_used else ports
    return [*ports, ERROR]


def _convert_to_plain(value: Any) -> Any:
    """Tuples as lists, so that a draft can be changed."""
    if isinstance(value, Mapping):
        return {str(name): _convert_to_plain(member) for name, member in value.items()}
    return [_convert_to_plain(member) for member in value] if isinstance(value, list | tuple) else value

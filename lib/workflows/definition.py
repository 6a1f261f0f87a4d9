"""A workflow as data: its nodes, the edges between them, its parts, and how a document is read.

A definition is JSON or YAML of at most `LONGEST_DOCUMENT` bytes. A graph has nodes, each of one kind, and edges from a
node's port to another node. `parts` are further graphs, by name, that maps and loops repeat. Its hash is SHA-256 over
the canonical JSON without the drawing's positions: two definitions that run alike have the same hash.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct, field

from lib.errors import Conflict, InvalidInput
from lib.fast_json import convert_struct, decode, decode_struct, hash_json

LONGEST_DOCUMENT = 1_000_000  # bytes
MOST_NODES = 500  # of all graphs together
MOST_ITEMS = 10_000  # of a map
MOST_ROUNDS = 1_000  # of a loop
DEEPEST_CALL = 5  # of parts and workflows in one another
LONGEST_EXPRESSION = 2_000

Id = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,39}$", description="A name: letters, digits and _")]
Expression = Annotated[str, Meta(min_length=1, max_length=LONGEST_EXPRESSION, description="An expression in CEL")]
Words = Annotated[str, Meta(max_length=200_000, description="Text in which `{{node.field}}` stands for a value")]
Seconds = Annotated[float, Meta(gt=0, le=86_400 * 366)]
Slug = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$")]
ConfigurationName = Annotated[str, Meta(min_length=1, max_length=300)]
Agents = Annotated[tuple["Agent", ...], Meta(min_length=1, max_length=12)]


class Retry(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How often a step that failed is tried in all, and how long it waits in between: `delay_s`, then `factor` times
    as long.
    """

    attempts: Annotated[int, Meta(ge=1, le=10)] = 3
    delay_s: Annotated[float, Meta(ge=0, le=600)] = 1.0
    factor: Annotated[float, Meta(ge=1, le=10)] = 2.0


class Fallback(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What stands in for a step that failed for good: another configuration, and after that a value."""

    configuration: ConfigurationName | None = None
    value: Any = msgspec.UNSET


class Field(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A field of the form that starts a run, or that a person fills in at an approval."""

    name: Id
    type: Literal["text", "long_text", "number", "integer", "boolean", "choice", "json"] = "text"
    label: Annotated[str, Meta(max_length=200)] = ""
    help: Annotated[str, Meta(max_length=1_000)] = ""
    required: bool = True
    default: Any = None
    choices: Annotated[tuple[str, ...], Meta(max_length=100)] = ()
    max_length: Annotated[int, Meta(ge=1, le=1_000_000)] = 100_000


class Agent(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One of several agents of a step: who it is, with which configuration and tools, and to whom it may hand over."""

    name: Id
    role: Words = ""
    configuration: ConfigurationName | None = None
    tools: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    hands_to: Annotated[tuple[Id, ...], Meta(max_length=12)] = ()


class Node(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind"):
    """Common to all kinds. `x` and `y` are places in the drawing. `set` writes shared state by expressions that see
    `output`.
    """

    ports: ClassVar[tuple[str, ...]] = ("",)
    pays: ClassVar[bool] = False  # may call a model
    acts: ClassVar[bool] = False  # may change the world outside

    id: Id
    label: Annotated[str, Meta(max_length=200)] = ""
    x: float = 0.0
    y: float = 0.0
    set: Mapping[Id, Expression] = {}
    retry: Retry | None = None
    timeout_s: Annotated[float, Meta(gt=0, le=86_400)] | None = None
    fallback: Fallback | None = None

    def list_ports(self) -> tuple[str, ...]:
        """List the names of the ports that edges may leave from; the plain one is empty."""
        return self.ports

    @property
    def title(self) -> str:
        """The label, or the id without one."""
        return self.label or self.id


class InputNode(Node, frozen=True, kw_only=True, tag="input"):
    """Where a run begins: the fields of its form; the output has a member for each."""

    fields: Annotated[tuple[Field, ...], Meta(max_length=50)] = ()


class PromptNode(Node, frozen=True, kw_only=True, tag="prompt"):
    """A model call; with `tools` an agent that may use them for `max_rounds` rounds. Output: `text`, and `data` where
    there is an output schema. `memory` names a conversation that steps of the run share.
    """

    pays: ClassVar[bool] = True

    configuration: ConfigurationName | None = None
    prompt: Words = ""
    template: Slug | None = None
    version: str | int | None = field(default=None)
    variables: Mapping[str, Words] = {}
    system: Words | None = None
    role: Words = ""
    parameters: Mapping[str, Any] = {}
    output_schema: Mapping[str, Any] | None = None
    tools: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    max_rounds: Annotated[int, Meta(ge=1, le=50)] = 8
    memory: Id | None = None
    knowledge: Annotated[str, Meta(max_length=200)] | None = None


class AgentsNode(Node, frozen=True, kw_only=True, tag="agents"):
    """Several agents on one task. `handover`: the first begins and each may pass on to those it names. `supervisor`:
    the first delegates to the others until it is satisfied. `panel`: all answer; they vote on one of `choices`, or a
    judge decides. Output: `text`, `agent`, `turns`, and for a panel `answers` and `votes`.
    """

    pays: ClassVar[bool] = True

    mode: Literal["handover", "supervisor", "panel"]
    agents: Agents
    task: Words
    choices: Annotated[tuple[str, ...], Meta(max_length=20)] = ()
    judge: Agent | None = None
    max_turns: Annotated[int, Meta(ge=1, le=50)] = 10


class RetrieveNode(Node, frozen=True, kw_only=True, tag="retrieve"):
    """Search a collection of the knowledge base, by id or name. Output: `text` and `passages`."""

    collection: Words
    question: Words
    k: Annotated[int, Meta(ge=1, le=50)] | None = None


class ToolNode(Node, frozen=True, kw_only=True, tag="tool"):
    """Run a tool. `arguments` are texts to fill in or values; `{{node}}` alone keeps the value's type. Output: `text`,
    `data`.
    """

    acts: ClassVar[bool] = True

    tool: Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    arguments: Mapping[str, Any] = {}


class HttpNode(Node, frozen=True, kw_only=True, tag="http"):
    """Ask a public http(s) address whose host is in `allowed_hosts`. Output: `status`, `text`, `data` where it is
    JSON.
    """

    acts: ClassVar[bool] = True

    url: Words
    allowed_hosts: Annotated[tuple[str, ...], Meta(min_length=1, max_length=50)]
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    headers: Mapping[str, Words] = {}
    body: Any = None


class ConditionNode(Node, frozen=True, kw_only=True, tag="condition"):
    """Leave by the port `true` or `false`."""

    ports: ClassVar[tuple[str, ...]] = ("true", "false")

    when: Expression


class Case(Struct, frozen=True, forbid_unknown_fields=True):
    """A way out of a switch, taken when its expression is the first that holds."""

    port: Id
    when: Expression


class SwitchNode(Node, frozen=True, kw_only=True, tag="switch"):
    """Leave by the port of the first case that holds, or by `else`."""

    cases: Annotated[tuple[Case, ...], Meta(min_length=1, max_length=20)]

    def list_ports(self) -> tuple[str, ...]:
        """List the cases' ports and `else`."""
        return (*(case.port for case in self.cases), "else")


class TransformNode(Node, frozen=True, kw_only=True, tag="transform"):
    """Compute the output by an expression."""

    value: Expression


class MapNode(Node, frozen=True, kw_only=True, tag="map"):
    """Run a part for each member of a list, a few at once. The part sees `item` and `index`. Output: `items`, `count`,
    `failed`.
    """

    over: Expression
    part: Id
    limit: Annotated[int, Meta(ge=1, le=MOST_ITEMS)] = 100
    parallel: Annotated[int, Meta(ge=1, le=50)] = 4
    on_error: Literal["fail", "skip"] = "fail"


class LoopNode(Node, frozen=True, kw_only=True, tag="loop"):
    """Repeat a part until an expression holds, at most `max_rounds` times. The part sees `round` and `previous`, the
    expression `output` as well. Output: `value`, `rounds`, `satisfied`.
    """

    part: Id
    until: Expression
    max_rounds: Annotated[int, Meta(ge=1, le=MOST_ROUNDS)] = 5


class JoinNode(Node, frozen=True, kw_only=True, tag="join"):
    """Bring branches together: when `all` that are taken have ended, or the `first`. Output: a member for each."""

    wait: Literal["all", "first"] = "all"


class ApprovalNode(Node, frozen=True, kw_only=True, tag="approval"):
    """Ask a person. Leaves by `approved`, `denied` or, after the deadline, `expired`. Output: `decision`, `data`,
    `comment`, `by`.
    """

    ports: ClassVar[tuple[str, ...]] = ("approved", "denied", "expired")

    question: Words
    data: Mapping[str, Any] = {}
    fields: Annotated[tuple[Field, ...], Meta(max_length=50)] = ()
    people: Annotated[tuple[str, ...], Meta(max_length=50)] = ()
    roles: Annotated[tuple[str, ...], Meta(max_length=10)] = ()
    teams: Annotated[tuple[int, ...], Meta(max_length=50)] = ()
    deadline_s: Seconds | None = None


class WaitNode(Node, frozen=True, kw_only=True, tag="wait"):
    """Wait for a time, or for a signal by name for at most that time. Output: `signalled`, `data`."""

    seconds: Seconds | None = None
    signal: Id | None = None


class WorkflowNode(Node, frozen=True, kw_only=True, tag="workflow"):
    """Run another workflow as a step; its output is this one's."""

    workflow: Slug
    inputs: Mapping[str, Any] = {}


class NoteNode(Node, frozen=True, kw_only=True, tag="note"):
    """Words on the drawing; nothing runs."""

    ports: ClassVar[tuple[str, ...]] = ()

    text: Words = ""


class OutputNode(Node, frozen=True, kw_only=True, tag="output"):
    """What a run answers: filled words, or an expression's value. Streams where it is asked for through the gateway."""

    ports: ClassVar[tuple[str, ...]] = ()

    text: Words | None = None
    value: Expression | None = None


AnyNode = (
    InputNode
    | PromptNode
    | AgentsNode
    | RetrieveNode
    | ToolNode
    | HttpNode
    | ConditionNode
    | SwitchNode
    | TransformNode
    | MapNode
    | LoopNode
    | JoinNode
    | ApprovalNode
    | WaitNode
    | WorkflowNode
    | NoteNode
    | OutputNode
)
NODE_TYPES: dict[str, type[Node]] = {str(kind.__struct_config__.tag): kind for kind in AnyNode.__args__}
ERROR = "error"  # the port by which a step that failed may be left


class Edge(
    Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"source": "from", "target": "to"}
):
    """From a node's port to a node."""

    source: Id
    target: Id
    port: Annotated[str, Meta(max_length=40)] = ""


class Graph(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Nodes and edges."""

    nodes: Annotated[tuple[AnyNode, ...], Meta(max_length=MOST_NODES)] = ()
    edges: Annotated[tuple[Edge, ...], Meta(max_length=4 * MOST_NODES)] = ()

    def get_node(self, node_id: str) -> AnyNode | None:
        """Find a node by id."""
        return next((node for node in self.nodes if node.id == node_id), None)


class Check(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a test case expects: an expression over `output`, the nodes and `run` that has to hold."""

    that: Expression
    why: Annotated[str, Meta(max_length=300)] = ""


class TestCase(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Inputs, outputs that stand in for steps (by the step's path), and what has to hold afterwards."""

    __test__: ClassVar[bool] = False

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    inputs: Mapping[str, Any] = {}
    pinned: Mapping[str, Any] = {}
    checks: Annotated[tuple[Check, ...], Meta(max_length=50)] = ()


class Definition(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A workflow: its main graph, its parts, its declared shared state, its bounds and its test cases."""

    nodes: Annotated[tuple[AnyNode, ...], Meta(max_length=MOST_NODES)] = ()
    edges: Annotated[tuple[Edge, ...], Meta(max_length=4 * MOST_NODES)] = ()
    parts: Annotated[Mapping[Id, Graph], Meta(max_length=50)] = {}
    state: Annotated[Mapping[Id, Any], Meta(max_length=50)] = {}
    max_steps: Annotated[int, Meta(ge=1, le=100_000)] = 1_000
    timeout_s: Annotated[float, Meta(gt=0, le=86_400 * 366)] | None = None
    cost_cap_usd: Annotated[float, Meta(ge=0, le=1_000_000)] | None = None
    cases: Annotated[tuple[TestCase, ...], Meta(max_length=100)] = ()

    @property
    def main(self) -> Graph:
        """The graph that a run begins with."""
        return Graph(self.nodes, self.edges)

    def graphs(self) -> Iterator[tuple[str, Graph]]:
        """Each graph with its part's name; the main one's is empty."""
        yield "", self.main
        yield from self.parts.items()

    def get_graph(self, part: str) -> Graph:
        """Return a part's graph, or the main one for an empty name."""
        return self.parts[part] if part else self.main

    @property
    def input_fields(self) -> tuple[Field, ...]:
        """The fields of the form that starts a run."""
        return next((node.fields for node in self.nodes if isinstance(node, InputNode)), ())


def read_document(document: str | bytes) -> Any:
    """Decode JSON or YAML; raises InvalidInput for what is too long, is neither, or uses YAML's aliases or tags.

    YAML is read in a limited child: a parser in Python takes a minute for what an author needs a second to write.
    """
    data = document.encode("utf-8", "replace") if isinstance(document, str) else document
    if len(data) > LONGEST_DOCUMENT:
        why = f"It has {len(data):,} bytes; the limit is {LONGEST_DOCUMENT:,}."
        raise InvalidInput(
            "The definition is too long.", why, "Move parts of it into workflows of their own.", "definition"
        )
    text = data.decode("utf-8", "replace").lstrip("\ufeff")
    if text.lstrip()[:1] in ("{", "["):
        try:
            return decode(text)
        except (ValueError, RecursionError) as error:
            raise InvalidInput("The definition is no JSON.", f"{error}"[:300], "Correct it.", "definition") from None
    return _read_yaml(text)


def _read_yaml(text: str) -> Any:
    from lib.limited.child import NotComputed
    from lib.limited.rules import read_yaml

    try:
        return read_yaml(text)
    except NotComputed as error:
        raise InvalidInput("The definition is no YAML.", error.why, "Correct it.", "definition") from None


def parse_definition(document: Any) -> Definition:
    """Read a decoded document as a definition; raises InvalidInput that names the node and the field."""
    if not isinstance(document, dict):
        raise InvalidInput("The definition is no object.", "", "It begins with nodes and edges.", "definition")
    _require_storable(document)
    for part, graph in _list_raw_graphs(document):
        _check_raw_nodes(part, graph)
    try:
        definition = convert_struct(document, Definition)
    except msgspec.ValidationError as error:
        raise InvalidInput("The definition can't be used.", _explain(str(error)), "Correct it.", "definition") from None
    if sum(len(graph.nodes) for _, graph in definition.graphs()) > MOST_NODES:
        raise InvalidInput("The definition has too many nodes.", f"The limit is {MOST_NODES}.", "", "definition")
    return definition


def _require_storable(document: dict[str, Any]) -> None:
    """Refuse what every release could not read back: half a letter, a number without end."""
    try:
        msgspec.json.encode(document)
    except (UnicodeError, OverflowError, ValueError, TypeError, RecursionError) as error:
        why = f"It holds what JSON can't: {error}"[:300]
        raise InvalidInput("The definition can't be kept.", why, "Correct it.", "definition") from None


def _list_raw_graphs(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "", document
    parts = document.get("parts")
    for name, graph in parts.items() if isinstance(parts, dict) else ():
        if isinstance(graph, dict):
            yield str(name), graph


def _check_raw_nodes(part: str, graph: dict[str, Any]) -> None:
    """Convert each node by itself, so that an error names it."""
    nodes = graph.get("nodes")
    for number, node in enumerate(nodes if isinstance(nodes, list) else (), 1):
        name = node.get("id", f"number {number}") if isinstance(node, dict) else f"number {number}"
        path = f"{part}/{name}" if part else str(name)
        kind = node.get("kind") if isinstance(node, dict) else None
        if not isinstance(kind, str) or kind not in NODE_TYPES:
            why = f"Its kind is {str(kind)[:40]!r}; there are {', '.join(sorted(NODE_TYPES))}."
            raise InvalidInput(f"The node {path[:100]} can't be used.", why, "Correct its kind.", "definition")
        try:
            convert_struct(node, NODE_TYPES[kind])
        except msgspec.ValidationError as error:
            raise InvalidInput(
                f"The node {path[:100]} can't be used.", _explain(str(error)), "Correct it.", "definition"
            ) from None


def _explain(message: str) -> str:
    """The validator's sentence in plain words."""
    words = message.replace("`$.", "`").replace("Object missing required field", "It lacks the field")
    words = words.replace("Object contains unknown field", "There is no field").replace("`", "")
    return f"{words}."[:400]


def load_definition(document: str | bytes) -> Definition:
    """Read a document, in JSON or YAML, as a definition; the original's form (`states`) is translated."""
    from lib.workflows.original_format import is_original, translate_original

    raw = read_document(document)
    return parse_definition(translate_original(raw) if is_original(raw) else raw)


def build_document(definition: Definition) -> dict[str, Any]:
    """Turn a definition into plain values, defaults left out, in the order of its fields."""
    return dict(msgspec.to_builtins(definition, str_keys=True))


def encode_definition(definition: Definition) -> str:
    """Write a definition as JSON that every release reads alike."""
    return msgspec.json.encode(definition).decode()


class DefinitionTooNew(Conflict):
    """A stored definition has kinds of nodes or fields that this version of the program does not know."""

    def __init__(self, why: str) -> None:
        fix = "Go on in a process of the newer version."
        super().__init__("A newer version of the program has written this definition.", why, fix)


def decode_definition(text: str) -> Definition:
    """Read what `encode_definition` wrote; raises DefinitionTooNew for what another release wrote and this can't read.

    Definitions are checked before they are stored, so nothing else makes one unreadable.
    """
    try:
        return decode_struct(text, Definition)
    except msgspec.ValidationError as error:
        try:
            parse_definition(msgspec.json.decode(text))  # names the node
        except InvalidInput as problem:
            raise DefinitionTooNew(f"{problem.title} {problem.why}") from error
        raise DefinitionTooNew(_explain(str(error))) from error


def write_yaml(definition: Definition) -> str:
    """Write a definition as YAML for people: long texts in blocks, keys in the order of the fields."""
    import yaml

    class Dumper(yaml.SafeDumper):  # type: ignore[misc]
        pass

    def represent_text(dumper: Any, text: str) -> Any:
        style = "|" if "\n" in text else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, represent_text)
    document = build_document(definition)
    return str(
        yaml.dump(document, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=False)
    )


def compute_hash(definition: Definition) -> str:
    """Compute SHA-256 over what a definition does: places in the drawing, labels and test cases are left out."""
    document = build_document(definition)
    document.pop("cases", None)
    for _, graph in _list_raw_graphs(document):
        for node in graph.get("nodes", ()):
            for name in ("x", "y", "label"):
                node.pop(name, None)
    return hash_json(document)


def build_schema() -> dict[str, Any]:
    """Build the JSON Schema (2020-12) of a definition, as it is published."""
    schema = msgspec.json.schema(Definition)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Workflow", **schema}

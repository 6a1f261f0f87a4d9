"""Whether a definition can run: every problem at once, each with the node it stands at, in words for who draws it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from lib.errors import InvalidInput
from lib.limited.expressions import FUNCTIONS, ExpressionError
from lib.workflows.definition import (
    DEEPEST_CALL,
    ERROR,
    AgentsNode,
    AnyNode,
    ApprovalNode,
    ConditionNode,
    Definition,
    Edge,
    Field,
    Graph,
    HttpNode,
    InputNode,
    LoopNode,
    MapNode,
    NoteNode,
    OutputNode,
    PromptNode,
    RetrieveNode,
    SwitchNode,
    ToolNode,
    TransformNode,
    WaitNode,
    WorkflowNode,
)
from lib.workflows.expressions import compile_expression, list_value_paths

_WORDS = """state run item index round previous output error end true false null in as break const continue else for
function if import let loop package namespace return var void while int uint double bool string bytes list map type dyn
size has matches"""
RESERVED = frozenset(_WORDS.split()) | frozenset(FUNCTIONS)
ALWAYS = frozenset({"state", "run"})
_IN_MAP = frozenset({"item", "index"})
_IN_LOOP = frozenset({"round", "previous"})
_MOST_TOLD = 12


@dataclass(frozen=True)
class Problem:
    """A problem at a node (empty: the definition), in the part that the path's first name says. `is_error` False is
    a hint that does not stop a run.
    """

    node: str
    message: str
    is_error: bool = True

    def __str__(self) -> str:
        """Return the problem as one line, with its node in front."""
        return f"{self.node}: {self.message}" if self.node else self.message


class GraphView:
    """A graph as the interpreter and the checks look at it: who comes before whom."""

    def __init__(self, graph: Graph) -> None:
        self.nodes: dict[str, AnyNode] = {node.id: node for node in graph.nodes if not isinstance(node, NoteNode)}
        self.incoming: dict[str, list[Edge]] = {node_id: [] for node_id in self.nodes}
        self.outgoing: dict[str, list[Edge]] = {node_id: [] for node_id in self.nodes}
        for edge in graph.edges:
            if edge.source in self.nodes and edge.target in self.nodes:
                self.incoming[edge.target].append(edge)
                self.outgoing[edge.source].append(edge)

    @cached_property
    def order(self) -> list[str]:
        """Node ids in topological order, ties in the order of the document; nodes of a circle are missing."""
        waiting = {node_id: len(edges) for node_id, edges in self.incoming.items()}
        ready = [node_id for node_id, count in waiting.items() if count == 0]
        ordered: list[str] = []
        for node_id in ready:
            ordered.append(node_id)
            for edge in self.outgoing[node_id]:
                waiting[edge.target] -= 1
                if waiting[edge.target] == 0:
                    ready.append(edge.target)
        return ordered

    @cached_property
    def ancestors(self) -> dict[str, frozenset[str]]:
        """For each node, all that come before it."""
        ancestors: dict[str, frozenset[str]] = {}
        for node_id in self.order:
            parents = [edge.source for edge in self.incoming[node_id]]
            ancestors[node_id] = frozenset(parents).union(*(ancestors[parent] for parent in parents))
        return ancestors

    def list_descendants(self, node_id: str) -> set[str]:
        """List all that come after a node."""
        reached: set[str] = set()
        waiting = [node_id]
        while waiting:
            for edge in self.outgoing[waiting.pop()]:
                if edge.target not in reached:
                    reached.add(edge.target)
                    waiting.append(edge.target)
        return reached

    def find_circle(self) -> list[str]:
        """List nodes of one circle in its order; empty without one."""
        unvisited = set(self.nodes) - set(self.order)
        if not unvisited:
            return []
        path: list[str] = []
        node_id = min(unvisited)
        while node_id not in path:
            path.append(node_id)
            node_id = next(edge.source for edge in self.incoming[node_id] if edge.source in unvisited)
        circle = path[path.index(node_id) :][::-1]
        positions = {name: position for position, name in enumerate(self.nodes)}
        first = circle.index(min(circle, key=positions.__getitem__))
        return circle[first:] + circle[:first]


def list_problems(definition: Definition) -> list[Problem]:
    """List all problems that the definition shows by itself; empty when it can run."""
    return [*_Checks(definition).run()]


def require_valid(definition: Definition) -> None:
    """Raise InvalidInput that names the nodes when the definition can't run."""
    errors = [str(problem) for problem in list_problems(definition) if problem.is_error]
    if errors:
        further_errors = f" And {len(errors) - _MOST_TOLD} more." if len(errors) > _MOST_TOLD else ""
        raise InvalidInput(
            "The workflow can't run.", " ".join(errors[:_MOST_TOLD]) + further_errors, "Correct it.", "definition"
        )


class _Checks:
    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._views = {part: GraphView(graph) for part, graph in definition.graphs()}
        self._callers: dict[str, list[tuple[str, MapNode | LoopNode]]] = {}
        self._called: dict[str, dict[str, None]] = {}  # by part, those that it repeats, in order
        for part, graph in definition.graphs():
            for node in graph.nodes:
                if isinstance(node, MapNode | LoopNode):
                    self._callers.setdefault(node.part, []).append((part, node))
                    self._called.setdefault(part, {})[node.part] = None
        # What is known of a part is computed once: ways through parts multiply with each that stands in another.
        self._outer_names: dict[str, frozenset[str]] = {"": frozenset()}
        self._mapped_parts: dict[str, bool] = {"": False}

    def run(self) -> Iterator[Problem]:
        yield from self._check_names()
        yield from self._check_parts()
        for part, graph in self._definition.graphs():
            yield from self._check_edges(part, graph)
            yield from self._check_shape(part, graph)
        if any(view.find_circle() for view in self._views.values()) or self._find_part_circle():
            return
        for part, graph in self._definition.graphs():
            for node in graph.nodes:
                yield from self._check_node(part, node)
        yield from self._check_cases()

    def _check_names(self) -> Iterator[Problem]:
        counts = Counter(node.id for _, graph in self._definition.graphs() for node in graph.nodes)
        for node_id, count in counts.items():
            if count > 1:
                yield Problem(node_id, f"{count} nodes have this id. Give each its own.")
            if node_id in RESERVED:
                yield Problem(node_id, "The id is a word of the language. Choose another one.")

    def _check_parts(self) -> Iterator[Problem]:
        for part in self._definition.parts:
            if part not in self._callers:
                yield Problem("", f"The part {part} is used by no map and no loop.", is_error=False)
        for name, callers in self._callers.items():
            if name not in self._definition.parts:
                yield from (
                    Problem(node.id, f"There is no part {name}. Draw it, or name another one.") for _, node in callers
                )
        if circle := self._find_part_circle():
            yield Problem("", f"The parts {' → '.join(circle)} call each other without end.")
        elif self._measure_depth() > DEEPEST_CALL:
            yield Problem("", f"Parts stand more than {DEEPEST_CALL} deep in one another.")

    def _find_part_circle(self) -> list[str]:
        ended: set[str] = set()

        def visit(part: str, above: tuple[str, ...]) -> list[str]:
            if part in above:
                return [*above[above.index(part) :], part]
            if part in ended:
                return []
            for called in self._called.get(part, ()):
                if circle := visit(called, (*above, part)):
                    return circle
            ended.add(part)
            return []

        return next((circle for part in self._definition.parts if (circle := visit(part, ()))), [])

    def _measure_depth(self) -> int:
        """How deep parts stand in one another, the main graph counted; parts call each other in no circle."""
        depths: dict[str, int] = {}

        def measure(part: str) -> int:
            if part not in depths:
                depths[part] = 1 + max(map(measure, self._called.get(part, ())), default=0)
            return depths[part]

        return measure("")

    def _check_edges(self, part: str, graph: Graph) -> Iterator[Problem]:
        nodes = {node.id: node for node in graph.nodes}
        checked_edges: set[Edge] = set()
        for edge in graph.edges:
            if (missing := next((end for end in (edge.source, edge.target) if end not in nodes), None)) is not None:
                yield Problem(
                    edge.source,
                    f"An edge from {edge.source} to {edge.target} ends nowhere: there is no node {missing}.",
                )
                continue
            if edge in checked_edges:
                yield Problem(edge.source, f"Two edges lead to {edge.target} alike. Remove one.")
            checked_edges.add(edge)
            yield from _check_edge(nodes[edge.source], nodes[edge.target], edge)

    def _check_shape(self, part: str, graph: Graph) -> Iterator[Problem]:
        view = self._views[part]
        if circle := view.find_circle():
            yield Problem(
                circle[0], f"The nodes {' → '.join([*circle, circle[0]])} form a circle. Repeat with a loop instead."
            )
        inputs = [node for node in graph.nodes if isinstance(node, InputNode)]
        if part:
            yield from (
                Problem(node.id, f"The part {part} has an input. It sees item, round and what its caller sees.")
                for node in inputs
            )
            if not view.nodes:
                yield Problem("", f"The part {part} is empty.")
            return
        if len(inputs) != 1:
            yield Problem(
                "", "There is no input: add one." if not inputs else f"There are {len(inputs)} inputs. Keep one."
            )
        if not any(isinstance(node, OutputNode) for node in graph.nodes):
            yield Problem("", "There is no output: add one that says what a run answers.")
        for node_id, edges in view.incoming.items():
            if not edges and not isinstance(view.nodes[node_id], InputNode):
                yield Problem(node_id, "Nothing leads here. Connect it, or remove it.")

    def _list_scope(self, part: str, node_id: str) -> frozenset[str]:
        """Names that an expression at a node may read."""
        own = self._views[part].ancestors.get(node_id, frozenset())
        return ALWAYS | own | self._list_outer(part)

    def _list_outer(self, part: str) -> frozenset[str]:
        """Names that every caller of a part lends it."""
        if part not in self._outer_names:
            lent = [
                self._list_scope(caller_part, node.id) | (_IN_MAP if isinstance(node, MapNode) else _IN_LOOP)
                for caller_part, node in self._callers.get(part, ())
            ]
            self._outer_names[part] = frozenset.intersection(*lent) if lent else frozenset()
        return self._outer_names[part]

    def _check_node(self, part: str, node: AnyNode) -> Iterator[Problem]:
        scope = self._list_scope(part, node.id)
        for expression, further_names in _list_expressions(node):
            yield from self._check_expression(part, node.id, expression, scope | further_names)
        for value in _list_texts(node):
            for path in list_value_paths(value):
                if path[0] not in scope:
                    yield Problem(node.id, self._explain_name(part, path[0]))
        for name in node.set:
            if name not in self._definition.state:
                yield Problem(node.id, f"It sets {name}, which the workflow's state does not declare.")
        if node.set and self._is_mapped(part):
            yield Problem(
                node.id, "A step of a map can't set shared state: its items run at once. Return a value instead."
            )
        yield from (Problem(node.id, message) for message in check_own_fields(node))

    def _is_mapped(self, part: str) -> bool:
        """Whether a part runs for the items of a map, however far above."""
        if part not in self._mapped_parts:
            callers = self._callers.get(part, ())
            self._mapped_parts[part] = any(
                isinstance(node, MapNode) or self._is_mapped(caller_part) for caller_part, node in callers
            )
        return self._mapped_parts[part]

    def _check_expression(self, part: str, node_id: str, source: str, scope: Iterable[str]) -> Iterator[Problem]:
        try:
            expression = compile_expression(source)
        except ExpressionError as error:
            yield Problem(node_id, f"The expression {source[:60]!r} can't be read: {error}.")
            return
        names = frozenset(scope)
        yield from (Problem(node_id, self._explain_name(part, name)) for name in expression.names if name not in names)

    def _explain_name(self, part: str, name: str) -> str:
        if any(name in view.nodes for view in self._views.values()):
            return f"It reads {name}, which does not come before it."
        return f"It reads {name}, which does not exist."

    def _check_cases(self) -> Iterator[Problem]:
        fields = {field.name for field in self._definition.input_fields}
        nodes = frozenset(node.id for node in self._definition.nodes)
        for case in self._definition.cases:
            unknown = [name for name in case.inputs if name not in fields]
            if unknown:
                yield Problem(
                    "", f"The test case {case.name} gives {', '.join(unknown)[:100]}, which the input does not have."
                )
            for check in case.checks:
                scope = nodes | ALWAYS | {"output"}
                yield from self._check_expression("", f"case {case.name}", check.that, scope)


def _check_edge(source: AnyNode, target: AnyNode, edge: Edge) -> Iterator[Problem]:
    if isinstance(target, InputNode):
        yield Problem(target.id, f"{source.id} leads to the input. Nothing may.")
    if isinstance(source, NoteNode) or isinstance(target, NoteNode):
        yield Problem(source.id, "A note has no edges.")
        return
    ports = source.list_ports()
    may_fail = ports and not isinstance(source, InputNode)
    if edge.port not in ports and not (edge.port == ERROR and may_fail):
        port_names = ", ".join(port or "(plain)" for port in ports) or "none"
        yield Problem(source.id, f"An edge leaves by {edge.port or '(plain)'!r}; the ports are: {port_names}.")


def _list_expressions(node: AnyNode) -> Iterator[tuple[str, frozenset[str]]]:
    """Each expression of a node, with the names it sees besides those before the node."""
    nothing = frozenset[str]()
    match node:
        case ConditionNode(when=when):
            yield when, nothing
        case SwitchNode(cases=cases):
            yield from ((case.when, nothing) for case in cases)
        case TransformNode(value=value):
            yield value, nothing
        case MapNode(over=over):
            yield over, nothing
        case LoopNode(until=until):
            yield until, frozenset({"output", "round", "previous"})
        case OutputNode(value=value) if value is not None:
            yield value, nothing
        case _:
            pass
    for expression in node.set.values():
        yield expression, frozenset({"output"})


def _list_texts(node: AnyNode) -> list[object]:
    """The texts of a node in which places stand."""
    match node:
        case PromptNode():
            return [node.prompt, node.system, node.role, dict(node.variables), node.knowledge]
        case AgentsNode():
            agents = [*node.agents, *([node.judge] if node.judge else [])]
            return [node.task, *(agent.role for agent in agents)]
        case RetrieveNode():
            return [node.collection, node.question]
        case ToolNode():
            return [dict(node.arguments)]
        case HttpNode():
            return [node.url, dict(node.headers), node.body]
        case ApprovalNode():
            return [node.question, dict(node.data)]
        case WorkflowNode():
            return [dict(node.inputs)]
        case OutputNode():
            return [node.text]
        case _:
            return []


def check_own_fields(node: AnyNode) -> list[str]:
    """List what is wrong within one node, apart from names and expressions."""
    match node:
        case PromptNode():
            wrong = [] if node.prompt.strip() or node.template else ["It has no prompt. Write one, or name a template."]
            has_two_prompts = node.prompt.strip() and node.template
            return [*wrong, "It has a prompt and a template. Keep one."] if has_two_prompts else wrong
        case AgentsNode():
            return _check_agents(node)
        case SwitchNode(cases=cases):
            ports = [case.port for case in cases]
            doubled = len(set(ports)) < len(ports) or {"else", ERROR} & set(ports)
            return ["Its cases need ports of their own, other than else and error."] if doubled else []
        case WaitNode(seconds=None, signal=None):
            return ["It waits for nothing. Give seconds, or the name of a signal."]
        case OutputNode(text=text, value=value) if (text is None) == (value is None):
            return ["It needs words or an expression, and not both."]
        case InputNode(fields=fields) | ApprovalNode(fields=fields):
            return check_fields(fields)
        case _:
            return []


def check_fields(fields: Sequence[Field]) -> list[str]:
    """List what is wrong with a form."""
    counts = Counter(field.name for field in fields)
    wrong = [f"Two fields are called {name}." for name, count in counts.items() if count > 1]
    return wrong + [f"The field {f.name} has no choices." for f in fields if f.type == "choice" and not f.choices]


def _check_agents(node: AgentsNode) -> list[str]:
    names = [agent.name for agent in node.agents]
    wrong = ["Two agents have one name."] if len(set(names)) < len(names) else []
    for agent in node.agents:
        unknown = [name for name in agent.hands_to if name not in names]
        wrong += [f"{agent.name} hands over to {', '.join(unknown)}, whom there is not."] if unknown else []
    if node.mode == "panel" and node.judge is None and not node.choices:
        wrong.append("A panel needs a judge, or choices to vote on.")
    if node.mode == "supervisor" and len(names) < 2:
        wrong.append("A supervisor needs somebody to delegate to.")
    return wrong


def group_problems(problems: Iterable[Problem]) -> Mapping[str, str]:
    """Join the problems of each node into one text."""
    grouped: dict[str, list[str]] = {}
    for problem in problems:
        grouped.setdefault(problem.node, []).append(problem.message)
    return {node: " ".join(messages) for node, messages in grouped.items()}

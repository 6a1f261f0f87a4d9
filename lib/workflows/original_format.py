"""Reads the definition format of the system that this one implements anew: states, transitions, an agent a model state.

`{"initial_state", "states": {NAME: {"type": "llm|rag|condition|transform", …, "next"}}, "transitions": [{"from", "to",
"condition"}], "agents_config": {NAME: {"role", "model"}}}`; a run ends at `end`. Conditions are `path op value` with
== != > < >= <=, or `always`; they become expressions that compare numbers as numbers, also where a model wrote them as
text. `{{a.b.c}}` reads a bag of values into which each state puts what it made under `output_key`, or its own name.
States that never come back become a drawing of the same shape. States that do become a loop around a switch, which runs
one state a round, with the bag as shared state.
"""

import re
from collections.abc import Mapping
from typing import Any

from lib.errors import InvalidInput
from lib.patterns import compile_pattern
from lib.workflows.expressions import PLACEHOLDER

END = "end"
_NOW = "now"  # the shared state's key that says which state is next
_MOST_TRANSITIONS = 2_000
_MOST_STATES = 20  # cases of a switch; more only without circles
_CONDITION = compile_pattern(r"([A-Za-z_][\w.]*+)\s*+(==|!=|>=|<=|>|<)\s*+(.++)", re.DOTALL)
_LITERAL_NUMBER = compile_pattern(r"[+-]?\d++(?:\.\d++)?")
_ODD_SIGN = compile_pattern(r"\W", re.ASCII)
_WORKS = {"uppercase": "upper", "lowercase": "lower", "json_decode": "parse", "json_encode": "encode"}
_ANSWERS = ("response", "output", "content", "result", "answer", "text")
_DEFAULT_ROUNDS = 20


def is_original(document: Any) -> bool:
    """Whether a document has the original's form."""
    return isinstance(document, Mapping) and isinstance(document.get("states"), Mapping)


def translate_original(document: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the original's definition; raises InvalidInput that names the state that can't be."""
    return _Translation(document).translate()


def translate_condition(text: str, find_path: Any = lambda path: path) -> str:
    """Translate `path op value` into an expression; `>= 5` is one operator, and a bare word is a text."""
    if text.strip().lower() in ("always", "default", "true", ""):
        return "true"
    match = _CONDITION.fullmatch(text.strip())
    if match is None:
        why = f"{text[:100]!r} is not `path op value`."
        raise InvalidInput("A condition can't be read.", why, "Use == != > < >= <= or always.", "definition")
    path, operator, value = match.groups()
    read = find_path(path)
    literal = value.strip()
    if _LITERAL_NUMBER.fullmatch(literal):
        return f"double(number({read})) {operator} {literal if '.' in literal else literal + '.0'}"
    if literal.lower() == "null":
        return f"{read} {operator} null"
    words = literal.strip("'\"") if literal[:1] in "'\"" else literal
    words = words.lower() if words.lower() in ("true", "false") else words
    written = words.replace("\\", "\\\\").replace("'", "\\'")
    return f"text({read}) {operator} '{written}'"


class _Translation:
    """From one document to another."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._states: dict[str, Mapping[str, Any]] = {}
        for name, state in document["states"].items():
            if not isinstance(state, Mapping):
                raise InvalidInput(f"The state {name} can't be read.", "It is no object.", "", "definition")
            self._states[str(name)] = state
        if not 0 < len(self._states) <= 200:
            raise InvalidInput("The definition can't be read.", "It has no states, or more than 200.", "", "definition")
        transitions = document.get("transitions")
        if isinstance(transitions, list) and len(transitions) > _MOST_TRANSITIONS:
            why = f"It has more than {_MOST_TRANSITIONS:,} transitions."
            raise InvalidInput("The definition can't be read.", why, "", "definition")
        self._document = document
        self._initial = str(document.get("initial_state") or next(iter(self._states)))
        self._check_target("The definition", self._initial)
        agents = document.get("agents_config")
        self._agents: Mapping[str, Any] = agents if isinstance(agents, Mapping) else {}
        self._ids = self._name_nodes()
        self._keys = {self._find_key(name): name for name in self._states}
        self._returns = self._has_circle()

    def translate(self) -> dict[str, Any]:
        """Build the definition's document."""
        if self._returns:
            return self._translate_machine()
        nodes = [self._build_input()]
        edges = [{"from": "start", "to": self._ids[self._initial]}]
        reached = self._list_reached()
        for name in reached:
            nodes.append(self._translate_state(name))
            nodes += self._leave(name, edges)
        nodes.append({"kind": "output", "id": "finish", "value": self._choose_last(reached)})
        return {"nodes": nodes, "edges": edges} | self._limits()

    def _translate_machine(self) -> dict[str, Any]:
        """Build a loop that runs one state a round."""
        reached = self._list_reached()
        if len(reached) > _MOST_STATES:
            raise InvalidInput(
                "The definition can't be translated.", f"It returns to a state and has over {_MOST_STATES}."
            )
        cases = [
            {"port": f"at_{number}", "when": f"state.{_NOW} == '{self._ids[name]}'"}
            for number, name in enumerate(reached)
        ]
        nodes: list[dict[str, Any]] = [{"kind": "switch", "id": "choose", "cases": cases}]
        edges: list[dict[str, str]] = []
        for number, name in enumerate(reached):
            edges.append({"from": "choose", "port": f"at_{number}", "to": self._ids[name]})
            following = f"'{END}'"
            for expression, target in reversed(self._list_ways(name)):
                choice = f"'{self._ids.get(target, END)}'"
                following = choice if expression == "true" else f"{expression} ? {choice} : ({following})"
            keeps = {} if self._states[name].get("type") == "condition" else {f"bag_{self._ids[name]}": "output"}
            nodes.append(self._translate_state(name) | {"set": keeps | {_NOW: following}})
        bag = {f"bag_{self._ids[name]}": None for name in reached}
        rounds = self._document.get("max_steps")
        loop = {
            "kind": "loop",
            "id": "machine",
            "part": "states",
            "until": f"state.{_NOW} == '{END}'",
            "max_rounds": min(max(rounds, 1), 1_000) if isinstance(rounds, int) else _DEFAULT_ROUNDS,
        }
        last = {"kind": "output", "id": "finish", "value": self._choose_last(reached)}
        return {
            "nodes": [self._build_input(), loop, last],
            "edges": [{"from": "start", "to": "machine"}, {"from": "machine", "to": "finish"}],
            "parts": {"states": {"nodes": nodes, "edges": edges}},
            "state": {_NOW: self._ids[self._initial], **bag},
        }

    def _name_nodes(self) -> dict[str, str]:
        ids: dict[str, str] = {}
        reserved = {"start", "finish", END, "input", "state", "run", "machine", "choose", "output", "item", "round"}
        for name in self._states:
            clean = _ODD_SIGN.sub("_", name)[:26] or "state"
            clean = f"s_{clean}" if clean[0].isdigit() or clean in reserved else clean
            number = 2
            unique = clean
            while unique in ids.values():
                unique = f"{clean}_{number}"
                number += 1
            ids[name] = unique
        return ids

    def _find_key(self, name: str) -> str:
        key = self._states[name].get("output_key") or self._states[name].get("output")
        return key if isinstance(key, str) and key.isidentifier() else name

    def _find_path(self, path: str) -> str:
        """Where a path into the bag stands here: in a node's output, in shared state, or among the run's inputs."""
        head, _, following = path.partition(".")
        name = self._keys.get(head) or (head if head in self._ids else None)
        if name is None:
            return f"start.{following}" if head in ("input", "inputs") and following else f"start.{path}"
        root = f"state.bag_{self._ids[name]}" if self._returns else self._ids[name]
        if self._states[name].get("type") in ("llm", "rag"):
            field = following.split(".")[0]
            if not following or field in _ANSWERS:
                return f"{root}.text"
        return f"{root}.{following}" if following else root

    def _read(self, text: Any) -> str:
        """Rewrite every place of a text."""
        return PLACEHOLDER.sub(lambda match: "{{" + self._find_path(match[1]) + "}}", str(text))

    def _translate_state(self, name: str) -> dict[str, Any]:
        state = self._states[name]
        node: dict[str, Any] = {"id": self._ids[name], "label": name[:200]}
        match state.get("type"):
            case "llm":
                return node | self._translate_model(name, state)
            case "rag":
                question = state.get("query") or state.get("question") or state.get("prompt") or "{{input.query}}"
                collection = (
                    state.get("collection") or state.get("knowledge_base") or state.get("extension") or "default"
                )
                most = {"k": state["top_k"]} if isinstance(state.get("top_k"), int) else {}
                node |= {"kind": "retrieve", "collection": str(collection), "question": self._read(question)}
                return node | most
            case "transform":
                return node | {"kind": "transform", "value": self._translate_work(name, state)}
            case "condition":
                return node | {"kind": "transform", "value": "true"}
            case kind:
                why = f"Its type is {str(kind)[:40]!r}; there are llm, rag, condition and transform."
                raise InvalidInput(f"The state {name} can't be translated.", why, "Correct its type.", "definition")

    def _translate_model(self, name: str, state: Mapping[str, Any]) -> dict[str, Any]:
        agent = self._agents.get(str(state.get("agent") or name))
        agent = agent if isinstance(agent, Mapping) else {}
        prompt = state.get("prompt") or state.get("prompt_template") or state.get("template") or "{{input.prompt}}"
        node: dict[str, Any] = {"kind": "prompt", "prompt": self._read(prompt)}
        for source in (state, agent):
            if model_name := source.get("configuration") or source.get("model"):
                node.setdefault("configuration", str(model_name))
            if source.get("system_prompt"):
                node.setdefault("system", self._read(source["system_prompt"]))
        if agent.get("role"):
            node["role"] = str(agent["role"])
        if isinstance(seconds := state.get("timeout_seconds") or state.get("timeout"), int | float):
            node["timeout_s"] = float(seconds)
        if isinstance(retries := state.get("retries", state.get("max_retries")), int) and retries > 0:
            node["retry"] = {"attempts": min(retries + 1, 10)}
        return node

    def _translate_work(self, name: str, state: Mapping[str, Any]) -> str:
        work = str(state.get("operation") or state.get("transform") or state.get("function") or "")
        if work not in _WORKS:
            why = f"It does {work[:40]!r}; there are {', '.join(_WORKS)}."
            raise InvalidInput(f"The state {name} can't be translated.", why, "Correct it.", "definition")
        source = str(state.get("input") or state.get("source") or state.get("input_key") or "input").strip()
        path = PLACEHOLDER.fullmatch(source)
        return f"{_WORKS[work]}({self._find_path(path[1] if path else source)})"

    def _leave(self, name: str, edges: list[dict[str, str]]) -> list[dict[str, Any]]:
        """Add the edges out of a state, and return the switch that chooses among several."""
        ways = self._list_ways(name)
        node = self._ids[name]
        if ways[0][0] == "true":
            edges.append({"from": node, "to": self._ids.get(ways[0][1], "finish")})
            return []
        switch = f"{node}_next"
        cases: list[dict[str, str]] = []
        for number, (expression, target) in enumerate(ways, 1):
            port = "else" if expression == "true" else f"way{number}"
            edges.append({"from": switch, "port": port, "to": self._ids.get(target, "finish")})
            if port == "else":
                break
            cases.append({"port": port, "when": expression})
        edges.append({"from": node, "to": switch})
        return [{"kind": "switch", "id": switch, "label": f"{name}: next"[:200], "cases": cases}]

    def _list_ways(self, name: str) -> list[tuple[str, str]]:
        """List (expression, state) in the order in which they are tried; the last is always taken."""
        state = self._states[name]
        ways: list[tuple[str, str]] = []
        condition = state.get("condition")
        if isinstance(condition, str):
            then = state.get("true") or state.get("then") or state.get("next") or END
            ways.append((translate_condition(condition, self._find_path), str(then)))
            ways.append(("true", str(state.get("false") or state.get("else") or END)))
        transitions = self._document.get("transitions")
        for transition in transitions if isinstance(transitions, list) else ():
            if (
                isinstance(transition, Mapping)
                and str(transition.get("from")) == name
                and not isinstance(condition, str)
            ):
                expression = translate_condition(str(transition.get("condition") or "always"), self._find_path)
                ways.append((expression, str(transition.get("to") or END)))
        if state.get("next") and not isinstance(condition, str):
            ways.append(("true", str(state["next"])))
        for _, target in ways:
            self._check_target(f"The state {name}", target)
        last = next((number for number, (expression, _) in enumerate(ways) if expression == "true"), None)
        return [*ways, ("true", END)] if last is None else ways[: last + 1]

    def _check_target(self, subject: str, target: str) -> None:
        if target != END and target not in self._states:
            why = f"It goes on to {target[:60]!r}, which does not exist."
            raise InvalidInput(f"{subject} can't be translated.", why, "Correct it.", "definition")

    def _list_targets(self, name: str) -> list[str]:
        return [target for _, target in self._list_plain_ways(name) if target != END]

    def _list_plain_ways(self, name: str) -> list[tuple[str, str]]:
        """The ways out before it is known how paths are read; only their targets matter."""
        self._returns = False
        return self._list_ways(name)

    def _list_reached(self) -> list[str]:
        returns = self._returns
        reached = [self._initial]
        for name in reached:
            reached += [target for target in self._list_targets(name) if target not in reached]
        self._returns = returns
        return list(dict.fromkeys(reached))

    def _has_circle(self) -> bool:
        ended: set[str] = set()

        def visit(name: str, above: frozenset[str]) -> bool:
            if name in above:
                return True
            if name in ended:
                return False
            circle = any(visit(target, above | {name}) for target in self._list_targets(name))
            ended.add(name)
            return circle

        return visit(self._initial, frozenset())

    def _choose_last(self, reached: list[str]) -> str:
        """An expression for what was made last on whichever way was taken."""
        expression = "''"
        for name in reached:
            if self._states[name].get("type") != "condition":
                root = f"state.bag_{self._ids[name]}" if self._returns else self._ids[name]
                expression = (
                    f"{root} != null ? text({root}) : ({expression})" if expression != "''" else f"text({root})"
                )
        return expression

    def _build_input(self) -> dict[str, Any]:
        """The run's form: what the states read that no state makes."""
        texts = [text for state in self._states.values() for text in state.values() if isinstance(text, str)]
        paths = [path for text in texts for path in PLACEHOLDER.findall(text)]
        paths += [match[1] for text in texts if (match := _CONDITION.fullmatch(text.strip())) and "{{" not in text]
        read = [self._find_path(path) for path in paths]
        names = dict.fromkeys(path.split(".")[1] for path in read if path.startswith("start."))
        fields = [{"name": name, "type": "json", "required": False} for name in names if name.isidentifier()]
        return {"kind": "input", "id": "start", "fields": fields}

    def _limits(self) -> dict[str, Any]:
        most = self._document.get("max_steps")
        return {"max_steps": max(most, 1) * 3} if isinstance(most, int) else {}

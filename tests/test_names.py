"""Functions say what they do: the name of each begins with a verb. Tests leave private names alone."""

import ast
from collections.abc import Iterator

from tests.test_layers import PROJECT, module_name, sources

# Add a verb that is missing here; a noun, a participle or an adjective is the name of something else.
_VERBS = """
act add admit adopt allow allows analyse answer apply approve ask asks assemble attach attempt authenticate authorise
await begin bind blank bound bring build calculate call can cancel chain change charge check choose claim classify
clean clear close collect combine compact compare compile complete compute confirm connect contains convene converse
convert copy correct count counts create cross cut decide decode decrypt define delete derive describe detect diff
differ disable discover divide do drain draw drop edit embed encode end enqueue ensure erase escape estimate evaluate
examine exchange execute expand explain export extract fail fetch fill filter find finish fit flatten fold follow
forecast forget format fuse generate get give group guess hand has hash hide hold holds identify ignore import index
inflate ingest inject insert inspect install invite is iterate join judge keep keeps label launch leave lengthen lies
limit link list load locate lock look looks make mark mask match matches may measure mend mentions merge migrate move
name needs neutralise normalise note open optimise order outline pack page parse pass pause pick pin pipeline place
plan point post prepare preview price print promote propose prove purge put quote raise rank reach read rebuild
recognise reconcile record recount recover redact redirect redraw refresh refuse register reindex release relocate
remember remove rename renew repeat replace replay report reprice request requeue require rerun reserve reset resolve
restart restore resume retry return revoke rewind roll rotate round run sanitise save say scaffold scale schedule
score seal search seed select send serve set settle share shift shorten show sign signal smooth sort speak spell split
standardise start state stop stream strip style submit subtract suggest sum summarise supervise sweep switch sync tag
take tell test tidy touch trace translate trim try turn type undo unescape union unpack unshare unwrap upgrade use
validate view wait waits wake walk warm watch weigh withdraw wrap write yield
"""
# Columns read as the fields they are, and `current()` as the services of this process; the others have given names.
_KEPT = {"utc_now", "id_column", "team_column", "moment_column", "current", "current_time", "main", "lifespan"}


def test_functions_begin_with_a_verb() -> None:
    verbs = set(_VERBS.split())
    nouns = [
        f"{module_name(path)}.{node.name}"
        for path in sources()
        if "versions" not in path.parts  # released migrations stay as they are
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (word := node.name.strip("_").partition("_")[0]) and word not in verbs and node.name not in _KEPT
    ]
    assert nouns == []


def list_private_names_set(node: ast.AST) -> Iterator[str]:
    """The private names that a statement assigns or deletes, or that a call such as `monkeypatch.setattr` replaces.

    A test class's own, of its `self`, are not among them.
    """
    places = list[ast.expr]()
    names = list[str]()
    match node:
        case ast.Assign(targets=targets) | ast.Delete(targets=targets):
            places = targets
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
            places = [target]
        case ast.Call(func=ast.Attribute(attr="setattr" | "delattr" | "patch" | "object"), args=arguments):
            places = arguments[:1]
            constants = [argument for argument in arguments[:2] if isinstance(argument, ast.Constant)]
            names = [str(constant.value).rpartition(".")[2] for constant in constants]
    for part in (part for place in places for part in ast.walk(place) if isinstance(part, ast.Attribute)):
        if not (isinstance(part.value, ast.Name) and part.value.id == "self"):
            names.append(part.attr)
    return (name for name in names if name.startswith("_") and not name.startswith("__"))


def test_tests_set_no_private_name() -> None:
    """What a test has to change is passed in, or has a public name."""
    offenders = [
        f"{path.relative_to(PROJECT)}:{node.lineno} {name}"
        for path in sorted((PROJECT / "tests").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.stmt | ast.expr)
        for name in list_private_names_set(node)
    ]
    assert offenders == []

"""The shape of the library: who may import whom, and that nothing heavy loads before it is needed."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
LIB = PROJECT / "lib"

LEVELS = (  # lowest first; a room imports only rooms of lower levels, and those of its own level that BESIDE names
    ("errors", "clock", "money", "fast_json", "write_coalescing", "patterns", "settings", "files"),
    ("db", "limited"),
    ("access", "providers", "configs", "budgets", "prompts", "usage_files", "tokens"),
    ("approvals", "ledger"),
    ("calls",),
    ("work",),
    ("tools",),
    ("cache",),
    ("activity", "conversations", "experiments", "knowledge", "playground", "statistics"),
    ("demo", "imports", "mcp", "snippets", "workflows"),
    ("services", "jobs"),
    ("gateway", "ui"),
    ("cli",),
    ("__main__",),
)
BESIDE = {
    "settings": {"errors"},
    "files": {"errors"},
    "providers": {"access"},
    "configs": {"access", "providers"},
    "budgets": {"access", "configs", "providers"},
    "prompts": {"access", "configs", "providers"},
    "tokens": {"providers"},
    "conversations": {"activity"},
    "experiments": {"activity", "playground"},
    "playground": {"activity"},
    "services": {"jobs"},
}
LEVEL_OF = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
STATISTICS_READS_UP_TO = 2
MOST_FILES_IN_A_FOLDER = 25
HEAVY = {
    "litellm",
    "mcp",
    "torch",
    "sentence_transformers",
    "transformers",
    "pandas",
    "altair",
    "duckdb",
    "hnswlib",
    "xllamacpp",
    "dbos",
}
MAY_LOAD = {"lib.statistics": {"pandas", "altair", "duckdb"}, "lib.work": {"dbos"}, "lib.mcp": {"mcp"}}


def sources() -> list[Path]:
    """Every module of the library, every page and the process entry."""
    app = PROJECT / "app.py"
    return [*sorted(LIB.rglob("*.py")), *sorted((PROJECT / "pages").glob("*.py")), *([app] if app.exists() else [])]


def module_name(path: Path) -> str:
    """`lib/db/engine.py` → `lib.db.engine`."""
    return ".".join(path.relative_to(PROJECT).with_suffix("").parts)


def imported(node: ast.AST) -> list[str]:
    """Full names of the modules that one import statement names (`from lib import x` counts as `lib.x`)."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        if node.module == "lib":
            return [f"lib.{alias.name}" for alias in node.names]
        return [node.module]
    return []


def statements_at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """What runs when the module is imported: not the bodies of functions, not `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        yield from statements_at_import(child)


def names_at_import(path: Path) -> set[str]:
    """Modules that importing this file imports directly."""
    return {name for node in statements_at_import(ast.parse(path.read_text())) for name in imported(node)}


def names_anywhere(path: Path) -> set[str]:
    """Modules that this file imports at any time."""
    return {name for node in ast.walk(ast.parse(path.read_text())) for name in imported(node)}


def root(name: str) -> str:
    """The top-level package of a module name."""
    return name.split(".")[0]


def room_of(path: Path) -> str:
    """`lib/db/engine.py` → `db`."""
    return path.relative_to(LIB).parts[0].removesuffix(".py")


def test_the_levels_hold_the_rooms_that_exist() -> None:
    assert {room_of(path) for path in LIB.rglob("*.py")} - {"__init__"} == set(LEVEL_OF)


def test_the_map_of_the_architecture_shows_every_room_in_its_order() -> None:
    table = (PROJECT / "docs" / "architecture.md").read_text().split("## Rooms", 1)[1].split("\n## ", 1)[0]
    first_cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    rooms = [room for cell in first_cells for room in re.findall(r"`(\w+)`", cell)]
    assert sorted(rooms) == sorted(set(LEVEL_OF) - {"__main__"})
    levels = [LEVEL_OF[room] for room in rooms]
    assert levels == sorted(levels)


def test_the_files_that_the_architecture_names_exist() -> None:
    text = (PROJECT / "docs" / "architecture.md").read_text()
    paths = re.findall(r"`((?:lib|pages|tests)/[\w/.]+)`", text)
    assert len(paths) > 20
    assert [path for path in paths if not (PROJECT / path).exists()] == []


def test_a_module_imports_only_its_own_room_lower_levels_and_named_neighbours() -> None:
    offenders = []
    for path in sorted(LIB.rglob("*.py")):
        room = room_of(path)
        if room == "__init__":
            continue
        level = LEVEL_OF[room]
        lower = {other for other, its in LEVEL_OF.items() if its < level}
        if room == "statistics":
            lower = {other for other, its in LEVEL_OF.items() if its <= STATISTICS_READS_UP_TO}
        imported_rooms = {name.split(".")[1] for name in names_anywhere(path) if name.startswith("lib.")}
        offenders += [
            f"{module_name(path)} → {other}" for other in imported_rooms - lower - {room} - BESIDE.get(room, set())
        ]
    assert offenders == []


def test_neighbours_form_no_circle() -> None:
    def visit(room: str, above: tuple[str, ...]) -> None:
        assert room not in above, f"a circle: {' → '.join((*above, room))}"
        for other in BESIDE.get(room, set()):
            assert LEVEL_OF[other] == LEVEL_OF[room]
            visit(other, (*above, room))

    for room in BESIDE:
        visit(room, ())


def test_no_folder_is_too_full_to_find_something() -> None:
    folders = {folder for folder in LIB.rglob("*") if folder.is_dir()} - {LIB / "db" / "migrations" / "versions"}
    counts = {str(folder.relative_to(LIB)): len([*folder.glob("*.py")]) for folder in folders}
    assert {folder: count for folder, count in counts.items() if count > MOST_FILES_IN_A_FOLDER} == {}


def test_streamlit_is_imported_by_the_pages_side_alone_and_litellm_by_one_module() -> None:
    roots = {module_name(path): {root(name) for name in names_anywhere(path)} for path in sources()}
    with_streamlit = {name for name, names in roots.items() if "streamlit" in names}
    assert {name for name in with_streamlit if name != "app" and not name.startswith(("lib.ui.", "pages."))} == set()
    assert {name for name, names in roots.items() if "litellm" in names} == {"lib.providers.adapters.via_litellm"}
    with_protocol = {name for name, names in roots.items() if names & {"mcp", "mcp_types"}}
    assert {name for name in with_protocol if not name.startswith("lib.mcp.clients.")} == {"lib.mcp.serving"}


def test_nothing_heavy_is_imported_at_module_level() -> None:
    offenders = {}
    for path in sources():
        package = ".".join(module_name(path).split(".")[:2])
        if heavy := ({root(name) for name in names_at_import(path)} & HEAVY) - MAY_LOAD.get(package, set()):
            offenders[module_name(path)] = heavy
    assert offenders == {}


def test_opening_the_services_and_the_command_line_loads_nothing_heavy() -> None:
    watched = sorted(HEAVY | {"streamlit"})
    code = f"import sys, lib.services, lib.cli.main; print([m for m in {watched} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", sorted((PROJECT / "pages").glob("*.py")), ids=lambda p: p.name)
def test_a_page_begins_with_its_permission_check(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= 150
    calls = [node for node in ast.parse(source).body if not isinstance(node, ast.Import | ast.ImportFrom)]
    first = next(n for n in calls if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)))
    assert "require" in ast.unparse(first), "the first statement after the imports asks for the permission"


@pytest.mark.parametrize("path", sorted((PROJECT / "pages").glob("*.py")), ids=lambda p: p.name)
def test_a_page_is_made_of_calls_alone(path: Path) -> None:
    """What a page draws stands in `lib/ui`, where a test draws it by itself: each dialog, each tab."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
    assert [ast.unparse(node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)] == []


def test_tabs_have_no_default_that_follows_the_clicks() -> None:
    """A widget whose default changes is a new one, and the click that changed it is lost: `show_tabs` has none."""
    for path in sources():
        text = path.read_text()
        calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)] if "st.tabs" in text else []
        tabs = [call for call in calls if ast.unparse(call.func).endswith("st.tabs")]
        assert [ast.unparse(call) for call in tabs if any(given.arg == "default" for given in call.keywords)] == []


def test_ids_are_shortened_in_one_way() -> None:
    """The first characters of an id are its time, which its neighbours share: `clock.shorten_id` takes the last."""
    cut = {module_name(p): lines for p in sources() if (lines := re.findall(r"\w*id\[:(?:\d|1\d)\]", p.read_text()))}
    assert cut == {}


def test_migrations_stand_by_themselves() -> None:
    """A released migration does the same for ever, whatever the library becomes."""
    versions = LIB / "db" / "migrations" / "versions"
    names = {name for path in versions.glob("*.py") for name in names_anywhere(path) if root(name) == "lib"}
    assert names <= {"lib.db.migrations.column_types"}


def test_files_stay_small() -> None:
    too_long = {module_name(p): n for p in sources() if (n := len(p.read_text().splitlines())) > 600}
    assert too_long == {}


def test_requests_of_tests_wait_as_long_as_everything_else() -> None:
    """A request without a limit of its own is given up after five seconds, which a busy machine needs for a page."""
    sends = {f"httpx.{name}" for name in ("get", "post", "put", "delete", "request", "stream", "Client", "AsyncClient")}
    hasty = [
        f"{path.name}:{node.lineno}"
        for path in (PROJECT / "tests").rglob("*.py")
        if "httpx." in (text := path.read_text())
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in sends
        if not any(word.arg == "timeout" and "CEILING" in ast.unparse(word.value) for word in node.keywords)
    ]
    assert hasty == []


def test_nothing_stands_beside_the_main_script() -> None:
    """Streamlit puts its folder first on the path: a neighbour's name would hide a module of the standard library."""
    assert [path.name for path in (LIB / "ui" / "script").glob("*.py")] == ["main.py"]

"""A Python source described by its syntax tree, which is made and never run. Runs in a limited child, see `rules`."""

import ast
from typing import Any

_MOST = 200  # entries of each list
_BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.BoolOp, ast.comprehension)
_RISKY = frozenset(
    (
        *("eval", "exec", "compile", "__import__", "open", "input", "os.system", "os.popen", "subprocess.run"),
        *("subprocess.Popen", "subprocess.call", "pickle.load", "pickle.loads", "marshal.loads", "yaml.load"),
        *("shutil.rmtree", "socket.socket", "ctypes.CDLL"),
    )
)


class UnreadableSource(Exception):
    """The source is no Python; the message says where."""


def analyse(source: str) -> dict[str, Any]:
    """Describe imports, functions, classes, complexity and risky calls; raises UnreadableSource."""
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise UnreadableSource(f"Line {error.lineno}: {error.msg}") from None
    except ValueError as error:
        raise UnreadableSource(f"{error}") from None
    nodes = list(ast.walk(tree))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
    calls = [(ast.unparse(node.func)[:100], node.lineno) for node in nodes if isinstance(node, ast.Call)]
    return {
        "lines": len(source.splitlines()),
        "imports": sorted({name for node in nodes for name in _list_imports(node)})[:_MOST],
        "functions": [_describe(node) for node in functions[:_MOST]],
        "classes": [{"name": node.name, "line": node.lineno} for node in classes[:_MOST]],
        "risky_calls": [{"call": name, "line": line} for name, line in calls if name in _RISKY][:_MOST],
    }


def _list_imports(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module else []


def _describe(node: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, Any]:
    branches = sum(isinstance(inner, _BRANCHES) for inner in ast.walk(node))
    arguments = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    docstring = ast.get_docstring(node)
    return {
        "name": node.name,
        "line": node.lineno,
        "arguments": arguments,
        "is_async": isinstance(node, ast.AsyncFunctionDef),
        "complexity": branches + 1,
        "docstring": docstring.splitlines()[0][:200] if docstring else None,
    }

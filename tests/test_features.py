"""docs/features.md and the tests tell the same story: what is listed has a test, what a test shows is listed."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent
LIST = TESTS.parent / "docs" / "features.md"


def features_listed() -> list[str]:
    """Ids of the list, in order: lines that begin `- CALL-3 `."""
    return re.findall(r"^- ([A-Z]+-\d+) ", LIST.read_text(), flags=re.MULTILINE)


def features_marked() -> dict[str, list[str]]:
    """Id → files that carry `@pytest.mark.feature(id)`, read from the syntax trees."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("mark.feature"):
                for argument in node.args:
                    if isinstance(argument, ast.Constant):
                        found.setdefault(str(argument.value), []).append(str(path.relative_to(TESTS)))
    return found


def test_every_listed_feature_has_a_test() -> None:
    assert sorted(set(features_listed()) - set(features_marked())) == []


def test_every_marked_feature_is_listed() -> None:
    unlisted = {feature: files for feature, files in features_marked().items() if feature not in features_listed()}
    assert unlisted == {}


def test_no_feature_is_listed_twice() -> None:
    assert len(features_listed()) == len(set(features_listed()))

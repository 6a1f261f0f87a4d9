"""YAML as JSON has it: texts, numbers, lists and objects, without aliases and tags. Runs in a child, see `rules`.

What looks like a day is a text, as in JSON.
"""

from functools import cache
from typing import Any

_TAG = "tag:yaml.org,2002:"
_KINDS = frozenset(_TAG + kind for kind in ("null", "bool", "int", "float", "str", "seq", "map"))
_LONGEST_ERROR = 300


class UnreadableYaml(Exception):
    """The text is no YAML that can be read; the message says why."""


def read_yaml(text: str) -> Any:
    """Read a document; raises UnreadableYaml."""
    import yaml

    loader = _make_loader()
    try:
        for event in yaml.parse(text, Loader=loader):
            if isinstance(event, yaml.AliasEvent):
                raise UnreadableYaml(f"The definition uses an alias of YAML, *{event.anchor}. Write it out.")
        return yaml.load(text, Loader=loader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise UnreadableYaml(" ".join(str(error).split())[:_LONGEST_ERROR]) from None


@cache
def _make_loader() -> Any:
    """Make the safe loader with the constructors of JSON's kinds alone; loaded when first used."""
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        yaml_constructors = {
            tag: construct for tag, construct in base.yaml_constructors.items() if tag is None or tag in _KINDS
        }
        yaml_implicit_resolvers = {
            sign: [(tag, pattern) for tag, pattern in rules if tag in _KINDS]
            for sign, rules in base.yaml_implicit_resolvers.items()
        }

    return Loader

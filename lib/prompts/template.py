"""A prompt template as values: its versions, what a person may set, and a prompt with its variables filled in.

A variable stands in the text as `{{name}}`. Filling is literal: each place is replaced once, in one pass, so a value
that holds `{{other}}` stays as it is. Anything else in braces is text.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lib.configs.configuration import check_slug
from lib.errors import InvalidInput
from lib.files.text import end_lines
from lib.prompts.variable import NAME, Variable, variable_of
from lib.providers.parameter_rules import check as check_parameters

DRAFT, PRODUCTION = "draft", "production"
LONGEST_TEXT, MOST_VARIABLES = 200_000, 100
_PLACE = re.compile(r"\{\{[ \t]*([^\W\d]\w{0,63})[ \t]*\}\}")


@dataclass(frozen=True)
class Version:
    """One version, never changed. `system_prompt` None leaves the configuration's own; times are UTC."""

    version: int
    text: str
    system_prompt: str | None
    variables: tuple[Variable, ...]
    parameters: Mapping[str, Any]
    reason: str
    user_name: str
    created_at: datetime


@dataclass(frozen=True)
class Template:
    """A template and which version each of its labels points to. `app` None is every app."""

    id: str
    slug: str
    app: str | None
    category: str
    description: str
    newest: int
    labels: Mapping[str, int]
    created_at: datetime
    updated_at: datetime


TEMPLATE_TAGS = ("template", "template_version")


@dataclass(frozen=True)
class Filled:
    """A prompt ready to be sent, and the version that it is. `system_prompt` None is the configuration's own."""

    slug: str
    version: int
    text: str
    system_prompt: str | None
    parameters: Mapping[str, Any]

    @property
    def tags(self) -> dict[str, str]:
        """What the ledger's row says of it."""
        return dict(zip(TEMPLATE_TAGS, (self.slug, str(self.version)), strict=True))


@dataclass(frozen=True)
class VersionDraft:
    """What makes a version. Variables that stand in the text and are not declared are texts without a default."""

    text: str
    system_prompt: str | None = None
    variables: Sequence[Variable | Mapping[str, Any]] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def checked(self) -> dict[str, Any]:
        """As columns; InvalidInput names the field that can't be used."""
        if not self.text.strip():
            raise InvalidInput("The prompt is empty.", "", "Write what to ask the model.", field="text")
        for name, text in (("text", self.text), ("system_prompt", self.system_prompt or "")):
            if len(text) > LONGEST_TEXT:
                why = f"It has {len(text):,} characters; the limit is {LONGEST_TEXT:,}."
                raise InvalidInput("The prompt is too long.", why, "Shorten it.", field=name)
        text, system = (end_lines(one.replace("\0", "")) for one in (self.text, self.system_prompt or ""))
        variables = _declared(self.variables, names_in(text, system))
        return {
            "text": text,
            "system_prompt": system or None,
            "variables": [variable.to_record() for variable in variables],
            "parameters": check_parameters(self.parameters),
        }


def names_in(*texts: str) -> list[str]:
    """The variables that stand in texts, each once, as they come."""
    return list(dict.fromkeys(name for text in texts for name in _PLACE.findall(text)))


def fill(text: str, written: Mapping[str, str]) -> str:
    """The text with every variable replaced by its value, in one pass."""
    return _PLACE.sub(lambda place: written[place[1]], text)


def filled(slug: str, version: Version, values: Mapping[str, Any]) -> Filled:
    """A version with its variables replaced; InvalidInput lists all values that are missing, wrong or unknown."""
    written = written_values(version.variables, values)
    system = None if version.system_prompt is None else fill(version.system_prompt, written)
    return Filled(slug, version.version, fill(version.text, written), system, version.parameters)


def written_values(variables: Iterable[Variable], values: Mapping[str, Any]) -> dict[str, str]:
    """Every variable's value as it stands in the text; InvalidInput lists all that are missing, wrong or unknown."""
    known = {variable.name: variable for variable in variables}
    found: dict[str, str] = {}
    missing, wrong = [], []
    for name, variable in known.items():
        value = values.get(name)
        if value is None and variable.default is None:
            missing.append(name)
            continue
        try:
            found[name] = variable.default or "" if value is None else variable.written(value)
        except ValueError as error:
            wrong.append(f"{name} {error}")
    unknown = [str(name)[:64] for name in values if name not in known]
    problems = [f"Missing: {', '.join(missing)}."] if missing else []
    problems += [f"Wrong: {'; '.join(wrong)}."] if wrong else []
    problems += [f"Not in the template: {', '.join(unknown[:20])}."] if unknown else []
    if problems:
        raise InvalidInput(
            "The prompt's variables can't be filled.", " ".join(problems), "Correct them.", field="variables"
        )
    return found


def check_label(label: str) -> str:
    """A label's name: as a slug; digits alone would read like a version."""
    if label.strip().isdigit():
        raise InvalidInput(
            "The label can't be used.", "Digits alone read like a version.", "Add letters.", field="label"
        )
    return check_slug(label, "label")


def _declared(given: Sequence[Variable | Mapping[str, Any]], names: Sequence[str]) -> list[Variable]:
    declared = [variable_of(one.to_record() if isinstance(one, Variable) else one) for one in given]
    by_name = {variable.name: variable for variable in declared}
    if len(by_name) < len(declared):
        raise InvalidInput("A variable is declared twice.", "", "Keep one of each name.", field="variables")
    if idle := [name for name in by_name if name not in names]:
        why = f"{', '.join(idle)[:300]} can't be found in the text."
        raise InvalidInput("A variable is not used.", why, "Write it as {{name}}, or leave it out.", field="variables")
    if len(names) > MOST_VARIABLES:
        raise InvalidInput(f"{len(names)} variables are too many.", f"The limit is {MOST_VARIABLES}.", field="text")
    return [by_name.get(name, Variable(name)) for name in names if NAME.fullmatch(name)]

"""A prompt template as values: its versions, what a person may set, and a prompt with its variables filled in.

A variable stands in the text as `{{name}}`. Filling is literal: each place is replaced once, in one pass, so a value
that holds `{{other}}` stays as it is. Anything else in braces is text.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lib.configs.configuration import check_slug
from lib.db.tables import FIRST_TEAM
from lib.errors import InvalidInput
from lib.files.text import end_lines
from lib.patterns import compile_pattern
from lib.prompts.variable import NAME, Variable, read_variable
from lib.providers.parameter_rules import check as check_parameters

DRAFT = "draft"
PRODUCTION = "production"
LONGEST_TEXT = 200_000
MOST_VARIABLES = 100
_PLACEHOLDER = compile_pattern(r"\{\{[ \t]*([^\W\d]\w{0,63})[ \t]*\}\}")


@dataclass(frozen=True)
class PromptVersion:
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
    team_id: int = FIRST_TEAM


TEMPLATE_TAGS = ("template", "template_version")


@dataclass(frozen=True)
class FilledPrompt:
    """A prompt ready to be sent, and the version it was made from. `system_prompt` None is the configuration's own."""

    slug: str
    version: int
    text: str
    system_prompt: str | None
    parameters: Mapping[str, Any]

    @property
    def tags(self) -> dict[str, str]:
        """Tags for the ledger's row: the template's slug and version."""
        return dict(zip(TEMPLATE_TAGS, (self.slug, str(self.version)), strict=True))


@dataclass(frozen=True)
class VersionDraft:
    """What a person writes to make a version; variables in it that are not declared are texts without a default."""

    text: str
    system_prompt: str | None = None
    variables: Sequence[Variable | Mapping[str, Any]] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def to_columns(self) -> dict[str, Any]:
        """Check every field and return the columns to store; raises InvalidInput with the field that can't be used."""
        if not self.text.strip():
            raise InvalidInput("The prompt is empty.", "", "Write what to ask the model.", field="text")
        for name, text in (("text", self.text), ("system_prompt", self.system_prompt or "")):
            if len(text) > LONGEST_TEXT:
                why = f"It has {len(text):,} characters; the limit is {LONGEST_TEXT:,}."
                raise InvalidInput("The prompt is too long.", why, "Shorten it.", field=name)
        text, system = (end_lines(part.replace("\0", "")) for part in (self.text, self.system_prompt or ""))
        variables = _read_declared(self.variables, find_names(text, system))
        return {
            "text": text,
            "system_prompt": system or None,
            "variables": [variable.to_record() for variable in variables],
            "parameters": check_parameters(self.parameters),
        }


def find_names(*texts: str) -> list[str]:
    """List the names of the variables in texts, each once, in the order of the text."""
    return list(dict.fromkeys(name for text in texts for name in _PLACEHOLDER.findall(text)))


def fill_text(text: str, written: Mapping[str, str]) -> str:
    """Replace every variable in a text by its value, in one pass."""
    return _PLACEHOLDER.sub(lambda match: written[match[1]], text)


def fill_template(slug: str, version: PromptVersion, values: Mapping[str, Any]) -> FilledPrompt:
    """Replace a version's variables; raises InvalidInput with all values that are missing, wrong or unknown."""
    written = write_values(version.variables, values)
    system = None if version.system_prompt is None else fill_text(version.system_prompt, written)
    return FilledPrompt(slug, version.version, fill_text(version.text, written), system, version.parameters)


def write_values(variables: Iterable[Variable], values: Mapping[str, Any]) -> dict[str, str]:
    """Write every variable's value as it stands in the text; raises InvalidInput with all that are missing, wrong or
    unknown.
    """
    variables_by_name = {variable.name: variable for variable in variables}
    written: dict[str, str] = {}
    missing: list[str] = []
    wrong: list[str] = []
    for name, variable in variables_by_name.items():
        value = values.get(name)
        if value is None and variable.default is None:
            missing.append(name)
            continue
        try:
            written[name] = variable.default or "" if value is None else variable.write_value(value)
        except ValueError as error:
            wrong.append(f"{name} {error}")
    unknown = [str(name)[:64] for name in values if name not in variables_by_name]
    problems = [f"Missing: {', '.join(missing)}."] if missing else []
    problems += [f"Wrong: {'; '.join(wrong)}."] if wrong else []
    problems += [f"Not in the template: {', '.join(unknown[:20])}."] if unknown else []
    if problems:
        raise InvalidInput(
            "The prompt's variables can't be filled.", " ".join(problems), "Correct them.", field="variables"
        )
    return written


def check_label(label: str) -> str:
    """Return a label's name; digits alone would read like a version and raise InvalidInput."""
    if label.strip().isdigit():
        raise InvalidInput(
            "The label can't be used.", "Digits alone read like a version.", "Add letters.", field="label"
        )
    return check_slug(label, "label")


def _read_declared(declarations: Sequence[Variable | Mapping[str, Any]], names: Sequence[str]) -> list[Variable]:
    declared = [
        read_variable(declaration.to_record() if isinstance(declaration, Variable) else declaration)
        for declaration in declarations
    ]
    by_name = {variable.name: variable for variable in declared}
    if len(by_name) < len(declared):
        raise InvalidInput("A variable is declared twice.", "", "Keep one of each name.", field="variables")
    if idle := [name for name in by_name if name not in names]:
        why = f"{', '.join(idle)[:300]} can't be found in the text."
        raise InvalidInput("A variable is not used.", why, "Write it as {{name}}, or leave it out.", field="variables")
    if len(names) > MOST_VARIABLES:
        raise InvalidInput(f"{len(names)} variables are too many.", f"The limit is {MOST_VARIABLES}.", field="text")
    return [by_name.get(name, Variable(name)) for name in names if NAME.fullmatch(name)]

"""Workflows that come in the box: definitions in files of `templates/`, each with test cases, taken as a start."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lib.errors import NotFound
from lib.workflows.definition import Definition, parse_definition, read_document

_FOLDER = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class WorkflowTemplate:
    """A workflow to start from."""

    slug: str
    name: str
    description: str
    definition: Definition


@cache
def list_templates() -> tuple[WorkflowTemplate, ...]:
    """Read all templates, by name."""
    templates = []
    for path in sorted(_FOLDER.glob("*.yaml")):
        document = read_document(path.read_bytes())
        definition = parse_definition(document["definition"])
        templates.append(WorkflowTemplate(path.stem, document["name"], document["description"], definition))
    return tuple(sorted(templates, key=lambda template: template.name))


def get_template(slug: str) -> WorkflowTemplate:
    """Get a template by slug; raises NotFound."""
    for template in list_templates():
        if template.slug == slug:
            return template
    names = ", ".join(template.slug for template in list_templates())
    raise NotFound(f"There is no template {slug[:60]}.", f"There are {names}.")

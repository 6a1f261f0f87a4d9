"""A prompt template in the playground: choose one, say its variables, ask. `?prompt=<name>` opens it chosen."""

import streamlit as st

from lib.access.permissions import Actor
from lib.playground.question import PlaygroundQuestion
from lib.services import Services
from lib.ui import blocks
from lib.ui.prompts.variable_inputs import draw_variable_inputs


def draw_template_question(services: Services, actor: Actor) -> PlaygroundQuestion | None:
    """The question when it was asked; the template's system prompt comes with it, where it has one."""
    templates = {template.slug: template for template in services.prompts.list(actor)}
    if not templates:
        return None
    prompt_slug = st.query_params.get("prompt")
    with st.expander("Template", icon=":material/edit_note:", expanded=prompt_slug in templates):
        with blocks.start_row():
            slug = st.selectbox(
                "Prompt",
                list(templates),
                index=list(templates).index(prompt_slug) if prompt_slug in templates else None,
                placeholder="Choose a prompt",
                key=f"template-{prompt_slug}",
            )
            if slug is None:
                return None
            labels = templates[slug].labels
            names = ["newest", *labels]
            label = st.selectbox(
                "Version",
                names,
                index=names.index("production") if "production" in labels else 0,
                format_func=lambda name: f"{name} · {labels.get(name, templates[slug].newest)}",
                key=f"template-label-{slug}",
            )
        version = services.prompts.version(actor, slug, None if label == "newest" else label)
        values = draw_variable_inputs(version.variables, f"template-{slug}-{version.version}", examples=True)
        if not st.button("Ask with this prompt", icon=":material/play_arrow:"):
            return None
        filled = services.prompts.fill(actor, slug, values, version=version.version)
        return PlaygroundQuestion(filled.text, filled.system_prompt, template=filled)

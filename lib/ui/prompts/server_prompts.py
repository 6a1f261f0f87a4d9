"""Prompts of servers as templates: filled in with variables in place of arguments, made as a first version."""

import streamlit as st

from lib.access.permissions import Actor, Permission
from lib.mcp.offerings import list_prompts, name_variables, write_template
from lib.prompts.template import VersionDraft
from lib.services import Services
from lib.ui import blocks


def has_prompts(services: Services, actor: Actor) -> bool:
    """Whether a server offers some to the actor."""
    return actor.can(Permission.TEST_CONFIGS) and bool(list_prompts(services.servers.offered(actor)))


def draw_server_dialog(services: Services, actor: Actor) -> None:
    """Choose a prompt and make a template of it."""
    prompts = list_prompts(services.servers.offered(actor))
    labels = [f"{prompt.server} · {prompt.label}" for prompt in prompts]
    position = st.selectbox("Prompt", range(len(prompts)), format_func=labels.__getitem__)
    prompt = prompts[position]
    if prompt.description:
        st.caption(blocks.escape_markdown(prompt.description[:500]))
    variables = {
        argument: st.text_input(argument, variable, key=f"server-prompt-{position}-{argument}")
        for argument, variable in name_variables(prompt).items()
    }
    if variables:
        st.caption("A variable stays one in the template; write a value where the server takes certain ones alone.")
    slug = st.text_input("Name", placeholder="summarise-page", key=f"server-prompt-{position}")
    with blocks.show_errors():
        if st.button("Make template", type="primary", icon=":material/add:"):
            text = write_template(services.servers.fill_prompt(actor, prompt.server, prompt.name, variables))
            about = f"From the server {prompt.server}: {prompt.name}"[:500]
            new_prompt = services.prompts.create(actor, slug, VersionDraft(text), description=about)
            st.query_params["id"] = new_prompt.slug
            st.rerun()

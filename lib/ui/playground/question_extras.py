"""What goes with the words of a question in the playground: system prompt, schema, tools, passages, files."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import streamlit as st

from lib.access.permissions import Actor
from lib.configs.configuration import Configuration
from lib.configs.tool_rules import ToolRules
from lib.playground.question import AttachedFile, PlaygroundQuestion, read_schema, read_tools
from lib.services import Services
from lib.ui.knowledge import collection_cards
from lib.ui.playground import panes


@dataclass(frozen=True)
class QuestionExtras:
    """Fields that go with a question: `system_prompt` None is each configuration's own; `collections` are ids."""

    system_prompt: str | None
    schema: str
    tools: str
    collections: tuple[str, ...]
    tool_names: tuple[str, ...] | None

    def searching(self) -> Any:
        """Shows that passages are looked for, while they are."""
        return st.spinner("Looking for passages") if self.collections else nullcontext()

    def question(self, sent: Any) -> PlaygroundQuestion:
        """The question as sent from the chat field; InvalidInput for a schema or a tool that can't be read."""
        files = [AttachedFile(file.name, file.getvalue()) for file in sent.files]
        schema = read_schema(self.schema)
        tools = read_tools(self.tools)
        return PlaygroundQuestion(
            sent.text,
            self.system_prompt,
            files,
            schema,
            tools,
            tool_names=self.tool_names,
            collections=self.collections,
        )


def draw_extras(
    services: Services, actor: Actor, ready: Mapping[str, Configuration], slugs: Sequence[str]
) -> QuestionExtras:
    """Draw the fields for system prompt, schema, tools and passages, folded away."""
    only_slug = slugs[0] if len(slugs) == 1 else None
    with st.expander("System prompt, schema, tools, passages", icon=":material/edit_note:"):
        system = st.text_area(
            "System prompt",
            ready[only_slug].system_prompt
            if only_slug and panes.build_system_key(only_slug) not in st.session_state
            else "",
            height=90,
            placeholder="How the model should behave. Empty sends none."
            if only_slug
            else "Empty: each configuration's own.",
            key=panes.build_system_key(only_slug),
        )
        schema = st.text_area(
            "JSON Schema of the answer",
            height=90,
            placeholder='{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}',
            key="schema",
        )
        tool_names = _choose_tools(services, actor, ready, slugs)
        tools = st.text_area(
            "Functions of yours",
            height=90,
            placeholder='[{"name": "weather", "description": "Of a city, today", "parameters": {"type": "object", …}}]',
            help="Functions that the model may ask for. What it asks is shown with the arguments; nothing is run.",
            key="tools",
        )
        collections = collection_cards.choose_collections(services, actor, key="passages-from")
    return QuestionExtras(system if only_slug else system or None, schema, tools, collections, tool_names)


def _choose_tools(
    services: Services, actor: Actor, ready: Mapping[str, Configuration], slugs: Sequence[str]
) -> tuple[str, ...] | None:
    """Choose the registered tools that run here; None while each configuration's own are meant."""
    own = sorted({name for slug in slugs for name in ToolRules.from_record(ready[slug].tools).names})
    names = [tool.name for tool in services.tools.definitions(actor)]
    selection = st.multiselect(
        "Tools that run here",
        list(dict.fromkeys([*names, *own])),
        placeholder=f"The configuration's: {', '.join(own)}" if own else "None",
        help="Registered tools, run when the model asks for them. Those that may change something ask you first.",
        key="tool-names",
    )
    return tuple(selection) or None

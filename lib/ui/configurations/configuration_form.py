"""The form of a configuration, in a dialog; an error stands under the field it names."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from lib.access.permissions import Actor
from lib.configs.configuration import CAPABILITIES, UNSUPPORTED
from lib.configs.configurations import Configuration
from lib.errors import InvalidInput, LLMManagerError
from lib.providers.parameters import offered
from lib.providers.provider import Provider
from lib.services import Services
from lib.ui import blocks
from lib.ui.configurations.model_picker import model_picker
from lib.ui.configurations.routing_form import routing_fields

_UNSUPPORTED = {"refuse": "Refuse the call and name them", "drop": "Leave them out, and say so with the call"}

POLICIES = {
    "full": "Keep all words",
    "redacted": "Keep words, private ones masked",
    "metadata": "Keep no words",
}


def select(slug: str) -> None:
    """Put a configuration into the address."""
    st.query_params["id"] = slug


def editor(services: Services, actor: Actor, configuration: Configuration | None) -> None:
    """The form, for a new configuration or an existing one; says under a field what is wrong with it."""
    before = configuration
    providers = services.providers.list(actor)
    names = [p.name for p in providers]
    left, right = st.columns(2)
    spots: dict[str | None, Any] = {}
    slug = left.text_input("Name", before.slug if before else "", max_chars=80, placeholder="support-bot")
    spots["slug"] = left.empty()
    app = right.text_input(
        "App", before.app if before else "general", max_chars=80, help="Which program or team uses it"
    )
    spots["app"] = right.empty()
    index = names.index(before.provider_name) if before and before.provider_name in names else None
    name = left.selectbox("Provider", names, index=index, placeholder="Choose one")
    spots["provider"] = left.empty()
    provider = next((p for p in providers if p.name == name), None)
    current = before.model if before and provider and before.provider_id == provider.id else ""
    model = model_picker(services, actor, provider, current, into=right, key=f"model-{before.id if before else ''}")
    spots["model"] = right.empty()
    description = st.text_input("Description", before.description if before else "", max_chars=300)
    system_prompt = st.text_area("System prompt", before.system_prompt if before else "", height=100)
    spots["system_prompt"] = st.empty()
    parameters = parameter_fields(provider.kind if provider else "custom", before.parameters if before else {})
    spots["parameters"] = st.empty()
    routing = routing_fields(providers, before)
    spots["routing"] = st.empty()
    unsupported = st.selectbox(
        "Parameters the model does not take",
        UNSUPPORTED,
        index=UNSUPPORTED.index(before.unsupported_parameters) if before else 0,
        format_func=lambda policy: _UNSUPPORTED[policy],
    )
    able = before.capabilities if before else _known_capabilities(services, provider, model)
    capabilities = st.pills("Capabilities", CAPABILITIES, default=able, selection_mode="multi")
    policy = st.selectbox(
        "Content policy",
        list(POLICIES),
        index=list(POLICIES).index(before.content_policy if before else "full"),
        format_func=POLICIES.__getitem__,
        help="What is stored of prompts and answers. The model gets the whole prompt, and you see the whole answer "
        "while it runs. Tokens, cost and times are always kept.",
    )
    spots[None] = st.container()
    if not st.button("Save configuration" if before else "Create configuration", type="primary"):
        return
    fields: dict[str, Any] = {
        "slug": slug,
        "app": app,
        "model": model,
        "description": description,
        "system_prompt": system_prompt,
        "capabilities": capabilities,
        "unsupported_parameters": unsupported,
        "content_policy": policy,
        "provider_id": provider.id if provider else None,
    }
    try:
        fields |= {"parameters": parameters(), "routing": routing()}
        if before:
            saved = services.configurations.update(actor, before.id, before.revision, **fields)
        else:
            saved = services.configurations.create(actor, **fields)
    except LLMManagerError as error:
        show_in_form(error, spots)
        return
    select(saved.slug)
    st.rerun()


def _known_capabilities(services: Services, provider: Provider | None, model: str) -> list[str]:
    """What a new configuration starts with: what the model is known to do."""
    known = services.models.find(provider.kind, model, provider.id) if provider and model else None
    return [name for name in CAPABILITIES if known and name in (known.capabilities or ())] or ["streaming"]


def show_in_form(error: LLMManagerError, spots: Mapping[str | None, Any]) -> None:
    """The error under the field it names, else at the form's end."""
    field = getattr(error, "field", None)
    if field in spots and field is not None:
        spots[field].markdown(f":red[{blocks.plain(str(error))}]")
    else:
        with spots[None]:
            blocks.show_error(error)


def parameter_fields(kind: str, current: Mapping[str, Any]) -> Callable[[], dict[str, Any]]:
    """Controls for a kind's parameters; a function that reads them (InvalidInput when the JSON is none)."""
    chosen: dict[str, Any] = {}
    known = offered(kind)
    with st.expander("Parameters", icon=":material/tune:"):
        columns = st.columns(2)
        for number, parameter in enumerate(known):
            cast = int if parameter.step == 1 else float
            value = current.get(parameter.name)
            chosen[parameter.name] = columns[number % 2].number_input(
                parameter.label,
                cast(parameter.low),
                cast(parameter.high),
                None if value is None else cast(value),
                cast(parameter.step),
                placeholder="The provider's default",
                help=parameter.help,
            )
        others = {name: value for name, value in current.items() if name not in chosen}
        text = st.text_area(
            "Others, as JSON",
            json.dumps(others, indent=1) if others else "",
            height=68,
            placeholder='{"stop": ["END"]}',
        )

    def read() -> dict[str, Any]:
        try:
            more = json.loads(text) if text.strip() else {}
        except ValueError:
            more = None
        if not isinstance(more, dict):
            raise InvalidInput(
                "The other parameters are not a JSON object.", "", 'Write it like {"seed": 1}.', "parameters"
            )
        return {name: value for name, value in (chosen | more).items() if value is not None}

    return read

"""The form of a configuration, in a dialog; an error stands under the field it names."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from lib.access.permissions import Actor
from lib.configs.configuration import CAPABILITIES, UNSUPPORTED
from lib.configs.configurations import Configuration
from lib.errors import InvalidInput, LLMManagerError
from lib.providers.parameters import list_offered
from lib.providers.provider import Provider
from lib.services import Services
from lib.ui import blocks
from lib.ui.configurations.model_picker import draw_model_picker
from lib.ui.configurations.routing_form import draw_routing_fields
from lib.ui.configurations.tool_rules_form import draw_tool_rules

_UNSUPPORTED = {"refuse": "Refuse the call and name them", "drop": "Leave them out, and say so with the call"}

POLICIES = {
    "full": "Keep all words",
    "redacted": "Keep words, private ones masked",
    "metadata": "Keep no words",
}


def select(slug: str) -> None:
    """Put a configuration into the address."""
    st.query_params["id"] = slug


def draw_editor(services: Services, actor: Actor, configuration: Configuration | None) -> None:
    """The form, for a new configuration or an existing one; says under a field what is wrong with it."""
    providers = services.providers.list(actor)
    spots: dict[str | None, Any] = {}  # field → where its error is shown
    identity, provider = _draw_identity(services, actor, providers, configuration, spots)
    description = st.text_input("Description", configuration.description if configuration else "", max_chars=300)
    system_prompt = st.text_area("System prompt", configuration.system_prompt if configuration else "", height=100)
    spots["system_prompt"] = st.empty()
    parameters = draw_parameters(
        provider.kind if provider else "custom", configuration.parameters if configuration else {}
    )
    spots["parameters"] = st.empty()
    routing = draw_routing_fields(services, actor, providers, configuration)
    spots["routing"] = st.empty()
    tools = draw_tool_rules(services, actor, configuration)
    spots["tools"] = st.empty()
    able = configuration.capabilities if configuration else _find_capabilities(services, provider, identity["model"])
    policies = _draw_policies(configuration, able)
    spots[None] = st.container()
    if not st.button("Save configuration" if configuration else "Create configuration", type="primary"):
        return
    fields: dict[str, Any] = {**identity, **policies, "description": description, "system_prompt": system_prompt}
    try:
        fields |= {"parameters": parameters(), "routing": routing(), "tools": tools()}
        if configuration:
            saved = services.configurations.update(actor, configuration.id, configuration.revision, **fields)
        else:
            saved = services.configurations.create(actor, **fields)
    except LLMManagerError as error:
        show_in_form(error, spots)
        return
    select(saved.slug)
    st.rerun()


def _draw_identity(
    services: Services,
    actor: Actor,
    providers: Sequence[Provider],
    configuration: Configuration | None,
    spots: dict[str | None, Any],
) -> tuple[dict[str, Any], Provider | None]:
    """Draw name, app, provider and model, with a spot for the error of each; the fields, and the chosen provider."""
    names = [p.name for p in providers]
    left_column, right_column = st.columns(2)
    slug = left_column.text_input(
        "Name", configuration.slug if configuration else "", max_chars=80, placeholder="support-bot"
    )
    spots["slug"] = left_column.empty()
    app = right_column.text_input(
        "App", configuration.app if configuration else "general", max_chars=80, help="Which program or team uses it"
    )
    spots["app"] = right_column.empty()
    index = names.index(configuration.provider_name) if configuration and configuration.provider_name in names else None
    name = left_column.selectbox("Provider", names, index=index, placeholder="Choose one")
    spots["provider"] = left_column.empty()
    provider = next((p for p in providers if p.name == name), None)
    current = configuration.model if configuration and provider and configuration.provider_id == provider.id else ""
    model = draw_model_picker(
        services, actor, provider, current, into=right_column, key=f"model-{configuration.id if configuration else ''}"
    )
    spots["model"] = right_column.empty()
    return {"slug": slug, "app": app, "model": model, "provider_id": provider.id if provider else None}, provider


def _draw_policies(configuration: Configuration | None, able: Sequence[str]) -> dict[str, Any]:
    """Draw what is done with parameters that a model does not take, its capabilities, and what is kept of words."""
    unsupported = st.selectbox(
        "Parameters the model does not take",
        UNSUPPORTED,
        index=UNSUPPORTED.index(configuration.unsupported_parameters) if configuration else 0,
        format_func=lambda policy: _UNSUPPORTED[policy],
    )
    capabilities = st.pills("Capabilities", CAPABILITIES, default=able, selection_mode="multi")
    policy = st.selectbox(
        "Content policy",
        list(POLICIES),
        index=list(POLICIES).index(configuration.content_policy if configuration else "full"),
        format_func=POLICIES.__getitem__,
        help="What is stored of prompts and answers. The model gets the whole prompt, and you see the whole answer "
        "while it runs. Tokens, cost and times are always kept.",
    )
    return {"capabilities": capabilities, "unsupported_parameters": unsupported, "content_policy": policy}


def _find_capabilities(services: Services, provider: Provider | None, model: str) -> list[str]:
    """Names of what the model is known to do, for a new configuration; `streaming` alone where nothing is known."""
    facts = services.models.find(provider.kind, model, provider.id) if provider and model else None
    return [name for name in CAPABILITIES if facts and name in (facts.capabilities or ())] or ["streaming"]


def show_in_form(error: LLMManagerError, spots: Mapping[str | None, Any]) -> None:
    """The error under the field it names, else at the form's end."""
    field = getattr(error, "field", None)
    if field in spots and field is not None:
        spots[field].markdown(f":red[{blocks.escape_markdown(str(error))}]")
    else:
        with spots[None]:
            blocks.show_error(error)


def draw_parameters(kind: str, current: Mapping[str, Any]) -> Callable[[], dict[str, Any]]:
    """Controls for a kind's parameters; a function that reads them (InvalidInput when the JSON is none)."""
    inputs: dict[str, Any] = {}
    parameters = list_offered(kind)
    with st.expander("Parameters", icon=":material/tune:"):
        columns = st.columns(2)
        for number, parameter in enumerate(parameters):
            cast = int if parameter.step == 1 else float
            value = current.get(parameter.name)
            inputs[parameter.name] = columns[number % 2].number_input(
                parameter.label,
                cast(parameter.low),
                cast(parameter.high),
                None if value is None else cast(value),
                cast(parameter.step),
                placeholder="The provider's default",
                help=parameter.help,
            )
        extra = {name: value for name, value in current.items() if name not in inputs}
        text = st.text_area(
            "Others, as JSON",
            json.dumps(extra, indent=1) if extra else "",
            height=68,
            placeholder='{"stop": ["END"]}',
        )

    def read() -> dict[str, Any]:
        try:
            extra_parameters = json.loads(text) if text.strip() else {}
        except ValueError:
            extra_parameters = None
        if not isinstance(extra_parameters, dict):
            raise InvalidInput(
                "The other parameters are not a JSON object.", "", 'Write it like {"seed": 1}.', "parameters"
            )
        return {name: value for name, value in (inputs | extra_parameters).items() if value is not None}

    return read

"""The pieces of the page Connect your app: the choice of model and key, the programs to copy, and a call to try."""

from collections.abc import Sequence
from itertools import groupby

import streamlit as st

from lib.access.api_key import ApiKey
from lib.access.permissions import Actor
from lib.calls.request import CallRequest
from lib.clock import shorten_id
from lib.configs.configuration import Configuration
from lib.services import Services
from lib.snippets.app_snippets import GatewayAccess, Snippet, build_snippets
from lib.ui import blocks, format, session, session_keys
from lib.ui.api_keys import key_forms
from lib.ui.playground import answer_pane

_NO_MODEL = "provider/embedding-model"


def list_usable_keys(services: Services, actor: Actor) -> list[ApiKey]:
    """The keys that the actor sees and that work, the actor's own first; one that was just made is chosen."""
    if (new_key := key_forms.take_new_key()) is not None:
        st.session_state[session_keys.CONNECTING_KEY] = new_key
        st.session_state[session_keys.CONNECTED_KEY_CHOICE] = new_key["id"]
    working = [key for key in services.api_keys.list(actor) if key.state() == "active"]
    return sorted(working, key=lambda key: key.user_id != actor.user_id)


def choose_model(configurations: Sequence[Configuration]) -> str:
    """A configuration's name, or a typed `provider/model`; the address keeps it."""
    labels = {c.slug: f"{c.slug} · {c.provider_name} · {c.model}" for c in configurations}
    default = next((c.slug for c in configurations if c.is_global_default), configurations[0].slug)
    initial_model = st.query_params.get("configuration") or default
    options = [*labels, *([] if initial_model in labels else [initial_model])]
    model = st.selectbox(
        "Model",
        options,
        index=options.index(initial_model),
        format_func=lambda name: labels.get(name, name),
        accept_new_options=True,
        help="A configuration, or any provider/model of yours: type it",
        key="connect-model",
    )
    if model != st.query_params.get("configuration", default):
        st.query_params["configuration"] = model
    return str(model)


def choose_key(keys: Sequence[ApiKey]) -> ApiKey:
    """One of the keys, which are known by their beginning; the address keeps it."""
    names = {key.id: f"{key.name} · {key.prefix}… · app {key.app}" for key in keys}
    initial_id = next((key.id for key in keys if key.prefix == st.query_params.get("key")), keys[0].id)
    if st.session_state.get(session_keys.CONNECTED_KEY_CHOICE) not in names:  # not chosen yet, or gone meanwhile
        st.session_state[session_keys.CONNECTED_KEY_CHOICE] = initial_id
    chosen_id = st.selectbox(
        "API key", list(names), format_func=lambda key_id: names[key_id], key=session_keys.CONNECTED_KEY_CHOICE
    )
    key = next(key for key in keys if key.id == chosen_id)
    if key.prefix != st.query_params.get("key", keys[0].prefix):
        st.query_params["key"] = key.prefix
    return key


def show_programs(key: ApiKey, model: str, configurations: Sequence[Configuration]) -> None:
    """Draw a warning if the key can't use the model, the base URLs, and programs to copy by language."""
    new_key = st.session_state.get(session_keys.CONNECTING_KEY, {})
    token = new_key.get("token") if new_key.get("id") == key.id else None
    able = (c.slug for c in configurations if "embeddings" in c.capabilities)
    to = GatewayAccess(key_forms.find_origin(), token or f"{key.prefix}...", model, next(able, _NO_MODEL))
    if not key.grant.allows_model(model):
        why = f"It is bound to {', '.join(key.grant.models)}."
        st.warning(
            blocks.escape_markdown(why),
            title=blocks.escape_markdown(f"This key can't use {model}."),
            icon=":material/block:",
        )
    if token:
        st.success(
            "It stands in every program below while this session lasts. Copy it now: afterwards it is not shown again.",
            title="The key is ready.",
            icon=":material/vpn_key:",
        )
    else:
        st.caption(f"Put the whole key where `{key.prefix}...` stands: keys are shown once, when they are made.")
    left_column, right_column = st.columns(2)
    for column, label, address in (
        (left_column, "OpenAI's protocol", to.openai_url),
        (right_column, "Anthropic's", to.origin),
    ):
        column.caption(f"Base URL, {label}")
        column.code(address, language=None)
    _show_tabs(build_snippets(to))


def _show_tabs(examples: Sequence[Snippet]) -> None:
    by_tab = {tab: list(group) for tab, group in groupby(examples, key=lambda snippet: snippet.tab)}
    for tab, group in zip(st.tabs(list(by_tab)), by_tab.values(), strict=True):
        with tab:
            for snippet in group:
                st.markdown(f"**{snippet.title}**" + (f" :gray[· {snippet.about}]" if snippet.about else ""))
                st.code(snippet.text, language=snippet.language, wrap_lines=True)


def try_it(services: Services, actor: Actor, key: ApiKey, model: str) -> None:
    """A real call of yours, counted for the key's app; its answer, figures and row."""
    st.subheader("Try it", anchor=False)
    st.caption(blocks.escape_markdown(f"A real call, made as you and counted for the app {key.app}."))
    question = st.text_input("Question", "Say hello.", max_chars=2_000, key="connect-question")
    if st.button("Ask the model", icon=":material/send:", type="primary", disabled=not question.strip()):
        st.session_state.pop(session_keys.CONNECTION_TRIAL, None)
        with blocks.show_errors(), st.spinner("Waiting for the answer…"):
            messages = [{"role": "user", "content": question}]
            slug, name = (None, model) if "/" in model else (model, None)
            view = services.calls.run(
                CallRequest(actor=actor, messages=messages, configuration=slug, model=name, app=key.app)
            )
            st.session_state[session_keys.CONNECTION_TRIAL] = (model, view.call_id)
    tried_model, call_id = st.session_state.get(session_keys.CONNECTION_TRIAL, ("", ""))
    if tried_model == model:
        with blocks.show_errors():
            _show_answer(services, actor, call_id)


def _show_answer(services: Services, actor: Actor, call_id: str) -> None:
    view = services.calls.view(actor, call_id)
    st.badge(format.STATUS_GLYPHS[view.status], color=format.STATUS_COLOURS[view.status])  # type: ignore[arg-type]
    if view.error_message:
        blocks.show_failure(view.error_message)
    if view.text:
        with st.container(height=220 if len(view.text) > 500 else "content", border=False):
            st.markdown(blocks.sanitise_markdown(view.text))
    answer_pane.draw_figures(view)
    st.page_link(
        session.page("activity"),
        label=f"Log {shorten_id(view.log_id)}",
        icon=":material/receipt_long:",
        query_params={"id": view.log_id},
    )

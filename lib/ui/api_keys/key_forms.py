"""The dialogs that make, show and change an API key. A new one is in the session until it is drawn, no longer."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlsplit

import streamlit as st

from lib.access.api_key import ApiKey
from lib.access.grants import MODEL_ENDPOINTS, NO_LIMITS, GatewayEndpoint, Limits
from lib.access.permissions import Actor, Role
from lib.clock import utc_now
from lib.errors import LLMManagerError
from lib.services import Services
from lib.snippets.app_snippets import GatewayAccess, build_snippets
from lib.ui import blocks, copy_button, session, session_keys
from lib.ui.configurations.configuration_form import show_in_form


def create_dialog(services: Services, actor: Actor) -> None:
    """Make a key; the page then shows it in place of the form."""
    spots: dict[str | None, Any] = {}
    left_column, right_column = st.columns(2)
    app = left_column.selectbox(
        "App",
        services.configurations.apps(actor),
        index=None,
        placeholder="Choose or type one",
        accept_new_options=True,
        help="Every call of the key counts for it",
    )
    spots["app"] = left_column.empty()
    name = right_column.text_input("Name", max_chars=80, placeholder="nightly-report")
    spots["name"] = right_column.empty()
    owner_id = _ask_owner(services, actor)
    fields = _ask_fields(services, actor, None, spots)
    spots[None] = st.container()
    if st.button("Create key", type="primary"):
        try:
            token, key = services.api_keys.create(actor, app=app or "", name=name, owner_id=owner_id, **fields)
        except LLMManagerError as error:
            show_in_form(error, spots)
            return
        remember_new_key({"id": key.id, "token": token})
        st.rerun()


def remember_new_key(new_key: dict[str, str]) -> None:
    """Hand id and token to the next page that asks."""
    st.session_state[session_keys.NEW_API_KEY] = new_key


def take_new_key() -> dict[str, str] | None:
    """Id and token of the key that was made just now, once."""
    new_key: dict[str, str] | None = st.session_state.pop(session_keys.NEW_API_KEY, None)
    return new_key


def edit_dialog(services: Services, actor: Actor, key: ApiKey) -> None:
    """Change name, scope, expiry and limits; the app stays."""
    spots: dict[str | None, Any] = {}
    name = st.text_input("Name", key.name, max_chars=80)
    spots["name"] = st.empty()
    fields = _ask_fields(services, actor, key, spots)
    spots[None] = st.container()
    if st.button("Save key", type="primary"):
        try:
            services.api_keys.update(actor, key.id, name=name, **fields)
        except LLMManagerError as error:
            show_in_form(error, spots)
            return
        st.rerun()


def ask_limits(
    current_limits: Limits, spots: dict[str | None, Any], of: str, *, concurrency: bool = True
) -> tuple[int | None, int | None, int | None]:
    """Requests and tokens a minute, and calls at once where asked; None is no limit."""
    inputs = [("requests_per_minute", "Requests a minute"), ("tokens_per_minute", "Tokens a minute")]
    inputs += [("concurrency", "Calls at once")] if concurrency else []
    values: dict[str, int | None] = {"concurrency": None}
    for column, (name, label) in zip(st.columns(len(inputs)), inputs, strict=True):
        current = getattr(current_limits, name)
        values[name] = column.number_input(label, 1, None, current, 1, placeholder="No limit", key=f"{name}-{of}")
        spots[name] = column.empty()
    return values["requests_per_minute"], values["tokens_per_minute"], values["concurrency"]


def _ask_owner(services: Services, actor: Actor) -> str | None:
    """Whose key it will be: super-admins choose."""
    if actor.role is not Role.SUPER_ADMIN:
        return actor.user_id
    people = {user.id: user.name for user in services.users.list(actor) if user.is_active}
    ids = list(people)
    return st.selectbox(
        "Owner",
        ids,
        index=ids.index(actor.user_id) if actor.user_id in people else 0,
        format_func=lambda user_id: people[user_id],
        help="The key never holds more than its owner's role, and ends when they are disabled",
    )


def _ask_fields(
    services: Services, actor: Actor, stored_key: ApiKey | None, spots: dict[str | None, Any]
) -> dict[str, Any]:
    """Scope, expiry and limits, for a new key and a changed one."""
    of = stored_key.id if stored_key else "new"
    grant = stored_key.grant if stored_key else None
    granted_models = list(grant.models) if grant else []
    slugs = [c.slug for c in services.configurations.list(actor)]
    providers = [f"{provider.name}/*" for provider in services.providers.list(actor)]
    models = st.multiselect(
        "Models",
        list(dict.fromkeys([*granted_models, *slugs, *providers])),
        granted_models,
        placeholder="Every model",
        accept_new_options=True,
        help="Configurations, or provider/model; * stands for anything",
        key=f"models-{of}",
    )
    spots["models"] = st.empty()
    endpoints = st.pills(
        "Endpoints",
        [endpoint.value for endpoint in GatewayEndpoint],
        default=[endpoint.value for endpoint in (grant.endpoints if grant else MODEL_ENDPOINTS)],
        selection_mode="multi",
        help="api reads figures and settings with the permissions of the owner, teams rules the teams that they rule",
        key=f"endpoints-{of}",
    )
    spots["endpoints"] = st.empty()
    serves_many = st.toggle(
        "Serves many people",
        grant is not None and grant.serves_many,
        help="Its program asks for people of its own. Only what a request says is asked for one of them (`user`, "
        "`safety_identifier` or `metadata.user_id`) is answered from memory",
        key=f"many-{of}",
    )
    last = _find_last_day(stored_key)
    expires = st.date_input(
        "Last day, UTC",
        last,
        min_value=min(utc_now().date(), last or date.max),
        help="Empty: it does not expire",
        key=f"expires-{of}",
    )
    spots["expires_at"] = st.empty()
    with st.expander("Limits", icon=":material/speed:", expanded=bool(grant and grant.limits != NO_LIMITS)):
        limits = Limits(*ask_limits(grant.limits if grant else NO_LIMITS, spots, of))
    is_same_day = stored_key is not None and expires == last
    moment = stored_key.expires_at if stored_key is not None and is_same_day else _find_end_of_day(expires)
    return {
        "models": models,
        "endpoints": endpoints,
        "limits": limits,
        "expires_at": moment,
        "serves_many": serves_many,
    }


def _find_last_day(key: ApiKey | None) -> date | None:
    return (key.expires_at - timedelta(microseconds=1)).date() if key and key.expires_at else None


def _find_end_of_day(last: Any) -> datetime | None:
    return datetime.combine(last, time.min, UTC) + timedelta(days=1) if isinstance(last, date) else None


def show_new_key(services: Services, actor: Actor, key: ApiKey, token: str) -> None:
    """The new key with its copy button, and how to use it."""
    st.markdown(
        f"**{blocks.escape_markdown(key.name)}** is ready. Copy it now: it is shown this once, and nobody can read it "
        "again."
    )
    st.code(token, language=None, wrap_lines=True)
    copy_button.draw_copy_button(token, key=f"copy-key-{key.id}", help="Copy the key", label="Copy key")
    to = GatewayAccess(find_origin(), token, _choose_example_model(services, actor, key), "")
    examples = {snippet.tab: snippet for snippet in reversed(build_snippets(to))}
    for name, tab in zip(("curl", "Python"), st.tabs(["curl", "Python"]), strict=True):
        tab.code(examples[name].text, language=examples[name].language, wrap_lines=True)
    st.caption("The key is not shown again once this is closed.")
    with blocks.start_row():
        if st.button("I have copied the key", type="primary"):
            st.rerun()
        if st.button("More languages", icon=":material/cable:", help="Shows the key in programs to copy"):
            remember_new_key({"id": key.id, "token": token})
            st.switch_page(session.page("connect"))


def find_origin() -> str:
    """Where the browser found this page: scheme and host."""
    parts = urlsplit(st.context.url or "http://localhost:8501")
    return f"{parts.scheme}://{parts.netloc}"


def _choose_example_model(services: Services, actor: Actor, key: ApiKey) -> str:
    """A configuration that the key may call: one that is ready, of its app first."""
    fitting = [c for c in services.configurations.list(actor) if key.grant.allows_model(c.slug)]
    best = sorted(fitting, key=lambda c: (c.needs is not None, c.app != key.app, not c.is_global_default))
    exact_models = [pattern for pattern in key.grant.models if "*" not in pattern]
    return best[0].slug if best else exact_models[0] if exact_models else "provider/model"

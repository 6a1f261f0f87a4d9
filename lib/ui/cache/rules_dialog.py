"""Dialogs that set a configuration's rules, and that forget answers."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import streamlit as st

from lib.access.permissions import Actor, Role
from lib.cache.policy import DAY_S, CacheRules, SemanticMode, SharingScope
from lib.configs.configuration import Configuration
from lib.errors import LLMManagerError
from lib.services import Services
from lib.ui import blocks, session_keys
from lib.ui.cache.overview import SCOPES

_AGES = {"an hour": 3_600, "a day": DAY_S, "a week": 7 * DAY_S, "30 days": 30 * DAY_S}
_MODES = {
    SemanticMode.OFF: "Off",
    SemanticMode.SHADOW: "Shadow: note what would have been served, serve nothing",
    SemanticMode.JUDGED: "Judged: a model decides each time whether two questions ask for the same",
    SemanticMode.PROVED: "Proved: serve without a judge once enough samples show the bound",
}
_MEBI = 1 << 20


def show_rules(services: Services, actor: Actor, configurations: Sequence[Configuration], selected: str | None) -> None:
    """The form of one configuration's rules."""
    ids = [configuration.id for configuration in configurations]
    slugs = {configuration.id: configuration.slug for configuration in configurations}
    configuration_id = st.selectbox(
        "Configuration", ids, ids.index(selected) if selected in ids else 0, format_func=slugs.__getitem__
    )
    if configuration_id is None:
        return
    now = services.cache.rules(actor, configuration_id)
    rules = _draw_rules(actor, now, slugs, f"cache-{configuration_id}-")
    if st.button("Save rules", type="primary", key=f"cache-{configuration_id}-save"):
        try:
            services.cache.change_rules(actor, configuration_id, rules)
        except LLMManagerError as error:
            blocks.show_error(error)
            return
        st.query_params["id"] = configuration_id
        st.rerun()


def _draw_rules(actor: Actor, now: CacheRules, slugs: Mapping[str, str], key: str) -> CacheRules:
    """Draw the fields of the rules, filled with those of `now`; `slugs` are the configurations by id."""
    exact = st.checkbox("Exact: the same request gets the same answer", now.exact, key=key + "exact")
    loose = st.checkbox(
        "Loose: greetings, thanks and “please” around a question don't count",
        now.loose,
        key=key + "loose",
        help="For single questions at a temperature of at most 0.3, in languages whose words are known.",
    )
    semantic, judge, bound = _draw_semantic(now, slugs, key)
    scope, ttl_s, most_bytes, keeps_pace = _draw_bounds(actor, now, key)
    return CacheRules(exact, loose, semantic, scope, ttl_s, most_bytes, bound, judge, keeps_pace)


def _draw_semantic(now: CacheRules, slugs: Mapping[str, str], key: str) -> tuple[SemanticMode, str | None, int]:
    """Draw how questions in other words are served; returns the mode, the judge and the bound in a thousand."""
    modes = list(_MODES)
    semantic = st.selectbox(
        "Semantic: questions in other words",
        modes,
        modes.index(now.semantic),
        format_func=_MODES.__getitem__,
        key=key + "semantic",
    )
    judge = None
    if semantic is not SemanticMode.OFF:
        choices = [None, *slugs]
        judge = st.selectbox(
            "Judge",
            choices,
            choices.index(now.judge_configuration_id) if now.judge_configuration_id in choices else 0,
            format_func=lambda choice: slugs[choice] if choice else "nobody",
            key=key + "judge",
            help="The configuration that is asked whether two questions, or two answers, say the same.",
        )
    bound = now.bound_per_mille
    if semantic is SemanticMode.PROVED:
        bound = int(st.number_input("Wrong answers among a thousand, at most", 1, 100, bound, key=key + "bound"))
    return semantic, judge, bound


def _draw_bounds(actor: Actor, now: CacheRules, key: str) -> tuple[SharingScope, int, int, bool]:
    """Draw who shares answers, for how many seconds, in how many bytes, and whether they come at their first pace."""
    scopes = list(SharingScope) if actor.role is Role.SUPER_ADMIN else [SharingScope.PERSON]
    columns = st.columns(2)
    scope = columns[0].selectbox(
        "Whose answers are given",
        scopes,
        scopes.index(now.scope) if now.scope in scopes else 0,
        format_func=lambda choice: SCOPES[choice],
        key=key + "scope",
        help="Beyond one person, questions that speak of a person are never remembered.",
    )
    ages = dict(_AGES) if now.ttl_s in _AGES.values() else {f"{now.ttl_s:,} s": now.ttl_s, **_AGES}
    age = columns[1].selectbox("For at most", list(ages), list(ages.values()).index(now.ttl_s), key=key + "age")
    size = columns[0].number_input("Size, MiB", 1, 65_536, now.most_bytes // _MEBI, key=key + "size")
    keeps_pace = columns[1].checkbox(
        "Stream at the first pace", now.keeps_pace, key=key + "pace", help="Otherwise an answer comes at once."
    )
    return scope, ages[age], int(size) * _MEBI, bool(keeps_pace)


def show_purge(services: Services, actor: Actor, configurations: Sequence[Configuration], *, only_own: bool) -> None:
    """Draw the choice of remembered answers to forget, what that means, and the button that does it."""
    own = "My own answers"
    of_configuration = "One configuration's"
    old = "Older than a day"
    everything = "Everything"
    choices = [own] if only_own else [own, of_configuration, old, everything]
    choice = st.radio("Forget", choices, key="cache-forget")
    configuration_id = None
    if choice == of_configuration:
        slugs = {configuration.id: configuration.slug for configuration in configurations}
        configuration_id = st.selectbox(
            "Configuration", list(slugs), format_func=slugs.__getitem__, key="cache-forget-one"
        )
    st.caption("The next equal questions are asked of the model again, and paid again. Rows of the log stay.")
    if st.button("Forget them", type="primary", key="cache-forget-now"):
        try:
            if choice == own:
                gone = services.cache.purge_own(actor)
            elif choice == old:
                gone = services.cache.purge(actor, older_than=timedelta(days=1))
            else:
                gone = services.cache.purge(actor, configuration_id=configuration_id, everything=choice == everything)
        except LLMManagerError as error:
            blocks.show_error(error)
            return
        st.session_state[session_keys.CACHE_NOTICE] = f"{gone:,} answers were forgotten."
        st.rerun()

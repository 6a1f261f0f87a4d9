"""The tab Teams of the Access page: who is in a team and as what, its budget, spending, limits and keys; the switch."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.grants import Limits
from lib.access.permissions import OPERATOR, Actor, Role
from lib.access.team_choices import TEAM_ROLES, StopKind
from lib.access.teams import Member, Team, list_role_words
from lib.clock import utc_now
from lib.errors import LLMManagerError
from lib.money import format_sum
from lib.services import Services
from lib.ui import blocks, format
from lib.ui.access.people import make_link

_AS_ACCOUNT = "as their account"


def show_tab(services: Services, actor: Actor, zone: ZoneInfo, *, is_open: bool) -> None:
    """Draw the tab: which team, its facts, its members with a panel, its keys, and what the roles mean.

    Statistics are asked only while it `is_open`: they take a second to load.
    """
    teams = [team for team in services.teams.list(actor) if actor.sees_every_team or team.id == actor.team_id]
    team = _choose(teams, actor.team_id)
    own = replace(actor, team_id=team.id) if actor.sees_every_team else actor
    _show_stops(services, own, team)
    _show_facts(services, own, team, is_open=is_open)
    _show_actions(services, own, team)
    _show_members(services, own, team)
    _show_keys(services, own, team, zone)
    st.subheader("Roles in a team", anchor=False)
    rows = [{"Role": role.value, "Lets a member": words} for role, words in list_role_words()]
    st.table(rows, border="horizontal", hide_index=True)


def _choose(teams: Sequence[Team], acting: int) -> Team:
    """The team that the address names, else that in which the person acts."""
    if len(teams) == 1:
        st.subheader(blocks.plain(teams[0].name), anchor=False)
        return teams[0]
    by_slug = {team.slug: team for team in teams}
    slugs = list(by_slug)
    team_id = st.query_params.get("team", "")
    first = team_id if team_id in by_slug else next((team.slug for team in teams if team.id == acting), slugs[0])
    slug = st.selectbox(
        "Team", slugs, slugs.index(first), format_func=lambda slug: by_slug[slug].name, key="shown-team", width=280
    )
    if slug and slug != first:
        st.query_params["team"] = slug
    return by_slug[slug or first]


def _show_stops(services: Services, actor: Actor, team: Team) -> None:
    for stopped in services.stops.list(actor):
        concerns = stopped.kind is not StopKind.TEAM or stopped.subject == str(team.id)
        if not concerns:
            continue
        subject = "All calls are" if stopped.kind is StopKind.EVERYTHING else f"Calls of {stopped.label} are"
        with blocks.row(vertical_alignment="center"):
            st.warning(
                blocks.plain(f"{subject} stopped, by {stopped.user_name}. {stopped.reason}".strip()),
                icon=":material/front_hand:",
                width="stretch",
            )
            may_start = actor.sees_every_team or stopped.kind is not StopKind.EVERYTHING
            if may_start and st.button("Start again", key=f"start-{stopped.kind}-{stopped.subject}"):
                with blocks.errors_shown():
                    services.stops.start(actor, stopped.kind, stopped.subject)
                    st.rerun()


def _show_facts(services: Services, actor: Actor, team: Team, *, is_open: bool) -> None:
    budgets = [state for state in services.budgets.list(actor) if state.budget.scope == "team"]
    of_team = [state for state in budgets if state.budget.subject == str(team.id)]
    budget_text = "none"
    if of_team:
        budget_text = " · ".join(f"{state.now.spent_of_limit} a {state.budget.period.value}" for state in of_team)
    limits = team.limits
    limit_parts = [
        f"{value:,} {unit} a minute"
        for value, unit in ((limits.requests_per_minute, "requests"), (limits.tokens_per_minute, "tokens"))
        if value is not None
    ]
    pairs = [
        ("Members", f"{team.members}"),
        ("Working keys", f"{team.keys}"),
        ("Spent this month", _describe_spending(services, team) if is_open else "…"),
        ("Budget", budget_text),
        ("Limits", ", ".join(limit_parts) or "none"),
        ("Short name", team.slug),
    ]
    blocks.facts([(label, blocks.plain(value)) for label, value in pairs], columns=2 if blocks.compact() else 3)


def _describe_spending(services: Services, team: Team) -> str:
    from lib.statistics.filters import StatisticsFilter

    now = utc_now()
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    figures = services.statistics.totals(OPERATOR, StatisticsFilter(start=month, teams=(str(team.id),)))
    return (
        f"{format_sum(figures.cost_nano_usd, figures.unpriced_calls)} in {figures.calls:,} calls"
        if figures.calls
        else "nothing"
    )


def _show_actions(services: Services, actor: Actor, team: Team) -> None:
    with blocks.row():
        for label, icon, dialog in (
            ("Add member", "person_add", _add_dialog),
            ("Invite", "link", _invite_dialog),
            ("Limits", "speed", _limits_dialog),
            ("Rename", "edit", _rename_dialog),
            ("Statement", "receipt_long", _statement_dialog),
            (":red[Stop calls]", "front_hand", _stop_dialog),
        ):
            if st.button(label, icon=f":material/{icon}:", key=f"team-{icon}"):
                dialog(services, actor, team)
        if actor.sees_every_team and st.button("New team", icon=":material/add:", key="team-new"):
            _new_dialog(services, actor)


def _show_members(services: Services, actor: Actor, team: Team) -> None:
    members = services.teams.members(actor, team.id)
    table, panel = (st.container(), st.container()) if blocks.compact() else st.columns([1.9, 1], gap="small")
    with table:
        rows = [
            {
                "Name": member.name,
                "Role here": member.role.value,
                "Given by": "the account" if member.own_role is None else "the team",
                "State": "✓ active" if member.is_active else "■ disabled",
            }
            for member in members
        ]
        event = st.dataframe(
            rows,
            hide_index=True,
            row_height=30,
            on_select="rerun",
            selection_mode="single-row",
            key=f"members-{team.id}",
            alt="Members of the team",
        )
    with panel, st.container(border=True):
        selected = event.selection.rows
        if selected and selected[0] < len(members):
            _show_member(services, actor, team, members[selected[0]])
        else:
            st.caption("Select a member to change their role, take over their things or take them out.")


def _show_member(services: Services, actor: Actor, team: Team, member: Member) -> None:
    st.subheader(blocks.plain(member.name), anchor=False)
    roles = [_AS_ACCOUNT, *(role.value for role in TEAM_ROLES)]
    now = _AS_ACCOUNT if member.own_role is None else member.own_role.value
    role = st.selectbox("Role in this team", roles, index=roles.index(now), key=f"team-role-{team.id}-{member.user_id}")
    with blocks.row():
        if st.button("Change role", disabled=role == now, key=f"team-set-{member.user_id}"):
            with blocks.errors_shown():
                services.teams.set_role(actor, team.id, member.user_id, None if role == _AS_ACCOUNT else role)
                st.rerun()
        if member.user_id != actor.user_id and st.button("Take over", key=f"team-take-{member.user_id}"):
            _take_over_dialog(services, actor, team, member)
        if st.button(":red[Take out]", icon=":material/person_remove:", key=f"team-out-{member.user_id}"):
            with blocks.errors_shown():
                services.teams.remove(actor, team.id, member.user_id)
                st.rerun()


def _show_keys(services: Services, actor: Actor, team: Team, zone: ZoneInfo) -> None:
    keys = [key for key in services.api_keys.list(actor) if key.team_id == team.id and key.revoked_at is None]
    st.subheader("Keys", anchor=False)
    if not keys:
        st.caption("The team has no working keys. Its members make them on the page API keys.")
        return
    rows = [
        {
            "Name": key.name,
            "Key": f"{key.prefix}…",
            "App": key.app,
            "Owner": key.owner or "a program",
            "State": key.state(),
            "Last used": format.moment(key.last_used_at, zone),
        }
        for key in keys
    ]
    st.dataframe(rows, hide_index=True, row_height=30, placeholder="—", alt="Keys of the team")
    paused = [key for key in keys if key.state().startswith("owner")]
    if paused:
        subject = (
            "1 key is paused: its owner is" if len(paused) == 1 else f"{len(paused)} keys are paused: their owners are"
        )
        st.caption(f"{subject} switched off or no more in the team. Take over what they have, and it goes on.")


def _submit(label: str, work: Callable[[], None]) -> None:
    if st.button(label, type="primary"):
        try:
            work()
        except LLMManagerError as error:
            blocks.show_error(error)
            return
        st.rerun()


@st.dialog("Add a member")
def _add_dialog(services: Services, actor: Actor, team: Team) -> None:
    name = st.text_input("User name", placeholder="for example amira", autocomplete="off")
    role = st.selectbox("Role in this team", [_AS_ACCOUNT, *(role.value for role in TEAM_ROLES)])
    st.caption("For people who have an account. Others are invited with a link.")
    team_role = None if role == _AS_ACCOUNT else role
    _submit("Add member", lambda: services.teams.add(actor, team.id, name, team_role))


@st.dialog("Invite somebody")
def _invite_dialog(services: Services, actor: Actor, team: Team) -> None:
    roles = [role.value for role in TEAM_ROLES]
    role = st.selectbox("Role in this team", roles, index=roles.index(Role.DEVELOPER.value))
    if st.button("Make link", type="primary"):
        with blocks.errors_shown():
            token = services.access_links.invite(actor, team.id, role)
            st.code(make_link(token), language=None, wrap_lines=True)
            st.caption("Good for seven days and one account. It is shown this once.")


@st.dialog("Limits of the team")
def _limits_dialog(services: Services, actor: Actor, team: Team) -> None:
    requests = st.number_input("Requests a minute", 1, value=team.limits.requests_per_minute, placeholder="No limit")
    tokens = st.number_input("Tokens a minute", 1, value=team.limits.tokens_per_minute, placeholder="No limit")
    limits = Limits(None if requests is None else int(requests), None if tokens is None else int(tokens))
    st.caption("Over all keys and people of the team. They hold everywhere within five seconds.")
    _submit("Set limits", lambda: services.limits.set_team(actor, team.id, limits))


@st.dialog("Rename the team")
def _rename_dialog(services: Services, actor: Actor, team: Team) -> None:
    name = st.text_input("Name", team.name)
    _submit("Rename", lambda: services.teams.rename(actor, team.id, name))


@st.dialog("Monthly statement")
def _statement_dialog(services: Services, actor: Actor, team: Team) -> None:
    from lib.money import nano_from_usd
    from lib.statistics import statement

    last_month = utc_now().replace(day=1) - timedelta(days=1)
    month = st.text_input("Month", f"{last_month:%Y-%m}")
    shared = st.number_input("Cost that all teams share, in dollars", 0.0, step=10.0, format="%.2f")
    basis = st.selectbox("Shared by", [choice.value for choice in statement.SharedBy])
    with blocks.errors_shown():
        nano = nano_from_usd(f"{shared:.2f}")
        lines = statement.make_statement(actor, services.statistics, services.teams, month, nano, basis)
        st.download_button(
            "CSV",
            statement.to_csv(lines),
            f"statement-{month}.csv",
            "text/csv",
            icon=":material/download:",
            on_click=lambda: services.audit.note_export(actor, "statement.export", month, rows=len(lines)),
        )
    st.caption("Every team for a super-admin; your team's line, with its share, for its administrator.")


@st.dialog("Stop all calls of this team?")
def _stop_dialog(services: Services, actor: Actor, team: Team) -> None:
    st.markdown(
        f"Within five seconds no call of **{blocks.plain(team.name)}** begins, in any process, and those that run end. "
        "Nothing is deleted."
    )
    reason = st.text_input("Reason, which callers are told", max_chars=200)
    _submit(":red[Stop calls]", lambda: services.stops.stop(actor, StopKind.TEAM, str(team.id), reason))
    if actor.sees_every_team and st.button(":red[Stop everything]", icon=":material/front_hand:"):
        with blocks.errors_shown():
            services.stops.stop(actor, StopKind.EVERYTHING, "", reason)
            st.rerun()


@st.dialog("Take over what they have?")
def _take_over_dialog(services: Services, actor: Actor, team: Team, member: Member) -> None:
    counts = services.hand_over.preview(actor, member.user_id, team.id)
    if not counts:
        st.markdown(f"**{blocks.plain(member.name)}** has nothing in this team.")
        return
    listed = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    st.markdown(f"You will have of **{blocks.plain(member.name)}**: {listed}. Keys go on, and act as you.")
    _submit("Take over", lambda: _take_over(services, actor, member.user_id, team.id))


def _take_over(services: Services, actor: Actor, from_id: str, team_id: int) -> None:
    services.hand_over.run(actor, from_id, actor.user_id or "", team_id)


@st.dialog("New team")
def _new_dialog(services: Services, actor: Actor) -> None:
    name = st.text_input("Name", placeholder="for example Research")
    slug = st.text_input("Short name", placeholder="made of the name")
    _submit("Make team", lambda: _make_team(services, actor, name, slug))


def _make_team(services: Services, actor: Actor, name: str, slug: str) -> None:
    services.teams.create(actor, name, slug)

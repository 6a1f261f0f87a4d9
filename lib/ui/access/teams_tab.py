"""The tab Teams of the Access page: who is in a team and as what, its budget, spending, limits and keys; the switch."""

from collections.abc import Sequence
from dataclasses import replace
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.api_key import ApiKey
from lib.access.permissions import OPERATOR, Actor
from lib.access.team_choices import TEAM_ROLES, StopKind
from lib.access.teams import Member, Team, list_role_words
from lib.clock import utc_now
from lib.db.team_ids import FIRST_TEAM
from lib.money import format_sum
from lib.services import Services
from lib.ui import blocks, format, grammar, session
from lib.ui.access import team_dialogs


def show_tab(services: Services, actor: Actor, zone: ZoneInfo, *, is_open: bool) -> None:
    """Draw the tab: which team, its facts, its members with a panel, its keys, and what the roles mean.

    Statistics are asked only while it `is_open`: they take a second to load.
    """
    teams = [team for team in services.teams.list(actor) if actor.sees_every_team or team.id == actor.team_id]
    with blocks.start_row(vertical_alignment="bottom"):
        team = _choose(teams, actor.team_id)
        if actor.sees_every_team and st.button("New team", icon=":material/add:", key="team-new"):
            team_dialogs.show_new_team_dialog(services, actor)
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
        st.subheader(blocks.escape_markdown(teams[0].name), anchor=False)
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
        for parameter in ("member", "key"):
            st.query_params.pop(parameter, None)
    return by_slug[slug or first]


def _show_stops(services: Services, actor: Actor, team: Team) -> None:
    for stopped in services.stops.list(actor):
        concerns = stopped.kind is not StopKind.TEAM or stopped.subject == str(team.id)
        if not concerns:
            continue
        subject = "All calls are" if stopped.kind is StopKind.EVERYTHING else f"Calls of {stopped.label} are"
        with blocks.start_row(vertical_alignment="center"):
            st.warning(
                blocks.escape_markdown(f"{subject} stopped, by {stopped.user_name}. {stopped.reason}".strip()),
                icon=":material/front_hand:",
                width="stretch",
            )
            may_start = actor.sees_every_team or stopped.kind is not StopKind.EVERYTHING
            if may_start and st.button("Start again", key=f"start-{stopped.kind}-{stopped.subject}"):
                with blocks.show_errors():
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
    blocks.show_facts(
        [(label, blocks.escape_markdown(value)) for label, value in pairs], columns=2 if blocks.is_compact() else 3
    )


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
    with blocks.start_row():
        if st.button("Add member", icon=":material/person_add:", key="team-person_add"):
            team_dialogs.add_dialog(services, actor, team)
        if st.button("Invite", icon=":material/link:", key="team-link"):
            team_dialogs.invite_dialog(services, actor, team)
        if st.button("Statement", icon=":material/receipt_long:", key="team-receipt_long"):
            team_dialogs.show_statement_dialog(services, actor)
        with st.popover("More", icon=":material/more_horiz:"):
            _show_more(services, actor, team)
        if st.button(":red[Stop calls]", icon=":material/front_hand:", key="team-front_hand"):
            team_dialogs.stop_dialog(services, actor, team)


def _show_more(services: Services, actor: Actor, team: Team) -> None:
    if st.button("Limits", icon=":material/speed:", type="tertiary", key="team-speed"):
        team_dialogs.show_limits_dialog(services, actor, team)
    if st.button("Rename", icon=":material/edit:", type="tertiary", key="team-edit"):
        team_dialogs.rename_dialog(services, actor, team)
    st.page_link(session.page("budgets"), label="Budgets", icon=":material/account_balance_wallet:")
    if not actor.sees_every_team:
        return
    if st.button("Move a thing", icon=":material/move_item:", type="tertiary", key="team-move_item"):
        team_dialogs.move_dialog(services, actor, team)
    if team.id != FIRST_TEAM and st.button(
        ":red[Remove team]", icon=":material/delete:", type="tertiary", key="team-delete"
    ):
        team_dialogs.confirm_removal(services, actor, team)


def _show_members(services: Services, actor: Actor, team: Team) -> None:
    members = services.teams.members(actor, team.id)
    if not members:
        sentence = "Who is in the team uses what is the team's, and what they do is paid by its budget."
        with grammar.show_empty_state("group_add", "No members yet", sentence):
            if st.button("Add the first member", icon=":material/person_add:", key="team-first"):
                team_dialogs.add_dialog(services, actor, team)
        return
    rows = [
        grammar.ThingRow(
            member,
            member.user_id,
            member.name,
            {
                "Name": member.name,
                "Role here": member.role.value,
                "Given by": "the account" if member.own_role is None else "the team",
                "State": "✓ active" if member.is_active else "■ disabled",
            },
        )
        for member in members
    ]
    text = st.column_config.TextColumn
    columns = {
        "Name": text(width=166 if blocks.is_compact() else 300),
        "Role here": text(width=140),
        "Given by": text(width=120, help="The role of the account holds where the team gives none"),
        "State": text(width=110),
    }
    grammar.show_rows_beside(
        f"members-{team.id}",
        rows,
        columns,
        lambda member: _show_member(services, actor, team, member),
        narrow=["Name", "Role here"],
        alt="Members of the team",
        parameter="member",
    )


def _show_member(services: Services, actor: Actor, team: Team, member: Member) -> None:
    roles = [team_dialogs.AS_ACCOUNT, *(role.value for role in TEAM_ROLES)]
    now = team_dialogs.AS_ACCOUNT if member.own_role is None else member.own_role.value
    role = st.selectbox("Role in this team", roles, index=roles.index(now), key=f"team-role-{team.id}-{member.user_id}")
    if st.button("Change role", disabled=role == now, key=f"team-set-{member.user_id}"):
        with blocks.show_errors():
            own_role = None if role == team_dialogs.AS_ACCOUNT else role
            services.teams.set_role(actor, team.id, member.user_id, own_role)
            st.rerun()
    with blocks.start_row():
        if member.user_id != actor.user_id or actor.sees_every_team:
            label = "Hand over" if actor.sees_every_team else "Take over"
            if st.button(label, icon=":material/swap_horiz:", key=f"team-take-{member.user_id}"):
                team_dialogs.hand_over_dialog(services, actor, team, member)
        if st.button(":red[Take out]", icon=":material/person_remove:", key=f"team-out-{member.user_id}"):
            team_dialogs.confirm_leaving(services, actor, team, member)


def _show_keys(services: Services, actor: Actor, team: Team, zone: ZoneInfo) -> None:
    keys = [key for key in services.api_keys.list(actor) if key.team_id == team.id and key.revoked_at is None]
    st.subheader("Keys", anchor=False)
    if not keys:
        st.caption("The team has no working keys. Its members make them on the page API keys.")
        return
    stopped = {stop.subject for stop in services.stops.list(actor) if stop.kind is StopKind.KEY}
    rows = [
        grammar.ThingRow(
            key,
            key.id,
            key.name,
            {
                "Name": key.name,
                "Key": f"{key.prefix}…",
                "App": key.app,
                "Owner": key.owner or "a program",
                "State": "■ stopped" if key.id in stopped else f"✓ {key.state()}".replace("✓ owner", "⊘ owner"),
                "Last used": format.format_moment(key.last_used_at, zone) if key.last_used_at else None,
            },
        )
        for key in keys
    ]
    text = st.column_config.TextColumn
    columns = {
        "Name": text(width=166 if blocks.is_compact() else 200),
        "Key": text(width=132),
        "App": text(width=110),
        "Owner": text(width=120),
        "State": text(width=130),
        "Last used": text(width=176, help="— means never"),
    }
    grammar.show_rows_beside(
        f"keys-{team.id}",
        rows,
        columns,
        lambda key: _show_key(services, actor, key, is_stopped=key.id in stopped),
        narrow=["Name", "State"],
        alt="Keys of the team",
        parameter="key",
        caption=f"Times in {zone.key}",
    )
    paused = [key for key in keys if key.state().startswith("owner")]
    if paused:
        subject = (
            "1 key is paused: its owner is" if len(paused) == 1 else f"{len(paused)} keys are paused: their owners are"
        )
        st.caption(f"{subject} switched off or no more in the team. Take over what they have, and it goes on.")


def _show_key(services: Services, actor: Actor, key: ApiKey, *, is_stopped: bool) -> None:
    st.page_link(session.page("keys"), label="Open in API keys", icon=":material/vpn_key:", query_params={"id": key.id})
    if is_stopped:
        if st.button("Start again", icon=":material/play_arrow:", key=f"team-start-{key.id}"):
            with blocks.show_errors():
                services.stops.start(actor, StopKind.KEY, key.id)
                st.rerun()
    elif st.button(":red[Stop key]", icon=":material/front_hand:", key=f"team-stop-{key.id}"):
        team_dialogs.stop_key_dialog(services, actor, key)

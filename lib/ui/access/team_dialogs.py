"""The dialogs of the tab Teams: members, invitations, limits, statements, moves, and the switch that stops calls."""

from collections.abc import Callable
from datetime import timedelta

import streamlit as st

from lib.access.api_key import ApiKey
from lib.access.grants import Limits
from lib.access.permissions import Actor, Role
from lib.access.team_choices import TEAM_ROLES, THING_KINDS, StopKind
from lib.access.teams import Member, Team
from lib.clock import utc_now
from lib.db.team_ids import ALL_TEAMS
from lib.errors import LLMManagerError
from lib.services import Services
from lib.ui import blocks, grammar
from lib.ui.access.people import make_link

AS_ACCOUNT = "as their account"


def _submit(label: str, work: Callable[[], None]) -> None:
    if st.button(label, type="primary"):
        try:
            work()
        except LLMManagerError as error:
            blocks.show_error(error)
            return
        st.rerun()


@st.dialog("Add a member")
def add_dialog(services: Services, actor: Actor, team: Team) -> None:
    """Add a person who has an account."""
    name = st.text_input("User name", placeholder="for example amira", autocomplete="off")
    role = st.selectbox("Role in this team", [AS_ACCOUNT, *(role.value for role in TEAM_ROLES)])
    st.caption("For people who have an account. Others are invited with a link.")
    team_role = None if role == AS_ACCOUNT else role
    _submit("Add member", lambda: services.teams.add(actor, team.id, name, team_role))


@st.dialog("Invite somebody")
def invite_dialog(services: Services, actor: Actor, team: Team) -> None:
    """Make a link with which somebody makes an account in the team."""
    roles = [role.value for role in TEAM_ROLES]
    role = st.selectbox("Role in this team", roles, index=roles.index(Role.DEVELOPER.value))
    if st.button("Make link", type="primary"):
        with blocks.show_errors():
            token = services.access_links.invite(actor, team.id, role)
            st.code(make_link(token), language=None, wrap_lines=True)
            st.caption("Good for seven days and one account. It is shown this once.")


@st.dialog("Limits of the team")
def show_limits_dialog(services: Services, actor: Actor, team: Team) -> None:
    """Set how much the team may ask in a minute."""
    requests = st.number_input("Requests a minute", 1, value=team.limits.requests_per_minute, placeholder="No limit")
    tokens = st.number_input("Tokens a minute", 1, value=team.limits.tokens_per_minute, placeholder="No limit")
    limits = Limits(None if requests is None else int(requests), None if tokens is None else int(tokens))
    st.caption("Over all keys and people of the team. They hold everywhere within five seconds.")
    _submit("Set limits", lambda: services.limits.set_team(actor, team.id, limits))


@st.dialog("Rename the team")
def rename_dialog(services: Services, actor: Actor, team: Team) -> None:
    """Give the team another name."""
    name = st.text_input("Name", team.name)
    _submit("Rename", lambda: services.teams.rename(actor, team.id, name))


@st.dialog("Monthly statement")
def show_statement_dialog(services: Services, actor: Actor) -> None:
    """Choose the month of a statement, and fetch it; a super-admin also sets what all teams share."""
    from lib.statistics import statement

    last_month = utc_now().replace(day=1) - timedelta(days=1)
    month = st.text_input("Month", f"{last_month:%Y-%m}")
    with blocks.show_errors():
        costs = services.shared_costs.find_of_month(month)
        lines = statement.make_statement(actor, services.statistics, services.teams, month, costs)
        st.download_button(
            "CSV",
            statement.encode_csv(lines),
            f"statement-{month}.csv",
            "text/csv",
            icon=":material/download:",
            on_click=lambda: services.audit.note_export(actor, "statement.export", month, rows=len(lines)),
        )
    st.caption("Every team for a super-admin; your team's line, with its share, for its administrator.")
    if actor.sees_every_team:
        _edit_shared_costs(services, actor, month)


def _edit_shared_costs(services: Services, actor: Actor, month: str) -> None:
    """Show the costs that all teams share; keep one, or forget one."""
    from lib.money import convert_usd_to_nano
    from lib.statistics.shared_costs import SharedBy, SharedCost

    costs = {cost.name: cost for cost in services.shared_costs.list(actor)}
    st.subheader("What all teams share", anchor=False)
    name = st.selectbox(
        "Shared cost",
        list(costs),
        index=None,
        accept_new_options=True,
        placeholder="Choose one, or write a new name",
        help="A subscription or a server: split among the teams, every month",
    )
    if name is None:
        return
    stored = costs.get(name)
    now = stored or SharedCost(name.strip(), 0, SharedBy.COST, month)
    dollars = st.number_input("Dollars a month", 0.0, value=now.monthly_nano / 10**9, step=10.0, format="%.2f")
    bases = [choice.value for choice in SharedBy]
    basis = st.selectbox("Shared by", bases, bases.index(now.shared_by.value))
    first = st.text_input("First month", now.first_month)
    last = st.text_input("Last month", now.last_month, placeholder="none")
    cost = SharedCost(now.name, convert_usd_to_nano(f"{dollars:.2f}"), SharedBy(basis), first, last)
    _submit("Keep cost", lambda: services.shared_costs.set(actor, cost))
    if stored is not None and st.button(":red[Forget cost]", icon=":material/delete:"):
        with blocks.show_errors():
            services.shared_costs.remove(actor, stored.name)
            st.rerun()


@st.dialog("Stop all calls of this team?")
def stop_dialog(services: Services, actor: Actor, team: Team) -> None:
    """Ask before the calls of a team, or all calls, are stopped."""
    st.markdown(
        f"Within five seconds no call of **{blocks.escape_markdown(team.name)}** begins, in any process, and those "
        "that run end. Nothing is deleted."
    )
    reason = st.text_input("Reason, which callers are told", max_chars=200)
    _submit(":red[Stop calls]", lambda: services.stops.stop(actor, StopKind.TEAM, str(team.id), reason))
    if actor.sees_every_team and st.button(":red[Stop everything]", icon=":material/front_hand:"):
        with blocks.show_errors():
            services.stops.stop(actor, StopKind.EVERYTHING, "", reason)
            st.rerun()


@st.dialog("Hand over what they have")
def hand_over_dialog(services: Services, actor: Actor, team: Team, member: Member) -> None:
    """Say what would be handed over, and to whom: a super-admin chooses, others take it over themselves."""
    counts = services.hand_over.preview(actor, member.user_id, team.id)
    if not counts:
        st.markdown(f"**{blocks.escape_markdown(member.name)}** has nothing in this team.")
        return
    listed = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    st.markdown(f"**{blocks.escape_markdown(member.name)}** has in this team: {listed}.")
    receiver = actor.user_id or ""
    if actor.sees_every_team:
        people = {user.id: user.name for user in services.users.list(actor) if user.is_active}
        people.pop(member.user_id, None)
        ids = list(people)
        heir_id = st.selectbox("To", ids, ids.index(receiver) if receiver in ids else 0, format_func=people.__getitem__)
        receiver = heir_id or ""
    st.caption("Keys go on, and act as whoever has them then. Figures of the past stay with who made them.")
    label = "Take over" if receiver == actor.user_id else "Hand over"
    _submit(label, lambda: _hand_over(services, actor, member.user_id, receiver, team.id))


def _hand_over(services: Services, actor: Actor, from_id: str, to_id: str, team_id: int) -> None:
    services.hand_over.run(actor, from_id, to_id, team_id)


@st.dialog("Move a thing")
def move_dialog(services: Services, actor: Actor, team: Team) -> None:
    """Give a configuration, prompt, workflow … to a team, or to all."""
    kind = st.selectbox("Kind", THING_KINDS)
    name = st.text_input("Name or id", placeholder="for example support-bot")
    names = {ALL_TEAMS: "All teams"} | {each.id: each.name for each in services.teams.list(actor)}
    ids = list(names)
    target = st.selectbox("To", ids, ids.index(team.id) if team.id in ids else 0, format_func=names.__getitem__)
    st.caption("From then on that team uses and changes it. Calls of the past stay with the team that made them.")
    _submit("Move it", lambda: services.teams.move(actor, kind or "", name.strip(), target or ALL_TEAMS))


@st.dialog("Stop this key?")
def stop_key_dialog(services: Services, actor: Actor, key: ApiKey) -> None:
    """Ask before a key is stopped; unlike a revoked one it can be started again."""
    st.markdown(
        f"Within five seconds **{blocks.escape_markdown(key.name)}** is refused everywhere, and its calls that run "
        "end. It can be started again."
    )
    reason = st.text_input("Reason, which callers are told", max_chars=200)
    _submit(":red[Stop key]", lambda: services.stops.stop(actor, StopKind.KEY, key.id, reason))


def confirm_removal(services: Services, actor: Actor, team: Team) -> None:
    """Ask before a team goes."""
    grammar.confirm(
        f"Remove {blocks.escape_markdown(team.name)}?",
        "Only a team without members, keys and things can go. Its calls stay in the log and in the figures.",
        keep="Keep team",
        act="Remove team",
        action=lambda: services.teams.delete(actor, team.id),
        then=lambda: st.query_params.pop("team", None),
    )


def confirm_leaving(services: Services, actor: Actor, team: Team, member: Member) -> None:
    """Ask before a person is taken out of a team."""
    grammar.confirm(
        f"Take {blocks.escape_markdown(member.name)} out of {blocks.escape_markdown(team.name)}?",
        "Their keys for this team stop within seconds. What they made stays the team's; the account stays.",
        keep="Keep member",
        act="Take out",
        action=lambda: services.teams.remove(actor, team.id, member.user_id),
        undo="Add them again to undo it.",
        icon="person_remove",
        then=lambda: grammar.close("member"),
    )


@st.dialog("New team")
def show_new_team_dialog(services: Services, actor: Actor) -> None:
    """Make a team."""
    name = st.text_input("Name", placeholder="for example Research")
    slug = st.text_input("Short name", placeholder="made of the name")
    _submit("Make team", lambda: _make_team(services, actor, name, slug))


def _make_team(services: Services, actor: Actor, name: str, slug: str) -> None:
    services.teams.create(actor, name, slug)

"""Cost, tokens and calls over time, by provider, model, app and user. The address holds every choice."""

from dataclasses import replace
from functools import partial

import streamlit as st

from lib.access.permissions import Permission
from lib.activity.custom_metrics import MetricRange
from lib.clock import utc_now
from lib.demo import name_demo_users
from lib.statistics.filters import Dimension
from lib.ui import blocks, currency, session
from lib.ui import names as ids
from lib.ui.activity import custom_metrics
from lib.ui.statistics import explore, figure_cards, models_table, outlook, reconcile, statistics_filters, whatif
from lib.ui.statistics.report_context import Scene
from lib.ui.statistics.statistics_view import TABS

actor = session.require(Permission.VIEW_STATS)
services = session.ensure_services()
ask = services.statistics
zone = services.preferences.report_zone(actor)
now = utc_now()
compact = blocks.is_compact()
view = statistics_filters.read_view(zone)
date_range = view.range(zone, now)
criteria = view.filter(date_range.start, date_range.end, zone, services.exchange_rates.book(actor))
previous_criteria = replace(criteria, start=date_range.previous_start, end=date_range.previous_end)
newest = ask.newest(actor)

with blocks.show_header("Statistics"):
    st.page_link(
        session.page("activity"),
        label="" if compact else "Activity",
        icon=":material/receipt_long:",
        query_params=view.rows_behind(date_range.start, date_range.end),
        help="The calls behind these figures",
    )

if newest is None:
    with blocks.show_empty_state(
        "query_stats", "Nothing to count yet", "Cost, tokens and speed of every model call appear here, as they happen."
    ):
        st.page_link(session.page("dashboard"), label="Open the dashboard", icon=":material/space_dashboard:")
    st.stop()

configurations = ids.name_configurations(services, actor)
api_keys = ids.name_api_keys(services, actor)
options = statistics_filters.list_options(ask, actor, configurations, api_keys)
names = {
    **configurations,
    **api_keys,
    **name_demo_users(),
    **services.users.names(options["user"]),
    **ids.name_teams(services, actor),
}
statistics_filters.show_filter_bar(view, options, names, date_range, zone)
totals = ask.totals(actor, criteria)
previous = ask.totals(actor, previous_criteria)
statistics_filters.show_scope_line(
    date_range, zone, newest, now, totals.unpriced_calls, own_only=not actor.sees_all_calls, stepping=view
)

days = statistics_filters.compute_days(date_range.start, date_range.end, zone)
opened, tab_body = blocks.show_tabs(list(TABS.values()))
with tab_body:
    if opened == TABS["explore"]:
        explore.show_tab(services, actor, view, criteria, days)
    elif opened == TABS["what-if"]:
        whatif.show_tab(services, actor, view, criteria.in_dollars, names, days)
    elif opened == TABS["reconcile"]:
        reconcile.show_tab(services, actor, zone, options["provider"])
if opened != TABS["figures"]:
    st.stop()

scene = Scene(view, date_range, zone, view.step_in(date_range), names, compact, criteria.currency)
figure_cards.show_figures(
    totals, previous, scene.course(ask.trend(actor, criteria, scene.step), now), criteria.currency
)
currency.show_note(services, actor, criteria)
if totals.calls == 0:
    with blocks.show_empty_state("search_off", "Nothing matches", "No call in this range has these values."):
        st.button(
            "Clear filters", on_click=statistics_filters.write_view, args=(view.cleared(),), disabled=not view.narrows
        )
    st.stop()

by = [Dimension.PROVIDER, Dimension.MODEL] if view.by is Dimension.MODEL else [Dimension.PROVIDER]
outlook_view = outlook.compute_view(services, actor, scene, criteria, now)
figure_cards.show_over_time(scene, ask.over_time(actor, criteria, scene.step, view.measure, by), outlook_view)
models = ask.top_models(actor, criteria, view.measure)
height = max(220, 27 * len(models))
left_column, right_column = (st.container(), st.container()) if compact else st.columns([1, 1.1], gap="small")
with left_column.container(border=True, height="stretch"):
    figure_cards.show_by_model(scene, models, height)
with right_column.container(border=True, height="stretch"):
    figure_cards.show_cross_tab(scene, ask.cross_tab(actor, criteria, view.rows, view.columns, view.measure), height)
with st.container(border=True):
    file_name = f"models-{days[0]}-to-{days[1]}"
    note = partial(services.audit.note_export, actor, "statistics.export", filter=view.to_query())
    models_table.show_model_table(
        ask.by_model(actor, criteria), totals, criteria.currency, file_name, note, compact=compact
    )
custom_metrics.show_range_metrics(
    services, actor, MetricRange(date_range.start, date_range.end, criteria.apps), zone, days, view.rows_behind
)

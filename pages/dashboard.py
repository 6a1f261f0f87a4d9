"""The landing page: this month's cost and forecast, what changed and what fails, cost by provider, top apps."""

from dataclasses import replace
from datetime import timedelta

import streamlit as st

from lib.access.permissions import Permission
from lib.activity.call_filter import ActivityFilter
from lib.clock import utc_now
from lib.demo import name_demo_users
from lib.statistics.filters import Dimension, Measure
from lib.statistics.periods import ReportPeriod
from lib.statistics.week import compare_weeks
from lib.ui import blocks, currency, session
from lib.ui.budgets import budget_cards
from lib.ui.statistics import dashboard, explore, figure_cards, outlook, statistics_filters
from lib.ui.statistics.report_context import Scene
from lib.ui.statistics.statistics_view import StatisticsView

actor = session.require(Permission.VIEW_STATS)
services = session.ensure_services()
ask = services.statistics
zone = services.preferences.report_zone(actor)
now = utc_now()
compact = blocks.is_compact()
newest = ask.newest(actor)

with blocks.show_header("Dashboard"):
    st.page_link(
        session.page("statistics"), label="" if compact else "Statistics", icon=":material/query_stats:",
        query_params={"period": "month"}, help="The same figures with filters, by model, app and user",
    )  # fmt: skip

if newest is None:
    dashboard.show_empty(services, actor)
    st.stop()
if services.demo.is_present():
    dashboard.show_sample_notice(services, actor)

view = StatisticsView(period=ReportPeriod.MONTH)
date_range = view.range(zone, now)
criteria = view.filter(date_range.start, date_range.end, zone, services.exchange_rates.book(actor))
totals = ask.totals(actor, criteria)
previous = ask.totals(actor, replace(criteria, start=date_range.previous_start, end=date_range.previous_end))
people = {**name_demo_users(), **services.users.names(ask.choices(actor, Dimension.USER))}
scene = Scene(view, date_range, zone, view.step_in(date_range), people, compact, criteria.currency)

today = ask.totals(actor, replace(criteria, start=now.replace(second=0, microsecond=0) - timedelta(hours=24)))
with statistics_filters.show_scope_line(
    date_range, zone, newest, now, totals.unpriced_calls, own_only=not actor.sees_all_calls
):
    dashboard.show_errors_of_day(today)
figure_cards.show_figures(
    totals, previous, scene.course(ask.trend(actor, criteria, scene.step), now), criteria.currency
)
currency.show_note(services, actor, criteria)
dashboard.show_pauses(services, actor)
budget_cards.show_attention(services, actor)
budget_cards.show_beyond_holds(services, actor, zone)
outlook_view = outlook.compute_view(services, actor, scene, criteria, now)
week = compare_weeks(ask, actor, replace(criteria, start=None, end=None), now)
outlook.show_cards(outlook_view.month, week, people, criteria.currency)

left_column, right_column = (st.container(), st.container()) if compact else st.columns([1.7, 1], gap="small")
with left_column.container(border=True, height="stretch"):
    frame = ask.over_time(actor, criteria, scene.step, Measure.COST, [Dimension.PROVIDER])
    dashboard.show_over_time(scene, frame, f"Cost per {scene.step.value} by provider", outlook_view)
with right_column.container(border=True, height="stretch"):
    dashboard.show_top("app", ask.by(actor, criteria, Dimension.APP), criteria.currency)
    dashboard.show_top("model", ask.by(actor, criteria, Dimension.MODEL), criteria.currency, most=3)
explore.show_pinned_views(services, actor, zone, now, criteria.money)
with st.container(border=True):
    failure_criteria = ActivityFilter(period="30d", statuses=dashboard.FAILED)
    rows = services.activity.page(actor, failure_criteria, 1, 10).rows
    dashboard.show_failures(rows, people, zone, compact=compact)

"""The rows of a sample year: when calls happen, which model serves them, how they end and what they cost.

Everything follows from (calls, seed, now): drawing the same three again gives the same rows, ids included. Traffic has
the shape of a growing team: working hours and weekdays, quiet nights and holidays, apps and models that come and go, a
price that fell, an afternoon on which a provider failed, and a script that ran away one night.

Rows are made column by column, a block at a time, for an object for each value would take longer than the database.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from lib.demo import attempts
from lib.demo.attempts import SampleCalls
from lib.demo.catalogue import APPS, MODELS, PEOPLE, PEOPLE_WEIGHTS
from lib.providers.prices.price_book import PriceBook

DAYS = 365
_BLOCK = 5_000  # calls
_RUNAWAY_DAY = 31  # days before now
_RUNAWAY_HOUR = 22
_RUNAWAY_HOURS = 5
_RUNAWAY_SHARE = 1 / 160
_INCIDENT_DAY = 93  # days before now
_INCIDENT_HOUR = 13
_INCIDENT_HOURS = 3
_DAY_S = 86_400


def draw_blocks(calls: int, seed: int, now: datetime, prices: PriceBook) -> Iterator[dict[str, list[Any]]]:
    """Yield columns of `usage_logs` without change_seq, as stored, some thousand rows at a time; `calls` rows are
    final.

    They are in order of time, but that a retry follows what it tries again.
    """
    generator = np.random.default_rng(seed)
    end = now.astimezone(UTC) - timedelta(minutes=10)  # nothing may end after now
    start = end - timedelta(days=DAYS)
    hours = generator.choice(DAYS * 24, size=calls, p=_compute_hourly_level(generator, start))
    seconds = hours * 3600.0 + generator.random(calls) * 3600.0
    is_runaway = np.zeros(calls, dtype=bool)
    is_runaway[: int(calls * _RUNAWAY_SHARE)] = True  # before sorting any will do
    night = _compute_seconds_at(start, end, _RUNAWAY_DAY, _RUNAWAY_HOUR)
    seconds[is_runaway] = night + generator.random(is_runaway.sum()) * _RUNAWAY_HOURS * 3600
    order = np.argsort(seconds, kind="stable")
    seconds = seconds[order]
    is_runaway = is_runaway[order]
    incident = _compute_seconds_at(start, end, _INCIDENT_DAY, _INCIDENT_HOUR)
    for number, first in enumerate(range(0, calls, _BLOCK)):
        part = slice(first, first + _BLOCK)
        dice = np.random.default_rng([seed, number])
        yield attempts.build_columns(_draw_calls(dice, start, seconds[part], is_runaway[part], incident), prices)


def _draw_calls(dice: Any, start: datetime, seconds: Any, is_runaway: Any, incident: float) -> SampleCalls:
    count = len(seconds)
    year_part = seconds / (DAYS * _DAY_S)
    app = _pick(dice.random(count), np.array([[app.weight for app in APPS]]) * _mark_in_use(APPS, year_part))
    app[is_runaway] = _find_index(APPS, "code-review")
    person = dice.choice(len(PEOPLE), size=count, p=_normalise_weights(list(PEOPLE_WEIGHTS)))
    person[is_runaway] = len(PEOPLE) - 1
    liking = np.array([[3.0 if model.model in member.favourites else 1.0 for model in MODELS] for member in APPS])
    weights = np.array([[model.weight for model in MODELS]]) * liking[app] * _mark_in_use(MODELS, year_part)
    model = _pick(dice.random(count), weights)
    dear = next(n for n, member in enumerate(MODELS) if member.model == "gpt-5.1")
    model[is_runaway] = dear
    is_down = np.array([sample_model.provider == "openai" for sample_model in MODELS])[model]
    is_down &= (seconds >= incident) & (seconds < incident + _INCIDENT_HOURS * 3600)
    sizes = dice.lognormal(0, 0.55, (count, 2))
    prompt = np.array([sample_app.prompt_tokens for sample_app in APPS])[app] * sizes[:, 0]
    completion = np.array([sample_app.completion_tokens for sample_app in APPS])[app] * sizes[:, 1]
    return SampleCalls(
        start_ms=int(start.timestamp() * 1000) + (seconds * 1000).astype(np.int64),
        year_part=year_part,
        app=app,
        person=person,
        model=model,
        prompt=np.maximum(8, prompt.astype(np.int64)),
        completion=np.maximum(2, completion.astype(np.int64)),
        slowness=dice.lognormal(0, 0.45, count),
        luck=np.where(is_down, dice.random(count) * 0.04, dice.random(count)),
        kind=np.where(is_down, 0.13 + dice.random(count) * 0.24, dice.random(count)),  # overloaded or broken
        second=np.where(is_down, 0.54 + dice.random(count) * 0.3, dice.random(count)),  # a retry does not help
        entropy=dice.integers(0, 2**62, count, dtype=np.uint64),
        start=start,
    )


def _compute_seconds_at(start: datetime, end: datetime, days_before: int, hour: int) -> float:
    """Compute the seconds from the year's start to an hour of a day before its end."""
    day = (end - timedelta(days=days_before)).replace(hour=hour, minute=0, second=0, microsecond=0)
    return (day - start).total_seconds()


def _pick(die: Any, weights: Any) -> Any:
    """Find for each die the column of its row of weights that it falls on."""
    sums = np.cumsum(weights, axis=1)
    return (sums <= die[:, None] * sums[:, -1:]).sum(axis=1)


def _mark_in_use(catalogue: Any, year_part: Any) -> Any:
    since, until = (
        np.array([getattr(member, name) for member in catalogue]) for name in ("from_year_part", "until_year_part")
    )
    return (since <= year_part[:, None]) & (year_part[:, None] < until)


def _find_index(catalogue: Any, name: str) -> int:
    return next(number for number, member in enumerate(catalogue) if member.name == name)


def _normalise_weights(weights: list[float]) -> Any:
    array = np.array(weights, dtype=float)
    return array / array.sum()


def _compute_hourly_level(generator: np.random.Generator, start: datetime) -> Any:
    """Compute the share of each hour of the year in its traffic."""
    night = sum(app.weight * app.night_share for app in APPS)
    day_noise = generator.lognormal(0, 0.14, DAYS + 1)
    level = np.empty(DAYS * 24)
    for hour in range(DAYS * 24):
        moment = start + timedelta(hours=hour)
        working = np.exp(-(((moment.hour - 11.5) / 4.2) ** 2))  # a European team's day, in UTC
        weekend = 0.26 if moment.weekday() > 4 else 1.0
        holiday = 0.3 if (moment.month, moment.day) in {(12, 24), (12, 25), (12, 26), (12, 31), (1, 1), (5, 1)} else 1.0
        growth = 0.45 + 1.15 * hour / (DAYS * 24)
        level[hour] = (night * 0.25 + working) * weekend * holiday * growth * day_noise[hour // 24]
    return level / level.sum()

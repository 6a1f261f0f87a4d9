"""The rows of a sample year: when calls happen, which model serves them, how they end and what they cost.

Everything follows from (calls, seed, now): drawing the same three again gives the same rows, ids included. Traffic has
the shape of a growing team: working hours and weekdays, quiet nights and holidays, one model's bad day, models that
come and go.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from lib.demo.attempts import Draw, attempts
from lib.demo.catalogue import APPS, MODELS, PEOPLE, PEOPLE_WEIGHTS, DemoApp, DemoModel, demo_user_id
from lib.providers.price_book import PriceBook

DAYS = 365
_BAD_DAY = 31  # days before now: one model's traffic more than doubles


def rows(calls: int, seed: int, now: datetime, prices: PriceBook) -> Iterator[dict[str, Any]]:
    """Rows of `usage_logs` without change_seq, in order of time; `calls` of them are final."""
    for draw in _draws(calls, seed, now):
        yield from attempts(draw, prices)


def _draws(calls: int, seed: int, now: datetime) -> Iterator[Draw]:
    generator = np.random.default_rng(seed)
    end = now.astimezone(UTC) - timedelta(minutes=10)  # nothing may end after now
    start = end - timedelta(days=DAYS)
    hours = np.sort(generator.choice(DAYS * 24, size=calls, p=_hourly_level(generator, start)))
    seconds = np.sort(hours * 3600.0 + generator.random(calls) * 3600.0)
    apps = generator.choice(len(APPS), size=calls, p=_shares([app.weight for app in APPS]))
    people = generator.choice(len(PEOPLE), size=calls, p=_shares(list(PEOPLE_WEIGHTS)))
    user_ids = [demo_user_id(name) for name in PEOPLE]
    sizes = generator.lognormal(0, 0.55, (calls, 2))
    slowness = generator.lognormal(0, 0.45, calls)
    dice = generator.random((calls, 4))
    entropy = generator.integers(0, 2**61, calls)
    for n in range(calls):
        app = APPS[apps[n]]
        yield Draw(
            started_at=start + timedelta(milliseconds=int(seconds[n] * 1000)),
            app=app,
            model=_model(app, float(dice[n, 0]), float(seconds[n]) / (DAYS * 86400)),
            user_id=user_ids[people[n]],
            prompt=max(8, int(app.prompt_tokens * sizes[n, 0])),
            completion=max(2, int(app.completion_tokens * sizes[n, 1])),
            slowness=float(slowness[n]),
            luck=float(dice[n, 1]),
            kind=float(dice[n, 2]),
            second=float(dice[n, 3]),
            entropy=int(entropy[n]),
        )


def _shares(weights: list[float]) -> Any:
    array = np.array(weights, dtype=float)
    return array / array.sum()


def _hourly_level(generator: np.random.Generator, start: datetime) -> Any:
    """The share of each hour of the year in its traffic."""
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


def _model(app: DemoApp, die: float, year_part: float) -> DemoModel:
    """The model of a call: what the app prefers, among those in use at that time."""
    bad_day = abs((1 - year_part) * DAYS - _BAD_DAY) < 0.5
    weights = [
        model.weight
        * (3.0 if model.model in app.favourites else 1.0)
        * (6.0 if bad_day and model.model == "gpt-5.1" else 1.0)
        * (model.from_year_part <= year_part < model.until_year_part)
        for model in MODELS
    ]
    rest = die * sum(weights)
    for model, weight in zip(MODELS, weights, strict=True):
        rest -= weight
        if rest < 0:
            return model
    return MODELS[1]

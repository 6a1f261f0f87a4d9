"""Providers that count more than a call was bounded by: told, and held for from then on.

A hold is what a call can cost at most: a bound of its prompt's tokens and the ceiling its answer was sent. A provider
that reports more makes that untrue for every call after it, so what it reported moves the bounds of that model at that
provider: up to four times a bound by a factor, for it grows with the words then (a vocabulary of its own); more than
that by a sum (a hidden prompt, a tool that reads). It is forgotten a day after it was last seen.

Who may view statistics sees it on the pages. In memory at once; other processes learn of it through
`installation_settings`, at each sign of life (15 s).
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct, structs

from lib.calls.live_call import LiveCall
from lib.db import installation
from lib.db.engine import Store
from lib.ledger.usage_row import UsageRow

log = logging.getLogger(__name__)
SETTING = "holds.observed"
TAG = "beyond_hold"
_LASTS_S = 86_400.0
_MOST_MODELS = 500
_PROPORTIONAL = 4  # times a bound: up to there it is taken for a factor
_MOST_TOKENS = 10**9


class Excess(Struct, frozen=True):
    """How far counts went beyond their bounds: a factor in hundredths, and tokens more; `until` in Unix seconds."""

    prompt_percent: int = 100
    prompt_more: int = 0
    answer_percent: int = 100
    answer_more: int = 0
    until: float = 0.0

    def of_prompt(self, most: int) -> int:
        """The bound of a prompt in tokens, widened by the excess."""
        return min(-(-most * self.prompt_percent // 100) + self.prompt_more, _MOST_TOKENS)

    def of_answer(self, ceiling: int) -> int:
        """The ceiling of an answer in tokens, widened by the excess."""
        return min(-(-ceiling * self.answer_percent // 100) + self.answer_more, _MOST_TOKENS)

    def merged(self, other: "Excess") -> "Excess":
        """An excess with the higher of each figure."""
        return Excess(*(max(pair) for pair in zip(structs.astuple(self), structs.astuple(other), strict=True)))


@dataclass(frozen=True)
class ExceededBound:
    """A model whose provider counts more than its calls were bounded by, and what holds of it take in until when."""

    provider: str
    model: str
    excess: Excess
    until: datetime

    @property
    def words(self) -> str:
        """The excess in words: `answers 82.00 times their bound`."""
        phrases = []
        for subject, percent, tokens_more in (
            ("prompts", self.excess.prompt_percent, self.excess.prompt_more),
            ("answers", self.excess.answer_percent, self.excess.answer_more),
        ):
            phrases += [f"{subject} {percent / 100:.2f} times their bound"] if percent > 100 else []
            phrases += [f"{subject} {tokens_more:,} tokens beyond their bound"] if tokens_more else []
        return " and ".join(phrases)


_NONE = Excess()


class ObservedUsage:
    """Excesses by `provider/model` that the calls of this process and of others have shown."""

    def __init__(self) -> None:
        self._excesses: dict[str, Excess] = {}
        self._unsaved: dict[str, Excess] = {}  # not in SQL yet

    def excess(self, provider: str, model: str) -> Excess:
        """The excess that holds of a model at a provider take in now."""
        if not self._excesses:
            return _NONE
        excess = self._excesses.get(f"{provider}/{model}", _NONE)
        return excess if excess.until > time.time() else _NONE

    def listed(self) -> list[ExceededBound]:
        """All that holds take in now, the newest first."""
        now = time.time()
        active = [(name.partition("/"), excess) for name, excess in self._excesses.items() if excess.until > now]
        return [
            ExceededBound(provider, model, excess, datetime.fromtimestamp(excess.until, UTC))
            for (provider, _, model), excess in sorted(active, key=lambda item: -item[1].until)
        ]

    def take(self, call: LiveCall, row: UsageRow) -> None:
        """Look at the row of an ended attempt; one beyond its bounds is tagged, logged and learnt from."""
        attempt = call.attempt
        (most, longest) = call.attempt.most
        if row.usage_source != "provider" or not most:
            return
        prompt = row.prompt_tokens or 0
        answer = row.completion_tokens or 0
        ceiling = longest if attempt.is_bounded else None
        if prompt <= most and (ceiling is None or answer <= ceiling):
            return
        findings = []
        if prompt > most:
            findings.append(f"prompt {prompt:,} tokens of at most {most:,}")
        if ceiling is not None and answer > ceiling:
            findings.append(f"answer {answer:,} tokens of at most {ceiling:,}")
        row.tags = {**row.tags, TAG: "; ".join(findings)}
        self._learn(row.provider, row.model, _compute_excess(prompt, most, answer, ceiling), findings)

    def _learn(self, provider: str, model: str, excess: Excess, findings: list[str]) -> None:
        name = f"{provider}/{model}"
        current = self.excess(provider, model)
        merged = current.merged(structs.replace(excess, until=time.time() + _LASTS_S))
        if structs.replace(merged, until=current.until) != current:
            log.warning(
                "%s counted more than was held for, which the next holds of that model take in: %s",
                name,
                ", ".join(findings),
            )
        self._excesses[name] = self._unsaved[name] = merged

    def sync(self, store: Store) -> None:
        """Take in what other processes have seen and write down what this one has; in a thread."""
        now = time.time()
        fresh = dict(self._unsaved)
        if fresh:
            with store.write() as connection:
                stored = _merge(_parse_stored(installation.read(connection, SETTING)), fresh, now)
                newest = sorted(stored.items(), key=lambda item: -item[1].until)[:_MOST_MODELS]
                installation.write(
                    connection, SETTING, {name: list(structs.astuple(excess)) for name, excess in newest}
                )
        else:
            with store.read() as connection:
                stored = _parse_stored(installation.read(connection, SETTING))
        merged = _merge(stored, dict(self._excesses), now)
        self._excesses = merged
        for name, excess in fresh.items():
            if self._unsaved.get(name) == excess:
                del self._unsaved[name]


def _compute_excess(prompt: int, prompt_most: int, answer: int, ceiling: int | None) -> Excess:
    prompt_percent, prompt_more = _compute_overrun(prompt, prompt_most)
    answer_percent, answer_more = (100, 0) if ceiling is None else _compute_overrun(answer, ceiling)
    return Excess(prompt_percent, prompt_more, answer_percent, answer_more)


def _compute_overrun(count: int, most: int) -> tuple[int, int]:
    if count <= most:
        return 100, 0
    if count <= most * _PROPORTIONAL:
        return -(-count * 100 // most), 0
    return 100, count - most


def _merge(first: Mapping[str, Excess], second: Mapping[str, Excess], now: float) -> dict[str, Excess]:
    merged = {
        name: first[name].merged(second[name]) if name in first and name in second else first.get(name) or second[name]
        for name in {*first, *second}
    }
    return {name: excess for name, excess in merged.items() if excess.until > now}


def _parse_stored(value: Any) -> dict[str, Excess]:
    """Excesses by `provider/model` from the stored setting; entries of another shape are left out."""
    excesses = dict[str, Excess]()
    for name, figures in value.items() if isinstance(value, Mapping) else ():
        if (
            isinstance(figures, list)
            and len(figures) == 5
            and all(isinstance(figure, int | float) for figure in figures)
        ):
            counts = [int(figure) for figure in figures]
            excesses[str(name)] = Excess(counts[0], counts[1], counts[2], counts[3], float(figures[4]))
    return excesses

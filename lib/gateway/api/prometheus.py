"""The day's figures as Prometheus reads them.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/ (text, version 0.0.4). Money is exact decimal text.
"""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from lib.money import NANO_PER_USD
from lib.statistics.counters import BOUNDS_S, Histogram, ModelCounters, Snapshot

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "llm_manager_"


def format_metrics(snapshot: Snapshot) -> str:
    """Every metric, each with its help and type."""
    models = snapshot.models
    lines = [
        *_yield_metric_lines(
            "requests_total", "counter", "Calls that ended today, by status.", _yield_requests(models)
        ),
        *_yield_metric_lines(
            "attempts_total", "counter", "Requests sent upstream today, retries included.", _yield_attempts(models)
        ),
        *_yield_metric_lines("tokens_total", "counter", "Tokens today, by part.", _yield_tokens(models)),
        *_yield_metric_lines(
            "cost_usd_total", "counter", "Known cost of today's attempts, US dollars.", _yield_cost(models)
        ),
        *_yield_metric_lines(
            "unpriced_attempts_total", "counter", "Attempts today whose cost is unknown.", _yield_unpriced(models)
        ),
        *_yield_metric_lines(
            "refusals_total", "counter", "Calls refused today, by reason.", _yield_refusals(snapshot.refusals)
        ),
        *_yield_metric_lines(
            "calls_in_flight", "gauge", "Calls that are open now.", [("", {}, str(snapshot.calls_in_flight))]
        ),
        *_yield_metric_lines(
            "open_circuits", "gauge", "Models that are not called now.", [("", {}, str(snapshot.open_circuits))]
        ),
        *_yield_metric_lines(
            "duration_seconds", "histogram", "Time from sending to the end.", _yield_times(models, "duration")
        ),
        *_yield_metric_lines(
            "first_token_seconds", "histogram", "Time to the first token.", _yield_times(models, "first_token")
        ),
    ]
    return "\n".join(lines) + "\n"


_Sample = tuple[str, Mapping[str, str], str]


def _yield_metric_lines(name: str, kind: str, help_text: str, samples: Iterable[_Sample]) -> Iterator[str]:
    yield f"# HELP {_PREFIX}{name} {help_text}"
    yield f"# TYPE {_PREFIX}{name} {kind}"
    for suffix, labels, value in samples:
        inside = ",".join(f'{label}="{_escape_label(content)}"' for label, content in labels.items())
        yield f"{_PREFIX}{name}{suffix}{{{inside}}} {value}" if inside else f"{_PREFIX}{name}{suffix} {value}"


def _yield_requests(models: Iterable[ModelCounters]) -> Iterator[_Sample]:
    for counters in models:
        yield "", _build_labels(counters) | {"status": counters.status}, str(counters.calls)


def _yield_attempts(models: Iterable[ModelCounters]) -> Iterator[_Sample]:
    for counters in models:
        yield "", _build_labels(counters) | {"status": counters.status}, str(counters.attempts)


def _yield_tokens(models: Iterable[ModelCounters]) -> Iterator[_Sample]:
    for counters in models:
        for part, count in counters.tokens.items():
            labels = {"status": counters.status, "part": part.removesuffix("_tokens")}
            yield "", _build_labels(counters) | labels, str(count)


def _yield_cost(models: Iterable[ModelCounters]) -> Iterator[_Sample]:
    for counters in models:
        dollars = format(Decimal(counters.cost_nano_usd) / NANO_PER_USD, "f")
        yield "", _build_labels(counters) | {"status": counters.status}, dollars


def _yield_unpriced(models: Iterable[ModelCounters]) -> Iterator[_Sample]:
    for counters in models:
        yield "", _build_labels(counters) | {"status": counters.status}, str(counters.unpriced)


def _yield_refusals(refusals: Mapping[str, int]) -> Iterator[_Sample]:
    for reason, count in sorted(refusals.items()):
        yield "", {"reason": reason}, str(count)


def _yield_times(models: Iterable[ModelCounters], which: str) -> Iterator[_Sample]:
    for counters in models:
        histogram: Histogram = getattr(counters, which)
        labels = _build_labels(counters) | {"status": counters.status}
        for bound, count in zip(BOUNDS_S, histogram.at_most, strict=True):
            yield "_bucket", labels | {"le": f"{bound:g}"}, str(count)
        yield "_bucket", labels | {"le": "+Inf"}, str(histogram.count)
        yield "_sum", labels, format(Decimal(histogram.sum_ms) / 1000, "f")
        yield "_count", labels, str(histogram.count)


def _build_labels(counters: ModelCounters) -> dict[str, str]:
    return {"provider": counters.provider, "model": counters.model}


def _escape_label(content: str) -> str:
    return content.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

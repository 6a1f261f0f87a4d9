"""What embedding some tokens will take, in time and money."""

from sqlalchemy import func, select

from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import providers, usage_logs
from lib.providers.chunks import Usage
from lib.providers.prices.price_book import PriceBook

_MEASURED = 50
_LEAST_TOKENS = 500
_L = usage_logs.c


def estimate_seconds(store: Store, model: str, tokens: int) -> float | None:
    """At the speed of the model's latest batches; None when it has embedded none."""
    provider, _, name = model.partition("/")
    with store.read() as connection:
        batches = (
            select(_L.prompt_tokens, _L.execution_time_ms)
            .where(_L.provider == provider, _L.model == name, _L.origin == "rag", _L.status == "ok")
            .where(_L.prompt_tokens >= _LEAST_TOKENS, _L.execution_time_ms > 0)
            .order_by(_L.started_at.desc())
            .limit(_MEASURED)
            .subquery()
        )
        summed = select(func.sum(batches.c.prompt_tokens), func.sum(batches.c.execution_time_ms))
        tokens_measured, took_ms = connection.execute(summed).one()
    if not tokens:
        return 0.0
    return tokens * int(took_ms) / 1000 / int(tokens_measured) if tokens_measured else None


def estimate_cost(store: Store, prices: PriceBook, model: str, tokens: int) -> int | None:
    """Nano-dollars at today's price; None when nobody knows one."""
    provider, _, name = model.partition("/")
    with store.read() as connection:
        kind = connection.scalar(select(providers.c.kind).where(providers.c.name == provider))
    price = prices.price(kind or provider, name, utc_now())
    return price.cost_nano(Usage(tokens, 0)) if price is not None else None

"""Files in the documented forms, and the ledger after they were imported."""

import io
from pathlib import Path
from typing import Any

from sqlalchemy import select

from lib.access.permissions import OPERATOR
from lib.db.engine import Store
from lib.db.tables import usage_logs
from lib.imports import ImportBatch, Imports, UsageFile, Wishes
from lib.providers.prices.price_book import PriceBook

DATA = Path(__file__).parent / "data"


def service(store: Store) -> Imports:
    """Imports with the shipped prices."""
    return Imports(store, PriceBook())


def source(name: str) -> UsageFile:
    """A file of `data/`."""
    return UsageFile(io.BytesIO((DATA / name).read_bytes()), name)


def given(text: str, name: str = "given.csv") -> UsageFile:
    """A file of these words."""
    return UsageFile(io.BytesIO(text.encode()), name)


def brought(store: Store, file: UsageFile, **wishes: Any) -> tuple[ImportBatch, list[dict[str, Any]]]:
    """The batch of an import and its rows, the oldest first."""
    batch = service(store).run(OPERATOR, file, Wishes(**wishes))
    return batch, rows_of(store, batch.id)


def rows_of(store: Store, batch_id: str) -> list[dict[str, Any]]:
    """The rows of a batch, the oldest first."""
    query = select(usage_logs).where(usage_logs.c.batch_id == batch_id)
    with store.read() as connection:
        found = connection.execute(query.order_by(usage_logs.c.started_at, usage_logs.c.id)).mappings()
        return [dict(row) for row in found]

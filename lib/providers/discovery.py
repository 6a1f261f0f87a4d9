"""The models each provider offers: asked for, kept in `model_lists`, and asked again by hand or after a day.

A failed try keeps the last good list and notes the moment and the reason. `list` never asks anybody; `is_due` tells
whoever shows a list that it should be refreshed. Facts that a listing lacks come from the shipped list, prices from the
price book: the one that calls are priced with. Lists are read again from the store every half a minute at most, because
`find` stands on the path of every call.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from lib.access.permissions import Actor, Permission
from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import model_lists, providers
from lib.errors import LLMManagerError
from lib.providers import listings
from lib.providers.kinds import ProviderKind
from lib.providers.models import Catalogue, ModelFacts, build_facts
from lib.providers.prices.price_book import PriceBook
from lib.providers.registry import Provider, Providers

FRESH_FOR = timedelta(hours=24)
RETRY_AFTER = timedelta(hours=1)
_REREAD_S = 30.0


@dataclass(frozen=True)
class ModelList:
    """A provider's models by name, when they were listed, and why the newest try failed, if it did.

    `fetched_at` None: the provider never answered, and the models are those of its kind in the shipped list.
    """

    models: Sequence[ModelFacts]
    fetched_at: datetime | None
    tried_at: datetime | None
    error: str | None
    is_due: bool

    def get(self, model: str) -> ModelFacts | None:
        """One by name."""
        return next((facts for facts in self.models if facts.model == model), None)


class Models:
    """What models there are, and what is known of each."""

    def __init__(self, store: Store, providers: Providers, prices: PriceBook) -> None:
        self._store = store
        self._providers = providers
        self._prices = prices
        self._catalogue = Catalogue()
        self._lock = threading.Lock()
        self._listed: dict[str, dict[str, ModelFacts]] = {}  # provider id → name → as the provider lists it
        self._kinds: dict[str, str] = {}  # provider id → kind
        self._read_at: float | None = None

    def list(self, actor: Actor, provider_id: str) -> ModelList:
        """The list as it was last fetched."""
        provider = self._providers.get(actor, provider_id)
        with self._store.read() as connection:
            row = connection.execute(select(model_lists).where(model_lists.c.provider_id == provider.id)).first()
        return self._model_list(provider, row)

    def refresh(self, actor: Actor, provider_id: str) -> ModelList:
        """Ask the provider now; takes ten seconds at most. A failure is in the list's `error`, not raised."""
        actor.require(Permission.EDIT_CONFIGS)
        provider = self._providers.get(actor, provider_id)
        now = utc_now()
        values: dict[str, Any] = {"tried_at": now, "error": None}
        try:
            listed_models = listings.fetch(self._providers.endpoint(provider.id), self._catalogue)
            values |= {"models": [facts.as_record() for facts in listed_models], "fetched_at": now}
        except LLMManagerError as error:
            values["error"] = str(error)
        self._keep(provider.id, values)
        with self._lock:
            self._read_at = None
        return self.list(actor, provider.id)

    def find(self, kind: str, model: str, provider_id: str | None = None) -> ModelFacts | None:
        """Gather the facts of a model from the listing of a provider (None: of any of the kind) and the shipped list.

        None when nobody lists it. (Internal: facts, nothing of the team's.)
        """
        listed = self._lists()
        provider_ids = (
            [provider_id] if provider_id else [key for key, its_kind in self._kinds.items() if its_kind == kind]
        )
        own = next((facts for key in provider_ids if (facts := listed.get(key, {}).get(model)) is not None), None)
        if own is None and kind == ProviderKind.LOCAL:
            own = next((local for local in listings.list_local_models() if local.model == model), None)
        shipped = self._catalogue.find(kind, model)
        if own is None and shipped is None:
            return None
        return self._priced(kind, _merge_facts(own, shipped) or ModelFacts(model))

    def limits(self, kind: str, model: str, provider_id: str | None = None) -> ModelFacts:
        """Gather the facts of a model as `find` does, but return empty facts instead of None.

        A model that the shipped list lacks also gets the facts that hold for every model of its kind.
        """
        facts = self.find(kind, model, provider_id) or ModelFacts(model)
        return facts if self._catalogue.find(kind, model) else facts.filled_from(self._catalogue.any_of(kind))

    def _keep(self, provider_id: str, values: dict[str, Any]) -> None:
        """Store what a try brought; where it failed, the list of before stays."""
        changed = update(model_lists).where(model_lists.c.provider_id == provider_id).values(**values)
        first = {"provider_id": provider_id, "models": [], "fetched_at": None} | values
        try:
            with self._store.write() as connection:
                if connection.execute(changed).rowcount == 0:
                    connection.execute(insert(model_lists).values(**first))
        except IntegrityError:  # somebody asked for the first time in the same moment
            with self._store.write() as connection:
                connection.execute(changed)

    def _model_list(self, provider: Provider, row: Row[Any] | None) -> ModelList:
        if row is None or row.fetched_at is None:
            shipped = [self._priced(provider.kind, facts) for facts in self._catalogue.of_kind(provider.kind)]
            tried = (None, None, True) if row is None else (row.tried_at, row.error, _is_due(provider, row))
            return ModelList(shipped, None, *tried)
        models = [self._completed(provider.kind, build_facts(record)) for record in row.models]
        return ModelList(models, row.fetched_at, row.tried_at, row.error, is_due=_is_due(provider, row))

    def _completed(self, kind: str, facts: ModelFacts) -> ModelFacts:
        return self._priced(kind, _merge_facts(facts, self._catalogue.find(kind, facts.model)) or facts)

    def _priced(self, kind: str, facts: ModelFacts) -> ModelFacts:
        """With the price that calls are charged with; the provider's own where the book has none."""
        price = self._prices.price(kind, facts.model, utc_now())
        if price is None:
            return facts
        return replace(facts, input_nano=price.rates.input, output_nano=price.rates.output)

    def _lists(self) -> dict[str, dict[str, ModelFacts]]:
        """Every provider's list, at most half a minute old."""
        with self._lock:
            if self._read_at is None or time.monotonic() - self._read_at > _REREAD_S:
                query = select(model_lists.c.provider_id, model_lists.c.models, providers.c.kind)
                with self._store.read() as connection:
                    rows = connection.execute(query.join(providers, providers.c.id == model_lists.c.provider_id)).all()
                self._listed = {
                    row.provider_id: {record["model"]: build_facts(record) for record in row.models} for row in rows
                }
                self._kinds = {row.provider_id: row.kind for row in rows}
                self._read_at = time.monotonic()
            return self._listed


def _merge_facts(own: ModelFacts | None, shipped: ModelFacts | None) -> ModelFacts | None:
    return own.filled_from(shipped) if own and shipped else own or shipped


def _is_due(provider: Provider, row: Row[Any]) -> bool:
    """Whether to ask again: never listed, older than a day, or of an address or key of before; not soon after a try."""
    now = utc_now()
    if provider.updated_at > row.tried_at:
        return True
    if row.error is not None:
        return bool(now - row.tried_at > RETRY_AFTER)
    return row.fetched_at is None or bool(now - row.fetched_at > FRESH_FOR)

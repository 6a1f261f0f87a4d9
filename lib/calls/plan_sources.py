"""The sources of plans: configurations, endpoints, overrides, as they stand in the database.

A page asks afresh each time. The gateway asks thousands of times a second for the same few things, so there an answer
is kept for two seconds; after that one asker fetches it again while the others go on with it, and nobody uses one that
is older than four. Keys, prices and circuits have memories of their own, as short.
"""

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar, cast

from lib.access.permissions import Actor, Permission
from lib.configs.configuration import Configuration
from lib.configs.configurations import Configurations
from lib.configs.overrides import Override, Overrides
from lib.providers.chunks import Endpoint
from lib.providers.models import ModelFacts
from lib.providers.registry import Providers

_FRESH_S = 2.0
_USABLE_S = 4.0
_MOST_KEPT = 5_000
_T = TypeVar("_T")


class NotCached(Exception):
    """The answer has to be read from the database."""


class PlanSources:
    """Reads from the database every time. Permissions are checked here, for a kept answer too."""

    def __init__(self, configurations: Configurations, providers: Providers, overrides: Overrides) -> None:
        self._configurations = configurations
        self._providers = providers
        self._overrides = overrides

    def default_for(self, actor: Actor, app: str) -> Configuration:
        """An app's default configuration."""
        actor.require(Permission.VIEW_CONFIGS)
        return self._load(("default", actor.team_id, app), lambda: self._configurations.default_for(actor, app))

    def configuration(self, actor: Actor, slug_or_id: str) -> Configuration:
        """A configuration by its slug or id."""
        actor.require(Permission.VIEW_CONFIGS)
        return self._load(
            ("configuration", actor.role, actor.team_id, slug_or_id),
            lambda: self._configurations.get(actor, slug_or_id),
        )

    def of_model(self, actor: Actor, name: str) -> Configuration:
        """A configuration made for a `provider/model` that is called past all configurations."""
        actor.require(Permission.VIEW_CONFIGS)

        def read() -> Configuration:
            provider_name, _, model = name.partition("/")
            provider = self._providers.get(actor, provider_name)
            return Configuration.make_for_model(provider.id, provider.name, provider.kind, model)

        return self._load(("model", name), read)

    def endpoint(self, provider_id: str) -> Endpoint:
        """Where and with what key a provider is called."""
        return self._load(("endpoint", provider_id), lambda: self._providers.endpoint(provider_id))

    def overrides(self, actor: Actor, app: str, context: str | None, configuration_id: str) -> Sequence[Override]:
        """Overrides that hold for a call."""
        actor.require(Permission.VIEW_CONFIGS)
        read: Callable[[], Sequence[Override]] = lambda: self._overrides.matching(actor, app, context, configuration_id)  # noqa: E731
        return self._load(("overrides", actor.team_id, app, context, configuration_id), read)

    def limits(self, kind: str, model: str, provider_id: str) -> ModelFacts:
        """A model's facts: the parameters it takes, its longest answer and its window in tokens."""
        return self._load(
            ("limits", kind, model, provider_id), lambda: self._overrides.limits(kind, model, provider_id)
        )

    def _load(self, key: Hashable, read: Callable[[], _T]) -> _T:
        return read()


class CachedPlanSources(PlanSources):
    """Plan sources from memory. NotCached where a query is needed; `reading` is a view that runs the query instead."""

    def __init__(self, configurations: Configurations, providers: Providers, overrides: Overrides) -> None:
        super().__init__(configurations, providers, overrides)
        self._cached: dict[Hashable, tuple[float, Any]] = {}
        self._refreshing_since: dict[Hashable, float] = {}  # who fetches an answer again now
        self._lock = threading.Lock()
        self.reading = _ReadThroughSources(configurations, providers, overrides, self._keep)

    def _load(self, key: Hashable, read: Callable[[], _T]) -> _T:
        at, answer = self._cached.get(key, (0.0, None))
        age = time.monotonic() - at
        if key not in self._cached or age >= _USABLE_S or (age >= _FRESH_S and self._is_first(key)):
            raise NotCached
        return cast(_T, answer)

    def _is_first(self, key: Hashable) -> bool:
        now = time.monotonic()
        if now - self._refreshing_since.get(key, 0.0) < _FRESH_S:
            return False
        self._refreshing_since[key] = now
        return True

    def _keep(self, key: Hashable, at: float, answer: Any) -> None:
        with self._lock:
            if len(self._cached) >= _MOST_KEPT:
                self._cached.clear()
                self._refreshing_since.clear()
            self._cached[key] = (at, answer)


class _ReadThroughSources(PlanSources):
    """Reads from the database and fills the cache."""

    def __init__(
        self,
        configurations: Configurations,
        providers: Providers,
        overrides: Overrides,
        keep: Callable[[Hashable, float, Any], None],
    ) -> None:
        super().__init__(configurations, providers, overrides)
        self._keep = keep

    def _ask(self, key: Hashable, read: Callable[[], _T]) -> _T:
        at = time.monotonic()  # before the question: what changes after it counts from here
        answer = read()
        self._keep(key, at, answer)
        return answer

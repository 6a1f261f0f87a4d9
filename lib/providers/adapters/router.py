"""Choosing among deployments: litellm's Router, used for its strategies and for nothing else.

Its retries, fallbacks, cooldowns and callbacks are off, since attempts are the call path's own; what its strategies
need to know (who is busy, who was fast) is told to them here. A pool is made for a set of deployments and kept while it
is used; a configuration with one deployment never comes here.
"""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

_GROUP = "deployments"
_KEPT = 64
_CALLBACKS = (
    "callbacks",
    "input_callback",
    "success_callback",
    "failure_callback",
    "_async_success_callback",
    "_async_failure_callback",
    "service_callback",
)
_FREE = 1e-15  # the Router takes an explicit zero for "no price"


@dataclass(frozen=True)
class RouterDeployment:
    """A deployment as the Router sees it. `cost` is dollars a token (in plus out), None when nobody knows one."""

    id: str
    weight: int = 1
    cost: float | None = None


class Pool:
    """A strategy over a set of candidates, and what it has learned about them."""

    def __init__(self, strategy: str, candidates: tuple[RouterDeployment, ...]) -> None:
        self._ids = {candidate.id for candidate in candidates}
        self._router = _build_router(strategy, candidates)

    async def choose(self, untried: Collection[str]) -> str:
        """The id of one of the candidates that are `untried`."""
        request_kwargs = {"stream": True, "_excluded_deployment_ids": sorted(self._ids - set(untried))}
        deployment = await self._router.async_get_available_deployment(
            _GROUP, request_kwargs=request_kwargs, messages=[]
        )
        return str(deployment["model_info"]["id"])

    def started(self, candidate_id: str) -> None:
        """An attempt is on its way to a candidate."""
        if (busy := self._router.leastbusy_logger) is not None:
            busy.log_pre_api_call(_GROUP, [], _describe_call(candidate_id))

    async def ended(self, candidate_id: str, first_token_s: float | None) -> None:
        """Tell the strategy that an attempt at a candidate ended, and after how many seconds its first token came.

        `first_token_s` is None when no token came.
        """
        if (busy := self._router.leastbusy_logger) is not None:
            busy.log_success_event(_describe_call(candidate_id), None, None, None)
        if (latency := self._router.lowestlatency_logger) is not None and first_token_s is not None:
            call_details = _describe_call(candidate_id) | {"stream": True, "completion_start_time": first_token_s}
            await latency.async_log_success_event(call_details, None, 0.0, first_token_s)


class Pools:
    """The pools of this process, newest use last."""

    def __init__(self) -> None:
        self._pools: OrderedDict[Any, Pool] = OrderedDict()

    async def get(self, strategy: str, candidates: tuple[RouterDeployment, ...]) -> Pool:
        """The pool of these candidates; making the first one imports litellm, in a thread."""
        key = (strategy, candidates)
        if key not in self._pools:
            pool = await asyncio.to_thread(Pool, strategy, candidates)
            self._pools.setdefault(key, pool)
            if len(self._pools) > _KEPT:
                self._pools.popitem(last=False)
        self._pools.move_to_end(key)
        return self._pools[key]


_making = threading.Lock()


def _build_router(strategy: str, candidates: tuple[RouterDeployment, ...]) -> Any:
    """A Router over the candidates, with every hook it hangs into litellm taken out again."""
    from lib.providers.adapters.via_litellm import load_litellm

    litellm = load_litellm()
    with _making:
        hooks = {name: list(getattr(litellm, name)) for name in _CALLBACKS}
        try:
            return litellm.Router(
                model_list=[_build_deployment(candidate) for candidate in candidates],
                routing_strategy=strategy,
                num_retries=0,
                max_fallbacks=0,
                disable_cooldowns=True,
                enable_pre_call_checks=False,
            )
        finally:
            for name, callbacks in hooks.items():
                getattr(litellm, name)[:] = callbacks


def _build_deployment(candidate: RouterDeployment) -> dict[str, Any]:
    parameters: dict[str, Any] = {"model": "openai/any", "api_key": "none", "weight": candidate.weight}
    if candidate.cost is not None:
        half = max(candidate.cost, _FREE) / 2
        parameters |= {"input_cost_per_token": half, "output_cost_per_token": half}
    return {"model_name": _GROUP, "litellm_params": parameters, "model_info": {"id": candidate.id}}


def _describe_call(candidate_id: str) -> dict[str, Any]:
    """Build the part of litellm's description of a call from which its strategies tell the candidate."""
    return {"litellm_params": {"metadata": {"model_group": _GROUP}, "model_info": {"id": candidate_id}}}

"""Testing a connection: one tiny streamed call through the call path, so that it is logged like every other.

It asks the configuration's own provider and model, past an open circuit too; an answer closes the circuit.
The result says what a person wants to know: does it answer, how fast, which model, and if not, why. It is kept with the
provider as its last check.
"""

import time
from dataclasses import dataclass
from datetime import datetime

from lib.access.permissions import Actor, Permission
from lib.calls.calls import Calls
from lib.calls.request import NOT_REMEMBERED, CallRequest, Origin
from lib.clock import utc_now
from lib.configs.configurations import Configuration
from lib.configs.routing import Deadlines
from lib.errors import InvalidInput
from lib.ledger.content_policy import sanitise_text
from lib.providers.discovery import Models
from lib.providers.provider import Provider
from lib.providers.registry import Providers

_QUESTION = "Answer with the word ready."
_LIMITS = Deadlines(first_token_s=30, idle_s=15, total_s=45)


@dataclass(frozen=True)
class ConnectionCheck:
    """What a test found; `message` is the reason when it failed and the beginning of the answer when it did not."""

    ok: bool
    at: datetime
    model: str
    latency_ms: int | None
    first_token_ms: int | None
    message: str
    log_id: str


def check_connection(actor: Actor, configuration: Configuration, calls: Calls, providers: Providers) -> ConnectionCheck:
    """Ask a configuration's model one short question and wait for the answer (45 seconds at most)."""
    actor.require(Permission.TEST_CONFIGS)
    if configuration.provider_id is None:
        raise InvalidInput(f"{configuration.slug} has no provider.", "", "Edit it and choose one.")
    view = calls.run(
        CallRequest(
            actor=actor,
            messages=[{"role": "user", "content": _QUESTION}],
            configuration=configuration.id,
            app=configuration.app,
            origin=Origin.SYSTEM,
            system_prompt="",
            parameters={"max_tokens": 16},
            deadlines=_LIMITS,
            max_attempts=1,
            routed=False,
            even_if_off=True,
            cache_policy=NOT_REMEMBERED,
        )
    )
    answered = view.status in ("ok", "truncated") and view.first_token_ms is not None
    check = ConnectionCheck(
        ok=answered,
        at=utc_now(),
        model=view.served_model or view.model,
        latency_ms=view.execution_time_ms,
        first_token_ms=view.first_token_ms,
        message=_shorten_answer(configuration, view.text) if answered else view.error_message or "No answer came.",
        log_id=view.log_id,
    )
    record = {"ok": check.ok, "at": check.at.isoformat(), "latency_ms": check.latency_ms, "message": check.message}
    providers.record_check(configuration.provider_id, record)
    return check


def check_listing(actor: Actor, provider: Provider, models: Models, providers: Providers) -> None:
    """Ask a provider for its list of models, which needs no configuration, and keep what came as its last check."""
    actor.require(Permission.TEST_CONFIGS)
    began = time.monotonic()
    listed = models.refresh(actor, provider.id)
    check = {"ok": listed.error is None, "at": utc_now().isoformat(), "message": listed.error or ""}
    check |= {"latency_ms": round((time.monotonic() - began) * 1000), "models": len(listed.models)}
    providers.record_check(provider.id, check)


def _shorten_answer(configuration: Configuration, text: str) -> str:
    """The beginning of the answer, as far as the configuration lets words be kept."""
    return (sanitise_text(configuration.content_policy, " ".join(text.split())) or "It answered.")[:200]

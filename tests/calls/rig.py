"""A whole installation in a folder, with a scripted provider and a configuration for any script."""

from dataclasses import replace
from typing import Any

from lib import services as service_root
from lib.access.permissions import Actor, Role, make_actor
from lib.calls.live_call import CallView
from lib.calls.request import CallRequest
from lib.clock import make_id
from lib.configs.routing import Deadlines
from lib.services import Services
from lib.settings import Settings

AMIRA = make_actor("00000000-0000-7000-8000-00000000000a", "amira", Role.SUPER_ADMIN)
JONAS = make_actor("00000000-0000-7000-8000-00000000000b", "jonas", Role.DEVELOPER)


class Rig:
    """Ask any script and look at what the ledger says."""

    def __init__(self, settings: Settings) -> None:
        self.services: Services = service_root.build(settings)
        self.services.providers.create(AMIRA, name="scripted", kind="scripted")

    def request(
        self, script: str, prompt: str = "Tell me of ledgers", actor: Actor = AMIRA, **more: Any
    ) -> CallRequest:
        """A request for a configuration whose model is the script."""
        slug = f"s-{make_id()[-12:]}"
        self.services.configurations.create(AMIRA, slug=slug, app="tests", provider="scripted", model=script)
        messages = [{"role": "user", "content": prompt}]
        return CallRequest(actor=actor, messages=messages, configuration=slug, **more)

    def run(self, script: str, **more: Any) -> CallView:
        """Send it and wait for its end."""
        return self.services.calls.run(self.request(script, **more))

    def rows(self, call_id: str) -> list[dict[str, Any]]:
        """Its rows in the ledger, by attempt."""
        from sqlalchemy import select

        from lib.db.tables import usage_logs

        query = select(usage_logs).where(usage_logs.c.call_id == call_id).order_by(usage_logs.c.attempt)
        with self.services.store.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]


def within(**limits: float) -> Deadlines:
    """Deadlines with some changed."""
    return replace(Deadlines(), **limits)

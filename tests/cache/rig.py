"""An installation whose configurations remember answers; what was asked of the model is counted in the ledger."""

from dataclasses import replace
from typing import Any

from sqlalchemy import select

from lib.access.permissions import Actor
from lib.cache.policy import CacheRules
from lib.calls.live_call import CallView
from lib.calls.request import CallRequest
from lib.db.tables import usage_logs
from lib.settings import Settings
from tests.calls.rig import AMIRA, JONAS, Rig

__all__ = ["AMIRA", "JONAS", "CacheRig"]


class CacheRig(Rig):
    """Ask one configuration again and again."""

    def __init__(self, settings: Settings, script: str = "echo+priced", **rules: Any) -> None:
        super().__init__(settings)
        self.configurations = self.services.configurations
        self.slug = self.configure(script, **rules)

    def configure(self, script: str, slug: str = "remembers", **rules: Any) -> str:
        """A configuration with a script and rules."""
        configuration = self.configurations.create(AMIRA, slug=slug, app="tests", provider="scripted", model=script)
        chosen = replace(CacheRules(exact=True), **rules)
        self.services.cache.change_rules(AMIRA, configuration.id, chosen)
        self.services.cache.start()
        return slug

    def ask(self, prompt: str, actor: Actor = AMIRA, **more: Any) -> CallView:
        """Ask and wait; `messages` in place of one question."""
        more.setdefault("messages", [{"role": "user", "content": prompt}])
        more.setdefault("configuration", self.slug)
        view = self.services.calls.run(CallRequest(actor=actor, **more))
        assert view.status == "ok", view.error_message
        return view

    def tier(self, view: CallView) -> str:
        """The column `cache` of the call's row."""
        return str(self.rows(view.call_id)[-1]["cache"])

    def tiers(self, *prompts: str, **more: Any) -> list[str]:
        """The tiers of questions that are asked one after the other."""
        told = []
        for prompt in prompts:
            told.append(self.tier(self.ask(prompt, **more)))
            self.services.cache.recall.settle()
        return told

    def find_tiers(self) -> dict[str, str]:
        """The column `cache` of every call."""
        with self.services.store.read() as connection:
            return {
                row.call_id: row.cache for row in connection.execute(select(usage_logs.c.call_id, usage_logs.c.cache))
            }

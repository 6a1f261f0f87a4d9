"""The composition root: settings in, every service out. Doors ask here and nowhere else.

`build` brings the store to this version's schema, opens the vault, seeds the examples and closes what a killed process
left behind. `current` is the process's one set of services; it is made at the first call and lives in this module
because Streamlit's hot reload and its caches may drop anything kept elsewhere.
"""

import logging
import threading
from functools import cached_property
from typing import TYPE_CHECKING

from lib.access.access_links import AccessLinks
from lib.access.api_keys import ApiKeys
from lib.access.audit import Audit
from lib.access.limits import RateLimits
from lib.access.master_key import MasterKey
from lib.access.permissions import OPERATOR
from lib.access.preferences import Preferences
from lib.access.saved_views import SavedViews
from lib.access.sessions import Sessions
from lib.access.setup import Setup
from lib.access.stop_switch import StopSwitch
from lib.access.teams import Teams
from lib.access.users import Users
from lib.activity.custom_metrics import Metrics
from lib.activity.repricing import Repricing
from lib.approvals.approval import ApprovalKind
from lib.approvals.approvals import Approvals
from lib.budgets.budgets import Budgets
from lib.budgets.webhook import Webhook
from lib.cache.cache import Cache
from lib.calls.calls import Calls
from lib.calls.past_call import PastCalls
from lib.configs.configurations import Configurations
from lib.configs.overrides import Overrides
from lib.conversations.answers import settle
from lib.conversations.contexts import Contexts
from lib.conversations.conversations import Conversations
from lib.conversations.files import ConversationFiles
from lib.conversations.interchange import Interchange
from lib.conversations.ratings import Ratings
from lib.conversations.search import Search
from lib.conversations.talk import Talk
from lib.conversations.titles import Titles, take_titles
from lib.db import schema
from lib.db.data_key import DataKey
from lib.db.database_file import open_store
from lib.db.engine import Store
from lib.db.vault import Vault
from lib.errors import LLMManagerError
from lib.experiments.experiments import Experiments
from lib.jobs.erasure import Erasure
from lib.jobs.hand_over import HandOver
from lib.jobs.retention import Retention
from lib.jobs.scheduler import Errand, Scheduler
from lib.knowledge.services import KnowledgeServices
from lib.ledger.step_results import StepResults
from lib.playground.runs import Playground
from lib.prompts.prompts import Prompts
from lib.providers import safe_logs
from lib.providers.circuits import Circuits
from lib.providers.discovery import Models
from lib.providers.prices.price_book import PriceBook
from lib.providers.prices.price_entries import Prices
from lib.providers.proxies import use_proxies
from lib.providers.redaction import remember
from lib.providers.registry import Providers
from lib.settings import Settings
from lib.statistics.counters import Counters
from lib.statistics.exchange import ExchangeRates
from lib.statistics.shared_costs import SharedCosts
from lib.tokens.kept_turns import KeptTurns
from lib.tools.direct_runs import DirectRuns
from lib.tools.tool_retention import forget_old_runs
from lib.tools.turns import Turns
from lib.work.work import Work
from lib.workflows.services import WorkflowServices

if TYPE_CHECKING:
    import numpy as np

    from lib.activity.call_log import Activity
    from lib.demo import Demo
    from lib.imports import Imports
    from lib.mcp.bundled.servers import BundledServers
    from lib.mcp.keeper import Keeper
    from lib.mcp.servers import Servers
    from lib.mcp.sign_ins import SignIns
    from lib.statistics.invoices.reconcile import Reconcile
    from lib.statistics.queries import Statistics
    from lib.statistics.whatif import WhatIf
    from lib.tools.http_tools import HttpTools
    from lib.tools.interchange import ToolExchange
    from lib.tools.registry import Tools

log = logging.getLogger(__name__)


class Services:
    """Everything a door may call. Statistics and sample data load pandas and DuckDB when first used."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.store = store
        self.vault = Vault(store, settings)
        self.data_key = DataKey(store, self.vault)
        self.audit = Audit(store)
        self.retention = Retention(store)
        self.budgets = Budgets(store)
        self.webhook = Webhook(store, self.vault)
        self.counters = Counters(store)
        self.exchange_rates = ExchangeRates(store)
        self._build_access()
        self._build_call_path()
        self._build_conversations()
        self._build_work()
        self.workflows.connect()

    def _build_access(self) -> None:
        """Build the services of people, teams, keys and what they may do."""
        settings = self.settings
        store = self.store
        self.master_key = MasterKey(self.vault)
        self.users = Users(store)
        self.teams = Teams(store)
        self.stops = StopSwitch(store)
        self.approvals = Approvals(store, self.vault)
        self.access_links = AccessLinks(store)
        self.shared_costs = SharedCosts(store)
        self.hand_over = HandOver(store)
        self.erasure = Erasure(store)
        self.sessions = Sessions(store)
        self.preferences = Preferences(store)
        self.saved_views = SavedViews(store)
        self.api_keys = ApiKeys(store)
        self.limits = RateLimits(store)
        self.setup = Setup(settings, store, self.users)

    def _build_call_path(self) -> None:
        """Build what a call passes: prices, providers, configurations, the cache and the calls themselves."""
        settings = self.settings
        store = self.store
        self.step_results = StepResults(store, self.data_key)
        self.prices = PriceBook(store=store)
        self.price_entries = Prices(store, self.prices)
        self.repricing = Repricing(store, self.prices)
        self.providers = Providers(store, self.vault)
        self.models = Models(store, self.providers, self.prices)
        self.circuits = Circuits(store)
        self.configurations = Configurations(store)
        self.overrides = Overrides(store, self.models)
        self.prompts = Prompts(store)
        self.calls = Calls(
            store,
            settings.data_dir / "spool",
            self.configurations,
            self.providers,
            self.prices,
            self.circuits,
            self.overrides,
            self.limits,
            self.vault,
            self.stops,
        )
        self.calls.results = self.step_results
        self.knowledge = KnowledgeServices(
            settings, store, self.calls, self.configurations, self.overrides, self.prices
        )
        self.cache = Cache(store, self.vault, self.calls, self._embed_question)
        self.kept_turns = KeptTurns()
        self.runs = PastCalls(store)
        self.turns = Turns(store, self.vault, self.calls, self.tools, self.approvals)
        self.direct_runs = DirectRuns(self.tools, self.approvals)
        self.approvals.on_decision(ApprovalKind.TOOL, self.turns.hear)

    def _build_conversations(self) -> None:
        """Build the services of conversations; they need the call path."""
        store = self.store
        self.conversations = Conversations(store, self.configurations)
        self.contexts = Contexts(store, self.calls, self.configurations, self.overrides, self.prices)
        self.titles = Titles(store, self.calls)
        self.conversation_search = Search(store)
        self.conversation_exchange = Interchange(store, self.calls, self.configurations)
        self.conversation_files = ConversationFiles(store)
        self.metrics = Metrics(store)
        self.ratings = Ratings(store, self.calls, self.metrics)
        self.talk = Talk(
            store, self.calls, self.configurations, self.contexts, lambda: self.knowledge.answers, self.turns
        )

    def _build_work(self) -> None:
        """Build what runs many calls: long work, experiments, the playground."""
        store = self.store
        self.work = Work(store, self.settings.data_dir, self.step_results)
        self.workflows = WorkflowServices(
            store,
            self.data_key,
            self.calls,
            self.configurations,
            self.prompts,
            self.work,
            self.approvals,
            self.step_results,
            self.stops,
            lambda: self.tools,
            self.knowledge,
            self.talk,
        )
        self.experiments = Experiments(
            store,
            self.calls,
            self.configurations,
            self.prompts,
            self.work,
            self.launch_work,
            self.turns,
            lambda: self.workflows.experiment_runs,
        )
        self.playground = Playground(
            store, self.calls, self.configurations, self.metrics, lambda: self.knowledge.answers, self.turns
        )

    @cached_property
    def http_tools(self) -> "HttpTools":
        """Requests to programs outside, as tools."""
        from lib.tools.http_tools import HttpTools

        return HttpTools(self.store, self.vault)

    @cached_property
    def tool_exchange(self) -> "ToolExchange":
        """Tools as files."""
        from lib.tools.interchange import ToolExchange

        return ToolExchange(self.store, self.tools, self.http_tools)

    @cached_property
    def tools(self) -> "Tools":
        """The registry of tools, with every source."""
        from lib.knowledge import tool_functions as knowledge_tools
        from lib.mcp.sources import BundledTools, ServerTools
        from lib.tools import functions
        from lib.tools.native import NativeTools
        from lib.tools.registry import Tools
        from lib.workflows.triggers.tool_source import WorkflowTools

        native = NativeTools()
        functions.register(native)
        knowledge_tools.register(native, lambda: self.knowledge.collections, lambda: self.knowledge.passages)
        tools = Tools(self.store, self.stops)
        tools.sources += [native, self.http_tools, BundledTools(self.bundled_servers), ServerTools(self.servers)]
        tools.sources.append(WorkflowTools(self.store, lambda: self.workflows.definitions, lambda: self.workflows.runs))
        return tools

    def _embed_question(self, text: str) -> "np.ndarray":
        from lib.knowledge.embedding import BUNDLED

        vector: np.ndarray = self.knowledge.embedder.embed(OPERATOR, BUNDLED, [text])[0]
        return vector

    @cached_property
    def activity(self) -> "Activity":
        """The log of calls: pages, one call, exports."""
        from lib.activity.call_log import Activity

        return Activity(self.store)

    @cached_property
    def statistics(self) -> "Statistics":
        """Questions about the ledger, answered from its columnar copy."""
        from lib.statistics.queries import Statistics

        return Statistics(self.store, self.settings.data_dir / "statistics")

    @cached_property
    def what_if(self) -> "WhatIf":
        """Logged traffic priced on other models."""
        from lib.statistics.whatif import WhatIf

        return WhatIf(self.store, self.statistics, self.prices, self.models)

    @cached_property
    def reconcile(self) -> "Reconcile":
        """Providers' invoices beside the ledger."""
        from lib.statistics.invoices.reconcile import Reconcile

        return Reconcile(self.store, self.statistics)

    @cached_property
    def demo(self) -> "Demo":
        """The service for sample data; loads NumPy when first used."""
        from lib.demo import Demo

        return Demo(self.store)

    @cached_property
    def imports(self) -> "Imports":
        """Past usage from other programs."""
        from lib.imports import Imports

        return Imports(self.store, self.prices)

    @cached_property
    def bundled_servers(self) -> "BundledServers":
        """Our own servers of tools: files, databases, operations, code."""
        from lib.mcp.bundled.operations import OperationServices
        from lib.mcp.bundled.servers import BundledServers

        operations = OperationServices(
            lambda: self.statistics,
            self.budgets,
            self.configurations,
            self.circuits,
            self.users.names,
            self._find_unreadiness,
        )
        folder = self.settings.data_dir
        return BundledServers(self.store, self.vault, self.prompts, lambda: operations, folder)

    @cached_property
    def servers(self) -> "Servers":
        """Servers of tools of others."""
        from lib.mcp.servers import Servers

        return Servers(self.store, self.vault, self._look_after_servers)

    @cached_property
    def server_sign_ins(self) -> "SignIns":
        """People's sign-ins at servers of tools of others."""
        from lib.mcp.sign_ins import SignIns

        return SignIns(self.store, self.vault, self._look_after_servers)

    @cached_property
    def server_keeper(self) -> "Keeper":
        """Sees to it that wanted servers of tools run on this machine, while this process serves."""
        from lib.mcp.keeper import Keeper

        return Keeper(self.store, self.settings)

    def _look_after_servers(self) -> None:
        """Start the runner of servers at once, where this process is one that serves."""
        if "server_keeper" in self.__dict__:
            self.server_keeper.look()

    def _find_unreadiness(self) -> str | None:
        """Say why calls can't be recorded, or None."""
        try:
            self.calls.check_writes()
        except LLMManagerError as error:
            return error.title
        return None

    def jobs(self) -> Scheduler:
        """Build the scheduler of what runs by itself while a server does."""
        jobs = {
            "sign-ins": lambda go_on: self._sweep_sign_ins(),
            "retention": self.retention.run_if_due,
            "holds": lambda go_on: self.budgets.sweep(),
            "tool-runs": lambda go_on: forget_old_runs(self.store, go_on),
            "deliveries": lambda go_on: self.workflows.webhooks.forget_old(),
            "stuck-runs": lambda go_on: self.workflows.stuck_runs.tell(),
        }
        errands: dict[str, Errand] = {
            "webhook": self.webhook.deliver_due,
            "keys": self.api_keys.write_last_used,
            "answers": lambda: settle(self.store),
            "approvals": self.approvals.tell_due,
            "turns": self.turns.recover,
            "titles": lambda: take_titles(self.store),
            "workflows": lambda: self.workflows.runs.launch_due(),
            "workflow schedules": lambda: self.workflows.schedules.begin_due(),
            "servers": lambda: self.server_keeper.look(),
        }
        return Scheduler(self.store, jobs, errands=errands)

    def _sweep_sign_ins(self) -> None:
        self.sessions.sweep()
        self.access_links.sweep()

    def long_jobs(self) -> list[Scheduler]:
        """Build the schedulers of long work, which runs beside the errands because those must not wait for it."""
        return [
            Scheduler(
                self.store, {}, errands={"documents": lambda: self.knowledge.ingest.run_due()}, errands_every_s=1.0
            ),
            Scheduler(self.store, {}, errands={"studies": lambda: self.knowledge.optimiser.run_due()}),
        ]

    def launch_work(self) -> None:
        """Run work in this process from now on; what dead processes left is in the ledger before it goes on."""
        self.work.launch(self.calls)

    def close(self) -> None:
        """Stop running calls, write what is pending, close the store."""
        self.work.close()
        self.workflows.close()
        self.knowledge.close()
        if "server_keeper" in self.__dict__:
            self.server_keeper.stop()
        self.turns.close()
        self.calls.close()
        self.cache.close()
        self.api_keys.write_last_used()
        if "statistics" in self.__dict__:
            self.statistics.close()
        self.store.dispose()


def build(settings: Settings) -> Services:
    """Build the services on a migrated store with its vault open; raises InstallationError."""
    for secret in (settings.master_key, settings.admin_password):
        remember(secret)
    use_proxies(settings.proxies)
    settings.require_data_folder()
    store = open_store(settings)
    done = schema.upgrade(store)
    if done:
        log.info("Database brought to schema %s.", done[-1])
    services = Services(settings, store)
    services.vault.open()
    services.providers.remember_secrets()
    services.providers.seed()
    services.configurations.seed()
    services.setup.create_from_environment()
    if (closed := services.calls.recover()) > 0:
        log.warning("%d calls that a killed process left open were closed.", closed)
    return services


_lock = threading.Lock()
_current: Services | None = None


def current() -> Services:
    """The process's services, built from the environment at the first call."""
    global _current
    with _lock:
        if _current is None:
            safe_logs.install()
            _current = build(Settings.from_environment())
        return _current


def use(services: Services | None) -> None:
    """Make `services` the process's (tests); None forgets them."""
    global _current
    _current = services

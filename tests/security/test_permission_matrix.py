"""Twelve permissions by four roles by every function of the services that names an actor: refused before anything else.

The table is complete by construction: a public function that takes an actor and is missing here fails a test.
"""

import asyncio
import inspect
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from lib.access.access_links import AccessLinks
from lib.access.api_keys import ApiKeys
from lib.access.audit import Audit, AuditCriteria
from lib.access.grants import Limits
from lib.access.limits import RateLimits
from lib.access.master_key import MasterKey
from lib.access.permissions import ROLE_PERMISSIONS, Actor, Permission, Role, make_actor
from lib.access.preferences import Preferences
from lib.access.stop_switch import StopSwitch
from lib.access.teams import Teams
from lib.access.users import Users
from lib.activity.call_log import Activity
from lib.activity.custom_metrics import Metrics
from lib.activity.repricing import Repricing, RepricingScope
from lib.approvals.approval import ApprovalKind, ApprovalRequest, Decision, Verdict
from lib.approvals.approvals import Approvals
from lib.budgets.budget import CallFacts
from lib.budgets.budgets import Budgets
from lib.budgets.webhook import Webhook
from lib.cache.cache import Cache
from lib.cache.policy import CacheRules
from lib.calls.calls import Calls
from lib.calls.connection_test import check_connection
from lib.calls.past_call import PastCalls
from lib.calls.request import CallRequest
from lib.clock import utc_now
from lib.configs.configuration import Configuration
from lib.configs.configurations import Configurations
from lib.configs.overrides import OverrideDraft, Overrides
from lib.configs.tool_rules import ToolRules
from lib.conversations.contexts import Contexts
from lib.conversations.conversation import Message
from lib.conversations.conversations import Conversations
from lib.conversations.exports import ExportFormat
from lib.conversations.files import ConversationFiles
from lib.conversations.interchange import Interchange
from lib.conversations.search import Search
from lib.conversations.strategy import ContextStrategy
from lib.conversations.talk import Talk
from lib.conversations.titles import Titles
from lib.demo import Demo
from lib.errors import LLMManagerError, PermissionDenied
from lib.experiments.experiment import RowChoice
from lib.experiments.experiments import Experiments
from lib.experiments.plan import ExperimentDraft
from lib.imports import Imports, UsageFile
from lib.jobs.erasure import Erasure
from lib.jobs.hand_over import HandOver
from lib.jobs.retention import Days, Retention
from lib.knowledge.answers import Answers
from lib.knowledge.collections import Collections
from lib.knowledge.documents.chunking import Chunking
from lib.knowledge.documents.document_service import About, Documents
from lib.knowledge.embedding import Embedder
from lib.knowledge.evaluation.corpora import Corpora
from lib.knowledge.evaluation.evaluations import Evaluations
from lib.knowledge.evaluation.optimiser import Optimiser
from lib.knowledge.evaluation.proposals import Proposals
from lib.knowledge.evaluation.question_sets import QuestionSets
from lib.knowledge.search import Passages
from lib.mcp.bundled.servers import BundledServers
from lib.mcp.server import ServerDraft
from lib.mcp.servers import Servers
from lib.mcp.sign_ins import SignIns
from lib.playground.exports import RunFormat as RunForm
from lib.playground.question import PlaygroundQuestion
from lib.playground.run import Pane
from lib.prompts.prompts import Prompts
from lib.prompts.template import VersionDraft
from lib.providers.circuits import Circuits
from lib.providers.discovery import Models
from lib.providers.prices.price_entries import Prices
from lib.providers.prices.rates import Rates, build_plain_price
from lib.providers.registry import Providers
from lib.services import Services, build
from lib.settings import Settings
from lib.statistics.exchange import ExchangeRates, Rate
from lib.statistics.invoices.reconcile import Reconcile
from lib.statistics.queries import Statistics
from lib.statistics.shared_costs import SharedBy, SharedCost, SharedCosts
from lib.statistics.whatif import WhatIf
from lib.tools.direct_runs import DirectRuns
from lib.tools.execution_log import ExecutionLog
from lib.tools.http_request import HttpTemplate
from lib.tools.http_tools import HttpToolDraft, HttpTools
from lib.tools.interchange import ToolExchange
from lib.tools.registry import Tools
from lib.tools.tool import ToolContext
from lib.tools.tool_settings import ToolSettings
from lib.tools.toolset import Toolset
from lib.tools.turn import TurnRequest
from lib.tools.turns import Turns
from tests.workflows import permissions as workflow_permissions

pytestmark = pytest.mark.feature("ACC-1")
P = Permission
NOBODY = "0190a000-0000-7000-8000-000000000000"  # an id that is nobody's: whoever may ask gets "no such thing"
Deed = Callable[[Services, Actor], Any]
PRICE = build_plain_price("openai", "m", utc_now(), Rates(1, 1))
RATE = Rate(date(2026, 10, 1), "EUR", Decimal("0.9"))
NO_LISTENER: Any = None
_NO_DRAFT = ExperimentDraft("", [], [])
# a conversation that sends everything, or a server
NOT_HERE: Any = SimpleNamespace(id=NOBODY, name=NOBODY, team_id=1, strategy=ContextStrategy())
_QUESTION = ApprovalRequest(kind=ApprovalKind.TOOL, title="Run it?")
_FILE = UsageFile(io.BytesIO(b""), "empty.csv")
NO_TOOL = HttpToolDraft("no tool", "", HttpTemplate(""))
TOOL_CONTEXT: Any = ToolContext(make_actor("u", "amira", Role.DEVELOPER))
NEEDS: dict[str, tuple[Permission, Deed]] = {
    "Tools.definitions": (P.VIEW_CONFIGS, lambda s, a: s.tools.definitions(a)),
    "Tools.settings": (P.VIEW_CONFIGS, lambda s, a: s.tools.settings(a)),
    "Tools.find": (P.VIEW_CONFIGS, lambda s, a: s.tools.find(a, NOBODY)),
    "Tools.save_settings": (P.MANAGE_TOOLS, lambda s, a: s.tools.save_settings(a, NOBODY, ToolSettings())),
    "Tools.toolset": (P.TEST_CONFIGS, lambda s, a: s.tools.toolset(a, "x", ToolRules(names=(NOBODY,)))),
    "Tools.policy": (P.VIEW_CONFIGS, lambda s, a: s.tools.policy(a, NOBODY, None)),
    "Tools.run": (P.TEST_CONFIGS, lambda s, a: asyncio.run(s.tools.run(a, NOBODY, {}, TOOL_CONTEXT))),
    "HttpTools.get": (P.VIEW_CONFIGS, lambda s, a: s.http_tools.get(a, NOBODY)),
    "HttpTools.create": (P.MANAGE_TOOLS, lambda s, a: s.http_tools.create(a, NO_TOOL)),
    "HttpTools.update": (P.MANAGE_TOOLS, lambda s, a: s.http_tools.update(a, NO_TOOL, 1)),
    "HttpTools.delete": (P.MANAGE_TOOLS, lambda s, a: s.http_tools.delete(a, NOBODY)),
    "ToolExchange.export_json": (P.VIEW_CONFIGS, lambda s, a: s.tool_exchange.export_json(a)),
    "ToolExchange.import_json": (P.MANAGE_TOOLS, lambda s, a: s.tool_exchange.import_json(a, "{")),
    "DirectRuns.run": (P.TEST_CONFIGS, lambda s, a: asyncio.run(s.direct_runs.run(a, NOBODY, {}, TOOL_CONTEXT))),
    "Turns.start": (
        P.TEST_CONFIGS,
        lambda s, a: s.turns.start(TurnRequest(_request(a), Toolset(), ToolRules())),
    ),
    "Turns.answer": (
        P.TEST_CONFIGS,
        lambda s, a: asyncio.run(s.turns.answer(TurnRequest(_request(a), Toolset(), ToolRules()), NO_LISTENER)),
    ),
    "Turns.ask": (P.TEST_CONFIGS, lambda s, a: s.turns.ask(_request(a), _any(s))),
    "Turns.view": (P.TEST_CONFIGS, lambda s, a: s.turns.view(a, NOBODY)),
    "Turns.call_view": (P.TEST_CONFIGS, lambda s, a: s.turns.call_view(a, NOBODY)),
    "Turns.stop": (P.TEST_CONFIGS, lambda s, a: s.turns.stop(a, NOBODY)),
    "Turns.wait": (P.TEST_CONFIGS, lambda s, a: s.turns.wait(a, NOBODY, 0)),
    "Calls.open": (P.TEST_CONFIGS, lambda s, a: asyncio.run(s.calls.open(_request(a)))),
    "Playground.turn": (P.TEST_CONFIGS, lambda s, a: s.playground.turn(a, NOBODY, 0)),
    "Talk.turn": (P.VIEW_CONVERSATIONS, lambda s, a: s.talk.turn(a, _unasked())),
    "ExecutionLog.list": (P.TEST_CONFIGS, lambda s, a: s.tools.executions.list(a)),
    "ExecutionLog.get": (P.TEST_CONFIGS, lambda s, a: s.tools.executions.get(a, NOBODY)),
    "ExecutionLog.of_turn": (P.TEST_CONFIGS, lambda s, a: s.tools.executions.of_turn(a, NOBODY)),
    "ExecutionLog.figures": (P.TEST_CONFIGS, lambda s, a: s.tools.executions.figures(a)),
    "Providers.list": (P.VIEW_CONFIGS, lambda s, a: s.providers.list(a)),
    "Providers.get": (P.VIEW_CONFIGS, lambda s, a: s.providers.get(a, NOBODY)),
    "Providers.used_by": (P.VIEW_CONFIGS, lambda s, a: s.providers.used_by(a, NOBODY)),
    "Providers.create": (P.MANAGE_PROVIDERS, lambda s, a: s.providers.create(a, name="x", kind="no such kind")),
    "Providers.update": (P.MANAGE_PROVIDERS, lambda s, a: s.providers.update(a, NOBODY, name="x")),
    "Providers.set_active": (P.MANAGE_PROVIDERS, lambda s, a: s.providers.set_active(a, NOBODY, False)),
    "Providers.delete": (P.MANAGE_PROVIDERS, lambda s, a: s.providers.delete(a, NOBODY)),
    "MasterKey.rotate": (P.MANAGE_ENCRYPTION_KEYS, lambda s, a: s.master_key.rotate(a)),
    "MasterKey.state": (P.MANAGE_ENCRYPTION_KEYS, lambda s, a: s.master_key.state(a)),
    "Prices.search": (P.VIEW_CONFIGS, lambda s, a: s.price_entries.search(a)),
    "Prices.versions": (P.VIEW_CONFIGS, lambda s, a: s.price_entries.versions(a, "openai", "m")),
    "Prices.export_csv": (P.VIEW_CONFIGS, lambda s, a: s.price_entries.export_csv(a, own_only=True)),
    "Prices.set": (P.MANAGE_PROVIDERS, lambda s, a: s.price_entries.set(a, PRICE)),
    "Prices.delete": (P.MANAGE_PROVIDERS, lambda s, a: s.price_entries.delete(a, NOBODY)),
    "Prices.preview": (P.MANAGE_PROVIDERS, lambda s, a: s.price_entries.preview(a, "")),
    "Prices.import_csv": (P.MANAGE_PROVIDERS, lambda s, a: s.price_entries.import_csv(a, "")),
    "Repricing.preview": (P.MANAGE_PROVIDERS, lambda s, a: s.repricing.preview(a, RepricingScope())),
    "Repricing.apply": (P.MANAGE_PROVIDERS, lambda s, a: s.repricing.apply(a, RepricingScope())),
    "Repricing.oldest_unpriced": (P.MANAGE_PROVIDERS, lambda s, a: s.repricing.oldest_unpriced(a, "openai", "m")),
    "Circuits.list": (P.VIEW_CONFIGS, lambda s, a: s.circuits.list(a)),
    "Circuits.close": (P.MANAGE_PROVIDERS, lambda s, a: s.circuits.close(a, NOBODY, "m")),
    "Configurations.list": (P.VIEW_CONFIGS, lambda s, a: s.configurations.list(a)),
    "Configurations.get": (P.VIEW_CONFIGS, lambda s, a: s.configurations.get(a, NOBODY)),
    "Configurations.apps": (P.VIEW_CONFIGS, lambda s, a: s.configurations.apps(a)),
    "Configurations.default_for": (P.VIEW_CONFIGS, lambda s, a: s.configurations.default_for(a, "x")),
    "Configurations.export_json": (P.VIEW_CONFIGS, lambda s, a: s.configurations.export_json(a)),
    "Configurations.create": (
        P.CREATE_CONFIGS,
        lambda s, a: s.configurations.create(a, slug="no slug!", app="x", model="m"),
    ),
    "Configurations.clone": (P.CREATE_CONFIGS, lambda s, a: s.configurations.clone(a, NOBODY)),
    "Configurations.import_json": (P.CREATE_CONFIGS, lambda s, a: s.configurations.import_json(a, "{")),
    "Configurations.update": (P.EDIT_CONFIGS, lambda s, a: s.configurations.update(a, NOBODY, 1, model="m")),
    "Configurations.set_active": (P.EDIT_CONFIGS, lambda s, a: s.configurations.set_active(a, NOBODY, False)),
    "Configurations.set_default": (P.EDIT_CONFIGS, lambda s, a: s.configurations.set_default(a, NOBODY)),
    "Configurations.clear_default": (P.EDIT_CONFIGS, lambda s, a: s.configurations.clear_default(a, NOBODY)),
    "Configurations.delete": (P.DELETE_CONFIGS, lambda s, a: s.configurations.delete(a, NOBODY)),
    "Overrides.list": (P.VIEW_CONFIGS, lambda s, a: s.overrides.list(a)),
    "Overrides.get": (P.VIEW_CONFIGS, lambda s, a: s.overrides.get(a, NOBODY)),
    "Overrides.matching": (P.VIEW_CONFIGS, lambda s, a: s.overrides.matching(a, "x", None, NOBODY)),
    "Overrides.effective": (P.VIEW_CONFIGS, lambda s, a: s.overrides.effective(a, _any(s), {})),
    "Overrides.create": (P.EDIT_CONFIGS, lambda s, a: s.overrides.create(a, OverrideDraft(""))),
    "Overrides.update": (P.EDIT_CONFIGS, lambda s, a: s.overrides.update(a, NOBODY, OverrideDraft("x"))),
    "Overrides.set_active": (P.EDIT_CONFIGS, lambda s, a: s.overrides.set_active(a, NOBODY, False)),
    "Overrides.delete": (P.EDIT_CONFIGS, lambda s, a: s.overrides.delete(a, NOBODY)),
    "Models.list": (P.VIEW_CONFIGS, lambda s, a: s.models.list(a, NOBODY)),
    "Models.refresh": (P.EDIT_CONFIGS, lambda s, a: s.models.refresh(a, NOBODY)),
    "ApiKeys.list": (P.TEST_CONFIGS, lambda s, a: s.api_keys.list(a)),
    "ApiKeys.find": (P.TEST_CONFIGS, lambda s, a: s.api_keys.find(a, "llmm_nobodys")),
    "ApiKeys.create": (P.TEST_CONFIGS, lambda s, a: s.api_keys.create(a, app="no slug!")),
    "ApiKeys.update": (
        P.TEST_CONFIGS,
        lambda s, a: s.api_keys.update(
            a, NOBODY, name="x", models=[], endpoints=["chat"], limits=Limits(), expires_at=None
        ),
    ),
    "ApiKeys.revoke": (P.TEST_CONFIGS, lambda s, a: s.api_keys.revoke(a, NOBODY)),
    "RateLimits.list_apps": (P.VIEW_CONFIGS, lambda s, a: s.limits.list_apps(a)),
    "Calls.start": (P.TEST_CONFIGS, lambda s, a: s.calls.start(_request(a))),
    "Calls.run": (P.TEST_CONFIGS, lambda s, a: s.calls.run(_request(a))),
    "Calls.embed": (P.TEST_CONFIGS, lambda s, a: s.calls.embed(_request(a))),
    "Collections.list": (P.TEST_CONFIGS, lambda s, a: s.knowledge.collections.list(a)),
    "Collections.get": (P.TEST_CONFIGS, lambda s, a: s.knowledge.collections.get(a, NOBODY)),
    "Collections.create": (P.MANAGE_KNOWLEDGE_BASE, lambda s, a: s.knowledge.collections.create(a, "")),
    "Collections.update": (P.MANAGE_KNOWLEDGE_BASE, lambda s, a: s.knowledge.collections.update(a, NOBODY)),
    "Collections.reindex": (P.MANAGE_KNOWLEDGE_BASE, lambda s, a: s.knowledge.collections.reindex(a, NOBODY)),
    "Collections.delete": (P.MANAGE_KNOWLEDGE_BASE, lambda s, a: s.knowledge.collections.delete(a, NOBODY)),
    "Documents.list": (P.TEST_CONFIGS, lambda s, a: s.knowledge.documents.list(a, NOBODY)),
    "Documents.get": (P.TEST_CONFIGS, lambda s, a: s.knowledge.documents.get(a, NOBODY)),
    "Documents.text": (P.TEST_CONFIGS, lambda s, a: s.knowledge.documents.text(a, NOBODY)),
    "Documents.original": (P.TEST_CONFIGS, lambda s, a: s.knowledge.documents.original(a, NOBODY)),
    "Documents.chunks": (P.TEST_CONFIGS, lambda s, a: s.knowledge.documents.chunks(a, NOBODY)),
    "Documents.page_image": (P.TEST_CONFIGS, lambda s, a: s.knowledge.documents.page_image(a, 0)),
    "Documents.add": (P.MANAGE_KNOWLEDGE_BASE, lambda s, a: s.knowledge.documents.add(a, NOBODY, "n", b"b")),
    "Documents.add_text": (P.MANAGE_KNOWLEDGE_BASE, lambda s, a: s.knowledge.documents.add_text(a, NOBODY, "n", "b")),
    "Documents.add_url": (
        P.MANAGE_KNOWLEDGE_BASE,
        lambda s, a: s.knowledge.documents.add_url(a, NOBODY, "https://a.test"),
    ),
    "Documents.retry": (P.MANAGE_KNOWLEDGE_BASE, lambda s, a: s.knowledge.documents.retry(a, NOBODY)),
    "Documents.describe": (P.MANAGE_KNOWLEDGE_BASE, lambda s, a: s.knowledge.documents.describe(a, NOBODY, About())),
    "Documents.delete": (P.MANAGE_KNOWLEDGE_BASE, lambda s, a: s.knowledge.documents.delete(a, NOBODY)),
    "Documents.edit_chunk": (P.MANAGE_KNOWLEDGE_BASE, lambda s, a: s.knowledge.documents.edit_chunk(a, 0, "words")),
    "Documents.preview": (
        P.MANAGE_KNOWLEDGE_BASE,
        lambda s, a: s.knowledge.documents.preview(a, Chunking(), "n", b"", "m"),
    ),
    "QuestionSets.list": (P.TEST_CONFIGS, lambda s, a: s.knowledge.question_sets.list(a, NOBODY)),
    "QuestionSets.get": (P.TEST_CONFIGS, lambda s, a: s.knowledge.question_sets.get(a, NOBODY)),
    "QuestionSets.questions": (P.TEST_CONFIGS, lambda s, a: s.knowledge.question_sets.questions(a, NOBODY)),
    "QuestionSets.create": (P.MANAGE_KNOWLEDGE_BASE, lambda s, a: s.knowledge.question_sets.create(a, NOBODY, "")),
    "QuestionSets.delete": (P.MANAGE_KNOWLEDGE_BASE, lambda s, a: s.knowledge.question_sets.delete(a, NOBODY)),
    "QuestionSets.add": (P.MANAGE_KNOWLEDGE_BASE, lambda s, a: s.knowledge.question_sets.add(a, NOBODY, "q", [])),
    "QuestionSets.update": (P.MANAGE_KNOWLEDGE_BASE, lambda s, a: s.knowledge.question_sets.update(a, NOBODY, "q", [])),
    "QuestionSets.approve": (P.MANAGE_KNOWLEDGE_BASE, lambda s, a: s.knowledge.question_sets.approve(a, NOBODY, [])),
    "QuestionSets.remove": (P.MANAGE_KNOWLEDGE_BASE, lambda s, a: s.knowledge.question_sets.remove(a, NOBODY, [])),
    "QuestionSets.import_asked": (
        P.MANAGE_KNOWLEDGE_BASE,
        lambda s, a: s.knowledge.question_sets.import_asked(a, NOBODY, []),
    ),
    "Proposals.propose": (P.MANAGE_KNOWLEDGE_BASE, lambda s, a: s.knowledge.proposals.propose(a, NOBODY, 0)),
    "Evaluations.run": (P.TEST_CONFIGS, lambda s, a: s.knowledge.evaluations.run(a, NOBODY)),
    "Evaluations.list": (P.TEST_CONFIGS, lambda s, a: s.knowledge.evaluations.list(a, NOBODY)),
    "Evaluations.get": (P.TEST_CONFIGS, lambda s, a: s.knowledge.evaluations.get(a, NOBODY)),
    "Evaluations.outcomes": (P.TEST_CONFIGS, lambda s, a: s.knowledge.evaluations.outcomes(a, NOBODY)),
    "Evaluations.compare": (P.TEST_CONFIGS, lambda s, a: s.knowledge.evaluations.compare(a, NOBODY, NOBODY)),
    "Evaluations.delete": (P.MANAGE_KNOWLEDGE_BASE, lambda s, a: s.knowledge.evaluations.delete(a, NOBODY)),
    "Corpora.take_in": (P.MANAGE_KNOWLEDGE_BASE, lambda s, a: s.knowledge.corpora.take_in(a, NOBODY, [])),
    "Corpora.evaluate": (P.MANAGE_KNOWLEDGE_BASE, lambda s, a: s.knowledge.corpora.evaluate(a, [], [], names=())),
    "Optimiser.quote": (P.MANAGE_KNOWLEDGE_BASE, lambda s, a: s.knowledge.optimiser.quote(a, NOBODY)),
    "Optimiser.begin": (P.MANAGE_KNOWLEDGE_BASE, lambda s, a: s.knowledge.optimiser.begin(a, NOBODY)),
    "Optimiser.run": (P.MANAGE_KNOWLEDGE_BASE, lambda s, a: s.knowledge.optimiser.run(a, NOBODY)),
    "Optimiser.stop": (P.MANAGE_KNOWLEDGE_BASE, lambda s, a: s.knowledge.optimiser.stop(a, NOBODY)),
    "Optimiser.get": (P.TEST_CONFIGS, lambda s, a: s.knowledge.optimiser.get(a, NOBODY)),
    "Optimiser.list": (P.TEST_CONFIGS, lambda s, a: s.knowledge.optimiser.list(a, NOBODY)),
    "Optimiser.apply": (P.MANAGE_KNOWLEDGE_BASE, lambda s, a: s.knowledge.optimiser.apply(a, NOBODY, 0)),
    "Passages.search": (P.TEST_CONFIGS, lambda s, a: s.knowledge.passages.search(a, NOBODY, "q")),
    "Answers.ask": (P.TEST_CONFIGS, lambda s, a: s.knowledge.answers.ask(a, [NOBODY], "q")),
    "Answers.ground": (
        P.TEST_CONFIGS,
        lambda s, a: s.knowledge.answers.ground(a, [NOBODY], "q", cast(Configuration, None), [], 0),
    ),
    "Answers.found": (P.TEST_CONFIGS, lambda s, a: s.knowledge.answers.found(a, [NOBODY], "q")),
    "Embedder.embed": (P.TEST_CONFIGS, lambda s, a: s.knowledge.embedder.embed(a, "none/m", ["x"])),
    "Embedder.keep": (P.TEST_CONFIGS, lambda s, a: s.knowledge.embedder.keep(a, "none/m", ["x"])),
    "Embedder.relevance": (P.TEST_CONFIGS, lambda s, a: s.knowledge.embedder.relevance(a, "none/m", "x", ["y"])),
    "Embedder.question": (P.TEST_CONFIGS, lambda s, a: s.knowledge.embedder.question(a, "none/m", "x")),
    "Calls.answer": (P.TEST_CONFIGS, lambda s, a: asyncio.run(s.calls.answer(_request(a), NO_LISTENER))),
    "Servers.list": (P.MANAGE_TOOLS, lambda s, a: s.servers.list(a)),
    "Servers.get": (P.MANAGE_TOOLS, lambda s, a: s.servers.get(a, NOBODY)),
    "Servers.offered": (P.TEST_CONFIGS, lambda s, a: s.servers.offered(a)),
    "Servers.get_known": (P.TEST_CONFIGS, lambda s, a: s.servers.get_known(a)),
    "Servers.add": (P.MANAGE_PROVIDERS, lambda s, a: s.servers.add(a, ServerDraft("no name!", ["x"]))),
    "Servers.update": (P.MANAGE_PROVIDERS, lambda s, a: s.servers.update(a, ServerDraft(NOBODY, ["x"]))),
    "Servers.approve": (P.MANAGE_PROVIDERS, lambda s, a: s.servers.approve(a, NOBODY, "x")),
    "Servers.start": (P.MANAGE_PROVIDERS, lambda s, a: s.servers.start(a, NOBODY)),
    "Servers.stop": (P.MANAGE_PROVIDERS, lambda s, a: s.servers.stop(a, NOBODY)),
    "Servers.restart": (P.MANAGE_PROVIDERS, lambda s, a: s.servers.restart(a, NOBODY)),
    "Servers.stop_all": (P.MANAGE_PROVIDERS, lambda s, a: s.servers.stop_all(a)),
    "Servers.remove": (P.MANAGE_PROVIDERS, lambda s, a: s.servers.remove(a, NOBODY)),
    "Servers.approve_tools": (P.MANAGE_PROVIDERS, lambda s, a: s.servers.approve_tools(a, NOBODY)),
    "Servers.reject_tools": (P.MANAGE_PROVIDERS, lambda s, a: s.servers.reject_tools(a, NOBODY, ["x"])),
    "Servers.ask": (P.TEST_CONFIGS, lambda s, a: asyncio.run(s.servers.ask(a, NOT_HERE, "call"))),
    "Servers.read_resource": (P.TEST_CONFIGS, lambda s, a: s.servers.read_resource(a, NOBODY, "x")),
    "Servers.fill_prompt": (P.TEST_CONFIGS, lambda s, a: s.servers.fill_prompt(a, NOBODY, "x", {})),
    "SignIns.list": (P.TEST_CONFIGS, lambda s, a: s.server_sign_ins.list(a)),
    "SignIns.begin": (P.TEST_CONFIGS, lambda s, a: s.server_sign_ins.begin(a, NOBODY, "http://x")),
    "SignIns.complete": (P.TEST_CONFIGS, lambda s, a: s.server_sign_ins.complete(a, {"state": "x"})),
    "SignIns.sign_out": (P.TEST_CONFIGS, lambda s, a: s.server_sign_ins.sign_out(a, NOBODY)),
    "Tools.explain_unattended": (P.TEST_CONFIGS, lambda s, a: s.tools.explain_unattended(a, ["x"])),
    "BundledServers.list": (P.TEST_CONFIGS, lambda s, a: s.bundled_servers.list(a)),
    "BundledServers.find": (P.TEST_CONFIGS, lambda s, a: s.bundled_servers.find(a, "code")),
    "BundledServers.files": (P.MANAGE_TOOLS, lambda s, a: s.bundled_servers.files(a)),
    "BundledServers.set_files": (P.MANAGE_PROVIDERS, lambda s, a: s.bundled_servers.set_files(a, ["relative"])),
    "BundledServers.databases": (P.MANAGE_TOOLS, lambda s, a: s.bundled_servers.databases(a)),
    "BundledServers.register_database": (
        P.MANAGE_PROVIDERS,
        lambda s, a: s.bundled_servers.register_database(a, "x", "nonsense"),
    ),
    "BundledServers.remove_database": (P.MANAGE_PROVIDERS, lambda s, a: s.bundled_servers.remove_database(a, NOBODY)),
    "Prompts.list": (P.VIEW_CONFIGS, lambda s, a: s.prompts.list(a)),
    "Prompts.get": (P.VIEW_CONFIGS, lambda s, a: s.prompts.get(a, NOBODY)),
    "Prompts.categories": (P.VIEW_CONFIGS, lambda s, a: s.prompts.categories(a)),
    "Prompts.version": (P.VIEW_CONFIGS, lambda s, a: s.prompts.version(a, NOBODY)),
    "Prompts.versions": (P.VIEW_CONFIGS, lambda s, a: s.prompts.versions(a, NOBODY)),
    "Prompts.diff": (P.VIEW_CONFIGS, lambda s, a: s.prompts.diff(a, NOBODY, 1, 2)),
    "Prompts.fill": (P.TEST_CONFIGS, lambda s, a: s.prompts.fill(a, NOBODY, {})),
    "Prompts.create": (P.CREATE_CONFIGS, lambda s, a: s.prompts.create(a, "no slug!", VersionDraft("x"))),
    "Prompts.save": (P.EDIT_CONFIGS, lambda s, a: s.prompts.save(a, NOBODY, VersionDraft("x"), 1)),
    "Prompts.describe": (P.EDIT_CONFIGS, lambda s, a: s.prompts.describe(a, NOBODY)),
    "Prompts.move_label": (P.EDIT_CONFIGS, lambda s, a: s.prompts.move_label(a, NOBODY, "production", 1)),
    "Prompts.delete": (P.DELETE_CONFIGS, lambda s, a: s.prompts.delete(a, NOBODY)),
    "Prompts.export_json": (P.VIEW_CONFIGS, lambda s, a: s.prompts.export_json(a)),
    "Prompts.import_json": (P.CREATE_CONFIGS, lambda s, a: s.prompts.import_json(a, "{")),
    "Experiments.candidate": (P.TEST_CONFIGS, lambda s, a: s.experiments.candidate(a, NOBODY)),
    "Experiments.quote": (P.TEST_CONFIGS, lambda s, a: s.experiments.quote(a, _NO_DRAFT)),
    "Experiments.create": (P.TEST_CONFIGS, lambda s, a: s.experiments.create(a, _NO_DRAFT)),
    "Experiments.copy": (P.TEST_CONFIGS, lambda s, a: s.experiments.copy(a, NOBODY)),
    "Experiments.start": (P.TEST_CONFIGS, lambda s, a: s.experiments.start(a, NOBODY)),
    "Experiments.stop": (P.TEST_CONFIGS, lambda s, a: s.experiments.stop(a, NOBODY)),
    "Experiments.wait": (P.TEST_CONFIGS, lambda s, a: s.experiments.wait(a, NOBODY)),
    "Experiments.list": (P.TEST_CONFIGS, lambda s, a: s.experiments.list(a)),
    "Experiments.get": (P.TEST_CONFIGS, lambda s, a: s.experiments.get(a, NOBODY)),
    "Experiments.lines": (P.TEST_CONFIGS, lambda s, a: s.experiments.lines(a, NOBODY)),
    "Experiments.choose_rows": (
        P.TEST_CONFIGS,
        lambda s, a: s.experiments.choose_rows(a, NOBODY, RowChoice.ALL),
    ),
    "Experiments.standings": (P.TEST_CONFIGS, lambda s, a: s.experiments.standings(a, NOBODY)),
    "Experiments.export": (P.TEST_CONFIGS, lambda s, a: s.experiments.export(a, NOBODY, "csv")),
    "Experiments.promote": (P.TEST_CONFIGS, lambda s, a: s.experiments.promote(a, NOBODY, 0, "template")),
    "Experiments.delete": (P.TEST_CONFIGS, lambda s, a: s.experiments.delete(a, NOBODY)),
    "Calls.beyond_holds": (P.VIEW_STATS, lambda s, a: s.calls.beyond_holds(a)),
    "Calls.quote": (P.TEST_CONFIGS, lambda s, a: s.calls.quote(_request(a))),
    "Conversations.create": (P.VIEW_CONVERSATIONS, lambda s, a: s.conversations.create(a, configuration="none")),
    "Conversations.get": (P.VIEW_CONVERSATIONS, lambda s, a: s.conversations.get(a, NOBODY)),
    "Conversations.list": (P.VIEW_CONVERSATIONS, lambda s, a: s.conversations.list(a)),
    "Conversations.count": (P.VIEW_CONVERSATIONS, lambda s, a: s.conversations.count(a)),
    "Conversations.folders": (P.VIEW_CONVERSATIONS, lambda s, a: s.conversations.folders(a)),
    "Conversations.tags": (P.VIEW_CONVERSATIONS, lambda s, a: s.conversations.tags(a)),
    "Conversations.update": (P.VIEW_CONVERSATIONS, lambda s, a: s.conversations.update(a, NOBODY, title="x")),
    "Conversations.end": (P.VIEW_CONVERSATIONS, lambda s, a: s.conversations.end(a, NOBODY)),
    "Conversations.reopen": (P.VIEW_CONVERSATIONS, lambda s, a: s.conversations.reopen(a, NOBODY)),
    "Conversations.delete": (P.VIEW_CONVERSATIONS, lambda s, a: s.conversations.delete(a, NOBODY)),
    "Talk.send": (P.VIEW_CONVERSATIONS, lambda s, a: s.talk.send(a, NOBODY, "x")),
    "Talk.ask_elsewhere": (
        P.VIEW_CONVERSATIONS,
        lambda s, a: s.talk.ask_elsewhere(a, NOBODY, "x", NOBODY, "m", lambda: None),
    ),
    "Talk.edit": (P.VIEW_CONVERSATIONS, lambda s, a: s.talk.edit(a, NOBODY, NOBODY, "x")),
    "Talk.regenerate": (P.VIEW_CONVERSATIONS, lambda s, a: s.talk.regenerate(a, NOBODY, NOBODY)),
    "Talk.choose": (P.VIEW_CONVERSATIONS, lambda s, a: s.talk.choose(a, NOBODY, NOBODY)),
    "Talk.read": (P.VIEW_CONVERSATIONS, lambda s, a: s.talk.read(a, NOBODY)),
    "Talk.answering": (P.VIEW_CONVERSATIONS, lambda s, a: s.talk.answering(a, _unasked())),
    "Talk.stop": (P.VIEW_CONVERSATIONS, lambda s, a: s.talk.stop(a, NOBODY)),
    "Talk.wait": (P.VIEW_CONVERSATIONS, lambda s, a: s.talk.wait(a, NOBODY, NOBODY)),
    "Contexts.meter": (P.VIEW_CONVERSATIONS, lambda s, a: s.contexts.meter(a, s.talk.read(a, NOBODY))),
    "Contexts.compact": (P.VIEW_CONVERSATIONS, lambda s, a: s.contexts.compact(a, NOBODY)),
    "Contexts.undo": (P.VIEW_CONVERSATIONS, lambda s, a: s.contexts.undo(a, NOBODY, NOBODY)),
    "Contexts.make_room": (P.VIEW_CONVERSATIONS, lambda s, a: s.contexts.make_room(a, NOT_HERE, [], _any(s))),
    "Titles.suggest": (P.VIEW_CONVERSATIONS, lambda s, a: s.titles.suggest(a, NOBODY)),
    "ConversationFiles.get": (P.VIEW_CONVERSATIONS, lambda s, a: s.conversation_files.get(a, NOBODY)),
    "ConversationFiles.add": (P.VIEW_CONVERSATIONS, lambda s, a: s.conversation_files.add(a, NOBODY, [])),
    "Search.messages": (P.VIEW_CONVERSATIONS, lambda s, a: s.conversation_search.messages(a, "word")),
    "Interchange.export": (
        P.VIEW_CONVERSATIONS,
        lambda s, a: s.conversation_exchange.export(a, [NOBODY], ExportFormat.JSON),
    ),
    "Interchange.import_file": (
        P.VIEW_CONVERSATIONS,
        lambda s, a: s.conversation_exchange.import_file(a, b"no file"),
    ),
    "SavedViews.list": (P.VIEW_STATS, lambda s, a: s.saved_views.list(a)),
    "SavedViews.get": (P.VIEW_STATS, lambda s, a: s.saved_views.get(a, NOBODY)),
    "SavedViews.save": (P.VIEW_STATS, lambda s, a: s.saved_views.save(a, "v", {})),
    "SavedViews.change": (P.VIEW_STATS, lambda s, a: s.saved_views.change(a, NOBODY, shared=True, pinned=True)),
    "SavedViews.delete": (P.VIEW_STATS, lambda s, a: s.saved_views.delete(a, NOBODY)),
    "Playground.start": (P.TEST_CONFIGS, lambda s, a: s.playground.start(a, PlaygroundQuestion("x"), [Pane(NOBODY)])),
    "Playground.ask_again": (
        P.TEST_CONFIGS,
        lambda s, a: s.playground.ask_again(a, NOBODY, 0, PlaygroundQuestion("x"), Pane(NOBODY)),
    ),
    "Playground.open": (P.TEST_CONFIGS, lambda s, a: s.playground.open(a, NOBODY)),
    "Playground.call": (P.TEST_CONFIGS, lambda s, a: s.playground.call(a, NOBODY, 0)),
    "Playground.stop": (P.TEST_CONFIGS, lambda s, a: s.playground.stop(a, NOBODY)),
    "Playground.share": (P.TEST_CONFIGS, lambda s, a: s.playground.share(a, NOBODY, is_shared=True)),
    "Playground.vote": (P.TEST_CONFIGS, lambda s, a: s.playground.vote(a, NOBODY, 0)),
    "Playground.rate": (P.TEST_CONFIGS, lambda s, a: s.playground.rate(a, NOBODY, 0, is_good=True)),
    "Playground.ratings": (P.TEST_CONFIGS, lambda s, a: s.playground.ratings(a, NOBODY)),
    "Playground.export": (P.TEST_CONFIGS, lambda s, a: s.playground.export(a, NOBODY, RunForm.JSON)),
    "Playground.recent": (P.TEST_CONFIGS, lambda s, a: s.playground.recent(a)),
    "Playground.wins": (P.TEST_CONFIGS, lambda s, a: s.playground.wins(a)),
    "Playground.delete": (P.TEST_CONFIGS, lambda s, a: s.playground.delete(a, NOBODY)),
    "Metrics.record": (P.TEST_CONFIGS, lambda s, a: s.metrics.record(a, NOBODY, "k", 1)),
    "Metrics.record_many": (P.TEST_CONFIGS, lambda s, a: s.metrics.record_many(a, NOBODY, [])),
    "Metrics.list": (P.TEST_CONFIGS, lambda s, a: s.metrics.list(a, NOBODY)),
    "Metrics.statistics": (P.TEST_CONFIGS, lambda s, a: s.metrics.statistics(a)),
    "Metrics.numeric_keys": (P.TEST_CONFIGS, lambda s, a: s.metrics.numeric_keys(a)),
    "Metrics.daily": (P.TEST_CONFIGS, lambda s, a: s.metrics.daily(a, "k", ZoneInfo("UTC"))),
    "Approvals.ask": (P.TEST_CONFIGS, lambda s, a: s.approvals.ask(a, _QUESTION)),
    "Approvals.decide": (P.TEST_CONFIGS, lambda s, a: s.approvals.decide(a, NOBODY, Decision(verdict=Verdict.DENY))),
    "Approvals.get": (P.TEST_CONFIGS, lambda s, a: s.approvals.get(a, NOBODY)),
    "Approvals.recent": (P.TEST_CONFIGS, lambda s, a: s.approvals.recent(a)),
    "Approvals.waiting": (P.TEST_CONFIGS, lambda s, a: s.approvals.waiting(a)),
    "Approvals.count": (P.TEST_CONFIGS, lambda s, a: s.approvals.count(a)),
    "Approvals.end": (P.TEST_CONFIGS, lambda s, a: s.approvals.end(a, NOBODY)),
    "Approvals.standing": (P.TEST_CONFIGS, lambda s, a: s.approvals.standing(a)),
    "Approvals.revoke": (P.TEST_CONFIGS, lambda s, a: s.approvals.revoke(a, NOBODY)),
    "Cache.rules": (P.VIEW_CONFIGS, lambda s, a: s.cache.rules(a, NOBODY)),
    "Cache.change_rules": (P.EDIT_CONFIGS, lambda s, a: s.cache.change_rules(a, NOBODY, CacheRules())),
    "Cache.figures": (P.VIEW_STATS, lambda s, a: s.cache.figures(a)),
    "Cache.daily": (P.VIEW_STATS, lambda s, a: s.cache.daily(a)),
    "Cache.find_answer_ages": (P.TEST_CONFIGS, lambda s, a: s.cache.find_answer_ages(a, [NOBODY])),
    "Cache.purge_own": (P.TEST_CONFIGS, lambda s, a: s.cache.purge_own(a)),
    "Cache.purge": (P.EDIT_CONFIGS, lambda s, a: s.cache.purge(a, configuration_id=NOBODY)),
    "Cache.forget_call": (P.TEST_CONFIGS, lambda s, a: s.cache.forget_call(a, NOBODY)),
    "Cache.decisions": (P.VIEW_STATS, lambda s, a: s.cache.decisions(a, NOBODY)),
    "Cache.label": (P.EDIT_CONFIGS, lambda s, a: s.cache.label(a, NOBODY, "same")),
    "Cache.proofs": (P.VIEW_STATS, lambda s, a: s.cache.proofs(a)),
    "Budgets.list": (P.VIEW_STATS, lambda s, a: s.budgets.list(a)),
    "Budgets.get": (P.VIEW_STATS, lambda s, a: s.budgets.get(a, NOBODY)),
    "Budgets.find": (P.VIEW_STATS, lambda s, a: s.budgets.find(a, "global", "", "day")),
    "Budgets.history": (P.VIEW_STATS, lambda s, a: s.budgets.history(a, NOBODY)),
    "Budgets.notices": (P.VIEW_STATS, lambda s, a: s.budgets.notices(a)),
    "Budgets.attention": (P.VIEW_STATS, lambda s, a: s.budgets.attention(a)),
    "Budgets.subject": (P.VIEW_STATS, lambda s, a: s.budgets.subject(a, "user", NOBODY)),
    "Budgets.choices": (P.MANAGE_PROVIDERS, lambda s, a: s.budgets.choices(a, "key")),
    "Budgets.check": (P.VIEW_STATS, lambda s, a: s.budgets.check(a, CallFacts("p", "a"), 1)),
    "Budgets.create": (
        P.MANAGE_PROVIDERS,
        lambda s, a: s.budgets.create(a, scope="global", period="day", limit_nano=0),
    ),
    "Budgets.update": (P.MANAGE_PROVIDERS, lambda s, a: s.budgets.update(a, NOBODY, limit_nano=1)),
    "Budgets.recount": (P.MANAGE_PROVIDERS, lambda s, a: s.budgets.recount(a, NOBODY)),
    "Budgets.delete": (P.MANAGE_PROVIDERS, lambda s, a: s.budgets.delete(a, NOBODY)),
    "Webhook.state": (P.VIEW_STATS, lambda s, a: s.webhook.state(a)),
    "Webhook.set": (P.MANAGE_PROVIDERS, lambda s, a: s.webhook.set(a, url="no address", secret="short")),
    "Webhook.remove": (P.MANAGE_PROVIDERS, lambda s, a: s.webhook.remove(a)),
    "Webhook.test": (P.MANAGE_PROVIDERS, lambda s, a: s.webhook.test(a)),
    "ExchangeRates.currency": (P.VIEW_STATS, lambda s, a: s.exchange_rates.currency(a)),
    "ExchangeRates.choices": (P.VIEW_STATS, lambda s, a: s.exchange_rates.choices(a)),
    "ExchangeRates.book": (P.VIEW_STATS, lambda s, a: s.exchange_rates.book(a)),
    "ExchangeRates.choose": (P.MANAGE_PROVIDERS, lambda s, a: s.exchange_rates.choose(a, "USD")),
    "ExchangeRates.set": (P.MANAGE_PROVIDERS, lambda s, a: s.exchange_rates.set(a, RATE)),
    "ExchangeRates.delete": (P.MANAGE_PROVIDERS, lambda s, a: s.exchange_rates.delete(a, "EUR", RATE.day)),
    "ExchangeRates.import_csv": (P.MANAGE_PROVIDERS, lambda s, a: s.exchange_rates.import_csv(a, "")),
    "check_connection": (
        P.TEST_CONFIGS,
        lambda s, a: check_connection(a, replace(_any(s), provider_id=None), s.calls, s.providers),
    ),
}
SUPER_ADMIN_ONLY: dict[str, Deed] = {
    "Users.list": lambda s, a: s.users.list(a),
    "Users.create": lambda s, a: s.users.create(a, "eve", "short", Role.SUPER_ADMIN),
    "Users.set_role": lambda s, a: s.users.set_role(a, NOBODY, Role.DEVELOPER),
    "Users.set_active": lambda s, a: s.users.set_active(a, NOBODY, False),
    "Users.set_password": lambda s, a: s.users.set_password(a, NOBODY, "short"),
    "Retention.days": lambda s, a: s.retention.days(a),
    "Retention.change": lambda s, a: s.retention.change(a, Days(words=0)),
    "Retention.preview": lambda s, a: s.retention.preview(a),
    "Retention.last_run": lambda s, a: s.retention.last_run(a),
    "Retention.run": lambda s, a: s.retention.run(a),
    "RateLimits.set_app": lambda s, a: s.limits.set_app(a, "bot", Limits()),
    "Teams.create": lambda s, a: s.teams.create(a, ""),
    "Teams.delete": lambda s, a: s.teams.delete(a, 1),
    "Teams.move": lambda s, a: s.teams.move(a, "no kind", "x", 1),
    "SharedCosts.list": lambda s, a: s.shared_costs.list(a),
    "SharedCosts.set": lambda s, a: s.shared_costs.set(a, SharedCost("", 0, SharedBy.COST, "")),
    "SharedCosts.remove": lambda s, a: s.shared_costs.remove(a, NOBODY),
    "AccessLinks.reset_password": lambda s, a: s.access_links.reset_password(a, NOBODY),
    "Erasure.erase": lambda s, a: s.erasure.erase(a, NOBODY),
    "Imports.look": lambda s, a: s.imports.look(a, _FILE),
    "Imports.preview": lambda s, a: s.imports.preview(a, _FILE),
    "Imports.run": lambda s, a: s.imports.run(a, _FILE),
    "Imports.list": lambda s, a: s.imports.list(a),
    "Imports.undo": lambda s, a: s.imports.undo(a, NOBODY),
    "Demo.load": lambda s, a: s.demo.load(a, 0),
    "Demo.remove": lambda s, a: s.demo.remove(a),
}
TEAM_ADMINISTRATORS: dict[str, Deed] = {
    "Audit.page": lambda s, a: s.audit.page(a, AuditCriteria()),
    "Audit.options": lambda s, a: s.audit.options(a),
    "Audit.export_csv": lambda s, a: s.audit.export_csv(a, AuditCriteria()),
    "RateLimits.set_team": lambda s, a: s.limits.set_team(a, 1, Limits()),
    "Teams.rename": lambda s, a: s.teams.rename(a, 1, ""),
    "Teams.add": lambda s, a: s.teams.add(a, 1, "nobody"),
    "Teams.set_role": lambda s, a: s.teams.set_role(a, 1, NOBODY, None),
    "Teams.remove": lambda s, a: s.teams.remove(a, 1, NOBODY),
    "AccessLinks.invite": lambda s, a: s.access_links.invite(a, 1, "no role"),
    "StopSwitch.stop": lambda s, a: s.stops.stop(a, "key", NOBODY),
    "StopSwitch.start": lambda s, a: s.stops.start(a, "team", "first-team"),
    "HandOver.preview": lambda s, a: s.hand_over.preview(a, NOBODY, 1),
    "HandOver.run": lambda s, a: s.hand_over.run(a, NOBODY, "u", 1),
}
# One's own things, whatever the role; that they are one's own is what test_isolation.py shows.
OWN = {"HttpTools.definitions", "HttpTools.absences", "StopSwitch.find_tool_refusal"}
OWN |= {"Teams.list", "Teams.get", "Teams.members", "Teams.choose", "StopSwitch.list", "StopSwitch.check"}
OWN |= {
    "StopSwitch.find_refusal",
    "Users.change_own_password",
    "Audit.note_export",
    "Calls.view",
    "Calls.stop",
    "Calls.wait",
    "Calls.running",
}
NEEDS |= workflow_permissions.NEEDS
SCOPED_BY_ROWS = (Activity, PastCalls, Statistics, Preferences, WhatIf, Reconcile)


def _any(services: Services) -> Any:
    return services.configurations.list(make_actor("u", "root", Role.SUPER_ADMIN))[0]


def _unasked() -> Message:
    """A message that no call made."""
    same = {"tokens": 0, "status": "ok", "error_message": None, "call_id": None, "configuration_id": None, "model": ""}
    return Message(id=NOBODY, parent_id=None, role="user", content="", parts=(), created_at=utc_now(), **same)  # type: ignore[arg-type]


def _request(actor: Actor) -> CallRequest:
    return CallRequest(actor=actor, messages=[{"role": "user", "content": "hi"}], configuration="no-such")


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    folder = tmp_path_factory.mktemp("matrix")
    made = build(Settings(data_dir=folder, database_url=f"sqlite:///{folder / 'llm_manager.db'}"))
    yield made
    made.close()


def refused(deed: Deed, services: Services, actor: Actor) -> bool:
    """Whether the deed needs a permission that the actor lacks; other refusals mean that the actor was let in."""
    try:
        deed(services, actor)
    except PermissionDenied:
        return True
    except LLMManagerError:
        return False
    return False


# What a team's administrator does for the team without the permission that others need for it.
OF_OWN_TEAM = {"Budgets.choices", "Budgets.create", "Budgets.update", "Budgets.recount", "Budgets.delete"}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("name", NEEDS)
def test_a_role_may_do_what_its_permissions_say(services: Services, name: str, role: Role) -> None:
    permission, deed = NEEDS[name]
    may = permission in ROLE_PERMISSIONS[role] or (role is Role.TEAM_ADMINISTRATOR and name in OF_OWN_TEAM)
    assert refused(deed, services, make_actor("u", "amira", role)) != may


@pytest.mark.parametrize("name", NEEDS)
def test_the_one_missing_permission_is_enough_to_be_refused(services: Services, name: str) -> None:
    permission, deed = NEEDS[name]
    everything_else = frozenset(Permission) - {permission}
    assert refused(deed, services, Actor("u", "amira", Role.DEVELOPER, everything_else))


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("name", SUPER_ADMIN_ONLY)
def test_people_and_sample_data_are_for_super_admins(services: Services, name: str, role: Role) -> None:
    assert refused(SUPER_ADMIN_ONLY[name], services, make_actor("u", "amira", role)) == (role is not Role.SUPER_ADMIN)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("name", TEAM_ADMINISTRATORS)
def test_a_team_is_ruled_by_its_administrators(services: Services, name: str, role: Role) -> None:
    rules = role in (Role.SUPER_ADMIN, Role.TEAM_ADMINISTRATOR)
    assert refused(TEAM_ADMINISTRATORS[name], services, make_actor("u", "amira", role)) != rules


def test_every_function_that_takes_an_actor_is_in_the_table() -> None:
    known = {*NEEDS, *SUPER_ADMIN_ONLY, *TEAM_ADMINISTRATORS, *OWN}
    services: tuple[type[Any], ...] = (
        Providers,
        Tools,
        ExecutionLog,
        HttpTools,
        ToolExchange,
        DirectRuns,
        Turns,
        MasterKey,
        Circuits,
        Configurations,
        Overrides,
        Models,
        Users,
        Calls,
        Metrics,
        Imports,
        Demo,
    )
    services += (
        Conversations,
        Talk,
        Contexts,
        Titles,
        ConversationFiles,
        Search,
        Interchange,
        ExchangeRates,
        Retention,
        Audit,
    )
    services += (Collections, Documents, Passages, Answers, Embedder)
    services += (QuestionSets, Proposals, Evaluations, Corpora, Optimiser, BundledServers, Servers, SignIns)
    services += (Approvals,)
    services += (Teams, AccessLinks, SharedCosts, StopSwitch, HandOver, Erasure)
    services += (Prices, Repricing, ApiKeys, RateLimits, Budgets, Cache, Webhook, Prompts, Experiments)
    for service in services:
        for name, function in inspect.getmembers(service, inspect.isfunction):
            takes_one = {"actor", "request"} & set(inspect.signature(function).parameters)
            assert name.startswith("_") or not takes_one or f"{service.__name__}.{name}" in known, name
    for service in SCOPED_BY_ROWS:
        for name, function in inspect.getmembers(service, inspect.isfunction):
            inputs = list(inspect.signature(function).parameters)
            assert name.startswith("_") or len(inputs) == 1 or inputs[1] == "actor", (service, name)

"""Every function of the services that changes something, or hands figures out, leaves an entry: who, from where, what.

The table is complete by construction: a function of the permission matrix that is neither here, nor a question, nor
named below with its reason, fails a test.
"""

import io
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Executable, delete, insert, text, update
from sqlalchemy.exc import DatabaseError

from lib.access.audit import AuditCriteria
from lib.access.grants import MODEL_ENDPOINTS, Limits
from lib.access.permissions import OPERATOR, Actor, Role, make_actor
from lib.activity.call_filter import ActivityFilter
from lib.activity.repricing import RepricingScope
from lib.approvals.approval import ApprovalKind, ApprovalRequest, Decision, GrantScope, Verdict
from lib.cache.policy import CacheRules
from lib.clock import make_id, utc_now
from lib.configs.overrides import OverrideDraft
from lib.conversations.exports import ExportFormat
from lib.db.engine import Store
from lib.db.tables import audit_log, circuits
from lib.experiments.plan import Candidate, ExperimentDraft
from lib.imports import UsageFile
from lib.jobs.retention import Days
from lib.knowledge.documents.document_service import About
from lib.knowledge.evaluation.corpus import CorpusEntry
from lib.knowledge.evaluation.questions import Judgement
from lib.mcp.records import write_state
from lib.mcp.server import ServerDraft
from lib.mcp.sign_in_records import begin_attempt
from lib.playground.exports import RunFormat as RunForm
from lib.playground.question import PlaygroundQuestion
from lib.playground.run import Pane
from lib.prompts.template import VersionDraft
from lib.providers.prices.rates import Rates, build_plain_price
from lib.services import Services, build
from lib.settings import Settings
from lib.statistics.exchange import Rate
from lib.statistics.shared_costs import SharedBy, SharedCost
from lib.tools.http_request import HttpTemplate
from lib.tools.http_tools import HttpToolDraft
from lib.tools.tool_settings import ToolSettings
from tests.activity.activity_rig import log_all
from tests.security.test_permission_matrix import NEEDS, OWN, SUPER_ADMIN_ONLY
from tests.workflows import permissions as workflow_permissions

pytestmark = pytest.mark.feature("ACC-3")
PASSWORD = "correct horse battery"
SECRET = "sk-canary-0123456789-abcdefgh"
PLACE = "page 192.0.2.7"
_YES = Decision(verdict=Verdict.APPROVE)
Deed = Callable[[Services, Actor], Any]
_QUESTIONS = {"list", "get", "find", "search", "state", "view", "page", "options", "check", "preview", "history"} | {
    *(
        "used_by",
        "versions",
        "oldest_unpriced",
        "apps",
        "default_for",
        "matching",
        "effective",
        "list_apps",
        "notices",
        "choices",
    ),
    *("version", "categories", "diff", "look", "attention", "subject", "days", "last_run", "wait", "running"),
}
NOT_CHANGES = {
    "Models.refresh": "fetches a provider's list of models, as opening a picker does",
    "Calls.start": "a call is a row of the ledger",
    "Calls.run": "a call is a row of the ledger",
    "Calls.beyond_holds": "a question",
    "Calls.answer": "a call is a row of the ledger",
    "Calls.stop": "one's own call",
    "check_connection": "a call is a row of the ledger",
    "Metrics.record": "notes something about one's own call",
    "Metrics.record_many": "notes something about one's own call",
    "Metrics.statistics": "a question",
    "Metrics.daily": "a question",
    **dict.fromkeys(("Cache.rules", "Cache.figures", "Cache.daily", "Cache.decisions", "Cache.proofs"), "a question"),
    "Cache.find_answer_ages": "a question",
    "Cache.label": "leaves an entry, shown in tests/cache/test_semantic.py",
    "Metrics.numeric_keys": "a question",
    **dict.fromkeys(
        (
            *("Conversations.create", "Conversations.update", "Conversations.end", "Conversations.reopen"),
            *(
                "Conversations.delete",
                "Talk.choose",
                "Contexts.undo",
                "ConversationFiles.add",
                "Interchange.import_file",
            ),
        ),
        "one's own conversation, which nobody else sees",
    ),
    **dict.fromkeys(
        (
            "Talk.send",
            "Talk.ask_elsewhere",
            "Talk.edit",
            "Talk.regenerate",
            "Talk.stop",
            "Contexts.compact",
            "Contexts.make_room",
            "Titles.suggest",
        ),
        "one's own conversation; its calls are rows of the ledger",
    ),
    **dict.fromkeys(
        (
            *("Conversations.count", "Conversations.folders", "Conversations.tags", "Talk.read", "Talk.answering"),
            *("Contexts.meter", "Search.messages"),
        ),
        "a question",
    ),
    "Playground.start": "calls are rows of the ledger",
    "Playground.ask_again": "a call is a row of the ledger",
    "Playground.open": "a question",
    "Playground.call": "a question",
    "Playground.stop": "one's own calls",
    "Playground.rate": "notes something about one's own calls",
    "Playground.ratings": "a question",
    "Playground.vote": "notes something about one's own calls",
    "Playground.recent": "a question",
    "Playground.wins": "a question",
    "Playground.delete": "one's own list; the calls stay in the ledger",
    "Prompts.fill": "a question",
    **dict.fromkeys(("Servers.offered", "Servers.ask", "Servers.read_resource", "Servers.fill_prompt"), "a question"),
    **dict.fromkeys(("SignIns.begin", "SignIns.complete"), "leave an entry, shown in tests/mcp/test_sign_ins.py"),
    "Tools.explain_unattended": "a question",
    "Servers.get_known": "a question",
    "BundledServers.files": "a question",
    "BundledServers.databases": "a question",
    "Approvals.ask": "what asks is noted where it runs; the decision is audited",
    "Approvals.end": "one's own request, which nothing waits for any more",
    **dict.fromkeys(("Approvals.waiting", "Approvals.recent", "Approvals.count", "Approvals.standing"), "a question"),
    **dict.fromkeys(("ExecutionLog.figures", "ExecutionLog.of_turn", "Teams.members"), "a question"),
    **dict.fromkeys(
        ("StopSwitch.find_refusal", "Tools.definitions", "Tools.policy", "Tools.settings", "Tools.toolset"),
        "a question",
    ),
    **dict.fromkeys(("StopSwitch.find_tool_refusal", "Playground.turn", "Talk.turn", "Turns.call_view"), "a question"),
    **dict.fromkeys(("HttpTools.absences", "HttpTools.definitions"), "a question"),
    **dict.fromkeys(
        ("Calls.open", "Turns.start", "Turns.ask", "Turns.answer"),
        "its calls are rows of the ledger, its runs of tools",
    ),
    **dict.fromkeys(("Tools.run", "DirectRuns.run"), "a run is a row of `tool_executions`"),
    "Turns.stop": "one's own turn",
    "ToolExchange.import_json": "makes tools and sets them, each of which leaves its entry",
    "Teams.choose": "in which of one's own teams one works",
    "Calls.quote": "a question",
    "Experiments.candidate": "a question",
    "Experiments.quote": "a question",
    "Experiments.lines": "a question",
    "Experiments.standings": "a question",
    "Experiments.choose_rows": "a question",
    "Experiments.create": "one's own table",
    "Experiments.copy": "one's own table",
    "Experiments.start": "calls are rows of the ledger",
    "Experiments.stop": "one's own calls",
    "Experiments.delete": "one's own table; the calls stay in the ledger",
    "ExchangeRates.currency": "a question",
    "ExchangeRates.choices": "a question",
    "ExchangeRates.book": "a question",
    "Webhook.test": "sends a message and keeps nothing",
    "Evaluations.run": "asks questions as a search does and keeps what was found",
    "Corpora.evaluate": "a question; its calls are rows of the ledger",
    "Optimiser.run": "does what Optimiser.begin has noted; its calls are rows of the ledger",
    "Documents.add_url": "adds what it fetched as Documents.add does",
    **dict.fromkeys(
        (
            *("Documents.text", "Documents.original", "Documents.chunks", "Documents.page_image"),
            *("Documents.preview", "Passages.search", "Answers.found"),
            *("QuestionSets.questions", "Evaluations.outcomes", "Evaluations.compare", "Optimiser.quote"),
        ),
        "a question",
    ),
    **dict.fromkeys(
        (
            "Answers.ask",
            "Answers.ground",
            "Calls.embed",
            "Embedder.embed",
            "Embedder.keep",
            "Embedder.question",
            "Embedder.relevance",
        ),
        "a call is a row of the ledger",
    ),
}


def _register_database(s: Services, a: Actor) -> str:
    """The name of a database that was registered."""
    name = f"db-{make_id()[-12:]}"
    path = s.settings.data_dir / f"{name}.sqlite"
    sqlite3.connect(path).close()
    s.bundled_servers.register_database(a, name, f"sqlite:///{path}")
    return name


def _draft(name: str, *arguments: str) -> ServerDraft:
    return ServerDraft(name, ["/bin/true", *arguments], secrets={"KEY": SECRET})


def _server(s: Services) -> str:
    """The name of a server of tools that was added."""
    return s.servers.add(OPERATOR, _draft(f"s-{make_id()[-12:]}")).name


def _approve(s: Services, a: Actor, name: str) -> str:
    return s.servers.approve(a, name, s.servers.get(OPERATOR, name).approval_hash).name


def _listed(s: Services) -> str:
    """The name of a server with a tool."""
    name = _server(s)
    tool = {"name": "echo", "inputSchema": {"type": "object"}}
    write_state(s.store, s.servers.get(OPERATOR, name).id, actual="ready", tools=[tool], server_version="x 1")
    return name


def _sign_out(s: Services, a: Actor) -> None:
    draft = ServerDraft(f"s-{make_id()[-12:]}", url="http://127.0.0.1:9/mcp", allow_private=True)
    server = s.servers.add(OPERATOR, draft)
    with s.store.write() as connection:
        begin_attempt(connection, s.vault, server.id, a.user_id or "", SECRET, {"verifier": SECRET})
    s.server_sign_ins.sign_out(a, server.name)


def _reject(s: Services, a: Actor, name: str) -> None:
    s.servers.approve_tools(OPERATOR, name)
    s.servers.reject_tools(a, name, ["echo"])


def _collection(s: Services) -> str:
    return s.knowledge.collections.create(
        OPERATOR, f"c-{make_id()[-12:]}", embedding_model=f"{_scripted(s).provider_name}/words:8"
    ).id


def _document(s: Services, text: str = SECRET) -> str:
    return s.knowledge.documents.add_text(OPERATOR, _collection(s), "t", text).id


def _chunk(s: Services) -> int:
    document = _document(s)
    s.knowledge.ingest.run_due()
    return s.knowledge.documents.chunks(OPERATOR, document)[0][0].id


def _questions(s: Services) -> str:
    """A set with one question, of a collection with one document."""
    collection = _collection(s)
    s.knowledge.corpora.take_in(
        OPERATOR, collection, [CorpusEntry("1", "t", "The boiler is descaled every four weeks." * 4)]
    )
    made = s.knowledge.question_sets.create(OPERATOR, collection, "q").id
    s.knowledge.question_sets.add(OPERATOR, made, "How often?", _answer(s, made))
    return made


def _answer(s: Services, set_id: str) -> list[Judgement]:
    collection = s.knowledge.question_sets.get(OPERATOR, set_id).collection_id
    return [Judgement(s.knowledge.documents.list(OPERATOR, collection)[0].id)]


def _change_question(s: Services, a: Actor) -> None:
    made = _questions(s)
    (question,) = s.knowledge.question_sets.questions(OPERATOR, made)
    s.knowledge.question_sets.update(a, question.id, SECRET, _answer(s, made))


def _add_question(s: Services, a: Actor) -> None:
    made = _questions(s)
    s.knowledge.question_sets.add(a, made, SECRET, _answer(s, made))


def _propose(s: Services, a: Actor) -> None:
    slug = f"c-{make_id()[-12:]}"
    provider = _scripted(s).provider_name
    s.configurations.create(OPERATOR, slug=slug, app="app", provider=provider, model="say:What is descaled?")
    s.knowledge.proposals.propose(a, _questions(s), 1, configuration=slug)


def _evaluation(s: Services) -> str:
    return s.knowledge.evaluations.run(OPERATOR, _questions(s)).id


def _study(s: Services) -> str:
    return s.knowledge.optimiser.begin(OPERATOR, _questions(s))


def _failed_document(s: Services) -> str:
    document = _document(s, "\x01")
    s.knowledge.ingest.run_due()
    return document


def _provider(s: Services) -> str:
    return s.providers.create(OPERATOR, name=f"p-{make_id()[-12:]}", kind="openai", api_key=SECRET).id


def _team(s: Services) -> int:
    return s.teams.create(OPERATOR, f"Team {make_id()[-6:]}").id


def _tool_draft(name: str = "") -> HttpToolDraft:
    name = name or f"t{make_id()[-6:]}"
    return HttpToolDraft(name, "Looks something up.", HttpTemplate("https://tools.example.com/look"))


def _add_tool(s: Services, a: Actor) -> str:
    return s.http_tools.create(a, _tool_draft()).definition.name


def _edit_tool(s: Services, a: Actor) -> None:
    s.http_tools.update(a, _tool_draft(_add_tool(s, a)), 1)


def _tool(s: Services) -> str:
    return s.tools.definitions(OPERATOR)[0].name


def _configuration(s: Services) -> Any:
    slug = f"c-{make_id()[-12:]}"
    return s.configurations.create(OPERATOR, slug=slug, app="app", provider="local", model="m")


def _rate(s: Services) -> Rate:
    rate = Rate(date(2026, 1, 2), "EUR", Decimal("0.9"))
    s.exchange_rates.set(OPERATOR, rate)
    return rate


def _run(s: Services, a: Actor) -> str:
    return s.playground.start(a, PlaygroundQuestion("x"), [Pane(_scripted(s).slug)])


def _scripted(s: Services) -> Any:
    provider = s.providers.create(OPERATOR, name=f"p-{make_id()[-12:]}", kind="scripted")
    return s.configurations.create(
        OPERATOR, slug=f"c-{make_id()[-12:]}", app="app", provider=provider.name, model="echo"
    )


def _prompt(s: Services) -> str:
    return s.prompts.create(OPERATOR, f"t-{make_id()[-12:]}", VersionDraft(SECRET)).slug


def _experiment(s: Services, a: Actor) -> str:
    s.experiments.start(
        a, made := s.experiments.create(a, ExperimentDraft("x", [Candidate(_scripted(s).slug)], [{"prompt": "x"}]))
    )
    s.experiments.wait(a, made)
    return made


def _override(s: Services) -> str:
    return s.overrides.create(OPERATOR, OverrideDraft("short", {"max_tokens": 5})).id


def _price(model: str) -> Any:
    return build_plain_price("openai", model, utc_now(), Rates(1, 1))


def _own_price(s: Services) -> str:
    s.price_entries.set(OPERATOR, _price("own-model"))
    return str(s.price_entries.versions(OPERATOR, "openai", "own-model")[0].id)


def _budget(s: Services, period: str = "day") -> str:
    name = _configuration(s).slug
    made = s.budgets.create(OPERATOR, scope="configuration", subject=name, period=period, limit_nano=10**9)
    return made.budget.id


def _question(s: Services, a: Actor) -> str:
    request = ApprovalRequest(kind=ApprovalKind.TOOL, title="Run it?", subject="tool:x", data={"a": SECRET})
    return s.approvals.ask(replace(a, user_id=a.user_id or _person(s).id), request).id


def _revoke_grant(s: Services, a: Actor) -> Any:
    s.approvals.decide(a, _question(s, a), replace(_YES, scope=GrantScope.ALWAYS))
    s.approvals.revoke(a, s.approvals.standing(a)[0].id)


def _key(s: Services, a: Actor) -> str:
    return s.api_keys.create(a, app="bot", owner_id=a.user_id)[1].id


def _person(s: Services) -> Any:
    return s.users.create(OPERATOR, f"u{make_id()[-12:]}", PASSWORD, Role.DEVELOPER)


def _changed_key(s: Services, a: Actor) -> Any:
    plain_key: dict[str, Any] = {
        "name": "x",
        "models": [],
        "endpoints": MODEL_ENDPOINTS,
        "limits": Limits(),
        "expires_at": None,
    }
    return s.api_keys.update(a, _key(s, OPERATOR), **plain_key)


def _closed_circuit(s: Services, a: Actor) -> None:
    moments = {"opened_at": utc_now(), "open_until": utc_now(), "updated_at": utc_now()}
    with s.store.write() as connection:
        connection.execute(insert(circuits), {"provider_id": "p", "model": "m", "failures": 5, "reason": ""} | moments)
    s.circuits.close(a, "p", "m")


def _repriced(s: Services, a: Actor) -> None:
    s.price_entries.set(
        OPERATOR, build_plain_price("openai", "dear", utc_now() - timedelta(days=9), Rates(10**9, 10**9))
    )
    unknown = {"cost_nano_usd": None, "cost_status": "unpriced", "prompt_tokens": 5, "usage_source": "provider"}
    log_all(s.store, [{"ago": 60, "user_id": None, "provider": "openai", "model": "dear", **unknown}])
    s.repricing.apply(a, RepricingScope())


def _run_retention(s: Services, a: Actor) -> None:
    old = {"id": make_id(), "at": utc_now() - timedelta(days=60), "user_name": "x", "action": "a", "subject": "s"}
    with s.store.write() as connection:
        connection.execute(insert(audit_log), old | {"detail": {}})
    s.retention.change(OPERATOR, Days(audit=30))
    s.retention.run(a)


def _remove_loaded(s: Services, a: Actor) -> Any:
    if not s.demo.is_present():
        s.demo.load(OPERATOR, 20)
    return s.demo.remove(a)


def _load_anew(s: Services, a: Actor) -> Any:
    if s.demo.is_present():
        s.demo.remove(OPERATOR)
    return s.demo.load(a, 20)


def _past() -> UsageFile:
    text = f"date,model,error,status\n2026-01-01,{make_id()},{SECRET},failed\n"
    return UsageFile(io.BytesIO(text.encode()), "past.csv")


SHARED = SharedCost("server", 1, SharedBy.COST, "2026-11")


def _remove_shared(services: Services, actor: Actor) -> None:
    services.shared_costs.set(actor, SHARED)
    services.shared_costs.remove(actor, SHARED.name)


DEEDS: dict[str, tuple[str, Deed]] = {
    "Providers.create": (
        "provider.create",
        lambda s, a: s.providers.create(a, name="acme", kind="openai", api_key=SECRET),
    ),
    "Providers.update": (
        "provider.edit",
        lambda s, a: s.providers.update(a, _provider(s), api_key=SECRET, headers={"X-Team": SECRET}),
    ),
    "Providers.set_active": ("provider.off", lambda s, a: s.providers.set_active(a, _provider(s), False)),
    "Providers.delete": ("provider.delete", lambda s, a: s.providers.delete(a, _provider(s))),
    "SharedCosts.set": ("shared_cost.set", lambda s, a: s.shared_costs.set(a, SHARED)),
    "SharedCosts.remove": ("shared_cost.remove", _remove_shared),
    "MasterKey.rotate": ("key.rotate", lambda s, a: s.master_key.rotate(a)),
    "Prices.set": ("prices.set", lambda s, a: s.price_entries.set(a, _price("m"))),
    "Prices.delete": ("prices.delete", lambda s, a: s.price_entries.delete(a, _own_price(s))),
    "Prices.import_csv": (
        "prices.import",
        lambda s, a: s.price_entries.import_csv(a, s.price_entries.export_csv(OPERATOR, own_only=True)),
    ),
    "Prices.export_csv": ("prices.export", lambda s, a: s.price_entries.export_csv(a)),
    "Repricing.apply": ("prices.reprice", _repriced),
    "Interchange.export": (
        "conversation.export",
        lambda s, a: s.conversation_exchange.export(a, None, ExportFormat.JSON),
    ),
    "Circuits.close": ("circuit.close", _closed_circuit),
    "Configurations.create": (
        "configuration.create",
        lambda s, a: s.configurations.create(a, slug="bot", app="x", provider="local", model="m"),
    ),
    "Configurations.clone": ("configuration.create", lambda s, a: s.configurations.clone(a, _configuration(s).id)),
    "Configurations.update": (
        "configuration.edit",
        lambda s, a: s.configurations.update(a, _configuration(s).id, 1, system_prompt=SECRET),
    ),
    "Configurations.set_active": (
        "configuration.off",
        lambda s, a: s.configurations.set_active(a, _configuration(s).id, False),
    ),
    "Configurations.set_default": (
        "configuration.default",
        lambda s, a: s.configurations.set_default(a, _configuration(s).id),
    ),
    "Configurations.clear_default": (
        "configuration.no_default",
        lambda s, a: s.configurations.clear_default(a, _configuration(s).id),
    ),
    "Configurations.delete": ("configuration.delete", lambda s, a: s.configurations.delete(a, _configuration(s).id)),
    "Configurations.import_json": (
        "configuration.import",
        lambda s, a: s.configurations.import_json(a, s.configurations.export_json(OPERATOR)),
    ),
    "Configurations.export_json": ("configuration.export", lambda s, a: s.configurations.export_json(a)),
    "Overrides.create": (
        "override.create",
        lambda s, a: s.overrides.create(a, OverrideDraft("x", {"stop": SECRET})),
    ),
    "Overrides.update": (
        "override.edit",
        lambda s, a: s.overrides.update(a, _override(s), OverrideDraft("y", {"stop": SECRET})),
    ),
    "Overrides.set_active": ("override.off", lambda s, a: s.overrides.set_active(a, _override(s), False)),
    "Overrides.delete": ("override.delete", lambda s, a: s.overrides.delete(a, _override(s))),
    "ApiKeys.create": ("api_key.create", _key),
    "ApiKeys.update": ("api_key.change", _changed_key),
    "ApiKeys.revoke": ("api_key.revoke", lambda s, a: s.api_keys.revoke(a, _key(s, OPERATOR))),
    "ExchangeRates.choose": ("currency.choose", lambda s, a: s.exchange_rates.choose(a, _rate(s).currency)),
    "ExchangeRates.set": ("rates.set", lambda s, a: s.exchange_rates.set(a, Rate(date(2026, 1, 2), "EUR", Decimal(2)))),
    "ExchangeRates.delete": ("rates.delete", lambda s, a: s.exchange_rates.delete(a, "EUR", _rate(s).day)),
    "ExchangeRates.import_csv": (
        "rates.import",
        lambda s, a: s.exchange_rates.import_csv(a, "day,currency,per_usd\n2026-01-02,EUR,0.9\n"),
    ),
    "SavedViews.save": ("view.share", lambda s, a: s.saved_views.save(a, "v", {}, shared=True)),
    "SavedViews.change": (
        "view.change",
        lambda s, a: s.saved_views.change(a, s.saved_views.save(a, "v", {}).id, shared=True, pinned=False),
    ),
    "SavedViews.delete": ("view.delete", lambda s, a: s.saved_views.delete(a, s.saved_views.save(a, "v", {}).id)),
    "Collections.create": (
        "collection.create",
        lambda s, a: s.knowledge.collections.create(a, "c", description=SECRET),
    ),
    "Collections.update": (
        "collection.change",
        lambda s, a: s.knowledge.collections.update(a, _collection(s), is_shared=True),
    ),
    "Collections.reindex": ("collection.reindex", lambda s, a: s.knowledge.collections.reindex(a, _collection(s))),
    "Collections.delete": ("collection.delete", lambda s, a: s.knowledge.collections.delete(a, _collection(s))),
    "Documents.add": ("document.add", lambda s, a: s.knowledge.documents.add(a, _collection(s), "n", SECRET.encode())),
    "Documents.add_text": ("document.add", lambda s, a: s.knowledge.documents.add_text(a, _collection(s), "n", SECRET)),
    "Documents.retry": ("document.retry", lambda s, a: s.knowledge.documents.retry(a, _failed_document(s))),
    "Documents.describe": (
        "document.change",
        lambda s, a: s.knowledge.documents.describe(a, _document(s), About("New")),
    ),
    "Documents.delete": ("document.delete", lambda s, a: s.knowledge.documents.delete(a, _document(s))),
    "Documents.edit_chunk": ("chunk.edit", lambda s, a: s.knowledge.documents.edit_chunk(a, _chunk(s), SECRET)),
    "QuestionSets.create": (
        "question_set.create",
        lambda s, a: s.knowledge.question_sets.create(a, _collection(s), "q"),
    ),
    "QuestionSets.delete": ("question_set.delete", lambda s, a: s.knowledge.question_sets.delete(a, _questions(s))),
    "QuestionSets.add": ("question.add", _add_question),
    "QuestionSets.update": ("question.change", _change_question),
    "QuestionSets.approve": ("question.approve", lambda s, a: s.knowledge.question_sets.approve(a, _questions(s), [])),
    "QuestionSets.remove": ("question.delete", lambda s, a: s.knowledge.question_sets.remove(a, _questions(s), [])),
    "QuestionSets.import_asked": (
        "question.import",
        lambda s, a: s.knowledge.question_sets.import_asked(a, _questions(s), []),
    ),
    "Proposals.propose": ("question.propose", _propose),
    "Evaluations.delete": ("evaluation.delete", lambda s, a: s.knowledge.evaluations.delete(a, _evaluation(s))),
    "Corpora.take_in": (
        "document.add_many",
        lambda s, a: s.knowledge.corpora.take_in(a, _collection(s), [CorpusEntry("1", "t", SECRET)]),
    ),
    "Optimiser.begin": ("study.begin", lambda s, a: s.knowledge.optimiser.begin(a, _questions(s))),
    "Optimiser.stop": ("study.stop", lambda s, a: s.knowledge.optimiser.stop(a, _study(s))),
    "Optimiser.apply": ("collection.change", lambda s, a: s.knowledge.optimiser.apply(a, _study(s), 0)),
    "Servers.add": ("mcp.add", lambda s, a: s.servers.add(a, _draft(f"s-{make_id()[-12:]}"))),
    "Servers.update": ("mcp.change", lambda s, a: s.servers.update(a, _draft(_server(s), "--more"))),
    "Servers.approve": ("mcp.approve", lambda s, a: _approve(s, a, _server(s))),
    "Servers.start": ("mcp.start", lambda s, a: s.servers.start(a, _approve(s, OPERATOR, _server(s)))),
    "Servers.stop": ("mcp.stop", lambda s, a: s.servers.stop(a, _server(s))),
    "Servers.restart": ("mcp.restart", lambda s, a: s.servers.restart(a, _approve(s, OPERATOR, _server(s)))),
    "Servers.stop_all": ("mcp.stop", lambda s, a: s.servers.stop_all(a)),
    "Servers.remove": ("mcp.remove", lambda s, a: s.servers.remove(a, _server(s))),
    "Servers.approve_tools": ("mcp.tools.approve", lambda s, a: s.servers.approve_tools(a, _listed(s))),
    "SignIns.sign_out": ("mcp.sign_out", _sign_out),
    "Servers.reject_tools": ("mcp.tools.reject", lambda s, a: _reject(s, a, _listed(s))),
    "BundledServers.set_files": ("tools.files", lambda s, a: s.bundled_servers.set_files(a, ["/tmp"])),
    "BundledServers.register_database": ("tools.database.add", lambda s, a: _register_database(s, a)),
    "BundledServers.remove_database": (
        "tools.database.remove",
        lambda s, a: s.bundled_servers.remove_database(a, _register_database(s, OPERATOR)),
    ),
    "Approvals.decide": ("approval.approve", lambda s, a: s.approvals.decide(a, _question(s, a), _YES)),
    "Approvals.revoke": ("approval.revoke", _revoke_grant),
    "Prompts.create": ("prompt.create", lambda s, a: s.prompts.create(a, "greet", VersionDraft(SECRET))),
    "Prompts.save": ("prompt.save", lambda s, a: s.prompts.save(a, _prompt(s), VersionDraft(f"{SECRET}!"), 1)),
    "Prompts.describe": ("prompt.edit", lambda s, a: s.prompts.describe(a, _prompt(s), description=SECRET)),
    "Prompts.move_label": ("prompt.label", lambda s, a: s.prompts.move_label(a, _prompt(s), "production", 1)),
    "Prompts.delete": ("prompt.delete", lambda s, a: s.prompts.delete(a, _prompt(s))),
    "Prompts.export_json": ("prompt.export", lambda s, a: s.prompts.export_json(a)),
    "Prompts.import_json": (
        "prompt.import",
        lambda s, a: s.prompts.import_json(a, s.prompts.export_json(OPERATOR)),
    ),
    "Experiments.export": ("experiment.export", lambda s, a: s.experiments.export(a, _experiment(s, a), "csv")),
    "Experiments.promote": (
        "experiment.promote",
        lambda s, a: s.experiments.promote(a, _experiment(s, a), 0, "configuration"),
    ),
    "Playground.export": ("playground.export", lambda s, a: s.playground.export(a, _run(s, a), RunForm.JSON)),
    "Playground.share": ("playground.share", lambda s, a: s.playground.share(a, _run(s, a), is_shared=True)),
    "RateLimits.set_app": ("limits.change", lambda s, a: s.limits.set_app(a, "bot", Limits(5))),
    "Budgets.create": (
        "budget.create",
        lambda s, a: s.budgets.create(a, scope="global", period="day", limit_nano=10**9),
    ),
    "Budgets.update": ("budget.update", lambda s, a: s.budgets.update(a, _budget(s), limit_nano=5)),
    "Budgets.recount": ("budget.recount", lambda s, a: s.budgets.recount(a, _budget(s))),
    "Budgets.delete": ("budget.delete", lambda s, a: s.budgets.delete(a, _budget(s))),
    "Webhook.set": (
        "webhook.set",
        lambda s, a: s.webhook.set(a, url="http://127.0.0.1:9/hook", secret=SECRET, allow_private=True),
    ),
    "Webhook.remove": ("webhook.remove", lambda s, a: s.webhook.remove(a)),
    "Users.create": ("user.create", lambda s, a: s.users.create(a, "eve", SECRET, Role.DEVELOPER)),
    "Users.set_role": ("user.role", lambda s, a: s.users.set_role(a, _person(s).id, Role.ADMINISTRATOR)),
    "Users.set_active": ("user.disable", lambda s, a: s.users.set_active(a, _person(s).id, False)),
    "Users.set_password": ("user.password", lambda s, a: s.users.set_password(a, _person(s).id, SECRET)),
    "Users.change_own_password": (
        "user.own_password",
        lambda s, a: s.users.change_own_password(a, PASSWORD, SECRET),
    ),
    "Retention.change": ("retention.change", lambda s, a: s.retention.change(a, Days(words=30))),
    "Retention.run": ("retention.run", _run_retention),
    "Audit.export_csv": ("audit.export", lambda s, a: b"".join(s.audit.export_csv(a, AuditCriteria()))),
    "Audit.note_export": (
        "statistics.export",
        lambda s, a: s.audit.note_export(a, "statistics.export", "csv", rows=3),
    ),
    "Demo.load": ("demo.load", _load_anew),
    "Demo.remove": ("demo.remove", _remove_loaded),
    "AccessLinks.reset_password": ("link.password", lambda s, a: s.access_links.reset_password(a, _person(s).id)),
    "Erasure.erase": ("person.erase", lambda s, a: s.erasure.erase(a, _person(s).id)),
    "Teams.create": ("team.create", lambda s, a: s.teams.create(a, f"Team {make_id()[-6:]}")),
    "Teams.delete": ("team.delete", lambda s, a: s.teams.delete(a, _team(s))),
    "Teams.move": (
        "configuration.move",
        lambda s, a: s.teams.move(a, "configuration", _configuration(s).slug, _team(s)),
    ),
    "HttpTools.create": ("tool.create", _add_tool),
    "HttpTools.update": ("tool.edit", _edit_tool),
    "HttpTools.delete": ("tool.delete", lambda s, a: s.http_tools.delete(a, _add_tool(s, a))),
    "ToolExchange.export_json": ("tool.export", lambda s, a: s.tool_exchange.export_json(a)),
    "Tools.save_settings": ("tool.settings", lambda s, a: s.tools.save_settings(a, _tool(s), ToolSettings())),
    "Cache.change_rules": ("cache.change", lambda s, a: s.cache.change_rules(a, _configuration(s).id, CacheRules())),
    "Cache.purge": ("cache.purge", lambda s, a: s.cache.purge(a, everything=True)),
    "Cache.purge_own": ("cache.purge", lambda s, a: s.cache.purge_own(a)),
    "Cache.forget_call": ("cache.purge", lambda s, a: s.cache.forget_call(a, make_id())),
    "Imports.run": ("import.done", lambda s, a: s.imports.run(a, _past())),
    "Imports.undo": ("import.undo", lambda s, a: s.imports.undo(a, s.imports.run(OPERATOR, _past()).id)),
    "Activity.export_csv": ("activity.export", lambda s, a: b"".join(s.activity.export_csv(a, ActivityFilter()))),
    "Activity.export_json": ("activity.export", lambda s, a: b"".join(s.activity.export_json(a, ActivityFilter()))),
    "Activity.export_sql": ("activity.export", lambda s, a: b"".join(s.activity.export_sql(a, ActivityFilter()))),
}
DEEDS |= workflow_permissions.DEEDS
NOT_CHANGES |= workflow_permissions.NOT_CHANGES


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    folder = tmp_path_factory.mktemp("audited")
    made = build(Settings(data_dir=folder, database_url=f"sqlite:///{folder / 'llm_manager.db'}"))
    yield made
    made.close()


@pytest.mark.parametrize("name", DEEDS)
def test_a_change_says_who_from_where_and_no_secret(services: Services, name: str) -> None:
    action, deed = DEEDS[name]
    person = services.users.create(OPERATOR, f"root{make_id()[-12:]}", PASSWORD, Role.SUPER_ADMIN)
    deed(services, make_actor(person.id, person.name, Role.SUPER_ADMIN).with_origin(PLACE))
    found = services.audit.page(OPERATOR, AuditCriteria(users=(person.name,)), size=50).entries
    assert action in [entry.action for entry in found]
    assert {(entry.user_id, entry.came_from) for entry in found} == {(person.id, PLACE)}
    told = str([(entry.subject, entry.detail) for entry in found])
    assert SECRET not in told
    assert PASSWORD not in told
    assert "/hook" not in told


def test_every_function_that_takes_an_actor_asks_or_leaves_an_entry() -> None:
    everything = {*NEEDS, *SUPER_ADMIN_ONLY, *OWN}
    asking = {name for name in everything if name.rpartition(".")[2] in _QUESTIONS}
    missing = everything - asking - set(NOT_CHANGES) - set(DEEDS)
    assert not missing
    assert not asking & set(DEEDS)


def test_an_entry_can_be_neither_changed_nor_deleted(store: Store) -> None:
    row = {"id": make_id(), "at": utc_now(), "user_name": "x", "action": "a", "subject": "s", "detail": {}}
    with store.write() as connection:
        connection.execute(insert(audit_log), row)
    forbidden: list[Executable] = [update(audit_log).values(user_name="nobody"), delete(audit_log)]
    forbidden += [] if store.is_sqlite else [text("TRUNCATE audit_log")]
    for statement in forbidden:
        with pytest.raises(DatabaseError, match="audit log is"), store.write() as connection:
            connection.execute(statement)
    with store.read() as connection:
        assert connection.execute(audit_log.select()).mappings().one()["user_name"] == "x"

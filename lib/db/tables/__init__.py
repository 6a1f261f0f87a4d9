"""All tables on one MetaData, by subject.

Money is integer nano-dollars, every moment is UTC, ids are UUIDv7 text.
"""

from lib.db.tables.access import (
    api_keys,
    audit_log,
    login_failures,
    rate_counters,
    saved_views,
    sessions,
    user_preferences,
    users,
)
from lib.db.tables.budgets import budget_holds, budget_notices, budget_windows, budgets, webhook_outbox
from lib.db.tables.columns import UtcDateTime, metadata
from lib.db.tables.configurations import configurations, overrides, prompt_labels, prompt_templates, prompt_versions
from lib.db.tables.conversations import conversation_files, conversation_summaries, conversations, messages
from lib.db.tables.installation import installation_settings, processes, vault_keys
from lib.db.tables.knowledge import (
    chunk_vectors,
    chunks,
    collections,
    document_versions,
    documents,
    evaluation_results,
    evaluations,
    judgements,
    question_sets,
    questions,
    studies,
    trials,
)
from lib.db.tables.ledger import (
    custom_metrics,
    imports,
    ledger_clock,
    open_calls,
    outside_people,
    usage_logs,
    usage_payloads,
)
from lib.db.tables.playground import experiment_cells, experiment_rows, experiments, playground_panes, playground_runs
from lib.db.tables.providers import circuits, exchange_rates, model_lists, prices, providers
from lib.db.tables.tools import tool_executions, tool_turns, tools

__all__ = [
    "UtcDateTime",
    "api_keys",
    "audit_log",
    "budget_holds",
    "budget_notices",
    "budget_windows",
    "budgets",
    "chunk_vectors",
    "chunks",
    "circuits",
    "collections",
    "configurations",
    "conversation_files",
    "conversation_summaries",
    "conversations",
    "custom_metrics",
    "document_versions",
    "documents",
    "evaluation_results",
    "evaluations",
    "exchange_rates",
    "experiment_cells",
    "experiment_rows",
    "experiments",
    "imports",
    "installation_settings",
    "judgements",
    "ledger_clock",
    "login_failures",
    "messages",
    "metadata",
    "model_lists",
    "open_calls",
    "outside_people",
    "overrides",
    "playground_panes",
    "playground_runs",
    "prices",
    "processes",
    "prompt_labels",
    "prompt_templates",
    "prompt_versions",
    "providers",
    "question_sets",
    "questions",
    "rate_counters",
    "saved_views",
    "sessions",
    "studies",
    "tool_executions",
    "tool_turns",
    "tools",
    "trials",
    "usage_logs",
    "usage_payloads",
    "user_preferences",
    "users",
    "vault_keys",
    "webhook_outbox",
]

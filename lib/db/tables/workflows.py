"""Workflows: definitions and their versions, runs with their steps, schedules and webhooks that start runs."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Integer, String, Table, Text, false

from lib.db.tables.columns import id_column, metadata, moment_column, team_column

workflows = Table(
    "workflows",
    metadata,
    id_column(primary_key=True),
    Column("slug", String(100), nullable=False, unique=True),
    Column("name", String(200), nullable=False),
    Column("description", Text, nullable=False),
    Column("newest", Integer, nullable=False),
    Column("is_active", Boolean, nullable=False),
    id_column("user_id"),  # who made it; NULL: the machine's operator
    team_column(),
    Column("runners", JSON, nullable=False),  # {roles: [...], teams: [...]}: who may run it besides its makers
    moment_column("created_at"),
    moment_column("updated_at"),
)


workflow_versions = Table(
    "workflow_versions",
    metadata,
    id_column("workflow_id", primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("hash", String(64), nullable=False),  # of what it does: places and labels are left out
    Column("definition", Text, nullable=False),  # JSON
    Column("reason", Text, nullable=False),
    id_column("user_id"),
    Column("user_name", String(80), nullable=False),
    moment_column("created_at"),
    Index(None, "hash"),
)


workflow_labels = Table(
    "workflow_labels",
    metadata,
    id_column("workflow_id", primary_key=True),
    Column("label", String(64), primary_key=True),
    Column("version", Integer, nullable=False),
)


workflow_runs = Table(
    "workflow_runs",
    metadata,
    id_column(primary_key=True),
    id_column("workflow_id", nullable=False),
    Column("version", Integer, nullable=False),
    Column("pins", JSON, nullable=False),  # {slug: [workflow id, version]} of the workflows that it runs as steps
    Column("state", String(12), nullable=False),  # queued, running, waiting, paused, done, failed, cancelled
    Column("reason", Text, nullable=False),  # why it is in that state
    Column("failed_step", String(200), nullable=False),
    Column("trigger", String(12), nullable=False),  # page, command, api, gateway, schedule, webhook, test, rerun …
    id_column("user_id"),  # for whom it runs; NULL: the machine's operator
    id_column("api_key_id"),
    team_column(),
    Column("inputs", JSON, nullable=False),
    Column("output", JSON(none_as_null=True)),
    Column("cost_cap_nano_usd", BigInteger),
    Column("cost_nano_usd", BigInteger),  # of every call made for it; NULL: one is unknown
    Column("has_partial_cost", Boolean, nullable=False, server_default=false()),  # then the cost is the least
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("orphaned_calls", Integer, nullable=False),  # cut in flight by the end of a process, and made again
    Column("steps_done", Integer, nullable=False),
    Column("owner", String(80), nullable=False),  # the execution at work; empty: none
    Column("executions", Integer, nullable=False),  # how often it was taken up
    Column("stop_asked", String(8), nullable=False),  # cancel, pause, or empty
    Column(
        "signals", Integer, nullable=False
    ),  # decisions and signals that have come: none is overlooked while parking
    Column("is_sealed", Boolean, nullable=False),  # its words may not be kept: encrypted while it runs, then erased
    moment_column(
        "wake_at", nullable=True
    ),  # when a wait or deadline is over; of one that runs: when it counts as lost
    id_column("reuses_run_id"),  # whose paid steps may stand in
    Column("rerun_from", String(200), nullable=False),
    id_column("batch_id"),  # of a table whose every row is a run
    Column("batch_row", Integer),  # from 1
    Column("pinned", JSON, nullable=False),  # {path: output} of a test case
    moment_column("created_at"),
    moment_column("started_at", nullable=True),
    moment_column("finished_at", nullable=True),
    Index(None, "workflow_id", "created_at"),
    Index(None, "state", "wake_at"),
    Index(None, "user_id", "created_at"),
    Index(None, "batch_id", "batch_row"),
)


workflow_steps = Table(
    "workflow_steps",
    metadata,
    id_column("run_id", primary_key=True),
    Column("path", String(200), primary_key=True),  # node, or node/index/node within a map, a loop or a workflow
    Column("position", Integer, nullable=False),  # in the topological order of its graph
    Column("kind", String(16), nullable=False),
    Column("state", String(12), nullable=False),  # running, waiting, done, failed, skipped, cancelled, unknown
    Column("port", String(40), nullable=False),  # by which it was left
    Column("attempts", Integer, nullable=False),
    Column("input", JSON(none_as_null=True)),
    Column("output", JSON(none_as_null=True)),
    Column("changes", JSON(none_as_null=True)),  # of shared state
    Column("error", Text, nullable=False),
    Column("input_hash", String(64), nullable=False),
    id_column("reused_from"),  # the run whose result stands here
    Column("calls", JSON, nullable=False),  # ids in the order they were made
    Column("cost_nano_usd", BigInteger),  # of its calls; NULL: one is unknown
    Column("has_partial_cost", Boolean, nullable=False, server_default=false()),  # then the cost is the least
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    moment_column("started_at"),
    moment_column("finished_at", nullable=True),
)


workflow_actions = Table(
    "workflow_actions",
    metadata,
    id_column("run_id", primary_key=True),
    Column("key", String(250), primary_key=True),  # the step's path, # and what within it: a round, an agent, a tool
    Column("attempt", Integer, nullable=False),
    Column("state", String(12), nullable=False),  # started, done, failed
    Column("input_hash", String(64), nullable=False),
    id_column("call_id"),
    Column("result", JSON(none_as_null=True)),
    moment_column("started_at"),
    moment_column("finished_at", nullable=True),
)


workflow_schedules = Table(
    "workflow_schedules",
    metadata,
    id_column(primary_key=True),
    id_column("workflow_id", nullable=False),
    Column("name", String(100), nullable=False),
    Column("cron", String(100), nullable=False),
    Column("zone", String(64), nullable=False),  # IANA
    Column("inputs", JSON, nullable=False),
    Column("overlap", String(8), nullable=False),  # while the last run still goes: skip, queue, parallel
    Column("is_active", Boolean, nullable=False),
    id_column("user_id"),  # for whom its runs are
    team_column(),
    moment_column("next_at", nullable=True),
    id_column("last_run_id"),
    Column("last_note", Text, nullable=False),  # why the last time started nothing
    moment_column("created_at"),
    Index(None, "is_active", "next_at"),
)


workflow_webhooks = Table(
    "workflow_webhooks",
    metadata,
    id_column(primary_key=True),
    id_column("workflow_id", nullable=False),
    Column("name", String(100), nullable=False),
    Column("sealed", Text, nullable=False),  # its secret, encrypted
    Column("is_active", Boolean, nullable=False),
    id_column("user_id"),  # for whom its runs are
    team_column(),
    moment_column("created_at"),
    moment_column("used_at", nullable=True),
)


workflow_deliveries = Table(
    "workflow_deliveries",
    metadata,
    id_column("webhook_id", primary_key=True),
    Column("signature", String(64), primary_key=True),  # SHA-256 of a delivery's signature: the same one starts nothing
    id_column("run_id"),
    moment_column("received_at"),
    Index(None, "received_at"),
)

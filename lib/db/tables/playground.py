"""Answers compared: the playground's runs and panes, experiments over tables of inputs."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Integer, String, Table, Text, false

from lib.db.tables.columns import id_column, metadata, moment_column, team_column

playground_runs = Table(
    "playground_runs",
    metadata,
    id_column(primary_key=True),
    id_column("user_id"),
    moment_column("created_at"),
    Column("is_shared", Boolean, nullable=False, default=False),
    Column("is_blind", Boolean, nullable=False, default=False),
    Column("winner", Integer),  # a pane's position, -1 for a draw, NULL before the vote
    team_column(),
    Index(None, "user_id", "created_at"),
)


playground_panes = Table(
    "playground_panes",
    metadata,
    id_column("run_id", primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    id_column("configuration_id"),
    Column("slug", String(200), nullable=False),  # as it was asked for
    Column("parameters", JSON, nullable=False),
    id_column("call_id"),  # NULL where nothing was sent
    Column("error", Text),  # why not
)


experiments = Table(
    "experiments",
    metadata,
    id_column(primary_key=True),
    id_column("user_id"),
    Column("name", String(120), nullable=False),
    Column("state", String(12), nullable=False),  # ready, running, stopped, capped, done
    Column("reason", Text, nullable=False, default=""),  # why it stopped
    Column("candidates", JSON, nullable=False),
    Column("scorers", JSON, nullable=False),
    Column("columns", JSON, nullable=False),  # of the table, in order
    Column("parallel", Integer, nullable=False),
    Column("cap_nano_usd", BigInteger),
    id_column("run_id"),  # of `lib.work`, the newest
    id_column("owner"),  # the execution of it that is at work
    moment_column("seen_at", nullable=True),  # not used any more
    Column("stop_asked", Boolean, nullable=False, default=False),
    team_column(),
    moment_column("created_at"),
    Index(None, "user_id", "created_at"),
)


experiment_rows = Table(
    "experiment_rows",
    metadata,
    id_column("experiment_id", primary_key=True),
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("inputs", JSON, nullable=False),
)


experiment_cells = Table(
    "experiment_cells",
    metadata,
    id_column("experiment_id", primary_key=True),
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("candidate", Integer, primary_key=True, autoincrement=False),
    Column("state", String(8), nullable=False),  # waiting, asked, done, failed
    id_column("call_id"),
    id_column("judge_call_id"),
    Column("calls", JSON, nullable=False),  # every call ever made for it, also stopped ones
    Column("cost_nano_usd", BigInteger),  # of all those; NULL: unknown
    Column("has_partial_cost", Boolean, nullable=False, server_default=false()),  # a part of it has no known price
    Column("scores", JSON, nullable=False),  # {kind: 0 to 1, or null}
    Column("notes", JSON, nullable=False),  # {kind: why}
    Column("error", Text),
)

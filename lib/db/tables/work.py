"""Work that outlives its process: who is alive, what runs wait for, signals, and the results of steps that cost."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Integer, String, Table, Text

from lib.db.tables.columns import id_column, metadata, moment_column

work_processes = Table(
    "work_processes",
    metadata,
    Column("executor_id", String(120), primary_key=True),
    Column("host_key", String(64), nullable=False),  # of the kernel and its process numbers; empty: unknown
    Column("pid", Integer, nullable=False),
    Column("pid_started", BigInteger, nullable=False),  # as the kernel counts it, so that a number used again is told
    Column("beats", BigInteger, nullable=False),  # others watch whether it still grows, by their own clocks
    moment_column("started_at"),
)


work_waits = Table(
    "work_waits",
    metadata,
    Column("run_id", String(120), primary_key=True),
    Column("topic", String(160), primary_key=True),
    moment_column("deadline", nullable=True),
    Column("is_parked", Boolean, nullable=False),  # its execution has ended; a signal or the deadline starts it again
    moment_column("since"),
)


work_signals = Table(
    "work_signals",
    metadata,
    Column("run_id", String(120), primary_key=True),
    Column("topic", String(160), primary_key=True),
    Column("payload", JSON, nullable=False),
    moment_column("at"),
)


step_results = Table(
    "step_results",
    metadata,
    Column("run_id", String(120), primary_key=True),
    Column("step", String(160), primary_key=True),
    Column("state", String(8), nullable=False),  # started, done, unknown
    id_column("call_id"),  # of the model call that made it
    Column("sealed", Text),  # the result as JSON, encrypted by the vault; NULL before it is there, and once erased
    Column("output_hash", String(64), nullable=False),  # SHA-256
    Column("output_size", BigInteger, nullable=False),  # bytes
    moment_column("started_at"),
    moment_column("finished_at", nullable=True),
    Index(None, "finished_at"),
)

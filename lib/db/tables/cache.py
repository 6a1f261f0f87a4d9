"""Remembered answers: which configurations remember, what is remembered, what was served, and what would have been."""

from sqlalchemy import BigInteger, Boolean, Column, Date, Float, Index, Integer, LargeBinary, String, Table, Text, false

from lib.db.tables.columns import id_column, metadata, moment_column, team_column

cache_policies = Table(
    "cache_policies",
    metadata,
    id_column("configuration_id", primary_key=True),
    team_column(),
    Column("exact", Boolean, nullable=False),
    Column("loose", Boolean, nullable=False),
    Column("semantic", String(8), nullable=False),  # off, shadow, judged, proved
    Column("scope", String(8), nullable=False),  # person, team, app
    Column("ttl_s", Integer, nullable=False),
    Column("most_bytes", BigInteger, nullable=False),
    Column("bound_per_mille", Integer, nullable=False),  # wrong answers among a thousand that may be served
    id_column("judge_configuration_id", nullable=True),
    Column("keeps_pace", Boolean, nullable=False),  # a streamed answer comes as fast as the first time
    moment_column("updated_at"),
)


cache_entries = Table(
    "cache_entries",
    metadata,
    id_column(primary_key=True),
    Column("exact_key", String(64), nullable=False, unique=True),
    Column("loose_key", String(64)),
    Column("namespace", String(64)),  # of the loose and semantic tiers; NULL where only the same request may find it
    Column("pool", String(64)),  # the namespace without the person: what a proof is about
    id_column("configuration_id", nullable=False),
    id_column("user_id", nullable=True),
    team_column(),
    Column("app", String(80), nullable=False),
    moment_column("created_at"),
    moment_column("used_at"),
    Column("uses", Integer, nullable=False, server_default="0"),
    Column("bytes", Integer, nullable=False),
    Column("answer", Text, nullable=False),  # encrypted JSON
    Column("question", Text),  # encrypted; of the loose and semantic tiers
    Column("vector", LargeBinary),  # float32 of the embedding model in use
    id_column("call_id", nullable=False),  # that was answered by a model
    Column("cost_nano_usd", BigInteger),
    Column("execution_time_ms", Integer),
    Column("is_banned", Boolean, nullable=False, server_default=false()),
    Index(None, "loose_key"),
    Index(None, "namespace"),
    Index(None, "configuration_id", "created_at"),
    Index(None, "user_id"),
)


cache_hits = Table(
    "cache_hits",
    metadata,
    id_column("call_id", primary_key=True),
    id_column("entry_id", nullable=False),
    id_column("original_call_id", nullable=False),
    id_column("configuration_id", nullable=False),
    id_column("user_id", nullable=True),
    team_column(),
    Column("tier", String(8), nullable=False),
    Column("saved_nano_usd", BigInteger),
    Column("saved_ms", Integer),
    moment_column("created_at"),
    Index(None, "configuration_id", "created_at"),
)


cache_counts = Table(
    "cache_counts",
    metadata,
    Column("day", Date, primary_key=True),
    Column("team_id", Integer, primary_key=True, autoincrement=False, server_default="1"),
    id_column("configuration_id", primary_key=True),
    Column("outcome", String(24), primary_key=True),  # a tier, `miss`, or the rule that left a request out
    Column("count", Integer, nullable=False),
)


cache_decisions = Table(
    "cache_decisions",
    metadata,
    id_column(primary_key=True),
    moment_column("created_at"),
    id_column("configuration_id", nullable=False),
    Column("pool", String(64), nullable=False),
    id_column("entry_id", nullable=False),
    id_column("call_id", nullable=False),
    id_column("user_id", nullable=True),
    team_column(),
    Column("similarity", Float, nullable=False),
    Column("guard", String(24)),  # that refused; NULL: none did
    Column("verdict", String(10)),  # of the judge: same, different, failed; NULL: not asked
    Column("label", String(10)),  # same or different, by a person or by the two answers
    Column("labelled_by", String(10)),
    Column("was_served", Boolean, nullable=False),
    Column("saved_nano_usd", BigInteger),
    Column("question", Text),  # encrypted
    Column("candidate", Text),  # encrypted
    Index(None, "pool", "created_at"),
    Index(None, "configuration_id", "created_at"),
    Index(None, "user_id"),
)


cache_blocked_pairs = Table(
    "cache_blocked_pairs",
    metadata,
    Column("pool", String(64), primary_key=True),
    Column("pair", String(64), primary_key=True),  # keyed hash of the two questions, in order
    moment_column("created_at"),
    id_column("user_id", nullable=True),
)

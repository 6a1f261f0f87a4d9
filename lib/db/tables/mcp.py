"""Servers of tools of others: what is wanted of them, how they are on each machine, what was approved."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Integer, String, Table, Text

from lib.db.tables.columns import id_column, metadata, moment_column

mcp_servers = Table(
    "mcp_servers",
    metadata,
    id_column(primary_key=True),
    Column("name", String(40), nullable=False, unique=True),  # the prefix of its tools
    Column("title", String(200), nullable=False, default=""),
    Column("transport", String(8), nullable=False),  # stdio, http
    Column("command", JSON, nullable=False),  # the whole argument vector; empty for http
    Column("url", Text, nullable=False, default=""),
    Column("allow_private", Boolean, nullable=False, default=False),
    Column("issuer", Text, nullable=False, server_default=""),  # where people sign in; empty: what the server names
    Column("client_id", Text, nullable=False, server_default=""),  # registered there by hand; empty: by itself
    Column("secret_names", JSON, nullable=False),  # of variables or headers, whose values the vault seals
    Column("limits", JSON, nullable=False),  # of the process: {"DATA": bytes, "NOFILE": count}
    Column("wanted", String(8), nullable=False),  # on, off
    Column("revision", Integer, nullable=False),  # raised by each change and restart
    Column("approved_hash", String(64)),  # SHA-256 of command, address and names of secrets as approved
    id_column("approved_by", nullable=True),
    moment_column("approved_at", nullable=True),
    Column("pinned_version", String(320)),  # the server's own name and version at the approval of its tools
    id_column("user_id", nullable=True),
    Column("team_id", Integer, nullable=False, server_default="1"),
    moment_column("created_at"),
    moment_column("updated_at"),
)


mcp_states = Table(
    "mcp_states",
    metadata,
    id_column("server_id", primary_key=True),
    Column("machine", String(255), primary_key=True),
    Column("actual", String(16), nullable=False),  # off, starting, ready, no tools, lost, restarting …
    Column("reason", Text, nullable=False, default=""),
    moment_column("since"),
    Column("revision", Integer, nullable=False),
    Column("boot_id", String(36), nullable=False, default=""),
    Column("pid", Integer),  # also its process group; NULL: no process
    Column("process_started", BigInteger),  # clock ticks since the boot
    Column("token", String(32), nullable=False, default=""),  # in its environment, and in that of what it starts
    Column("protocol", String(16), nullable=False, default=""),
    Column("server_version", String(320), nullable=False, default=""),  # name and version as it says them
    Column("tools", JSON),  # the last good list, in the protocol's form; NULL: there was none yet
    Column("resources", JSON),
    Column("prompts", JSON),
    moment_column("tools_at", nullable=True),
    Column("error_text", Text, nullable=False, default=""),  # the last 64 kB of its standard error
    id_column("listed_as", nullable=True),  # whose sign-in its tools were listed with; NULL: nobody's was needed
)


mcp_pins = Table(
    "mcp_pins",
    metadata,
    id_column("server_id", primary_key=True),
    Column("tool", String(255), primary_key=True),  # its own name
    Column("fingerprint", String(64), nullable=False),
    Column("definition", JSON, nullable=False),  # as it was approved
    id_column("approved_by", nullable=True),
    moment_column("approved_at"),
)


mcp_runners = Table(
    "mcp_runners",
    metadata,
    Column("machine", String(255), primary_key=True),
    Column("owner", String(36), nullable=False),  # a new id for each process
    Column("pid", Integer, nullable=False),
    Column("address", Text, nullable=False),  # of its socket on this machine
    moment_column("beat_at"),
)


mcp_sign_ins = Table(
    "mcp_sign_ins",
    metadata,
    id_column("server_id", primary_key=True),
    id_column("user_id", primary_key=True),
    Column("status", String(16), nullable=False),  # started, signed in, ended
    Column("reason", Text, nullable=False, default=""),  # why it has ended
    Column("issuer", Text, nullable=False, default=""),  # whose tokens these are
    Column("resource", Text, nullable=False, default=""),  # the address they were given for; no other gets them
    Column("scope", Text, nullable=False, default=""),
    Column("sealed", Text),  # tokens, the client they were given to, where they are refreshed
    moment_column("expires_at", nullable=True),
    moment_column("refreshing_until", nullable=True),  # one process at a time refreshes
    Column("attempt_hash", String(64)),  # SHA-256 of the state that the last attempt waits for
    Column("attempt_sealed", Text),  # what completes that attempt
    moment_column("attempt_until", nullable=True),
    moment_column("created_at"),
    moment_column("updated_at"),
)

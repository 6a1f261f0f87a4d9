"""Columns of the ledger's columnar copy that are no plain columns of the ledger, for SQLite and for PostgreSQL.

What a call asked of its model besides words is read out of its parameters. Where a parameter's words were not kept,
that it was there is known all the same.
"""

_SQLITE_FORMAT = "json_extract(parameters, '$.response_format.type')"
_POSTGRES_FORMAT = "parameters #>> '{response_format,type}'"
_ASKED = "('array', 'object', 'text', 'string')"

# `instr` first: few calls have any of these words, and the others are not parsed.
# What only a mistake can be (a file of nano-dollars taken for dollars) is not known: no sum holds it.
_MOST_NANO = 10**18
_BELIEVABLE = {
    name: (f"CASE WHEN {name} BETWEEN -{_MOST_NANO} AND {_MOST_NANO} THEN {name} END",) * 2
    for name in ("cost_nano_usd", "saved_nano_usd", "fees_nano_usd")
}

_EXPRESSIONS: dict[str, tuple[str, str]] = {
    **_BELIEVABLE,
    # moments as UTC, as SQLite keeps them
    "started_at": ("started_at", "to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"),
    "service_tier": ("nullif(service_tier, '')", "nullif(service_tier, '')"),
    "has_partial_cost": ("cost_status = 'partial'", "cost_status = 'partial'"),
    "needs_tools": (
        f"iif(instr(parameters, '\"tools\"'), coalesce(json_type(parameters, '$.tools') IN {_ASKED}, 0), 0)",
        f"coalesce(json_typeof(parameters -> 'tools') IN {_ASKED}, false)",
    ),
    "needs_json": (
        "iif(instr(parameters, 'format\"'), "
        f"coalesce(json_type(parameters, '$.response_format') IN {_ASKED} "
        f"AND coalesce({_SQLITE_FORMAT}, '') <> 'text', 0) "
        "OR coalesce(json_extract(parameters, '$.text.format.type') LIKE 'json%', 0), 0)",
        f"coalesce(json_typeof(parameters -> 'response_format') IN {_ASKED} "
        f"AND coalesce({_POSTGRES_FORMAT}, '') <> 'text', false) "
        "OR coalesce(parameters #>> '{text,format,type}' LIKE 'json%', false)",
    ),
}


def describe() -> dict[str, tuple[str, str]]:
    """How columns are computed: a copy that was made otherwise is made anew."""
    return dict(_EXPRESSIONS)


def find_expression(name: str, is_sqlite: bool) -> str:
    """A column of the copy as the database computes it; most are columns of the ledger."""
    sqlite, postgres = _EXPRESSIONS.get(name, (name, name))
    return sqlite if is_sqlite else postgres

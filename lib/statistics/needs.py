"""What a call asked of its model besides words, read out of its parameters: columns of the ledger's columnar copy.

Each is an expression for SQLite and one for PostgreSQL. Where a parameter's words were not kept, that it was there is
known all the same.
"""

_SQLITE_FORMAT = "json_extract(parameters, '$.response_format.type')"
_POSTGRES_FORMAT = "parameters #>> '{response_format,type}'"
_ASKED = "('array', 'object', 'text', 'string')"

# `instr` first: few calls have any of these words, and the others are not parsed.
NEEDS: dict[str, tuple[str, str]] = {
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


def expression(name: str, is_sqlite: bool) -> str:
    """A column of the copy as the database computes it; most are columns of the ledger."""
    sqlite, postgres = NEEDS.get(name, (name, name))
    return sqlite if is_sqlite else postgres

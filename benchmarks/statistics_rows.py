"""Rows for the benchmark of the statistics, made by DuckDB: a year, five providers, forty models, 200 people."""
# ruff: noqa: S608 - our own numbers

COLUMNS = """
    uuid() AS id, call_id, i + 1 AS change_seq,
    TIMESTAMP '2025-11-01' + to_microseconds(CAST(i * (365 * 86400 * 1000000.0 / {calls}) AS BIGINT)) AS started_at,
    CASE WHEN r1 > 0.04 AND r1 < 0.06 THEN 2 ELSE 1 END AS attempt, r1 > 0.02 AS is_final,
    'app-' || a AS app,
    'user-' || CAST(floor(200 * r3 * r3) AS INT) AS user_id,
    'key-' || a AS api_key_id,
    'configuration-' || (a * 5 + m % 5) AS configuration_id,
    CASE WHEN a < 2 THEN 'gateway' WHEN a < 6 THEN 'playground' ELSE 'workflow' END AS origin,
    'provider-' || (m % 5) AS provider,
    'model-' || m AS model,
    CASE WHEN r1 < .04 THEN 'error' WHEN r1 < .045 THEN 'timeout' WHEN r1 < .055 THEN 'cancelled' ELSE 'ok' END AS status,
    'model-' || m AS served_model,
    CASE WHEN r1 < .04 THEN 'rate_limit' WHEN r1 < .045 THEN 'timeout_first_token' END AS error_kind,
    'relay' AS lane,
    NULL AS workflow_run_id,
    NULL AS workflow_step,
    '{{"team": "t' || (a % 4) || '"}}' AS tags,
    prompt AS prompt_tokens,
    completion AS completion_tokens,
    prompt + completion AS total_tokens,
    CASE WHEN r4 < .3 THEN prompt // 3 ELSE 0 END AS cache_read_tokens,
    0 AS cache_write_tokens,
    NULL AS reasoning_tokens,
    CASE WHEN m <> 39 THEN prompt * (1000 + 100 * m) + completion * 7777 END AS cost_nano_usd,
    CASE WHEN r2 < .03 THEN prompt * 1234 END AS saved_nano_usd,
    CAST(first + completion * (8 + m % 7) AS BIGINT) AS execution_time_ms,
    CASE WHEN r1 >= .04 THEN CAST(first AS BIGINT) END AS first_token_ms
"""
ROWS = """
    SELECT {columns} FROM (
        SELECT i, r1, r2, r3, r4, uuid() AS call_id,
            CAST(floor(8 * r2 * r2) AS INT) AS a, CAST(floor(40 * r5 * r5) AS INT) AS m,
            CAST(800 * exp(.55 * n1) AS BIGINT) AS prompt, CAST(250 * exp(.55 * n2) AS BIGINT) AS completion,
            400 * exp(.45 * n3) AS first
        FROM (
            SELECT i, random() AS r1, random() AS r2, random() AS r3, random() AS r4, random() AS r5,
                sqrt(-2 * ln(1 - random())) * cos(6.2831853 * random()) AS n1,
                sqrt(-2 * ln(1 - random())) * cos(6.2831853 * random()) AS n2,
                sqrt(-2 * ln(1 - random())) * cos(6.2831853 * random()) AS n3
            FROM range({first}, {last}) AS numbers(i)
        )
    )
"""


def rows_sql(calls: int, first: int = 0, last: int | None = None) -> str:
    """The statement whose rows have the columns of the copy's table, in order: those from `first` to `last`."""
    return ROWS.format(columns=COLUMNS.format(calls=calls), first=first, last=calls if last is None else last)

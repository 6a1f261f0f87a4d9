"""Exact percentiles without sorting every row: the days' roll-up tells in which bin a rank falls, and only the values
of those bins are read.

A percentile lies between the values of two ranks, as DuckDB's `quantile_cont` has it. When the bins disagree with the
rows that are found in them, nothing is answered, and the rows have to tell.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]

from lib.access.permissions import Actor
from lib.statistics import cube, rollup
from lib.statistics.cube import Copy, Query, join
from lib.statistics.filters import StatisticsFilter
from lib.statistics.measures import Axis

_Numbers = np.ndarray[Any, np.dtype[Any]]


def exact(
    cursor: duckdb.DuckDBPyConnection,
    actor: Actor,
    where: StatisticsFilter,
    axes: Mapping[str, Axis],
    time: str,
    shares: Sequence[float],
    copy: Copy,
) -> pa.Table | None:
    """The axes and a list `v` of percentiles for each combination with a known time; None where rows must tell."""
    if not (pieces := _pieces(actor, where, axes, time, copy, "n", "count(*)")):
        return None
    keys = list(axes)
    names = cube.names([*keys, "bin"])
    query = cube.grouped(names, ["CAST(sum(v) AS BIGINT) AS n"], Query(""), len(keys) + 1, cube.union(pieces))
    bins: pd.DataFrame = cursor.sql(query.sql, params=query.values).to_arrow_table().to_pandas()
    bins = bins.sort_values([*keys, "bin"], ignore_index=True)
    group = bins.groupby(keys, dropna=False, sort=False).ngroup().to_numpy() if keys else np.zeros(len(bins), int)
    begins = np.flatnonzero(np.diff(group, prepend=-1))
    until = bins.n.cumsum().to_numpy()
    before = until - bins.n.to_numpy()
    last = np.append(until[begins[1:] - 1], until[-1:]) - 1  # place of each combination's largest, all in one order
    places = before[begins][:, None] + (last - before[begins])[:, None] * np.array(shares)[None, :]
    low, high = np.floor(places).astype(int), np.ceil(places).astype(int)
    wanted = np.unique(np.searchsorted(until, np.concatenate([low, high]).ravel(), side="right"))
    values = _values(cursor, actor, where, axes, time, copy, bins.iloc[wanted])
    if values is None:
        return None
    shift = before[wanted] - np.append(0, np.cumsum(bins.n.to_numpy()[wanted])[:-1])  # from a place to one of `values`

    def at(ranks: _Numbers) -> _Numbers:
        found: _Numbers = values[ranks - shift[np.searchsorted(wanted, np.searchsorted(until, ranks, side="right"))]]
        return found

    found = at(low) + (at(high) - at(low)) * (places - low)
    offsets = np.arange(0, found.size + 1, len(shares), dtype=np.int32)
    lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(found.ravel()))
    columns = {key: pa.Array.from_pandas(bins[key].iloc[begins]) for key in keys}
    return pa.table(columns | {"v": lists})


def _pieces(
    actor: Actor, where: StatisticsFilter, axes: Mapping[str, Axis], time: str, copy: Copy, days: str, rows: str
) -> list[Query]:
    """The axes, `bin` and a value `v` from the roll-up and from the rows it leaves; nothing where it can't answer."""
    if (found := cube.days_and_rows(actor, where, axes, rollup.SPREAD, copy)) is None:
        return []
    (condition, edges), comma = found, ", " if axes else ""
    query = join("SELECT ", cube.split_days(axes), comma, f"bin, {days} AS v FROM spread", condition)
    pieces = [join(query, Query(" AND timed = ?", [time]))]
    split = join(cube.split_rows(axes, where, copy.span), comma, rollup.BIN.format(time), " AS bin")
    for edge in edges:
        known = join(edge, f" AND {rollup.TIMES[time]}")
        pieces.append(cube.grouped(split, [f"{rows} AS v"], known, len(axes) + 1))
    return pieces


def _values(
    cursor: duckdb.DuckDBPyConnection,
    actor: Actor,
    where: StatisticsFilter,
    axes: Mapping[str, Axis],
    time: str,
    copy: Copy,
    wanted: pd.DataFrame,
) -> _Numbers | None:
    """Every time in the wanted bins, bin after bin, in order; None when there are not as many as there should be."""
    if wanted.empty:
        return np.empty(0)
    table = pa.Table.from_pandas(wanted.drop(columns="n"), preserve_index=False)
    cursor.register("wanted", table.append_column("place", pa.array(range(len(wanted)), pa.int32())))
    pieces = _pieces(actor, where, axes, time, copy, "times", f"list({time})")
    names = ", ".join(f'"{name}"' for name in (*axes, "bin"))
    query = join("SELECT place, unnest(v) AS v FROM ", cube.union(pieces), f" JOIN wanted USING ({names})")
    found = cursor.execute(query.sql, query.values).fetchnumpy()
    place, value = (np.asarray(found[name]) for name in ("place", "v"))
    if not np.array_equal(np.bincount(place, minlength=len(wanted)), wanted.n.to_numpy()):
        return None
    ordered = np.sort((place.astype(np.int64) << 40) + value)
    return (ordered & ((1 << 40) - 1)).astype(float)

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
from lib.statistics import cube
from lib.statistics.copy import rollup
from lib.statistics.cube import Copy, Query, join
from lib.statistics.filters import StatisticsFilter
from lib.statistics.measures import Axis

_Numbers = np.ndarray[Any, np.dtype[Any]]


def compute_exact(
    cursor: duckdb.DuckDBPyConnection,
    actor: Actor,
    filters: StatisticsFilter,
    axes: Mapping[str, Axis],
    time: str,
    shares: Sequence[float],
    copy: Copy,
) -> pa.Table | None:
    """The axes and a list `v` of percentiles for each combination with a known time; None where rows must tell."""
    if not (pieces := _build_pieces(actor, filters, axes, time, copy, "n", "count(*) AS n")):
        return None
    keys = list(axes)
    names = cube.quote_names([*keys, "bin"])
    query = cube.group_rows(names, ["CAST(sum(n) AS BIGINT) AS n"], Query(""), len(keys) + 1, cube.union(pieces))
    bins: pd.DataFrame = cursor.sql(query.sql, params=query.values).to_arrow_table().to_pandas()
    bins = bins.sort_values([*keys, "bin"], ignore_index=True)
    group = bins.groupby(keys, dropna=False, sort=False).ngroup().to_numpy() if keys else np.zeros(len(bins), int)
    begins = np.flatnonzero(np.diff(group, prepend=-1))
    until = bins.n.cumsum().to_numpy()
    first_ranks = until - bins.n.to_numpy()
    last = np.append(until[begins[1:] - 1], until[-1:]) - 1  # place of each combination's largest, all in one order
    places = first_ranks[begins][:, None] + (last - first_ranks[begins])[:, None] * np.array(shares)[None, :]
    low = np.floor(places).astype(int)
    high = np.ceil(places).astype(int)
    rank_bins = np.unique(np.searchsorted(until, np.concatenate([low, high]).ravel(), side="right"))
    times_and_ends = _select_times(cursor, actor, filters, axes, time, copy, bins.iloc[rank_bins])
    if times_and_ends is None:
        return None
    times, end = times_and_ends
    sizes = bins.n.to_numpy()[rank_bins]
    shift = first_ranks[rank_bins] - (np.cumsum(sizes) - sizes)  # from a place among all to one in the wanted bins

    def at(ranks: _Numbers) -> _Numbers:
        bin_of = np.searchsorted(rank_bins, np.searchsorted(until, ranks, side="right"))
        value: _Numbers = times[np.searchsorted(end, ranks - shift[bin_of], side="right")]
        return value

    exactly = at(low) + (at(high) - at(low)) * (places - low)
    offsets = np.arange(0, exactly.size + 1, len(shares), dtype=np.int32)
    lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(exactly.ravel()))
    columns = {key: pa.Array.from_pandas(bins[key].iloc[begins]) for key in keys}
    return pa.table(columns | {"v": lists})


def _build_pieces(
    actor: Actor, filters: StatisticsFilter, axes: Mapping[str, Axis], time: str, copy: Copy, days: str, rows: str
) -> list[Query]:
    """The axes, `bin` and a value from the roll-up and from the rows it leaves; nothing where it can't answer."""
    if (days_and_edges := cube.select_days_and_rows(actor, filters, axes, rollup.SPREAD, copy)) is None:
        return []
    (condition, edges) = days_and_edges
    comma = ", " if axes else ""
    query = join("SELECT ", cube.split_days(axes), comma, f"bin, {days} FROM spread", condition)
    pieces = [join(query, Query(" AND timed = ?", [time]))]
    split = join(cube.split_rows(axes, filters, copy.span), comma, rollup.BIN.format(time), " AS bin")
    for edge in edges:
        timed_rows = join(edge, f" AND {rollup.TIMES[time]}")
        pieces.append(cube.group_rows(split, [rows], timed_rows, len(axes) + 1))
    return pieces


def _select_times(
    cursor: duckdb.DuckDBPyConnection,
    actor: Actor,
    filters: StatisticsFilter,
    axes: Mapping[str, Axis],
    time: str,
    copy: Copy,
    rank_bins: pd.DataFrame,
) -> tuple[_Numbers, _Numbers] | None:
    """The times in the wanted bins, bin after bin, in order, and how many rows there are up to each of them.

    None when there are not as many as there should be.
    """
    if rank_bins.empty:
        return np.empty(0), np.empty(0)
    table = pa.Table.from_pandas(rank_bins.drop(columns="n"), preserve_index=False)
    cursor.register("wanted", table.append_column("place", pa.array(range(len(rank_bins)), pa.int32())))
    of_rows = f"list({time}) AS times, list(1) AS counts"
    pieces = _build_pieces(actor, filters, axes, time, copy, "times, counts", of_rows)
    names = ", ".join(f'"{name}"' for name in (*axes, "bin"))
    each = join("SELECT place, unnest(times) AS t, unnest(counts) AS c FROM ", cube.union(pieces))
    query = join(
        "SELECT place, t, sum(c) AS n FROM (", each, f" JOIN wanted USING ({names})) GROUP BY ALL ORDER BY 1, 2"
    )
    columns = cursor.execute(query.sql, query.values).fetchnumpy()
    bin_numbers, times, count = (np.asarray(columns[name]) for name in ("place", "t", "n"))
    if not np.array_equal(np.bincount(bin_numbers, count, minlength=len(rank_bins)), rank_bins.n.to_numpy()):
        return None
    return times.astype(float), np.cumsum(count)

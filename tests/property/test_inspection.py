"""Any small table gives an inspection with finite figures, or one refusal."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from flts.contracts.errors import DataError
from flts.explore.document import document
from flts.explore.rehearse import verdict
from flts.explore.report import inspect
from flts.explore.suggest import suggest
from flts.preprocess.source import RawInput, RawTable

SECOND = 10**9
STEPS = (1, 10**6, SECOND, 37 * SECOND, 3_600 * SECOND, 86_400 * SECOND, 30 * 86_400 * SECOND)
CELLS = st.one_of(
    st.none(),
    st.sampled_from([0.0, 1.0, -999.0, 1e-308, 1e30, 1e300, float("inf"), float("nan")]),
    st.floats(-1e3, 1e3),
)


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    rows = draw(st.integers(1, 60))
    jumps = draw(st.lists(st.sampled_from([1, 1, 1, 1, 1, 0, 2, 40]), min_size=rows, max_size=rows))
    step = draw(st.sampled_from(STEPS))
    times = 1_500_000_000 * SECOND + np.cumsum(jumps if draw(st.booleans()) else np.ones(rows, dtype=np.int64)) * step
    columns = {"time": pl.Series(times).cast(pl.Datetime("ns"))}
    for name in draw(st.sampled_from([(), ("a",), ("a", "b")])):
        noise = np.random.default_rng(draw(st.integers(0, 9))).normal(size=rows)
        odd = draw(st.lists(st.tuples(st.integers(0, rows - 1), CELLS), max_size=rows))
        values: list[float | None] = list(noise.tolist())
        for row, cell in odd:
            values[row] = cell
        columns[name] = pl.Series(values, dtype=pl.Float64)
    return pl.DataFrame(columns)


@settings(deadline=None)
@given(tables(), st.booleans())
def test_any_table_is_inspected_or_refused(table: pl.DataFrame, two: bool) -> None:
    cut = max(1, table.height * 3 // 4)
    files = (table[:cut], table[cut:]) if two else (table, None)
    raw = RawInput(RawTable("a.csv", files[0]), None if files[1] is None else RawTable("b.csv", files[1]))
    try:
        inspection = inspect(raw, test_fraction=0.2)
    except DataError:
        return
    findings = verdict(inspection, 0.2)
    json.dumps(document(inspection, findings), allow_nan=False)
    try:
        written = suggest(inspection, raw, [], 0.2, None).spec()
    except DataError:
        return
    assert written.dataset.targets == [inspection.target]

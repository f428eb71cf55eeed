"""Time and memory of preprocessing many rows, beside plain code that reads and scales the same file.

`python -m tests.bench.data preprocess|plain FILE` makes one measurement in its own process.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.bench.measure import Figure, fresh_folder
from tests.support import ROOT

ROWS, COLUMNS = 10_000_000, 12
PART = 1_000_000
MINUTE = 60 * 10**9
START = 1_000_000_020 * 10**9
TO_GIGABYTES = 1e-6 if sys.platform == "linux" else 1e-9
"""ru_maxrss counts kilobytes on Linux and bytes on macOS."""


def ten_million() -> Iterator[Figure]:
    """From a Parquet file to the processed rows and everything fitted on train."""
    with fresh_folder() as folder:
        file = folder / "rows.parquet"
        write(file)
        plain_seconds, plain_memory = measured("plain", file)
        seconds, memory = measured("preprocess", file)
        yield Figure(
            "preprocess of 10 million rows × 12 columns",
            f"{seconds:.0f} s, {memory:.1f} GB",
            "30 s, 4 GB",
            f"{seconds / plain_seconds:.1f} × {plain_seconds:.1f} s, {plain_memory:.1f} GB:"
            " polars reads, scales and writes the same file",
            "ten_million",
        )


def write(file: Path) -> None:
    """One row a minute for 19 years, one empty cell in a thousand; written in parts to save memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(42)
    names = [f"x{i}" for i in range(COLUMNS - 1)]
    schema = pa.schema([("time", pa.timestamp("ns")), *((name, pa.float64()) for name in names)])
    with pq.ParquetWriter(file, schema) as writer:
        for first in range(0, ROWS, PART):
            times = START + MINUTE * np.arange(first, first + PART)
            values = [rng.normal(size=PART) for _ in names]
            empty = [rng.random(PART) < 0.001 for _ in names]
            columns = [pa.array(v, mask=gone) for v, gone in zip(values, empty, strict=True)]
            writer.write_table(pa.table([pa.array(times, pa.timestamp("ns")), *columns], schema=schema))


def measured(what: str, file: Path) -> tuple[float, float]:
    """Seconds and peak gigabytes of memory of one measurement; the time does not include the start of Python."""
    command = [sys.executable, "-m", "tests.bench.data", what, str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, memory = map(float, done.stdout.split())
    return seconds, memory


def preprocess_file(file: Path) -> None:
    from flts.backends.store import open_store
    from flts.preprocess.source import RawFile, RawInput
    from flts.preprocess.stage import preprocess
    from flts.spec.sources import validate

    spec = validate({"dataset": {"name": "rows", "targets": ["x0"]}, "models": {"ridge": {}}})
    store = open_store((file.parent / "objects").as_uri())
    preprocess(spec, RawInput(RawFile(file.name, file), None), store, version=1)


def plain_file(file: Path) -> None:
    import polars as pl

    rows = pl.read_parquet(file)
    train = rows[: len(rows) * 4 // 5]
    numbers = pl.all().exclude("time").forward_fill()
    train = train.with_columns(numbers)
    low = train.min()
    width = {name: train[name].max() - low[name][0] for name in train.columns if name != "time"}
    scaled = train.with_columns((pl.col(name) - low[name][0]) / width[name] for name in width)
    scaled.write_parquet(file.parent / "train.parquet")
    rows[len(train) :].write_parquet(file.parent / "test.parquet")


if __name__ == "__main__":
    start = time.perf_counter()
    {"preprocess": preprocess_file, "plain": plain_file}[sys.argv[1]](Path(sys.argv[2]))
    took = time.perf_counter() - start
    print(took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * TO_GIGABYTES)

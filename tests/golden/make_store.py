"""Write the store that the next versions must read: `python -m tests.golden.make_store ARCHIVE`, once per release.

It holds runs of several models, a failed candidate, a measured latency, a promotion, a rollback, a promotion by hand
and a batch of forecasts. Beside the store lie the rows and the champion's forecast from them.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.support.series import hourly, split

from flts.contracts.canonical import sha256

EXPERIMENT = """v = 2
[dataset]
name = "load"
source = "."
targets = ["load"]
[task]
input_length = 12
horizon = 3
[evaluate]
windows = 12
"""
MODELS = """[models.gru]
hidden_size = 8
num_layers = 1
epochs = 2
[models.prophet]
[models.automfles]
[models.ridge]
"""


def flts(folder: Path, *words: str, ends_with: int = 0, **settings: str) -> str:
    """Run a command in this folder, without MLflow; returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "flts", *words],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "FLTS_TRACKING": "off", "FLTS_ENVIRONMENT": "golden", **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != ends_with:
        raise SystemExit(f"flts {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def forecast_a_batch(folder: Path) -> None:
    """Let the batch service forecast the test rows of the first run with the champion."""
    from flts.backends.bus_memory import MemoryBus
    from flts.contracts.messages import InferenceData
    from flts.runner.services.forecast import Forecaster
    from flts.settings import Settings
    from flts.train.isolate import Children
    from flts.wiring import RunContext, SystemClock, open_store

    store, bus = open_store(Settings(home=folder / ".flts").store_url), MemoryBus()
    context = RunContext(store, bus, None, SystemClock(), "golden", 60.0, Children(1))
    key = next(key for key in store.list("processed-data/") if key.endswith("test.parquet"))
    data = store.get(key)
    assert data is not None
    bucket, _, object_key = key.partition("/")
    claim = InferenceData(
        ts=SystemClock().now(),
        identifier="global",
        bucket=bucket,
        object_key=object_key,
        size=len(data),
        sha256=sha256(data),
        row_count=60,
    )
    bus.ensure([claim.topic])
    bus.publish(claim.topic, claim.key, claim.to_bytes())
    Forecaster(context).handle(bus.records(claim.topic)[0])


def packed(folder: Path) -> bytes:
    """All files as one archive with fixed times, so that equal files give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and file.name != "lock":
                entry = zipfile.ZipInfo(str(file.relative_to(folder)))
                archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def main(archive: Path) -> None:
    """Make the store and write the archive."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for part, rows in zip(("", "_test"), split(hourly(300), 60), strict=True):
            rows.write_csv(folder / f"load{part}.csv")
        (folder / "flts.toml").write_text(EXPERIMENT + MODELS)
        limits = 'gate = "always"\nmax_latency_ms = 100000.0\n'
        second = EXPERIMENT.replace("input_length = 12", "input_length = 24")
        (folder / "second.toml").write_text(f"{second}{limits}[models.ridge]\n")
        (folder / "failing.toml").write_text(EXPERIMENT + "[models.lstm]\nhidden_size = 8\nepochs = 2\n")
        flts(folder, "run")
        first = json.loads(flts(folder, "runs", "list", "--json"))[0]["config_hash"]
        flts(folder, "run", "second.toml")
        flts(folder, "promotions", "rollback")
        flts(folder, "run", "failing.toml", ends_with=1, FLTS_TRAIN_TIMEOUT="0.01")
        flts(folder, "promotions", "promote", first, "ridge")
        forecast_a_batch(folder)
        answer = flts(folder, "forecast", "--input", "load_test.csv", "--json")
        (folder / "forecast.json").write_text(answer)
        archive.write_bytes(packed(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

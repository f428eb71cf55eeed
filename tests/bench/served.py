"""Servers to measure: a store with two promoted networks, `flts serve` on it, and the bare server beside it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from flts.backends.store import memory_store
from flts.contracts import layout
from flts.contracts.canonical import digest
from flts.contracts.ports import Silent, Store
from flts.contracts.records.log import Promoted
from flts.forecasting.bundle import MANIFEST, read_bundle, write_bundle
from flts.models.base import Recipe
from flts.models.registry import CANDIDATES
from flts.preprocess.source import RawInput, RawTable
from flts.preprocess.stage import load_dataset, preprocess
from flts.promotion.log import EMPTY, Chain, next_entry, read_chain
from flts.spec.sources import validate
from flts.train.fitting import fit_model
from flts.train.stage import task_of
from flts.wiring import open_store
from tests.bench.measure import fresh_folder
from tests.support import ROOT

COLUMNS = tuple(f"c{number:02d}" for number in range(12))
TRAIN, ROWS = 1_200, 1_500
LONG = 60.0
"""Seconds that a server may take to start or to end."""


@dataclass
class Champions:
    """A store with two bundles of one model, the first of which is promoted. log: as it was read last."""

    folder: Path
    store: Store
    model: str
    bundles: tuple[str, str]
    table: Mapping[str, list[Any]]
    log: Chain = EMPTY

    def promote(self, bundle: str) -> None:
        """Append an entry to the log, in about a millisecond."""
        self.log = read_chain(self.store, "global", self.log)
        champion = _promoted(self.model, bundle)
        entry = next_entry(self.log, "global", "promote", champion, digest("d"), "bench", _now())
        self.store.create(layout.log_entry("global", entry.number), entry.to_bytes())

    def body(self, rows: int) -> bytes:
        """A request with the newest rows of the series, all of them after train."""
        return json.dumps({"history": {name: column[-rows:] for name, column in self.table.items()}}).encode()

    def onnx(self) -> Path:
        """The network of the first bundle in a file of its own."""
        file = self.folder / "model.onnx"
        file.write_bytes(read_bundle(self.store, self.bundles[0])[1]["model.onnx"])
        return file


@contextmanager
def champions(model: str = "gru") -> Iterator[Champions]:
    """Two fits of a model on 12 columns, window 10, horizon 1; GRU 128 × 2."""
    with fresh_folder() as folder:
        store, table = open_store((folder / "objects").as_uri()), _table()
        names = [_fit(store, model, table, seed) for seed in (1, 2)]
        found = Champions(folder, store, model, (names[0], names[1]), table)
        found.promote(names[0])
        yield found


def _fit(store: Store, model: str, table: Mapping[str, list[Any]], seed: int) -> str:
    spec = validate(
        {
            "dataset": {"name": "bench", "targets": ["c00"]},
            "task": {"input_length": 10, "horizon": 1},
            "preprocess": {"time_features": False},  # so that the bare session takes the same twelve columns
            "models": {model: {"hidden_size": 128, "num_layers": 2, "epochs": 3} if model == "gru" else {}},
        }
    )
    parts = (slice(TRAIN), slice(TRAIN, None))
    raw = [RawTable.of("rows", {name: column[part] for name, column in table.items()}) for part in parts]
    rows = memory_store()
    done = preprocess(spec, RawInput(*raw), rows, version=1)
    dataset = load_dataset(rows, done.data_hash, ("c00",))
    recipe = Recipe(spec.expected[model], patience=3, seed=seed)
    if model == "ridge":
        recipe = Recipe(spec.expected[model].model_copy(update={"alphas": [10.0**seed]}), patience=3, seed=seed)
    made = fit_model(CANDIDATES[model], dataset.train, task_of(dataset, spec.task), recipe, 0.1, Silent())
    return write_bundle(store, made.manifest, made.files)


def _table() -> dict[str, list[Any]]:
    """Quarter hours: daily waves with so much noise that a network learns more than the last value."""
    draw = np.random.default_rng(0)
    wave = np.sin(2 * np.pi * np.arange(ROWS) / 96)[:, None] * np.arange(1, len(COLUMNS) + 1)
    values = (20 + wave + draw.normal(0, 1.0, (ROWS, len(COLUMNS)))).round(3)
    times = np.datetime64("2024-01-01T00:00:00") + np.arange(ROWS) * np.timedelta64(900, "s")
    return {"time": [f"{time}Z" for time in times], **dict(zip(COLUMNS, values.T.tolist(), strict=True))}


def _promoted(model: str, bundle: str) -> Promoted:
    config, data, fitted = (digest([name, bundle]) for name in ("config", "data", "model"))
    return Promoted(
        config_hash=config,
        data_hash=data,
        model_hash=fitted,
        model=model,
        model_type=model.upper(),
        bundle_sha256=bundle,
        run_id=None,
        model_uri=f"store:bundles/{bundle}",
        score=0.1,
        rmse=0.1,
        mae=0.1,
        mse=0.1,
        weights={"rmse": 0.5, "mae": 0.3, "mse": 0.2},
    )


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str
    process: psutil.Process

    def cpu(self) -> float:
        """Seconds of CPU so far, with those of its children."""
        every = [one.cpu_times() for one in (self.process, *self.process.children(recursive=True))]
        return float(sum(times.user + times.system for times in every))

    def memory(self) -> float:
        """Resident MB."""
        return float(self.process.memory_info().rss) / 1e6


@contextmanager
def flts_serve(of: Champions, **settings: str) -> Iterator[Server]:
    """`flts serve` on a store, on a free port, with its events in a file as JSON."""
    chosen = {"serve_port": "0", "probe_port": "0", "tracking": "off", "log_format": "json", **settings}
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FLTS_")},
        **{f"FLTS_{name.upper()}": value for name, value in chosen.items()},
        "FLTS_STORE": of.store.url,
    }
    log = of.folder / "serve.log"
    with log.open("wb") as stream:
        command = [sys.executable, "-m", "flts", "serve", "--home", str(of.folder / "home")]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=stream)
        with _ended(process):
            yield Server(_address(process, log), psutil.Process(process.pid))


@contextmanager
def bare(of: Champions) -> Iterator[Server]:
    """The least that a server of the same network can be."""
    command = [sys.executable, "-m", "tests.bench.bare", str(of.onnx()), ",".join(COLUMNS)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    with _ended(process):
        assert process.stdout is not None
        yield Server(process.stdout.readline().decode().strip(), psutil.Process(process.pid))


def litserve_python() -> Path | None:
    """The Python of `make bench-serve-peers`, which has LitServe."""
    python = ROOT / ".venv-serve-peers" / "bin" / "python"
    return python if python.exists() else None


@contextmanager
def litserve(of: Champions, python: Path) -> Iterator[Server]:
    """The same network behind LitServe."""
    script = ROOT / "tests" / "bench" / "litserved.py"
    with _listening([str(python), str(script), str(of.onnx()), ",".join(COLUMNS)], "") as server:
        yield server


@contextmanager
def mlflow_serve(of: Champions) -> Iterator[Server]:
    """The bundle behind `mlflow models serve`: the forecast of FLTS with its checks, by MLflow's own server."""
    import mlflow.pyfunc

    folder, bundle = of.folder / "mlflow", of.folder / "bundle"
    bundle.mkdir(exist_ok=True)
    manifest, files = read_bundle(of.store, of.bundles[0])
    for name, data in {MANIFEST: manifest.to_bytes(), **files}.items():
        (bundle / name).write_bytes(data)
    if not folder.exists():
        mlflow.pyfunc.save_model(str(folder), loader_module="flts.serve.pyfunc", data_path=str(bundle))
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", "-h", "127.0.0.1"]
    with _listening([*command, "-m", str(folder)], "-p") as server:
        yield server


@contextmanager
def _listening(command: Sequence[str], flag: str) -> Iterator[Server]:
    """A server that takes its port as its last argument. flag: what stands before it, if anything does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [*command, *([flag] if flag else []), str(port)]
    path = f"{Path(command[0]).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # mlflow starts a program beside it
    process = subprocess.Popen(
        arguments,
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with _ended(process):
        end = time.monotonic() + LONG
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                break
            if time.monotonic() > end or process.poll() is not None:
                raise SystemExit(f"no server: {' '.join(arguments)}")
            time.sleep(0.1)
        yield Server(f"http://127.0.0.1:{port}", psutil.Process(process.pid))


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + LONG
    while time.monotonic() < end and process.poll() is None:
        for line in log.read_text().splitlines():
            if '"server_started"' in line:
                return str(json.loads(line)["address"])
        time.sleep(0.02)
    raise SystemExit(f"flts serve did not start:\n{log.read_text()[-3000:]}")


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        started = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(LONG)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for child in started:
            with suppress(psutil.NoSuchProcess):
                child.kill()

"""How long one answer of a candidate takes, measured only where a rule limits it."""

from __future__ import annotations

import math
import statistics
import time

import numpy as np

from flts.contracts import layout
from flts.contracts.ports import Store
from flts.contracts.records.base import read_record, write_record
from flts.contracts.records.model import Latency, Manifest, ModelResult
from flts.forecasting.bundle import Bundle, load_bundle
from flts.forecasting.histories import Histories
from flts.preprocess.rows import Rows
from flts.preprocess.stage import ProcessedDataset
from flts.train.determinism import processor
from flts.train.experiment import Experiment

LATENCY_REPEATS = 21


def latency_of(store: Store, experiment: Experiment, result: ModelResult, manifest: Manifest) -> float:
    """Median milliseconds of one answer as a server gives it; for an ensemble, the sum over its members."""
    if manifest.members is None:
        return _measured(store, experiment, result.model_hash, result.bundle_sha256)
    hashes = experiment.identity.model_hashes
    return math.fsum(
        _measured(store, experiment, hashes[name], member.bundle_sha256)
        for name, member in sorted(manifest.members.items())
    )


def _measured(store: Store, experiment: Experiment, model_hash: str, bundle_sha256: str) -> float:
    """Median milliseconds of one answer; the first measurement is kept."""
    record = read_record(store, layout.latency(model_hash), Latency)
    if record is None:
        bundle = load_bundle(store, bundle_sha256)
        bundle.self_test()  # as before the first answer of a server
        history, durations = _served_history(bundle, experiment.dataset), []
        for _ in range(LATENCY_REPEATS):
            start = time.perf_counter()
            bundle.forecast(history)
            durations.append(1000.0 * (time.perf_counter() - start))
        measured = Latency(model_hash=model_hash, latency_ms=statistics.median(durations), processor=processor())
        record = write_record(store, layout.latency(model_hash), measured, at="promote.latency")
    return record.latency_ms


def _served_history(bundle: Bundle, dataset: ProcessedDataset) -> Histories:
    """As many rows as a server uses, all of them after train: an adaptive interval then forecasts most often.

    Test may be shorter than that, so the newest rows are dated anew, from the end of train on.
    """
    values = np.concatenate([dataset.train.values, dataset.test.values])[-bundle.rows_used :]
    times = dataset.fitted.grid.after(dataset.train.times[-1:], len(values))[0]
    return Histories(Rows(times, values, dataset.train.columns), np.array([len(values)], dtype=np.int64))

"""Outputs of each stage on fixed rows, pinned to code versions: `python -m tests.golden.outputs` writes the files.

A result that is stored under a hash is never computed again, so code that gives another result must give another hash.
Each file holds the outputs of one stage and the versions they belong to. If you change an output, raise the version and
write the files again. The command refuses to write another output under the same version.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import to_jsonable_python
from tests.support.experiments import small_experiment, small_spec
from tests.support.families import recipe
from tests.support.judging import case_of, off_by, success, truth_of
from tests.support.series import hourly, split
from tests.support.wording import without_sentences

import flts.evaluate
import flts.preprocess
import flts.train
from flts.contracts.canonical import canonical_json, digest
from flts.contracts.ports import Silent
from flts.evaluate.decide import decide
from flts.evaluate.gate import ChampionForecast
from flts.models.registry import CANDIDATES
from flts.preprocess.rows import Rows, Values
from flts.preprocess.source import RawInput, RawTable
from flts.preprocess.stage import process
from flts.spec.sources import validate
from flts.train.fitting import fit_model
from flts.train.windows import split_validation, train_origins

FOLDER = Path(__file__).parent / "outputs"
COMMAND = "python -m tests.golden.outputs"
RELATIVE, ABSOLUTE = 1e-9, 1e-12
"""Floats are equal bit for bit on one kind of processor only: on another, numeric libraries choose other kernels, which
add in another order. A change of what is computed is far larger than this."""
MOST_SHOWN = 5

ERRORS = (("good", 2.0, 3), ("fair", 3.0, 4), ("poor", 6.0, 7))
"""The candidates to judge: name, standard deviation of the error, seed."""
Versions = Mapping[str, int]
Outputs = Mapping[str, Any]


def preprocessed() -> Outputs:
    """Rows with gaps, outliers and an empty column: what is fitted, and the finished rows."""
    rows = hourly(72, seed=5, columns=("load", "wind", "gone"))
    rows.values[[3, 4, 30, 31, 32, 33], 0] = math.nan
    rows.values[40, 1] = 500.0
    rows.values[1:, 2] = math.nan
    spec = validate(
        {
            "dataset": {"targets": ["load"], "timezone": "Europe/Madrid"},
            "preprocess": {
                "missing": {"max_gap": 2},
                "outliers": {"enabled": True},
                "lags": [1, 24],
                "scaler": "robust",
                "constant": 1.0,
            },
        }
    )
    train_table, test_table = split(rows, 12)
    processed = process(spec, RawInput(RawTable("train", train_table), RawTable("test", test_table)))
    return {
        "summary": processed.summary.model_dump(mode="json"),
        "train": processed.train.values.tolist(),
        "test": [[None if math.isnan(value) else value for value in row] for row in processed.test.values.tolist()],
        "times": [processed.train.times.tolist()[0], processed.test.times.tolist()[-1]],
    }


def trained() -> Outputs:
    """Test windows around a gap, the validation split, interval offsets and the manifest of a ridge model."""
    whole = hourly(260, seed=6)
    kept = np.delete(np.arange(260), 230)
    rows = Rows(whole.times[kept], whole.values[kept], whole.columns)
    spec = small_spec(dataset={"targets": ["wind", "load"]}, evaluate={"windows": 20})
    experiment, _ = small_experiment(spec, rows)
    task, train_rows, fraction = experiment.task, experiment.dataset.train, spec.train.validation_fraction
    origins = train_origins(train_rows, task.lookback, task.horizon, task.fitted.step)
    fit, validation = split_validation(origins, task.horizon, fraction)
    made = fit_model(CANDIDATES["ridge"], train_rows, task, recipe("ridge"), fraction, Silent())
    manifest = made.manifest.model_dump(mode="json")
    # the digest of the coefficients depends on the processor, because their last bits do
    manifest["files"] = {name: file["size"] for name, file in manifest["files"].items()}
    return {
        "windows": {"indices": experiment.windows.indices.tolist(), "dropped": experiment.windows.dropped},
        "fit": [int(fit[0]), int(fit[-1]), len(fit)],
        "validation": validation.tolist(),
        "validation_forecasts": made.validation_forecasts.tolist(),
        "manifest": manifest,
    }


def decided() -> Outputs:
    """A decision in which the winner is better than the champion, but not significantly at 5 %."""
    truth = _rounded(truth_of(origins=80, horizon=3, targets=2))

    def forecast(error: float, seed: int) -> Values:
        return _rounded(off_by(truth, error, seed))

    half_width = {level: np.full(truth.shape, width) for level, width in (("0.5", 1.5), ("0.8", 2.5))}
    case = case_of(
        truth=truth,
        candidates=[
            replace(success(name, forecast(error, seed)), half_width=half_width) for name, error, seed in ERRORS
        ],
        champion=ChampionForecast("champion", digest("champion"), forecast(2.1, 9)),
    )
    record = to_jsonable_python(decide(case).record, by_alias=True)
    del record["windows"], record["preview_sha256"]  # inputs of the case, and added by the judge
    decision: Outputs = without_sentences(json.loads(canonical_json(record)))
    return decision


def _rounded(values: Values) -> Values:
    """Round random numbers, whose last bits depend on the processor."""
    rounded: Values = np.round(values, 6)
    return rounded


STAGES: Mapping[str, tuple[Callable[[], Outputs], str]] = {
    "preprocess": (preprocessed, "src/flts/preprocess/__init__.py"),
    "train": (trained, "src/flts/train/__init__.py, or the version of ridge where only the family changed"),
    "evaluate": (decided, "src/flts/evaluate/__init__.py"),
}
"""For each stage, the function that makes its outputs and where to raise its version."""


def versions(stage: str) -> Versions:
    """The versions that decide the outputs of a stage."""
    preprocess, train = flts.preprocess.CODE_VERSION, flts.train.CODE_VERSION
    by_stage: Mapping[str, Versions] = {
        "preprocess": {"preprocess": preprocess},
        "train": {"preprocess": preprocess, "train": train, "ridge": CANDIDATES["ridge"].version},
        "evaluate": {"evaluate": flts.evaluate.CODE_VERSION},
    }
    return by_stage[stage]


def fault(stage: str) -> str | None:
    """How a stage differs from its golden file and what to do about it; None if it does not."""
    make, raised_in = STAGES[stage]
    golden = json.loads((FOLDER / f"{stage}.json").read_bytes())
    if golden["versions"] != versions(stage):
        return (
            f"the golden outputs of {stage} belong to the versions {golden['versions']}, the code has"
            f" {versions(stage)}; write them again: {COMMAND}"
        )
    found = list(differences(golden["outputs"], make()))
    if not found:
        return None
    shown = "".join(f"\n  {line}" for line in found[:MOST_SHOWN])
    return (
        f"{len(found)} outputs of {stage} changed and its version did not, so what is stored under the same hash would"
        f" differ:{shown}\nraise CODE_VERSION in {raised_in}, then write the golden outputs again: {COMMAND}"
    )


def differences(golden: Any, found: Any, path: str = "") -> Iterator[str]:
    """Where two JSON values differ by more than the last bits of a float."""
    if isinstance(golden, Mapping) and isinstance(found, Mapping):
        for key in sorted({*golden, *found}):
            below = f"{path}.{key}" if path else key
            if key in golden and key in found:
                yield from differences(golden[key], found[key], below)
            else:
                yield f"{below}: {'added' if key in found else 'gone'}"
    elif isinstance(golden, list) and isinstance(found, list) and len(golden) == len(found):
        for i, (a, b) in enumerate(zip(golden, found, strict=True)):
            yield from differences(a, b, f"{path}[{i}]")
    elif isinstance(golden, float) and isinstance(found, float):
        if not math.isclose(golden, found, rel_tol=RELATIVE, abs_tol=ABSOLUTE):
            yield f"{path}: {golden!r} → {found!r}"
    elif golden != found or type(golden) is not type(found):
        yield f"{path}: {golden!r:.60} → {found!r:.60}"


def main() -> None:
    """Write the files of the stages whose version was raised, or that have none."""
    FOLDER.mkdir(exist_ok=True)
    for stage, (make, _) in STAGES.items():
        file = FOLDER / f"{stage}.json"
        if file.exists() and json.loads(file.read_bytes())["versions"] == versions(stage):
            message = fault(stage)
            if message is not None:
                raise SystemExit(message)
            continue
        outputs = {"versions": versions(stage), "outputs": make()}
        file.write_text(json.dumps(outputs, indent=1, sort_keys=True, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()

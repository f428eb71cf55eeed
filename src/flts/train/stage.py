"""Train one candidate: fit, store the bundle, forecast the test windows. Each result is committed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flts.contracts import events, layout
from flts.contracts.canonical import sha256
from flts.contracts.errors import DamagedObject, NotApplicable
from flts.contracts.ports import Progress, Silent, Store, write_once
from flts.contracts.records.base import JsonObject, plain_json, read_record, write_record
from flts.contracts.records.model import MadeOn, Manifest, ModelResult, WindowsResult
from flts.contracts.records.run import Recomputed
from flts.forecasting.answers import Answers
from flts.forecasting.bounds import resolve
from flts.forecasting.bundle import TOLERANCE, Bundle, load_bundle, read_bundle, write_bundle
from flts.forecasting.tables import forecasts_from_parquet, forecasts_to_parquet
from flts.models.base import Family, Files, ForecastTask, Recipe, Refits
from flts.models.registry import CANDIDATES
from flts.preprocess.known import known_of
from flts.preprocess.parquet import differs
from flts.preprocess.rows import Values
from flts.preprocess.stage import ProcessedDataset
from flts.spec.fields import Spec, Task, Train
from flts.spec.lineage import Identity
from flts.spec.resolved import has_epochs
from flts.train.determinism import made_on
from flts.train.fitting import FittedModel, fit_model
from flts.train.windows import Windows


@dataclass(frozen=True)
class ModelSpec:
    """What training one candidate needs from the Spec."""

    name: str
    model_hash: str
    task: Task
    validation_fraction: float
    recipe: Recipe[Any]
    known_future: tuple[str, ...] = ()
    """Columns that are given for the rows to forecast; none for a family that does not look ahead."""
    holidays: str = ""
    """The place whose holidays are one more of them."""


@dataclass(frozen=True)
class Trained:
    """A candidate's results in the store. `fitted` is False when nothing was fitted, because they existed."""

    model: str
    model_hash: str
    bundle_sha256: str
    forecasts_sha256: str
    fitted: bool
    chosen: JsonObject
    curve: Sequence[Sequence[float]]
    recomputed: Recomputed | None = None


def task_of(dataset: ProcessedDataset, task: Task) -> ForecastTask:
    """The task on these rows, with the seasons and bounds that train shows unless others are given."""
    seasons = dataset.meta.seasons if task.seasons == "infer" else task.seasons
    bounds = resolve(task.bounds, dataset.train.select(dataset.fitted.targets))
    return ForecastTask(task.input_length, task.horizon, tuple(seasons), dataset.fitted, task.min_measured, bounds)


def task_ahead(dataset: ProcessedDataset, model: ModelSpec) -> ForecastTask:
    """The task of one candidate, with what it may see of the rows to forecast. Raises SpecError, MissingExtra."""
    known = known_of(model.known_future, model.holidays, dataset.train, dataset.test, dataset.fitted.grid)
    return replace(task_of(dataset, model.task), known=known)


def model_spec(spec: Spec, identity: Identity, name: str) -> ModelSpec:
    """The candidate `name` of a Spec."""
    table = spec.expected[name]
    # without effect on the model_hash, so without effect on the fit
    patience = spec.train.patience if has_epochs(table) else Train().patience
    dataset, ahead = spec.dataset, table.looks_ahead
    return ModelSpec(
        name,
        identity.model_hashes[name],
        spec.task,
        spec.train.validation_fraction,
        Recipe(table, patience, spec.run.seed),
        tuple(dataset.known_future) if ahead else (),
        dataset.holidays if ahead else "",
    )


def stored_result(store: Store, name: str, model_hash: str, windows_hash: str) -> Trained | None:
    """The committed results of this model on these windows, or None while one of them is missing."""
    result = read_record(store, layout.model_result(model_hash), ModelResult)
    committed = read_record(store, layout.windows_result(model_hash, windows_hash), WindowsResult)
    if result is None or committed is None:
        return None
    return trained_of(name, result, committed, fitted=False)


def fitted_bundle(store: Store, result: ModelResult) -> tuple[Manifest, Files]:
    """The bundle behind a result, digests checked. Raises DamagedObject, also for a result that differs from it.

    No digest covers result.json itself, but the manifest repeats what the family chose.
    """
    manifest, files = read_bundle(store, result.bundle_sha256)
    if result.chosen != manifest.chosen:
        key = layout.model_result(result.model_hash)
        raise DamagedObject(
            f"{key} in {store.url} is damaged: it says that {result.model} chose other values than its bundle"
            f" {result.bundle_sha256[:12]}… does; {layout.mend(key)}",
            code="result-differs",
            key=key,
        )
    return manifest, files


def trained_of(
    name: str, result: ModelResult, committed: WindowsResult, *, fitted: bool, recomputed: Recomputed | None = None
) -> Trained:
    """What both commit points say of a candidate."""
    return Trained(
        name,
        result.model_hash,
        result.bundle_sha256,
        committed.forecasts_sha256,
        fitted,
        result.chosen,
        result.curve,
        recomputed,
    )


def train(
    dataset: ProcessedDataset,
    model: ModelSpec,
    windows: Windows,
    store: Store,
    progress: Progress | None = None,
    *,
    recompute: bool = False,
) -> Trained:
    """Fit unless a result exists, then forecast the test windows from the stored bundle unless forecasts exist.

    recompute: fit and forecast again and compare with the stored results, which always stay.
    Raises NotApplicable, TrainingFailed, DataError.
    """
    progress = progress or Silent()
    family, task = CANDIDATES[model.name], task_ahead(dataset, model)
    _refuse_short_histories(family, task, windows, dataset)
    result = read_record(store, layout.model_result(model.model_hash), ModelResult)
    verdict: Recomputed | None = None
    again = recompute and result is not None
    fitted = result is None or again
    libraries = (*family.libraries, *(["holidays"] if model.holidays else []))
    made = Made(model.name, model.model_hash, libraries, isinstance(family, Refits))
    if result is None or again:
        fraction = model.validation_fraction
        new = fit_model(family, dataset.train, task, model.recipe, fraction, progress, time_column=dataset.time_column)
        progress.phase("save")
        result, verdict = commit_fit(store, made, new, task.fitted.targets, again=again)
    committed = read_record(store, layout.windows_result(model.model_hash, windows.windows_hash), WindowsResult)
    if committed is None or recompute:
        progress.phase("forecast")
        committed, same = _forecast_and_commit(task, model, dataset, windows, store, result.bundle_sha256)
        if again and not same:
            verdict = differs_from(made, result.made_on, ["forecasts_sha256"])
    return trained_of(model.name, result, committed, fitted=fitted, recomputed=verdict if again else None)


def _refuse_short_histories(
    family: Family[Any], task: ForecastTask, windows: Windows, dataset: ProcessedDataset
) -> None:
    """Raise NotApplicable, before anything is fitted, when the history of any test origin is too short."""
    shortest = int(windows.histories(dataset).ends.min())
    needed = family.history(task).minimum
    if shortest < needed:
        raise NotApplicable(
            f"needs {needed} rows of history, has {shortest} at the first test origin",
            code="history-too-short",
            expected=needed,
            found=shortest,
        )


@dataclass(frozen=True)
class Made:
    """What is made under a hash. libraries: import names of those that it needs; refit: see `ModelResult.refit`."""

    name: str
    model_hash: str
    libraries: Sequence[str] = ()
    refit: bool = False


def commit_fit(
    store: Store, made: Made, fitted: FittedModel, targets: Sequence[str], *, again: bool
) -> tuple[ModelResult, Recomputed]:
    """Write the bundle, the validation forecasts and, last, result.json. Returns the stored result and the comparison.

    again: a result with its validation forecasts is stored already and stays.
    """
    bundle_sha256 = write_bundle(store, fitted.manifest, fitted.files)
    fresh = forecasts_to_parquet(fitted.validation_origins, targets, {"y_hat": fitted.validation_forecasts})
    table = fresh if again else write_once(store, layout.validation(made.model_hash), fresh, at="train.validation")
    result = ModelResult(
        model=made.name,
        model_hash=made.model_hash,
        bundle_sha256=bundle_sha256,
        validation_sha256=sha256(table),
        chosen=plain_json(fitted.fit.chosen),
        refit=made.refit,
        curve=[list(losses) for losses in fitted.fit.curve],
        made_on=made_on(made.libraries),
        tries=None if fitted.tries is None else list(fitted.tries),
    )
    stood = write_record(store, layout.model_result(made.model_hash), result, at="train.result")
    fields = zip(dict(stood).items(), dict(result).values(), strict=True)
    differing = [name for (name, first), second in fields if name != "made_on" and first != second]
    if table != fresh:  # stored by a fit that was interrupted before its result
        differing.append("validation_sha256")
    return stood, differs_from(made, stood.made_on, differing) if differing else "equal"


def _forecast_and_commit(
    task: ForecastTask, model: ModelSpec, dataset: ProcessedDataset, windows: Windows, store: Store, bundle_sha256: str
) -> tuple[WindowsResult, bool]:
    """Forecast with the stored bundle. Returns the stored result, and whether its forecasts equal these."""
    bundle = load_bundle(store, bundle_sha256)
    return commit_forecasts(bundle_forecasts(bundle, dataset, windows), task, model.model_hash, windows, store, dataset)


def bundle_forecasts(bundle: Bundle, dataset: ProcessedDataset, windows: Windows) -> Answers:
    """The test windows, with the bundle's own intervals."""
    return bundle.forecast(windows.histories(dataset))


def commit_forecasts(
    answers: Answers, task: ForecastTask, model_hash: str, windows: Windows, store: Store, dataset: ProcessedDataset
) -> tuple[WindowsResult, bool]:
    """Write the forecasts, then their commit point. Returns the stored result, and whether it is equal.

    Raises DamagedObject for a table without its commit point that holds other forecasts than these.
    """
    columns = answers.columns()
    origins = windows.origins(dataset)
    fresh = forecasts_to_parquet(origins, task.fitted.targets, columns)
    key = layout.forecasts(model_hash, windows.windows_hash)
    stood = write_once(store, key, fresh, at="train.forecasts")
    commit = layout.windows_result(model_hash, windows.windows_hash)
    if stood != fresh and not store.exists(commit):
        found = forecasts_from_parquet(stood, origins, task.fitted.targets, task.horizon, key=key)
        if not _close(found, columns, task):
            raise differs(key, store.url)
    result = WindowsResult(
        model_hash=model_hash,
        windows_hash=windows.windows_hash,
        forecasts_sha256=sha256(stood),
        windows=len(windows.indices),
    )
    return write_record(store, commit, result, at="train.windows_result"), stood == fresh


def _close(found: Mapping[str, Values], values: Mapping[str, Values | NDArray[np.bool_]], task: ForecastTask) -> bool:
    """Whether two tables of one bundle's forecasts agree, as far as another processor may give other last digits."""
    allowed = TOLERANCE * task.fitted.target_range[1]
    return found.keys() == values.keys() and all(
        np.allclose(found[name], values[name], rtol=0.0, atol=allowed, equal_nan=True) for name in values
    )


def differs_from(made: Made, first: MadeOn, fields: Sequence[str]) -> Recomputed:
    """Log why a second result differs: other libraries, processor or kernels, or a fit that is not deterministic."""
    now = made_on(made.libraries)
    if first != now:
        events.emit(
            events.EnvironmentDiffers(
                model_type=made.name.upper(),
                model_hash=made.model_hash,
                first=first.model_dump(),
                now=now.model_dump(),
            )
        )
        return "environment_differs"
    events.emit(events.NondeterminismDetected(model_type=made.name.upper(), model_hash=made.model_hash, fields=fields))
    return "nondeterminism_detected"

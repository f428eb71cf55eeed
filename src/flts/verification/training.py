"""The models: how long they took, whether every artifact is the one that was made, and their errors counted again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from flts.contracts import layout
from flts.contracts.canonical import sha256
from flts.contracts.errors import FltsError
from flts.contracts.records.base import parse_stored
from flts.contracts.records.model import ModelResult, WindowsResult
from flts.contracts.records.run import ScaledErrors, TrainPart
from flts.evaluate.metrics import Errors, measure
from flts.promotion.judge import yardstick
from flts.spec.models import ENSEMBLE
from flts.train.stage import fitted_bundle
from flts.verification.claims import FALSE, Check, Found, SectionChecks, absent, recorded, same
from flts.verification.ensemble import hash_of_ensemble, made_again
from flts.verification.evidence import RunEvidence
from flts.verification.sealed import changed_since, first_made, rested_on, sealed, sealed_decision
from flts.verification.stages import took


def training(evidence: RunEvidence) -> SectionChecks:
    """Claims about each model."""
    models = sorted(evidence.models, key=lambda model: (model == ENSEMBLE, model))  # it rests on all others
    checks = [check for model in models for check in _of_model(model, evidence)]
    return SectionChecks("training", "Training", checks)


def _of_model(model: str, evidence: RunEvidence) -> list[Check]:
    keys = _Keys.of(model, evidence)

    def claim(name: str, says: str, look: Callable[[RunEvidence, TrainPart], Found], *vouches: str) -> Check:
        def ended(evidence: RunEvidence) -> Found:
            part = evidence.trained(model)
            if part is not None:
                return look(evidence, part)
            failure = evidence.failed(model)
            why = f"{failure.error}: {failure.reason}" if failure else "the run has no result of it"
            return absent(f"{model} has no result in this run: {why}")

        return Check(f"train.{model}.{name}", says, ended, vouches)

    def error_claim(name: str) -> Check:
        says = f"{name.upper()} of {model}, computed again from stored forecasts and stored truth, is the recorded one"
        return claim(name, says, lambda e, part: _error(e, part, name))

    return [
        Check(f"train.{model}.outcome", f"{model} ended as the run recorded", lambda e: _outcome(e, model)),
        claim("model_hash", f"The experiment gives {model} the recorded model_hash", _model_hash),
        claim("duration", f"The recorded seconds of {model} fit between its start and its end", _duration),
        claim("result", f"The result of {model} is whole", _result, *keys.result),
        claim("bundle", f"Every file of the bundle of {model} has its digest", _bundle, *keys.bundle),
        claim("validation", f"The validation forecasts of {model} have their digest", _validation, *keys.validation),
        claim("windows", f"The record of the test forecasts of {model} is whole", _windows, *keys.windows),
        claim("forecasts", f"The test forecasts of {model} have their digest", _forecasts, *keys.forecasts),
        claim("origins", f"{model} forecast as many test windows as the rows have", _origins, *keys.windows),
        *(error_claim(name) for name in ScaledErrors.model_fields),
        *([claim("made", "The ensemble is what its members make of it", made_again)] if model == ENSEMBLE else []),
    ]


class _Keys:
    """Beginnings of the keys that the claims of a model are about; empty where the model has no result here."""

    def __init__(self) -> None:
        self.result: tuple[str, ...] = ()
        self.bundle: tuple[str, ...] = ()
        self.validation: tuple[str, ...] = ()
        self.windows: tuple[str, ...] = ()
        self.forecasts: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: str, evidence: RunEvidence) -> _Keys:
        keys = cls()
        with evidence.noting():  # which objects there are is no evidence for any of them
            model_hash = evidence.model_hash(model)
            if model_hash is None:
                return keys
            keys.result = (layout.model_result(model_hash), layout.latency(model_hash))
            keys.validation = (layout.validation(model_hash),)
            with suppress(FltsError):
                keys.bundle = (layout.bundle(evidence.result(model_hash).bundle_sha256, ""),)
            try:
                windows_hash = evidence.identity.windows_hash
            except FltsError:
                return keys
            keys.windows = (layout.windows_result(model_hash, windows_hash),)
            keys.forecasts = (layout.forecasts(model_hash, windows_hash),)
        return keys


def _outcome(evidence: RunEvidence, model: str) -> Found:
    trained, failure = evidence.trained(model), evidence.failed(model)
    if trained is not None:
        return recorded("SUCCESS")
    if failure is not None:
        return recorded(f"{failure.error}: {failure.reason}")
    return absent(f"the run holds neither a result nor a failure of {model}")


def _model_hash(evidence: RunEvidence, part: TrainPart) -> Found:
    hashes = evidence.identity.model_hashes
    found = hash_of_ensemble(evidence) if part.model == ENSEMBLE in hashes else hashes.get(part.model)
    return same(part.model_hash, found, f"{evidence.part(f'train-{part.model}')} names the hash of another model")


def _duration(evidence: RunEvidence, part: TrainPart) -> Found:
    return took(evidence.part(f"train-{part.model}"), part)


def _result(evidence: RunEvidence, part: TrainPart) -> Found:
    key = layout.model_result(part.model_hash)
    result = evidence.result(part.model_hash)
    found = evidence.digest(key)
    pinned = changed_since(evidence, key)
    if pinned is not None:
        return Found(FALSE, pinned, found, f"{key} was changed; {layout.mend(key)}")
    decision = sealed_decision(evidence)
    row = decision.row(part.model) if decision else None
    if row and row.model_hash == part.model_hash:
        aside = first_made(evidence, key)  # the judge accepts equal forecasts of another fit
        first = result if aside is None else parse_stored(evidence, key, ModelResult, evidence.get(aside) or b"")
        if row.bundle_sha256 != first.bundle_sha256:
            return Found(FALSE, row.bundle_sha256, first.bundle_sha256, f"{key} names another bundle than the decision")
    latency = layout.latency(part.model_hash)
    seen = rested_on(evidence, latency)
    if seen is not None and seen != evidence.digest(latency):
        reason = f"{latency} is not the one that the judge saw; {layout.mend(latency)}"
        return Found(FALSE, seen, evidence.digest(latency), reason)
    return same(part.model, result.model, f"{key} is the result of another model")


def _bundle(evidence: RunEvidence, part: TrainPart) -> Found:
    result = evidence.result(part.model_hash)
    manifest, _ = fitted_bundle(evidence, result)
    if part.bundle_sha256 not in {None, result.bundle_sha256}:
        reason = f"{evidence.part(f'train-{part.model}')} and {layout.model_result(part.model_hash)} name two bundles"
        return Found(FALSE, part.bundle_sha256, result.bundle_sha256, reason)
    return same(part.model, manifest.model, f"bundle {result.bundle_sha256[:12]}… is a model of another family")


def _validation(evidence: RunEvidence, part: TrainPart) -> Found:
    key, result = layout.validation(part.model_hash), evidence.result(part.model_hash)
    return _digest(evidence, key, result.validation_sha256)


def _windows(evidence: RunEvidence, part: TrainPart) -> Found:
    key = layout.windows_result(part.model_hash, evidence.identity.windows_hash)
    committed, found = evidence.required(key, WindowsResult), evidence.digest(key)
    pinned = changed_since(evidence, key)
    if pinned is not None:
        return Found(FALSE, pinned, found, f"{key} was changed; {layout.mend(key)}")
    pinned = sealed(evidence, layout.forecasts(part.model_hash, evidence.identity.windows_hash))
    if pinned is not None and pinned != committed.forecasts_sha256:
        reason = f"{key} names other forecasts than the decision; {layout.mend(key)}"
        return Found(FALSE, pinned, committed.forecasts_sha256, reason)
    return recorded(committed.windows)


def _origins(evidence: RunEvidence, part: TrainPart) -> Found:
    key = layout.windows_result(part.model_hash, evidence.identity.windows_hash)
    counted = len(evidence.experiment.windows.indices)
    said = evidence.required(key, WindowsResult).windows
    return same(said, counted, f"{key} counts other windows than the rows have")


def _forecasts(evidence: RunEvidence, part: TrainPart) -> Found:
    windows_hash = evidence.identity.windows_hash
    key = layout.windows_result(part.model_hash, windows_hash)
    committed = evidence.required(key, WindowsResult)
    if part.forecasts_sha256 not in {None, committed.forecasts_sha256}:
        reason = f"{evidence.part(f'train-{part.model}')} and {key} name two sets of forecasts"
        return Found(FALSE, part.forecasts_sha256, committed.forecasts_sha256, reason)
    return _digest(evidence, layout.forecasts(part.model_hash, windows_hash), committed.forecasts_sha256)


def _digest(evidence: RunEvidence, key: str, expected: str) -> Found:
    data = evidence.get(key)
    if data is None:
        return Found(FALSE, expected, None, f"{key} is absent, and its record names it; {layout.restore(key)}")
    return same(expected, sha256(data), f"{key} was changed; {layout.mend(key)}")


def _error(evidence: RunEvidence, part: TrainPart, name: str) -> Found:
    found = evidence.once(f"errors {part.model}", lambda: _errors(evidence, part))
    where = f"{evidence.part(f'train-{part.model}')} names an error that the stored forecasts do not have"
    return same(getattr(part.errors, name), getattr(found, name), where)


def _errors(evidence: RunEvidence, part: TrainPart) -> Errors:
    """The errors of the stored forecasts, by the function that the judge uses."""
    experiment = evidence.experiment
    key = layout.windows_result(part.model_hash, experiment.identity.windows_hash)
    committed = evidence.required(key, WindowsResult)
    forecast = experiment.forecasts(evidence, part.model_hash, committed.forecasts_sha256)["y_hat"]
    truth = experiment.windows.truth(experiment.dataset, experiment.task.horizon)
    return measure(truth.values, forecast, yardstick(experiment.dataset, experiment.task))

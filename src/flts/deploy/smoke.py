"""`helm test`: a small run through the services of a release, in a scope of its own.

It is the check that the first system's report describes: a run is claimed, fitted and judged, the pointer names its
champion, and the forecast service answers with it. Nothing of another scope is read or written.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flts.client import Client, Forecast
from flts.contracts import layout
from flts.contracts.errors import ClientError, RequestRefused, StageFailed
from flts.contracts.records.decision import UnrankedRow
from flts.promotion.log import head
from flts.promotion.relay import read_pointer
from flts.runner.claim import StartedRun, start
from flts.runner.reporter import Quiet
from flts.runner.services.trace import traced_context
from flts.runner.services.watch import POLL_SECONDS, wait_for_judgement
from flts.spec.sources import load_spec
from flts.wiring import open_raw

if TYPE_CHECKING:
    from flts.contracts.messages import ModelSelected
    from flts.contracts.ports import Store
    from flts.runner.local import RunResult
    from flts.settings import Settings
    from flts.spec.sources import LoadedSpec

SCOPE = "helm-test"
ROWS = 50
"""Rows of train and of test."""
OVERRIDES = (
    f'dataset.identifier="{SCOPE}"',
    f"sample.train_rows={ROWS}",
    f"sample.test_rows={ROWS}",
    'sample.strategy="head"',
    "task.input_length=10",
    "task.horizon=1",
    # a version that fits other models shows its own, however good those of the version before were
    'evaluate.gate="always"',
)


@dataclass(frozen=True)
class Passed:
    """What a release has shown. forecast: None where its forecast service was not asked."""

    result: RunResult
    champion: ModelSelected
    forecast: Forecast | None


@dataclass(frozen=True)
class _Limit:
    """Seconds for everything, and when they are over on the clock of this process."""

    seconds: float
    end: float

    @property
    def passed(self) -> bool:
        return time.monotonic() >= self.end


def experiment(file: Path, models: Sequence[str]) -> LoadedSpec:
    """The experiment of a file on its first rows, with these models. Raises SpecError."""
    return load_spec(file, environ={}, overrides=OVERRIDES, models=models)


def smoke(settings: Settings, loaded: LoadedSpec, url: str, timeout: float) -> Passed:
    """Run an experiment through the services that share store and bus, and ask the forecast service at `url`, if any.

    All models are fitted again, so that a repeated test shows as much as the first. timeout: seconds for everything.
    Raises StageFailed for a model without a forecast, and for what is not there in time; the message names it.
    """
    limit = _Limit(timeout, time.monotonic() + timeout)
    with traced_context(settings, "smoke") as context:
        raw = open_raw(loaded.spec.dataset, loaded.folder, settings)
        started = start(context, loaded.spec, raw, Quiet(), recompute=True)
        result = wait_for_judgement(context, started, Quiet(), lambda: _in_time(context.store, started, limit))
        _all_have_forecasts(result)
        champion = _pointer(context.store, limit)
        rows = context.store.get(layout.test_rows(started.claim.data_hash))
    assert rows is not None, "a run whose rows are gone is not judged"
    return Passed(result, champion, _answer(url, settings.bearer_token(), rows, champion, limit) if url else None)


def _in_time(store: Store, started: StartedRun, limit: _Limit) -> None:
    """Raise StageFailed when the time is up; the message names what the run waits for."""
    if not limit.passed:
        return
    claim = started.claim
    missing = [
        name
        for name in started.experiment.spec.trained
        if not store.exists(layout.run_part(claim.config_hash, claim.run, f"train-{name}"))
        and not store.exists(layout.failure(claim.config_hash, claim.run, name))
    ]
    lacks = (
        f"no result of {', '.join(missing)}: look at their trainers" if missing else "no judgement: look at evaluate"
    )
    raise StageFailed(
        f"run {claim.run} of {claim.config_hash[:12]}… in scope {SCOPE} has after {limit.seconds:g} s {lacks}",
        code="smoke-run-late",
        run=claim.run,
        models=missing,
    )


def _all_have_forecasts(result: RunResult) -> None:
    failed = {row.model: row.reason for row in result.decision.candidates if isinstance(row, UnrankedRow)}
    if failed:
        reasons = "; ".join(f"{model}: {reason}" for model, reason in sorted(failed.items()))
        raise StageFailed(f"no forecast of {reasons}", code="smoke-model-failed", models=sorted(failed))


def _pointer(store: Store, limit: _Limit) -> ModelSelected:
    """The pointer of the scope, once it names the newest promotion."""
    key = layout.scope_pointer(SCOPE)
    while True:
        newest, pointer = head(store, SCOPE), read_pointer(store, key)
        if pointer is not None and pointer.promotion == newest.number:
            return pointer
        if limit.passed:
            raise StageFailed(
                f"{key} does not name promotion {newest.number} of its log after {limit.seconds:g} s: look at evaluate",
                code="smoke-pointer-late",
                key=key,
                promotion=newest.number,
            )
        time.sleep(POLL_SECONDS)


def _answer(url: str, token: str | None, rows: bytes, champion: ModelSelected, limit: _Limit) -> Forecast:
    """The forecast after the test rows, once the service answers with this champion."""
    import polars as pl

    history, said = pl.read_parquet(io.BytesIO(rows)), "it was not asked any more"
    with Client(url, token=token, retries=0) as client:
        while not limit.passed:
            try:
                answer = client.forecast(history, identifier=SCOPE)
            except ClientError as error:
                if isinstance(error, RequestRefused) and error.code != "scope-unknown":
                    raise
                said = error.detail
            else:
                if answer.model.promotion == champion.promotion and answer.model.model_hash == champion.model_hash:
                    return answer
                said = f"it answers with promotion {answer.model.promotion}"
            time.sleep(POLL_SECONDS)
    raise StageFailed(
        f"{url} does not answer with promotion {champion.promotion} of scope {SCOPE} after {limit.seconds:g} s: {said}",
        code="smoke-answer-late",
        url=url,
        promotion=champion.promotion,
    )

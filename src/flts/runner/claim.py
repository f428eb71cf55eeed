"""The start of a run, for `flts run` and for a job on a bus alike: rows ready, the run numbered, the trainers told."""

from __future__ import annotations

import uuid

from flts.contracts import events, layout, runs
from flts.contracts.canonical import canonical_json
from flts.contracts.errors import SpecError
from flts.contracts.messages import InferenceData, TrainingData
from flts.contracts.ports import write_json_once, write_once
from flts.contracts.records.run import RunClaim
from flts.preprocess import CODE_VERSION
from flts.preprocess.source import RawInput
from flts.preprocess.stage import Prepared, load_dataset, preprocess
from flts.promotion.log import read_log
from flts.runner.stored import VERSIONS
from flts.spec.fields import Spec
from flts.spec.lineage import identify
from flts.train.experiment import Experiment, plan_experiment
from flts.version import __version__
from flts.wiring import RunContext


def prepare(context: RunContext, spec: Spec, raw: RawInput) -> tuple[Prepared, Experiment]:
    """Processed rows in the store, and the experiment they make. Raises SpecError, DataError."""
    if not spec.dataset.targets:
        raise SpecError("dataset.targets names no column; name the column to forecast, or several")
    prepared = preprocess(spec, raw, context.store, CODE_VERSION)
    identity = identify(spec, prepared.data_hash, VERSIONS)
    dataset = load_dataset(context.store, prepared.data_hash, tuple(spec.dataset.targets))
    return prepared, plan_experiment(spec, identity, dataset)


def begin(context: RunContext, experiment: Experiment, prepared: Prepared, *, recompute: bool) -> TrainingData:
    """Store the Spec, take a run number, and publish the claim that every trainer works on."""
    spec, identity = experiment.spec, experiment.identity
    scope, key = spec.dataset.scope, layout.spec(identity.config_hash)
    write_once(context.store, key, canonical_json(spec.identity()), at="run.spec")
    number = claim_run(context, identity.config_hash, scope, identity.data_hash, recompute=recompute)
    bucket, _, object_key = layout.meta(prepared.data_hash).partition("/")
    claim = TrainingData(
        ts=context.clock.now(),
        identifier=scope,
        config_hash=identity.config_hash,
        data_hash=identity.data_hash,
        run=number,
        bucket=bucket,
        object_key=object_key,
        size=prepared.size,
        sha256=prepared.sha256,
        row_count=prepared.meta.train.rows,
        spec_key=key,
    )
    write_json_once(
        context.store,
        layout.run_part(identity.config_hash, number, "preprocess"),
        {
            "v": 1,
            "run": number,
            "scope": scope,
            "environment": context.environment,
            "data_hash": prepared.data_hash,
            "meta_sha256": prepared.sha256,
            "reused": prepared.reused,
            "ended": claim.ts.isoformat(),
        },
        at="run.preprocess",
    )
    context.bus.publish(claim.topic, claim.key, claim.to_bytes())
    events.emit(
        events.ClaimPublished(
            config_hash=claim.config_hash,
            data_hash=claim.data_hash,
            run=number,
            topic=claim.topic,
            event_id=claim.event_id,
        )
    )
    return claim


def claim_rows(context: RunContext, claim: TrainingData, prepared: Prepared) -> InferenceData:
    """Have the test rows of a run forecast as a batch; they lie in the store as raw rows in original units."""
    bucket, _, object_key = layout.test_rows(claim.data_hash).partition("/")
    part = prepared.meta.test
    message = InferenceData(
        ts=context.clock.now(),
        identifier=claim.identifier,
        bucket=bucket,
        object_key=object_key,
        size=part.size,
        sha256=part.sha256,
        row_count=part.rows,
        config_hash=claim.config_hash,
        data_hash=claim.data_hash,
    )
    context.bus.publish(message.topic, message.key, message.to_bytes())
    return message


def claim_run(context: RunContext, config_hash: str, scope: str, data_hash: str, *, recompute: bool = False) -> int:
    """Take the next free run number of this configuration.

    The record says what the log's newest entry was, so that a judge that was cut off knows its own promotion again.
    """
    record = RunClaim(
        run=1,
        scope=scope,
        environment=context.environment,
        data_hash=data_hash,
        recompute=recompute,
        promotion=len(read_log(context.store, scope)),
        flts=__version__,
        started=context.clock.now().isoformat(),
        claimed_by=uuid.uuid4().hex,
    )
    return runs.claim(context.store, config_hash, record)

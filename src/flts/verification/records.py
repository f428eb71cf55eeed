"""The first section: which run this is, where it ran, and whether its records are whole and belong together."""

from __future__ import annotations

from flts.contracts import layout
from flts.contracts.records.base import StoredRecord
from flts.contracts.records.run import JudgePart, PreprocessPart
from flts.verification.claims import FALSE, Check, Found, SectionChecks, absent, recorded, same
from flts.verification.evidence import RunEvidence
from flts.verification.stages import SLACK, seconds_between, stage_parts

NAMES = ("release", "revision")
"""What a deployment says of itself in the claim of a run."""


def records(evidence: RunEvidence) -> SectionChecks:
    """Claims about the run as a whole."""
    checks = [
        Check("run.claim", "The run took its number", _claim, (evidence.part("claim"),)),
        Check(
            "run.config_hash",
            "The stored experiment on these rows has the config_hash of this run",
            _config_hash,
            (layout.spec(evidence.config_hash),),
        ),
        Check("run.environment", "The run names its environment", lambda e: recorded(e.claim.environment)),
        *(_deployment(name) for name in NAMES),
        _part("preprocess", "the rows", PreprocessPart, evidence),
        *(_of_model(model, evidence) for model in evidence.models),
        _part("judge", "the judgement", JudgePart, evidence),
        Check("run.processes", "The processes name their versions, processors and limits", _processes, due=False),
    ]
    return SectionChecks("run", "Run", checks)


def _claim(evidence: RunEvidence) -> Found:
    return same(evidence.run, evidence.claim.run, f"{evidence.part('claim')} is the claim of another run")


def _config_hash(evidence: RunEvidence) -> Found:
    key = layout.spec(evidence.config_hash)
    return same(
        evidence.config_hash,
        evidence.identity.config_hash,
        f"{key} is not the experiment of this hash, or the code versions of this flts are not those of the run",
    )


def _deployment(name: str) -> Check:
    def look(evidence: RunEvidence) -> Found:
        value = (evidence.claim.deployment or {}).get(name)
        return recorded(value) if value else absent("the run was not started by a deployment that names it")

    return Check(f"run.{name}", f"The deployment names its {name}", look, due=False)


def _part(part: str, words: str, kind: type[StoredRecord], evidence: RunEvidence) -> Check:
    def look(evidence: RunEvidence) -> Found:
        found = evidence.record(key, kind)
        if found is None:
            return absent(f"{key} is absent: the run ended before this step, or is still going on")
        return _belongs(evidence, key, found)

    key = evidence.part(part)
    return Check(f"run.{part}", f"The record of {words} is whole and belongs to this run", look, (key,))


def _of_model(model: str, evidence: RunEvidence) -> Check:
    kinds = evidence.keys_of(model)
    keys = tuple(key for key, _ in kinds)

    def look(evidence: RunEvidence) -> Found:
        for key, kind in kinds:
            found = evidence.record(key, kind)
            if found is not None:
                return _belongs(evidence, key, found)
        key, judge = " or ".join(keys), evidence.part("judge")
        if evidence.digest(judge) is not None:  # a judge waits for the record of every model
            return Found(FALSE, reason=f"{key} is absent, and {judge} exists; {layout.restore(key)}")
        return absent(f"{key} is absent: the run ended before, or is still going on")

    return Check(f"run.{model}.record", f"The record of {model} is whole and belongs to this run", look, keys)


def _belongs(evidence: RunEvidence, key: str, part: StoredRecord) -> Found:
    """Whether a part names the scope, the environment and the rows of the claim."""
    claim = evidence.claim
    for field in ("scope", "environment", "data_hash"):
        found, expected = getattr(part, field, None), getattr(claim, field)
        if found is not None and found != expected:
            return Found(FALSE, expected, found, f"{key} names another {field} than {evidence.part('claim')}")
    machine, processor = getattr(part, "machine", None), getattr(part, "processor", None)
    if machine is not None and processor is not None and machine.processor != processor:
        return Found(FALSE, processor, machine.processor, f"{key} names two processors")
    return recorded(getattr(part, "ended", None))


def _processes(evidence: RunEvidence) -> Found:
    """The claim was made by the process that prepared the rows."""
    machines = {name: part.machine for name, (_, part) in stage_parts(evidence).items() if part.machine}
    rows = machines.get("preprocess")
    if rows is not None and rows.flts != evidence.claim.flts:
        reason = f"{evidence.part('claim')} and {evidence.part('preprocess')} name two versions of one process"
        return Found(FALSE, evidence.claim.flts, rows.flts, reason)
    prepared, claim = evidence.prepared, evidence.claim
    if prepared is not None and seconds_between(claim.started, prepared.ended) < -SLACK:
        reason = f"{evidence.part('claim')} says that the run took its number after its rows were recorded"
        return Found(FALSE, prepared.ended, claim.started, reason)
    return recorded(len(machines)) if machines else absent("the run is of an earlier flts, which did not record it")

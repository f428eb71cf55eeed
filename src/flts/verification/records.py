"""The first section: which run this is, where it ran, and whether its records are whole and belong together."""

from __future__ import annotations

from flts.contracts import layout, runs
from flts.contracts.canonical import canonical_json
from flts.contracts.errors import DamagedObject
from flts.contracts.records.base import StoredRecord
from flts.contracts.records.run import JudgeSeal
from flts.verification.claims import FALSE, Check, Found, SectionChecks, absent, recorded, same
from flts.verification.evidence import RunEvidence
from flts.verification.sealed import judges_seal, rested_on, traces_of_judge
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
        Check(
            "run.preprocess",
            "The record of the rows is whole and belongs to this run",
            _preprocess,
            (evidence.part("preprocess"),),
        ),
        *(_of_model(model, evidence) for model in evidence.models),
        Check(
            "run.judge",
            "The record of the judgement is the sealed one and belongs to this run",
            _judge,
            (evidence.part("judge"), layout.seals(evidence.config_hash, evidence.run)),
        ),
        Check(
            "run.sealed",
            "The record of the judgement names every other record of the run",
            _sealed,
            (f"{evidence.folder}sent/",),
        ),
        Check("run.processes", "The processes name their versions, processors and limits", _processes, due=False),
    ]
    return SectionChecks("run", "Run", checks)


def _claim(evidence: RunEvidence) -> Found:
    key, found = evidence.part("claim"), evidence.claim.run
    return _changed(evidence, key) or same(evidence.run, found, f"{key} is the claim of another run")


def _changed(evidence: RunEvidence, key: str) -> Found | None:
    """That a record is not the one that the judge saw; None where it is, and where no sealed judge names it."""
    pinned, found = rested_on(evidence, key), evidence.digest(key)
    if pinned in {None, found}:
        return None
    what = f"{key} was changed" if found else f"{key} is absent"
    return Found(FALSE, pinned, found, f"{what}: {evidence.part('judge')} names it; {layout.restore(key)}")


def _config_hash(evidence: RunEvidence) -> Found:
    key = layout.spec(evidence.config_hash)
    changed = _changed(evidence, key)
    if changed is not None:
        return changed
    found = evidence.identity.config_hash
    if found == evidence.config_hash and evidence.get(key) != canonical_json(evidence.spec.identity()):
        return Found(FALSE, reason=f"{key} is not written as FLTS writes it; {layout.restore(key)}")
    return same(
        evidence.config_hash,
        found,
        f"{key} is not the experiment of this hash, or the code versions of this flts are not those of the run",
    )


def _deployment(name: str) -> Check:
    def look(evidence: RunEvidence) -> Found:
        value = (evidence.claim.deployment or {}).get(name)
        return recorded(value) if value else absent("the run was not started by a deployment that names it")

    return Check(f"run.{name}", f"The deployment names its {name}", look, due=False)


def _preprocess(evidence: RunEvidence) -> Found:
    key, found = evidence.part("preprocess"), evidence.prepared
    changed = _changed(evidence, key)
    if changed is not None:
        return changed
    return _belongs(evidence, key, found) if found else absent(_not_there(key))


def _judge(evidence: RunEvidence) -> Found:
    key, folder = evidence.part("judge"), layout.seals(evidence.config_hash, evidence.run)
    seals = evidence.list(folder)
    for other in seals:
        if evidence.required(other, JudgeSeal).to_bytes() != evidence.get(other):
            return Found(FALSE, reason=f"{other} is not written as FLTS writes it; {layout.restore(other)}")
    found = evidence.judged
    if found is None:
        trace = next(traces_of_judge(evidence), None)
        if trace is None:
            return absent(_not_there(key))
        reason = f"{key} is absent, and {trace}: it was removed, or its judge was stopped right before it wrote it"
        return Found(FALSE, reason=f"{reason}; {layout.restore(key)}")
    if judges_seal(evidence) is None and (seals or found.rests_on is not None):
        absent_seal = f"{folder}{evidence.digest(key)}.json is absent, which seals {key}"
        reason = f"{key} was changed: no seal in {folder} names its digest" if seals else absent_seal
        return Found(FALSE, None, evidence.digest(key), f"{reason}; {layout.restore(key)}")
    return _belongs(evidence, key, found)


def _sealed(evidence: RunEvidence) -> Found:
    """A record that came after the judgement stands for itself: nothing says that it is the one that was written."""
    judged, part = evidence.judged, evidence.part("judge")
    if judged is None:
        return absent(_not_there(part))
    if judged.rests_on is None:
        return absent("the run is of an earlier flts, which did not record it")
    seals = layout.seals(evidence.config_hash, evidence.run)
    found = {key for key in evidence.list(evidence.folder) if key != part and not key.startswith(seals)}
    named = {key for key in judged.rests_on if key.startswith(evidence.folder)}
    for key in sorted(named | found):
        changed = _changed(evidence, key)
        if changed is not None:
            return changed
    late = sorted(found - named)
    if late:
        return absent(f"{part} does not name {', '.join(late)}: not sealed, as written after the judgement")
    return recorded(len(named))


def _waited_for(evidence: RunEvidence, model: str) -> bool:
    """Whether the judge saw a record of this model: of this run, or of another one that had its result before."""
    try:
        judged = evidence.judged
    except DamagedObject:
        return False
    if judged is None or judged.rests_on is None:  # an earlier flts, which waited for the record of this run
        return judged is not None
    numbers = runs.numbers(evidence, evidence.config_hash)
    return not any(evidence.exists(layout.run_part(evidence.config_hash, n, f"train-{model}")) for n in numbers)


def _not_there(key: str) -> str:
    return f"{key} is absent: the run ended before this step, or is still going on"


def _of_model(model: str, evidence: RunEvidence) -> Check:
    kinds = evidence.keys_of(model)
    keys = tuple(key for key, _ in kinds)

    def look(evidence: RunEvidence) -> Found:
        records = [(key, evidence.record(key, kind)) for key, kind in kinds]
        for key in keys:
            if (changed := _changed(evidence, key)) is not None:
                return changed
        for key, found in records:
            if found is not None:
                return _belongs(evidence, key, found)
        key, judge = " or ".join(keys), evidence.part("judge")
        if _waited_for(evidence, model):
            return Found(FALSE, reason=f"{key} is absent, and {judge} exists; {layout.restore(key)}")
        return absent(_not_there(key))

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

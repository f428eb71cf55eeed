"""What a run seals: the digests that its decision names, as long as the log or the judge's record vouches for it.

The judge's record names those of all other records of the run, as long as a seal of the run names the judge's record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from flts.contracts import layout, runs
from flts.contracts.errors import DamagedObject
from flts.contracts.records.decision import DecisionRecord
from flts.contracts.records.log import LogEntry
from flts.contracts.records.run import JudgePart, JudgeSeal
from flts.promotion.evidence import kept_aside
from flts.promotion.log import Chain
from flts.promotion.relay import read_pointer
from flts.verification.evidence import RunEvidence
from flts.verification.logs import of_run


def sealed(evidence: RunEvidence, key: str) -> str | None:
    """The digest that a sealed decision names for an object; None where none does."""
    return evidence.once("seals", lambda: _seals(evidence)).get(key)


def sealed_judge(evidence: RunEvidence) -> JudgePart | None:
    """The judge's record as it is sealed; None where it is absent or changed; an earlier FLTS sealed none."""
    try:
        judged = evidence.judged
        return judged if judged is not None and judges_seal(evidence) is not None else None
    except DamagedObject:
        return None


def judges_seal(evidence: RunEvidence) -> JudgeSeal | None:
    """The seal that names the judge's record; None where there is none. Raises DamagedObject."""
    digest = evidence.digest(evidence.part("judge"))
    if digest is None:
        return None
    return evidence.record(layout.seal(evidence.config_hash, evidence.run, digest), JudgeSeal)


def traces_of_judge(evidence: RunEvidence) -> Iterator[str]:
    """What else says that this run was judged."""
    yield from (f"{key} seals it" for key in evidence.list(layout.seals(evidence.config_hash, evidence.run)))
    for line in of_run(evidence, "run_judged"):
        evidence.note(line.source, line.sha256)
        yield f"{line.source} says that it was written"
    with suppress(DamagedObject):  # the claims about the log say so
        entries = evidence.log.entries[evidence.claim.promotion :]
        own = [e for e in entries if (e.kind, e.champion.config_hash) == ("promote", evidence.config_hash)]
        for entry in own:
            if all(judged.decision_id != entry.decision_id for judged in _judged_runs(evidence)):
                yield f"{layout.log_entry(entry.scope, entry.number)} promotes a model of this experiment"


def _judged_runs(evidence: RunEvidence) -> Iterator[JudgePart]:
    return runs.parts(evidence, evidence.config_hash, "judge", JudgePart)


def rested_on(evidence: RunEvidence, key: str) -> str | None:
    """The digest that the sealed record of the judge names for another record; None where it names none."""
    judged = sealed_judge(evidence)
    return (judged.rests_on or {}).get(key) if judged else None


def changed_since(evidence: RunEvidence, key: str) -> str | None:
    """The sealed digest of an object that has another one now; None where a recompute keeps the sealed one aside."""
    pinned = sealed(evidence, key)
    return None if pinned == evidence.digest(key) or first_made(evidence, key) is not None else pinned


def first_made(evidence: RunEvidence, key: str) -> str | None:
    """Where the object lies that a sealed decision names, if a recompute put it aside and made another one."""
    pinned, found = sealed(evidence, key), evidence.digest(key)
    return None if pinned in {None, found} or pinned is None else kept_aside(evidence, key, pinned)


def told_of_decision(evidence: RunEvidence) -> Mapping[str, str]:
    """The digest of the decision of this run, by the key of who names it: the log entry, then the judge's record.

    An entry that was changed itself says nothing about others.
    """
    try:
        entry, log, judged = evidence.entry, evidence.log, evidence.judged
    except DamagedObject:
        return {}
    told: dict[str, str] = {}
    if entry is not None and entry.decision_sha256 and changed_entry(evidence, log, entry) is None:
        told[layout.log_entry(entry.scope, entry.number)] = entry.decision_sha256
    if judged is not None and judged.decision_sha256:
        told[evidence.part("judge")] = judged.decision_sha256
    return told


def changed_entry(evidence: RunEvidence, log: Chain, entry: LogEntry) -> dict[str, str] | None:
    """What the pointers name as the digest of an entry, where it has another one; None where the entry is whole.

    The entry after it names every entry but the newest.
    """
    if entry.number < len(log.entries):
        return None
    keys = (
        layout.scope_pointer(entry.scope),
        layout.config_pointer(entry.scope, entry.champion.config_hash),
        layout.root_pointer(),
    )
    pointers = ((key, read_pointer(evidence, key)) for key in keys)
    named = {
        key: pointer.entry_sha256
        for key, pointer in pointers
        if pointer and pointer.entry_sha256 and (pointer.scope, pointer.promotion) == (entry.scope, entry.number)
    }
    return named if named and log.digest(entry.number) not in named.values() else None


def sealed_decision(evidence: RunEvidence) -> DecisionRecord | None:
    """The decision of this run as it is vouched for; None where it is not."""
    try:
        key, told = evidence.decision_key, next(iter(told_of_decision(evidence).values()), None)
        return evidence.decision if key and told and evidence.digest(key) == told else None
    except DamagedObject:
        return None


def _seals(evidence: RunEvidence) -> Mapping[str, str]:
    decision = sealed_decision(evidence)
    if decision is None:
        return {}
    windows_hash = decision.windows.windows_hash
    rests_on = decision.evidence
    return {
        **(rests_on.objects if rests_on else {}),
        **{layout.forecasts(row.model_hash, windows_hash): row.forecasts_sha256 for row in decision.ranked},
    }

"""This run beside others, wherever they were run: whether each gave the same result."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from flts.comparison.compare import compare
from flts.comparison.result import Comparison
from flts.comparison.sides import Side
from flts.contracts.canonical import digest
from flts.contracts.errors import DamagedObject
from flts.report.evidence import run_manifest
from flts.verification.claims import FALSE, TRUE, Check, Found, SectionChecks, absent, recorded
from flts.verification.evidence import RunEvidence

SHOWS_NOTHING = ("not-computed-twice", "incomplete")
"""Verdicts that say that nothing differs, and that this is no proof."""


def environments(evidence: RunEvidence, others: Sequence[Side]) -> SectionChecks:
    """Claims about each of the other runs, numbered as they were named."""
    checks = [check for place, other in enumerate(others, 1) for check in _of(place, other, others)]
    return SectionChecks("comparison", "Environments", checks, " ".join(["--compare RUN"] * len(others)))


def compared(evidence: RunEvidence, others: Sequence[Side]) -> Comparison:
    """This run, which is A, and the others. Raises DamagedObject where the claim of this run cannot be read."""

    def made() -> Comparison:
        damaged: list[DamagedObject] = []
        record = run_manifest(evidence, evidence.config_hash, evidence.run, damaged=damaged)
        sides = [Side("", record, [str(error) for error in damaged]), *others]
        for other in others:
            evidence.note(f"manifest of {_name(other)}", digest(other.record.model_dump(mode="json", by_alias=True)))
        return compare([dataclasses.replace(side, named=_name(side)) for side in sides])

    return evidence.once("comparison", made)


def _name(side: Side) -> str:
    """A run by what it is; the place where somebody keeps it is no evidence."""
    return f"{side.record.config_hash[:12]}:{side.record.run} of {side.record.claim.environment}"


def _of(place: int, other: Side, others: Sequence[Side]) -> list[Check]:
    def claim(name: str, says: str, look: Callable[[Comparison], Found], *rests_on: str) -> Check:
        below = tuple(f"comparison.{place}.{one}" for one in rests_on)
        return Check(f"comparison.{place}.{name}", says, lambda e: look(compared(e, others)), rests_on=below)

    def experiment(found: Comparison) -> Found:
        if found.spec is None:
            return absent("an experiment cannot be read")
        verdict = found.verdicts[place - 1]
        return Found(FALSE, reason=verdict.text) if verdict.kind == "different-spec" else Found(TRUE)

    def result(found: Comparison) -> Found:
        verdict = found.verdicts[place - 1]
        if verdict.kind in SHOWS_NOTHING:
            return absent(verdict.text)
        if verdict.kind == "same-result":
            return recorded(list(verdict.computed_twice))
        return Found(FALSE, None, verdict.first, verdict.text)

    def duration(found: Comparison) -> Found:
        whole = next((row for row in found.durations if row.work == "the whole run"), None)
        said = whole.statements[place] if whole else None
        return absent("the time of one of them is not known") if said is None else recorded(said.ratio)

    return [
        claim("experiment", f"{_name(other)} ran the same experiment", experiment),
        claim("result", f"{_name(other)} gave the same result", result, "experiment"),
        claim("duration", f"{_name(other)} took so many times as long", duration),
    ]

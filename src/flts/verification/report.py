"""The report about one run: every claim settled, in the order of the pipeline, and what follows from all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from flts.contracts.errors import UsageError, nearest
from flts.contracts.ports import Store
from flts.contracts.records.base import Digest, Part, StoredRecord
from flts.verification.claims import BAD, NOT_RECORDED, UNREACHABLE, Engine, ReportClaim, SectionChecks
from flts.verification.evaluation import evaluation
from flts.verification.evidence import RunEvidence
from flts.verification.preprocess import preprocess
from flts.verification.promotion import promotion
from flts.verification.records import records
from flts.verification.training import training


class ReportSection(Part):
    """One part of the report."""

    name: str
    title: str


class Report(StoredRecord):
    """`report.json`: a run, and every claim about it. The same evidence gives the same bytes."""

    v: Literal[1] = 1
    config_hash: Digest
    run: int
    sections: list[ReportSection]
    claims: list[ReportClaim]
    required: list[str]
    """Ids of claims that must be recorded, or their beginnings."""

    @property
    def exit_code(self) -> int:
        """1 where a claim is false or a required one is not recorded, else 3 where one is unreachable, else 0."""
        if any(claim.state in BAD or self._lacking(claim) for claim in self.claims):
            return 1
        return 3 if any(claim.state == UNREACHABLE for claim in self.claims) else 0

    @property
    def first_false(self) -> ReportClaim | None:
        """The first claim that does not hold, in the order of the pipeline."""
        return next((claim for claim in self.claims if claim.state in BAD), None)

    def of(self, section: ReportSection) -> list[ReportClaim]:
        """The claims of one section."""
        return [claim for claim in self.claims if claim.section == section.name]

    def claim(self, name: str) -> ReportClaim:
        """One claim. Raises UsageError for an unknown id."""
        found = next((claim for claim in self.claims if claim.id == name), None)
        if found is None:
            raise unknown_claim(name, [claim.id for claim in self.claims])
        return found

    def _lacking(self, claim: ReportClaim) -> bool:
        return claim.state == NOT_RECORDED and any(named(claim.id, wanted) for wanted in self.required)


def named(claim: str, wanted: str) -> bool:
    """Whether a name means this claim: its id, or the beginning of it up to a dot."""
    return claim == wanted or claim.startswith(f"{wanted}.")


def unknown_claim(name: str, ids: Sequence[str]) -> UsageError:
    """The error for a claim that this run does not have."""
    return UsageError(f"there is no claim '{name}'; {nearest(name, ids)}", code="claim-unknown", claim=name)


def examine(
    store: Store,
    config_hash: str,
    run: int,
    *,
    only: str | None = None,
    required: Sequence[str] = (),
    expected_head: str | None = None,
) -> Report:
    """Settle every claim about a run, or `only` one with those that it rests on.

    required: ids, or their beginnings, that must be recorded; expected_head: the digest of the newest log entry as
    somebody wrote it down. Raises UsageError for an unknown claim.
    """
    evidence = RunEvidence(store, config_hash, run)
    sections = _sections(evidence, expected_head)
    engine = Engine(sections, evidence, f"flts verify {config_hash[:12]} --run {run}")
    for name in (*required, *([only] if only else ())):
        if not any(named(known, name) for known in engine.ids):
            raise unknown_claim(name, engine.ids)
    claims = engine.all() if only is None else _with_those_below(engine, only)
    return Report(
        config_hash=config_hash,
        run=run,
        sections=[ReportSection(name=section.name, title=section.title) for section in sections],
        claims=claims,
        required=list(required),
    )


def _sections(evidence: RunEvidence, expected_head: str | None) -> list[SectionChecks]:
    return [
        records(evidence),
        preprocess(evidence),
        training(evidence),
        evaluation(evidence),
        promotion(evidence, expected_head),
    ]


def _with_those_below(engine: Engine, only: str) -> list[ReportClaim]:
    """The claims of this name, after everything that they rest on."""
    wanted = {name for name in engine.ids if named(name, only)}
    waiting = list(wanted)
    while waiting:
        below = set(engine.claim(waiting.pop()).rests_on) - wanted
        wanted |= below
        waiting += below
    return [engine.claim(name) for name in engine.ids if name in wanted]

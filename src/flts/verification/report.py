"""The report about one run: every claim settled, in the order of the pipeline, and what follows from all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from pydantic import JsonValue

from flts.comparison.result import Comparison
from flts.comparison.sides import Side
from flts.contracts import layout
from flts.contracts.canonical import is_digest
from flts.contracts.errors import FltsError, UsageError
from flts.contracts.ports import Store
from flts.contracts.records.base import Digest, JsonObject, Part, StoredRecord, read_object
from flts.verification.aside import lying_elsewhere
from flts.verification.chain import chain
from flts.verification.claims import (
    BAD,
    NOT_RECORDED,
    TRUE,
    UNREACHABLE,
    Engine,
    ReportClaim,
    SectionChecks,
    instead_of,
)
from flts.verification.environments import compared, environments
from flts.verification.evaluation import evaluation
from flts.verification.evidence import RunEvidence
from flts.verification.expectations import Expectation, expectations
from flts.verification.issues import Issue, issues
from flts.verification.logs import excerpts, logs
from flts.verification.outside import Outside
from flts.verification.preprocess import preprocess
from flts.verification.processes import processes
from flts.verification.promotion import promotion
from flts.verification.records import records
from flts.verification.stages import stage_rows
from flts.verification.tracking import tracking
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
    header: dict[str, str]
    """What the run says of itself: scope, environment, versions, times, and the deployment where there is one."""
    sections: list[ReportSection]
    claims: list[ReportClaim]
    evidence: dict[str, Digest | None]
    """SHA-256 of everything that was read, by name; None where it is absent."""
    issues: list[Issue]
    """What the run itself gives reason to doubt."""
    spec: JsonObject | None
    """The experiment as it is stored; None where it cannot be read."""
    stages: list[dict[str, JsonValue]]
    """What wrote each part of the run, when, and what it had to work with, as rows of a table."""
    comparison: Comparison | None
    """This run, which is A, beside the others that were named."""
    pods: list[dict[str, JsonValue]]
    """The pods that were named, as rows of a table."""
    excerpts: list[str]
    """The lines about this run in the log files that were named."""
    required: list[str]
    """Ids of claims that must be recorded, or their beginnings."""

    @property
    def exit_code(self) -> int:
        """1 where a claim is false or a required one is not recorded, else 3 where one is unreachable, else 0."""
        if self.lacking or any(claim.state in BAD for claim in self.claims):
            return 1
        return 3 if any(claim.state == UNREACHABLE for claim in self.claims) else 0

    @property
    def lacking(self) -> list[str]:
        """Ids of the claims that are required and not recorded."""
        return [claim.id for claim in self.claims if self._lacking(claim)]

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

    def value(self, name: str) -> JsonValue:
        """What a claim found; None where it does not hold, and for a claim that this run does not have."""
        return next((claim.found for claim in self.claims if claim.id == name and claim.state == TRUE), None)

    def _lacking(self, claim: ReportClaim) -> bool:
        return claim.state == NOT_RECORDED and any(named(claim.id, wanted) for wanted in self.required)


def named(claim: str, wanted: str) -> bool:
    """Whether a name means this claim: its id, or the beginning of it up to a dot."""
    return claim == wanted or claim.startswith(f"{wanted}.")


def unknown_claim(name: str, ids: Sequence[str]) -> UsageError:
    """The error for a claim that this run does not have."""
    return UsageError(f"there is no claim '{name}'; {instead_of(name, ids)}", code="claim-unknown", claim=name)


def examine(
    store: Store,
    config_hash: str,
    run: int,
    *,
    outside: Outside | None = None,
    expected: Sequence[Expectation] = (),
    only: str | None = None,
    required: Sequence[str] = (),
    expected_head: str | None = None,
    others: Sequence[Side] = (),
) -> Report:
    """Settle every claim about a run, or `only` one with those that it rests on.

    outside: where to look besides the store; expected: what a team wants to hold; required: ids, or their beginnings,
    that must be recorded; expected_head: the digest of the newest log entry as somebody wrote it down; others: runs to
    compare with. Raises UsageError for an unknown claim and for a head that is no digest.
    """
    if expected_head is not None and not is_digest(expected_head):
        raise UsageError(
            f"--expect-head takes the 64 hexadecimal digits of the head of the log, as a report shows it,"
            f" found '{expected_head}'",
            code="digest-invalid",
            found=expected_head,
        )
    evidence = RunEvidence(store, config_hash, run, outside)
    evidence.elsewhere = lying_elsewhere(store, evidence)
    sections = sections_of(evidence, expected_head, others)
    engine = Engine(sections, evidence, f"flts verify {config_hash[:12]} --run {run}")
    if expected:
        sections.append(expectations(engine, expected))
        engine.add(sections[-1])
    for name in (*required, *([] if only is None else [only])):
        if not any(named(known, name) for known in engine.ids):
            raise unknown_claim(name, engine.ids)
    claims = engine.all() if only is None else _with_those_below(engine, only)
    return Report(
        config_hash=config_hash,
        run=run,
        header=_header(evidence),
        sections=[ReportSection(name=section.name, title=section.title) for section in sections],
        claims=claims,
        evidence=engine.read,
        issues=issues(evidence, damaged=any(claim.state in BAD for claim in claims)),
        spec=_spec(evidence),
        stages=stage_rows(evidence),
        comparison=_comparison(evidence, others),
        pods=[dataclasses.asdict(pod) for pod in outside.pods.pods] if outside and outside.pods else [],
        excerpts=excerpts(evidence),
        required=list(required),
    )


def sections_of(
    evidence: RunEvidence, expected_head: str | None = None, others: Sequence[Side] = ()
) -> list[SectionChecks]:
    """Every check of a run, in the order of the pipeline."""
    return [
        records(evidence),
        preprocess(evidence),
        tracking(evidence),
        training(evidence),
        evaluation(evidence),
        promotion(evidence, expected_head),
        environments(evidence, others),
        chain(evidence),
        logs(evidence),
        processes(evidence),
    ]


def _header(evidence: RunEvidence) -> dict[str, str]:
    try:
        claim = evidence.claim
    except FltsError:
        return {}
    said = {
        "scope": claim.scope,
        "environment": claim.environment,
        "flts": claim.flts,
        "started": claim.started,
        "data_hash": claim.data_hash,
    }
    return said | (claim.deployment or {})


def _spec(evidence: RunEvidence) -> JsonObject | None:
    """Plain, as a model may be of a family that is no longer installed."""
    try:
        return read_object(evidence, layout.spec(evidence.config_hash))
    except FltsError:
        return None


def _comparison(evidence: RunEvidence, others: Sequence[Side]) -> Comparison | None:
    try:
        return compared(evidence, others) if others else None
    except FltsError:  # its claims say so
        return None


def _with_those_below(engine: Engine, only: str) -> list[ReportClaim]:
    """The claims of this name, after everything that they rest on."""
    wanted = {name for name in engine.ids if named(name, only)}
    waiting = list(wanted)
    while waiting:
        below = set(engine.claim(waiting.pop()).rests_on) - wanted
        wanted |= below
        waiting += below
    return [engine.claim(name) for name in engine.ids if name in wanted]

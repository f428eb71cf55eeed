"""A claim: one sentence of a report, whether it holds, and what that rests on. The engine settles each claim once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from shlex import quote
from typing import Literal

from pydantic import JsonValue

from flts.contracts.canonical import digest
from flts.contracts.errors import BackendUnavailable, FltsError, MachineFailed, StageFailed, UsageError, nearest
from flts.contracts.records.base import Digest, Part
from flts.verification.evidence import RunEvidence

State = Literal["true", "false", "depends on a false one", "not recorded", "unreachable"]
TRUE: State = "true"
FALSE: State = "false"
DEPENDS: State = "depends on a false one"
NOT_RECORDED: State = "not recorded"
UNREACHABLE: State = "unreachable"
BAD = frozenset({FALSE, DEPENDS})
"""States of a claim on which nothing else can rest."""
WITH_OPTION = {"comparison": "--compare RUN", "expect": "--expect FILE"}
"""Sections that a report has only with this option."""


class ReportClaim(Part):
    """One claim of a report."""

    id: str
    """The same in every report; see claims.md."""
    section: str
    """Name of the section that it stands in."""
    says: str
    """What is claimed, in one sentence."""
    state: State
    """Whether it holds; see verify.md."""
    expected: JsonValue
    """What was recorded."""
    found: JsonValue
    """What the evidence gives."""
    reason: str | None
    """Why the claim is not true."""
    rests_on: list[str]
    """Ids of the claims that it depends on."""
    evidence: list[str]
    """Names of what was read: objects of the store, messages, tracked runs, log lines."""
    evidence_sha256: Digest
    """Of the digests of all of it, by name."""
    check: str
    """The command that checks this claim again, alone."""
    due: bool
    """Whether this environment should have what the claim is about."""


@dataclass(frozen=True)
class Found:
    """What a check found."""

    state: State
    expected: JsonValue = None
    found: JsonValue = None
    reason: str | None = None


def same(expected: JsonValue, found: JsonValue, reason: str) -> Found:
    """True where both are equal; `reason` says what it means that they are not."""
    return Found(TRUE, expected, found) if expected == found else Found(FALSE, expected, found, reason)


def recorded(found: JsonValue) -> Found:
    """A fact that the evidence states and nothing contradicts."""
    return Found(TRUE, found, found)


def absent(reason: str) -> Found:
    """Nothing to check: it never existed here."""
    return Found(NOT_RECORDED, reason=reason)


@dataclass(frozen=True)
class Check:
    """How a claim is settled.

    look: finds out; vouches: beginnings of the keys that this claim is about, so every later claim that reads one of
    them depends on this claim; rests_on: further claims that it depends on.
    """

    id: str
    says: str
    look: Callable[[RunEvidence], Found]
    vouches: tuple[str, ...] = ()
    rests_on: tuple[str, ...] = ()
    due: bool = True


@dataclass(frozen=True)
class SectionChecks:
    """The checks of one part of the pipeline, in its order. options: what a command must name to check one alone."""

    name: str
    title: str
    checks: Sequence[Check]
    options: str = ""


class Engine:
    """Settles the claims of a run. A claim may rest on earlier ones only; what it rests on is settled first.

    command: checks one claim, with the id to be added.
    """

    def __init__(self, sections: Sequence[SectionChecks], evidence: RunEvidence, command: str) -> None:
        self._evidence, self._command = evidence, command
        self._checks = {check.id: (section, check) for section in sections for check in section.checks}
        self._order = {name: position for position, name in enumerate(self._checks)}
        self._claims: dict[str, ReportClaim] = {}
        self.read: dict[str, str | None] = {}
        """SHA-256 of everything that the claims settled so far rest on, by name; None where it is absent."""

    def add(self, section: SectionChecks) -> None:
        """A section whose checks ask for other claims."""
        first = len(self._checks)
        self._checks |= {check.id: (section, check) for check in section.checks}
        self._order |= {check.id: place for place, check in enumerate(section.checks, first)}

    @property
    def ids(self) -> list[str]:
        """Ids of all claims, in the order of the pipeline."""
        return list(self._checks)

    def all(self) -> list[ReportClaim]:
        """Every claim, in the order of the pipeline."""
        return [self.claim(name) for name in self._checks]

    def claim(self, name: str) -> ReportClaim:
        """One claim, settled after those that it rests on."""
        if name not in self._claims:
            self._claims[name] = self._settle(*self._checks[name])
        return self._claims[name]

    def _settle(self, section: SectionChecks, check: Check) -> ReportClaim:
        with self._evidence.noting() as noted:
            try:
                found = _look(check, self._evidence)
            except Exception:
                if not any(self.claim(name).state in BAD for name in self._rests_on(check, noted)):
                    raise
                found = Found(DEPENDS)  # a check takes for granted what the claims below it say
        self.read |= noted
        rests_on = self._rests_on(check, noted)
        found = _weighed(found, [self.claim(name) for name in rests_on])
        return ReportClaim(
            id=check.id,
            section=section.name,
            says=check.says,
            state=found.state,
            expected=found.expected,
            found=found.found,
            reason=found.reason,
            rests_on=rests_on,
            evidence=sorted(noted),
            evidence_sha256=digest(noted),
            check=" ".join(filter(None, (self._command, section.options, f"--claim {quote(check.id)}"))),
            due=check.due,
        )

    def _rests_on(self, check: Check, read: dict[str, str | None]) -> list[str]:
        """The earlier claims that this one names, and those about what it read."""
        place = self._order[check.id]
        vouching = {
            name
            for name, (_, other) in self._checks.items()
            if self._order[name] < place and other.vouches and any(key.startswith(other.vouches) for key in read)
        }
        return sorted({*check.rests_on, *vouching}, key=self._order.__getitem__)


def _look(check: Check, evidence: RunEvidence) -> Found:
    """What the check finds. An error is a finding, too: it says what is damaged, or what cannot be reached."""
    try:
        return check.look(evidence)
    except (BackendUnavailable, UsageError, MachineFailed, StageFailed) as error:  # nothing is known of the claim
        return Found(UNREACHABLE, reason=str(error))
    except FltsError as error:
        expected, found = error.data.get("expected"), error.data.get("found")
        return Found(FALSE, _scalar(expected), _scalar(found), str(error))


def _scalar(value: object) -> str | int | float | None:
    return value if isinstance(value, str | int | float) else None


def _weighed(found: Found, below: Sequence[ReportClaim]) -> Found:
    """The finding, in the light of the claims that it rests on."""
    bad = [claim.id for claim in below if claim.state in BAD]
    if bad:
        return Found(DEPENDS, found.expected, found.found, f"it rests on {', '.join(bad)}")
    return found


def instead_of(name: str, ids: Sequence[str]) -> str:
    """What to write in place of a claim that this run does not have: of a hundred, those that are alike."""
    beginning = name.partition(".")[0]
    alike = [known for known in ids if known.partition(".")[0] == beginning]
    if alike:
        return nearest(name, get_close_matches(name, alike) or alike)
    if beginning in WITH_OPTION:
        return f"the claims of {beginning} come with {WITH_OPTION[beginning]}"
    return f"claims begin with {', '.join(dict.fromkeys(known.partition('.')[0] for known in ids))}"

"""The report as Markdown, for people and for a pull request."""

from __future__ import annotations

from collections import Counter

from pydantic import JsonValue

from flts.verification.claims import BAD, DEPENDS, FALSE, NOT_RECORDED, TRUE, UNREACHABLE, ReportClaim, State
from flts.verification.report import Report

MARKS: dict[State, str] = {TRUE: "✓", FALSE: "✗", DEPENDS: "↯", NOT_RECORDED: "·", UNREACHABLE: "?"}
SHOWN = 12
"""Characters of a digest that are shown."""


def to_markdown(report: Report) -> str:
    """Summary first, then every section with its claims."""
    lines = [
        f"# Verification of run {report.run} of `{report.config_hash[:SHOWN]}`",
        "",
        f"Configuration `{report.config_hash}`, run {report.run}.",
        "",
        "## Summary",
        "",
        verdict(report),
        "",
    ]
    for section in report.sections:
        claims = report.of(section)
        if claims:
            lines += [f"## {section.title}", "", *_table(claims), ""]
    return "\n".join(lines)


def verdict(report: Report) -> str:
    """What the claims come to, in one or two sentences."""
    counts = Counter(claim.state for claim in report.claims)
    listed = ", ".join(f"{counts[state]} {state}" for state in MARKS if counts[state])
    first = report.first_false
    if first is not None:
        return (
            f"**Not verified.** The first claim that does not hold is `{first.id}`: {first.reason}. Claims: {listed}."
        )
    if counts[UNREACHABLE]:
        return f"**Not complete.** No claim is false, and some could not be checked. Claims: {listed}."
    return f"**Verified.** No claim is false. Claims: {listed}."


def _table(claims: list[ReportClaim]) -> list[str]:
    rows = [
        f"| {MARKS[claim.state]} {claim.state} | `{claim.id}` | {_cell(claim.says)} | {shown(claim.expected)} |"
        f" {shown(claim.found)} |"
        for claim in claims
    ]
    reasons = [f"- `{claim.id}`: {_cell(claim.reason)}" for claim in claims if claim.reason and claim.state in BAD]
    head = ["| state | claim | what it says | recorded | found |", "|---|---|---|---|---|"]
    return [*head, *rows, *([""] if reasons else []), *reasons]


def shown(value: JsonValue) -> str:
    """A value as a table has room for it: numbers to six digits, digests by their beginning."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(shown, value))
    text = _cell(str(value))
    return f"{text[:SHOWN]}…" if len(text) == 64 and " " not in text else text


def _cell(text: str | None) -> str:
    """Text for a cell of a table: one line, without what would end the cell or start markup."""
    return " ".join((text or "").split()).replace("|", "\\|").replace("<", "&lt;")

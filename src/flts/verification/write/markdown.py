"""The report as Markdown, for people and for a pull request."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from flts.verification.claims import TRUE, UNREACHABLE, ReportClaim
from flts.verification.report import Report
from flts.verification.write.tables import (
    MARKS,
    SHOWN,
    ReportTable,
    deliverables,
    reasons_of,
    shown,
    table_of,
)


def to_markdown(report: Report) -> str:
    """Summary first, then every section with its table and its claims, what follows from them, and the appendices."""
    lines = [
        f"# Verification of run {report.run} of `{report.config_hash[:SHOWN]}`",
        "",
        *_table(ReportTable(["", ""], header(report))),
        "",
        "## Summary",
        "",
        _cell(verdict(report)),
        "",
        *_table(deliverables(report)),
        "",
    ]
    for section in report.sections:
        claims, table = report.of(section), table_of(report, section.name)
        if claims:
            lines += [f"## {section.title}", "", *(_table(table) if table else ()), *([""] if table else ())]
            lines += [*_claims(claims), ""]
    lines += ["## Issues that the run raised", "", *_list([issue.says for issue in report.issues], "None."), ""]
    lines += [
        "## Recommendations",
        "",
        *_list(recommendations(report), "None."),
        "",
    ]
    lines += _appendices(report)
    return "\n".join(lines) + "\n"


def verdict(report: Report) -> str:
    """What the claims come to, in one or two sentences."""
    counts = Counter(claim.state for claim in report.claims)
    listed = ", ".join(f"{counts[state]} {state}" for state in MARKS if counts[state])
    first = report.first_false
    if first is not None:
        said = f"The first claim that does not hold is {first.id}: {first.reason}"
        return f"Not verified. {said}. Claims: {listed}."
    if counts[UNREACHABLE]:
        return f"Not complete. No claim is false, and some could not be checked. Claims: {listed}."
    if report.exit_code:
        return f"Not verified. A claim that is required is not recorded. Claims: {listed}."
    return f"Verified. No claim is false. Claims: {listed}."


def recommendations(report: Report) -> list[str]:
    """What would help, each from a claim that does not hold or from an issue of this run."""
    first = report.first_false
    found = [f"{first.id}: {first.reason}"] if first else []
    found += [f"{claim.id}: {claim.reason}" for claim in report.claims if claim.state == UNREACHABLE][:1]
    return found + [f"{issue.says}: {issue.recommends}" for issue in report.issues if issue.recommends]


def header(report: Report) -> list[list[str]]:
    """Which run this is, as rows of a name and a value."""
    named = {"config_hash": report.config_hash, "run": str(report.run), **report.header}
    return [[name, value] for name, value in named.items()]


def _claims(claims: Sequence[ReportClaim]) -> list[str]:
    rows = []
    for claim in claims:
        state = f"{MARKS[claim.state]} {claim.state}"
        expected = "" if claim.state == TRUE and claim.expected == claim.found else shown(claim.expected)
        rows.append([state, f"`{claim.id}`", claim.says, expected, shown(claim.found)])
    reasons = [f"- {', '.join(f'`{name}`' for name in ids)}: {_cell(why)}" for why, ids in reasons_of(claims).items()]
    table = ReportTable(["state", "claim", "what it says", "recorded", "found"], rows)
    return [*_table(table), *([""] if reasons else ()), *reasons]


def _appendices(report: Report) -> list[str]:
    lines = ["## Appendix: the experiment", ""]
    if report.spec is None:
        lines += ["It cannot be read.", ""]
    else:
        lines += ["```json", json.dumps(report.spec, indent=1, sort_keys=True, ensure_ascii=False), "```", ""]
    if report.excerpts:
        lines += ["## Appendix: log lines", "", "```json", *report.excerpts, "```", ""]
    digests = {source.name: source.sha256 for claim in report.claims for source in claim.evidence}
    rows = [[f"`{name}`", digest or "absent"] for name, digest in sorted(digests.items())]
    return [*lines, "## Appendix: evidence", "", *_table(ReportTable(["what was read", "SHA-256"], rows))]


def _table(table: ReportTable) -> list[str]:
    rule = ["---:" if heading in table.numbers else "---" for heading in table.headings]
    rows = [[_cell(cell) for cell in row] for row in table.rows]
    return [f"| {' | '.join(row)} |" for row in (table.headings, rule, *rows)]


def _list(lines: Sequence[str], none: str) -> list[str]:
    return [f"- {_cell(line)}" for line in lines] or [none]


def _cell(text: str) -> str:
    """Text for a cell of a table: one line, without what would end the cell or start markup."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")

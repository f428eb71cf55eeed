"""The report as Markdown, for people and for a pull request."""

from __future__ import annotations

import json
from collections.abc import Sequence

from flts.comparison.words import escaped
from flts.verification.claims import TRUE, ReportClaim
from flts.verification.report import Report
from flts.verification.write.tables import (
    MARKS,
    SHOWN,
    ReportTable,
    compared_runs,
    deliverables,
    findings,
    header,
    libraries,
    read_objects,
    reasons_of,
    recommendations,
    shown,
    table_of,
    verdict,
)


def to_markdown(report: Report) -> str:
    """Summary first, then every section with its table and its claims, what follows from them, and the appendices."""
    lines = [
        f"# Verification of run {report.run} of `{report.config_hash[:SHOWN]}`",
        "",
        *_table(ReportTable(["", ""], header(report))),
        "",
        f"Check one claim again: `flts verify {report.config_hash[:SHOWN]} --run {report.run} --claim CLAIM`",
        "",
        "## Summary",
        "",
        escaped(verdict(report)),
        "",
        *_list(findings(report), "The run decided nothing that holds."),
        "",
        *_table(deliverables(report)),
        "",
    ]
    for section in report.sections:
        claims, table = report.of(section), table_of(report, section.name)
        if claims:
            lines += [f"## {section.title}", "", *(_table(table) if table else ()), *([""] if table else ())]
            lines += [*_claims(claims), ""]
            lines += _compared(report) if section.name == "comparison" else []
    lines += ["## Issues that the run raised", "", *_list([issue.says for issue in report.issues], "None."), ""]
    lines += [
        "## Recommendations",
        "",
        *_list(recommendations(report), "None."),
        "",
    ]
    lines += _appendices(report)
    return "\n".join(lines) + "\n"


def _claims(claims: Sequence[ReportClaim]) -> list[str]:
    rows = []
    for claim in claims:
        state = f"{MARKS[claim.state]} {claim.state}"
        expected = "" if claim.state == TRUE and claim.expected == claim.found else shown(claim.expected)
        evidence = shown(claim.evidence_sha256)
        rows.append([state, claim.id, claim.says, expected, shown(claim.found), evidence])
    reasons = [f"- {', '.join(f'`{name}`' for name in ids)}: {escaped(why)}" for why, ids in reasons_of(claims).items()]
    table = ReportTable(["state", "claim", "what it says", "recorded", "found", "evidence"], rows)
    return [*_table(table, code="claim"), *([""] if reasons else ()), *reasons]


def _compared(report: Report) -> list[str]:
    lines = []
    for part in compared_runs(report):
        lines += [f"### {part.title}", ""]
        lines += [*_table(ReportTable(part.headings, part.rows)), ""] if part.rows else []
        lines += [*_list(part.lines, ""), ""] if part.lines else []
    return lines


def _appendices(report: Report) -> list[str]:
    lines = ["## Appendix: the experiment", ""]
    if report.spec is None:
        lines += ["It cannot be read.", ""]
    else:
        lines += ["```json", json.dumps(report.spec, indent=1, sort_keys=True, ensure_ascii=False), "```", ""]
    if report.excerpts:
        lines += ["## Appendix: log lines", "", "```json", *report.excerpts, "```", ""]
    versions = libraries(report)
    lines += ["## Appendix: libraries", "", *_table(versions), ""] if versions.rows else []
    return [*lines, "## Appendix: evidence", "", *_table(read_objects(report))]


def _table(table: ReportTable, code: str | None = None) -> list[str]:
    """code: the heading of the column whose cells are ids."""
    rule = ["---:" if heading in table.numbers else "---" for heading in table.headings]
    ids = [heading == code for heading in table.headings]
    rows = [
        [f"`{cell}`" if is_id else escaped(cell) for cell, is_id in zip(row, ids, strict=True)] for row in table.rows
    ]
    return [f"| {' | '.join(row)} |" for row in (table.headings, rule, *rows)]


def _list(lines: Sequence[str], none: str) -> list[str]:
    return [f"- {escaped(line)}" for line in lines] or [none]

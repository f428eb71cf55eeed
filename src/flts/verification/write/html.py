"""The report as one HTML file: no script, nothing loaded from elsewhere; for screens in light and dark, and paper."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, tostring

from flts.models.registry import BASELINES
from flts.verification.claims import NOT_RECORDED, TRUE, ReportClaim
from flts.verification.report import Report
from flts.verification.write.svg import ScoreBar, bars
from flts.verification.write.tables import (
    MARKS,
    SHOWN,
    ReportTable,
    compared_runs,
    deliverables,
    findings,
    header,
    libraries,
    models_of,
    read_objects,
    recommendations,
    shown,
    table_of,
    verdict,
)

STYLE = Path(__file__).with_name("report.css")
MANY = 4
"""Claims that are not recorded for one reason and that share a row."""
NARROW = 48
"""Characters that the column of what was found has room for."""


def to_html(report: Report) -> str:
    """The whole page. Every text is escaped by the serializer; only the style sheet is written as it is."""
    page = Element("html", lang="en")
    head = SubElement(page, "head")
    SubElement(head, "meta", charset="utf-8")
    SubElement(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    title = f"Verification of run {report.run} of {report.config_hash[:SHOWN]}"
    SubElement(head, "title").text = title
    SubElement(head, "style").text = STYLE.read_text(encoding="utf-8")
    body = SubElement(page, "body")
    _top(body, report, title)
    main = SubElement(body, "main")
    summary = _section(main, "summary", "Summary")
    _list(summary, findings(report))
    _table(summary, deliverables(report))
    for section in report.sections:
        claims = report.of(section)
        if claims:
            part = _section(main, section.name, section.title)
            table = table_of(report, section.name)
            if table is not None:
                _table(part, table)
            part.extend(_figures(report, section.name))
            _claims(part, claims)
            if section.name == "comparison":
                _compared(part, report)
    _list(_section(main, "issues", "Issues that the run raised"), [issue.says for issue in report.issues])
    _list(_section(main, "recommendations", "Recommendations"), recommendations(report))
    _appendices(main, report)
    return "<!doctype html>\n" + tostring(page, encoding="unicode", method="html") + "\n"


def _top(body: Element, report: Report, title: str) -> None:
    top = SubElement(body, "header")
    SubElement(top, "h1").text = title
    kind = "false" if report.exit_code == 1 else "unreachable" if report.exit_code else "true"
    said = SubElement(top, "p", {"class": f"verdict {kind}"})
    word, _, rest = verdict(report).partition(". ")
    SubElement(said, "strong").text = f"{word}."
    SubElement(said, "span").text = f" {rest}"
    facts = SubElement(top, "dl")
    for name, value in header(report):
        SubElement(facts, "dt").text = name
        SubElement(facts, "dd").text = value
    check = SubElement(top, "p")
    check.text = "Check one claim again: "
    SubElement(check, "code").text = f"flts verify {report.config_hash[:SHOWN]} --run {report.run} --claim CLAIM"
    names = SubElement(SubElement(body, "nav", {"aria-label": "Sections"}), "ul")
    links = [(section.name, section.title) for section in report.sections if report.of(section)]
    ends = [("issues", "Issues"), ("recommendations", "Recommendations"), ("experiment", "Appendices")]
    for name, text in [("summary", "Summary"), *links, *ends]:
        SubElement(SubElement(names, "li"), "a", href=f"#{name}").text = text


def _section(main: Element, name: str, title: str) -> Element:
    section = SubElement(main, "section", {"id": name, "aria-labelledby": f"{name}-title"})
    SubElement(section, "h2", id=f"{name}-title").text = title
    return section


def _table(parent: Element, table: ReportTable) -> None:
    made = SubElement(SubElement(parent, "div", {"class": "wide"}), "table")
    row = SubElement(SubElement(made, "thead"), "tr")
    kinds = [{"class": "number"} if heading in table.numbers else {} for heading in table.headings]
    for heading, kind in zip(table.headings, kinds, strict=True):
        SubElement(row, "th", {"scope": "col", **kind}).text = heading
    body = SubElement(made, "tbody")
    for cells in table.rows:
        row = SubElement(body, "tr")
        for cell, kind in zip(cells, kinds, strict=True):
            SubElement(row, "td", _marked(cell) or kind).text = cell


def _marked(cell: str) -> dict[str, str]:
    """The class of a cell that shows a state."""
    state = next((state for state, mark in MARKS.items() if cell == f"{mark} {state}"), None)
    return {} if state is None else {"class": f"state {state.partition(' ')[0]}"}


def _claims(section: Element, claims: Sequence[ReportClaim]) -> None:
    """One row each, but for those that are not recorded for one reason that several share: these are listed in one."""
    made = SubElement(SubElement(section, "div", {"class": "wide"}), "table", {"class": "claims"})
    row = SubElement(SubElement(made, "thead"), "tr")
    for heading in ("state", "claim", "what it says", "found", "evidence"):
        SubElement(row, "th", scope="col").text = heading
    body = SubElement(made, "tbody")
    counts = Counter(claim.reason for claim in claims if claim.state == NOT_RECORDED)
    shared = {reason: [c for c in claims if c.reason == reason] for reason, count in counts.items() if count >= MANY}
    for claim in claims:
        if claim.state != NOT_RECORDED or claim.reason not in shared:
            _claim(body, claim)
    for reason, without in shared.items():
        row = SubElement(body, "tr")
        state = f"{MARKS[NOT_RECORDED]} {NOT_RECORDED}"
        SubElement(row, "td", _marked(state)).text = state
        cell = SubElement(row, "td", colspan="4")
        SubElement(cell, "span", {"class": "said"}).text = f"{len(without)} claims: {reason}"
        for claim in without:
            SubElement(cell, "span", {"class": "id listed", "id": claim.id}).text = claim.id


def _claim(body: Element, claim: ReportClaim) -> None:
    row = SubElement(body, "tr", id=claim.id)
    state = f"{MARKS[claim.state]} {claim.state}"
    SubElement(row, "td", _marked(state)).text = state
    SubElement(SubElement(row, "td"), "span", {"class": "id"}).text = claim.id
    says = SubElement(row, "td")
    says.text = claim.says
    if claim.reason:
        SubElement(says, "span", {"class": f"reason {claim.state.partition(' ')[0]}"}).text = claim.reason
    found = shown(claim.found)
    if claim.state != TRUE and claim.expected is not None and claim.expected != claim.found:
        found = f"{found}, recorded {shown(claim.expected)}" if found else f"recorded {shown(claim.expected)}"
    if len(found) > NARROW:  # a sentence, for which the column is too narrow
        SubElement(says, "span", {"class": "said"}).text = found
    SubElement(row, "td").text = found if len(found) <= NARROW else ""
    SubElement(SubElement(row, "td"), "span", {"class": "id"}).text = shown(claim.evidence_sha256)


def _compared(section: Element, report: Report) -> None:
    for part in compared_runs(report):
        SubElement(section, "h3").text = part.title
        if part.rows:
            _table(section, ReportTable(part.headings, part.rows))
        if part.lines:
            _list(section, part.lines)


def _figures(report: Report, section: str) -> list[Element]:
    """Bars of durations and of scores, of claims that are true."""
    if section == "training":
        seconds = [(name, report.value(f"train.{name}.duration")) for name in models_of(report)]
        rows = [ScoreBar(name, value) for name, value in seconds if isinstance(value, float)]
        return [bars("Seconds of each model", rows, " s")] if rows else []
    if section == "evaluation":
        rows = [bar for name in (*models_of(report), *BASELINES) if (bar := _scored(report, name)) is not None]
        return [bars("Score with its 95 % interval; lower is better", rows)] if rows else []
    return []


def _scored(report: Report, name: str) -> ScoreBar | None:
    score, interval = (report.value(f"evaluation.{name}.{what}") for what in ("score", "score_interval"))
    if not isinstance(score, float):
        return None
    low, high = interval if isinstance(interval, list) else (None, None)
    if not isinstance(low, float) or not isinstance(high, float):
        return ScoreBar(name, score, baseline=name in BASELINES)
    return ScoreBar(name, score, low, high, baseline=name in BASELINES)


def _list(section: Element, lines: Sequence[str]) -> None:
    if not lines:
        SubElement(section, "p").text = "None."
        return
    listed = SubElement(section, "ul")
    for line in lines:
        SubElement(listed, "li").text = line


def _appendices(main: Element, report: Report) -> None:
    experiment = _section(main, "experiment", "Appendix: the experiment")
    written = "It cannot be read." if report.spec is None else json.dumps(report.spec, indent=1, sort_keys=True)
    SubElement(experiment, "pre").text = written
    if report.excerpts:
        SubElement(_section(main, "excerpts", "Appendix: log lines"), "pre").text = "\n".join(report.excerpts)
    versions = libraries(report)
    if versions.rows:
        _table(_section(main, "libraries", "Appendix: libraries"), versions)
    _table(_section(main, "evidence", "Appendix: evidence"), read_objects(report))

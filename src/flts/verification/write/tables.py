"""The tables of a report, made of its claims: every format shows the same ones, and each figure has its claim."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue

from flts.comparison.words import ComparisonSection, sections
from flts.contracts.records.decision import METRICS
from flts.contracts.records.run import ScaledErrors
from flts.models.registry import BASELINES
from flts.verification.claims import BAD, DEPENDS, FALSE, NOT_RECORDED, TRUE, UNREACHABLE, ReportClaim, State
from flts.verification.report import Report

MARKS: Mapping[State, str] = {TRUE: "✓", FALSE: "✗", DEPENDS: "↯", NOT_RECORDED: "·", UNREACHABLE: "?"}
WORST: Sequence[State] = (FALSE, DEPENDS, UNREACHABLE, TRUE, NOT_RECORDED)
"""The state of a group of claims is the first of these that one of them has."""
COUNTED: Mapping[State, str] = {DEPENDS: "depending on a false one"}
SHOWN = 12
"""Characters of a digest that are shown."""
DELIVERABLES = {
    "run": "Which experiment ran, where and on which rows",
    "preprocess": "The rows are those that the experiment asks for",
    "tracking": "Every tracked run ended as recorded, with these errors",
    "training": "Every artifact is whole, and every error was computed again",
    "evaluation": "The decision and its reasons follow from the stored forecasts",
    "promotion": "The promotion is in the log, and all that is derived from it agrees",
    "comparison": "Every environment that was named gave the same result",
    "chain": "Every message is matched with its effect",
    "logs": "The log lines say what the store holds",
    "pods": "The processes are ready",
    "expect": "What the team expects holds",
}
"""What each section delivers."""


@dataclass(frozen=True)
class ReportTable:
    """A table: headings, and rows of texts; numbers: headings of columns that are aligned to the right."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[str] = frozenset()


def shown(value: JsonValue, digits: int = 6) -> str:
    """A value as a table has room for it: numbers to some digits, digests by their beginning."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    if isinstance(value, list):
        between = "; " if any(isinstance(item, str) for item in value) else " to "
        return between.join(shown(item, digits) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {shown(item, digits)}" for name, item in value.items())
    text = str(value)
    return f"{text[:SHOWN]}…" if len(text) in {32, 64} and text.isalnum() else text


def verdict(report: Report) -> str:
    """What the claims come to, in one or two sentences."""
    counts = Counter(claim.state for claim in report.claims)
    listed = counted(counts)
    first = report.first_false
    if first is not None:
        said = f"The first claim that does not hold is {first.id}: {first.reason}"
        return f"Not verified. {said}. Claims: {listed}."
    if report.lacking:
        return f"Not verified. Required and not recorded: {', '.join(report.lacking)}. Claims: {listed}."
    if counts[UNREACHABLE]:
        return f"Not complete. No claim is false, and some could not be checked. Claims: {listed}."
    return f"Verified. No claim is false. Claims: {listed}."


def findings(report: Report) -> list[str]:
    """What came out of the run, in sentences made of claims that are true."""
    train, test, windows = (
        report.value(name) for name in ("preprocess.train.rows", "preprocess.test.rows", "evaluation.windows")
    )
    found = []
    if isinstance(train, int) and isinstance(test, int):
        judged = f", judged on {windows:,} windows" if isinstance(windows, int) else ""
        found.append(f"Rows: {train:,} for training and {test:,} for the test{judged}")
    models = models_of(report)
    seconds = {name: report.value(f"train.{name}.duration") for name in models}
    took = {name: value for name, value in seconds.items() if isinstance(value, float)}
    if took:
        slowest = max(took, key=lambda name: took[name])
        found.append(
            f"Models: {len(took)} of {len(models)} have a result, the slowest, {slowest}, in {took[slowest]:.1f} s"
        )
    outcome, reasons, sure = (report.value(f"evaluation.{name}") for name in ("outcome", "reasons", "sure"))
    if isinstance(reasons, list):
        found.append(f"Decision: {outcome}: {'; '.join(map(str, reasons))}")
    return [*found, f"{sure[:1].upper()}{sure[1:]}"] if isinstance(sure, str) else found


def recommendations(report: Report) -> list[str]:
    """What would help, each from a claim that does not hold or from an issue of this run."""
    first = report.first_false
    found = [f"{first.id}: {first.reason}"] if first else []
    found += [f"{claim.id}: {claim.reason}" for claim in report.claims if claim.state == UNREACHABLE][:1]
    return found + [f"{issue.says}: {issue.recommends}" for issue in report.issues if issue.recommends]


def header(report: Report) -> list[list[str]]:
    """Which run this is, as rows of a name and a value."""
    head = report.value("promotion.head")
    newest = {"head of the log": head} if isinstance(head, str) else {}
    named = {"config_hash": report.config_hash, "run": str(report.run), **report.header, **newest}
    return [[name, value] for name, value in named.items()]


def counted(counts: Mapping[State, int]) -> str:
    """How many claims have each state."""
    return ", ".join(f"{counts[state]} {COUNTED.get(state, state)}" for state in MARKS if counts.get(state))


def deliverables(report: Report) -> ReportTable:
    """What each section came to."""
    rows = []
    for section in report.sections:
        claims = report.of(section)
        if claims:
            state = next(state for state in WORST if any(claim.state == state for claim in claims))
            holding = sum(claim.state == TRUE for claim in claims)
            rows.append([f"{MARKS[state]} {state}", DELIVERABLES[section.name], f"{holding} of {len(claims)}"])
    return ReportTable(["state", "what", "claims that are true"], rows, frozenset({"claims that are true"}))


def read_objects(report: Report) -> ReportTable:
    """Everything that was read, with its digest."""
    rows = [[name, digest or "absent"] for name, digest in sorted(report.evidence.items())]
    return ReportTable(["what was read", "SHA-256"], rows)


def models_of(report: Report) -> list[str]:
    """Every model of the run, those with a rank first."""
    names = [claim.id.split(".") for claim in report.claims if claim.section == "training"]
    models = dict.fromkeys(parts[1] for parts in names)

    def order(name: str) -> tuple[float, str]:
        rank = report.value(f"evaluation.{name}.rank")
        return (float(rank) if isinstance(rank, int | float) else float("inf"), name)

    return sorted(models, key=order)


def table_of(report: Report, section: str) -> ReportTable | None:
    """The table of a section, None for one without."""
    made = {
        "run": _stages,
        "preprocess": _rows,
        "tracking": _tracked,
        "training": _trained,
        "evaluation": _scoreboard,
        "pods": _pods,
    }.get(section)
    table = made(_Cells(report)) if made else None
    return table if table is not None and table.rows else None


class _Cells:
    """What claims found, as cells with the mark of their state."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self._claims = {claim.id: claim for claim in report.claims}

    def __call__(self, claim: str, digits: int = 6) -> str:
        """What a claim found; marked where the claim does not hold."""
        found = self._claims.get(claim)
        if found is None or found.state == NOT_RECORDED:
            return ""
        exact = isinstance(found.found, float) and found.found != 0.0
        value = f"{found.found:#.{digits}g}".rstrip(".") if exact else shown(found.found, digits)
        return value if found.state == TRUE else f"{MARKS[found.state]} {value}".strip()

    def mark(self, claim: str) -> str:
        """The state of a claim."""
        found = self._claims.get(claim)
        return "" if found is None else MARKS[found.state]

    @property
    def models(self) -> list[str]:
        """Every model, those with a rank first."""
        return models_of(self.report)


def _stages(cell: _Cells) -> ReportTable:
    rows = [
        [
            str(row["part"]),
            shown(row["host"]),
            _to_the_second(row["started"]),
            shown(row["seconds"], 4),
            shown(row["processor"]),
            shown(row["cores"]),
            shown(row["memory_limit"]),
        ]
        for row in cell.report.stages
    ]
    headings = ["part", "host", "started", "seconds", "processor", "cores", "memory limit"]
    said = [place for place in range(len(headings)) if any(row[place] for row in rows)]
    numbers = frozenset({"seconds", "cores", "memory limit"})
    return ReportTable([headings[place] for place in said], [[row[place] for place in said] for row in rows], numbers)


def _to_the_second(time: JsonValue) -> str:
    return datetime.fromisoformat(time).isoformat(sep=" ", timespec="seconds") if isinstance(time, str) else ""


def libraries(report: Report) -> ReportTable:
    """FLTS, Python and every library with its version, and the parts that were made with it."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in report.stages:
        libraries = row["libraries"]
        named = {"flts": row["flts"], "Python": row["python"], **(libraries if isinstance(libraries, dict) else {})}
        for name, version in named.items():
            if version is not None:
                found.setdefault((name, str(version)), []).append(str(row["part"]))
    rows = [[name, version, ", ".join(parts)] for (name, version), parts in sorted(found.items())]
    return ReportTable(["library", "version", "parts"], rows)


def compared_runs(report: Report) -> list[ComparisonSection]:
    """The tables of the comparison, without those that have nothing to say."""
    found = report.comparison
    return [section for section in sections(found) if section.rows or section.lines] if found else []


def _rows(cell: _Cells) -> ReportTable:
    rows = [
        [
            part,
            cell(f"preprocess.{part}.before"),
            cell(f"preprocess.{part}.rows"),
            cell(f"preprocess.{part}.size"),
            cell(f"preprocess.{part}.digest"),
        ]
        for part in ("train", "test")
        if cell.mark(f"preprocess.{part}.rows")
    ]
    numbers = frozenset({"rows before", "rows kept", "bytes"})
    return ReportTable(["part", "rows before", "rows kept", "bytes", "SHA-256"], rows, numbers)


def _tracked(cell: _Cells) -> ReportTable:
    rows = [
        [name, *(cell(f"tracking.{name}.{what}") for what in ("run", "status", "experiment", "ended"))]
        for name in cell.models
        if cell(f"tracking.{name}.run")
    ]
    return ReportTable(["model", "run id", "status", "experiment", "ended (UTC)"], rows)


def _trained(cell: _Cells) -> ReportTable:
    errors = list(ScaledErrors.model_fields)
    rows = [
        [
            name,
            cell(f"train.{name}.outcome"),
            cell(f"train.{name}.duration", 4),
            cell(f"train.{name}.model_hash"),
            *(cell(f"train.{name}.{error}", 4) for error in errors),
        ]
        for name in cell.models
    ]
    headings = ["model", "status", "seconds", "model_hash", *map(str.upper, errors)]
    return ReportTable(headings, rows, frozenset({"seconds", *map(str.upper, errors)}))


def _scoreboard(cell: _Cells) -> ReportTable:
    rows = [
        [
            cell(f"evaluation.{name}.rank"),
            name,
            *(cell(f"evaluation.{name}.{what}", 4) for what in ("score", "score_interval", *METRICS)),
            _percent(cell, f"evaluation.{name}.skill"),
            _percent(cell, f"evaluation.{name}.coverage_80"),
        ]
        for name in cell.models
        if cell(f"evaluation.{name}.score")
    ]
    rows += [
        ["", f"{name} (baseline)", score, *[""] * (len(METRICS) + 3)]
        for name in BASELINES
        if (score := cell(f"evaluation.{name}.score", 4))
    ]
    figures = [metric.heading for metric in METRICS.values()]
    headings = ["rank", "model", "score", "95 % interval", *figures, "skill", "coverage (80 %)"]
    return ReportTable(headings, rows, frozenset({*headings} - {"model"}))


def _percent(cell: _Cells, claim: str) -> str:
    value = cell.report.value(claim)
    return f"{value:.1%}" if isinstance(value, float) else cell(claim)


def _pods(cell: _Cells) -> ReportTable:
    rows = [
        [
            shown(pod["name"]),
            f"{pod['ready']}/{pod['containers']}",
            shown(pod["phase"]),
            shown(pod["restarts"]),
            shown(pod["node"]),
            shown(pod["cpu_limit"]),
        ]
        for pod in cell.report.pods
    ]
    headings = ["pod", "ready", "phase", "restarts", "node", "CPU limit"]
    return ReportTable(headings, rows, frozenset({"restarts", "CPU limit"}))


def reasons_of(claims: Sequence[ReportClaim]) -> dict[str, list[str]]:
    """Why claims do not hold or could not be checked: each reason once, with the ids of its claims."""
    found: dict[str, list[str]] = {}
    for claim in claims:
        if claim.state in BAD or claim.state == UNREACHABLE:
            found.setdefault(claim.reason or "", []).append(claim.id)
    return found

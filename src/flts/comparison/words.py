"""A comparison for people: verdicts, then one short table per question, the same on the terminal and in Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from flts.comparison.result import ComparedDuration, ComparedScore, ComparedValue, Comparison, DurationStatement
from flts.contracts.canonical import is_digest
from flts.contracts.records.decision import METRICS
from flts.spec.lineage import short

NONE = "—"
MARKUP = re.compile(r"[\\`*\[\]<>|]|^#|(?<![^\W_])_|_(?![^\W_])")
"""What Markdown reads as markup; an underscore within a word is none."""
SPREAD = {True: "beyond", False: "within", None: "unknown"}
"""Whether a difference exceeds the spread of repeated runs."""


@dataclass(frozen=True)
class ComparisonSection:
    """A heading, a table, and lines below it."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    lines: Sequence[str] = ()


def sections(found: Comparison) -> Iterator[ComparisonSection]:
    """Every section with something to say; values that all runs share are counted, not listed."""
    labels = [run.label for run in found.runs]
    yield ComparisonSection(
        "Runs",
        ["", "run", "environment", "windows", "winner", "decision"],
        [
            [
                run.label,
                f"{run.config_hash[:12]} #{run.run}",
                run.environment,
                NONE if run.windows is None else str(run.windows),
                run.winner or NONE,
                run.outcome or "not judged",
            ]
            for run in found.runs
        ],
        [f"{run.label}: {run.named}, started {run.started}" for run in found.runs]
        + [f"{run.label}: {damage}" for run in found.runs for damage in run.damaged],
    )
    yield ComparisonSection(
        "Experiment",
        ["key", *labels, "moves"],
        [[row.key, *map(_plain, row.values), short(row.moves)] for row in found.spec or ()],
        ["not compared"] if found.spec is None else [] if found.spec else ["no value differs"],
    )
    yield _values("Rows", "", labels, found.rows)
    yield _values("Artifacts, in the order of the pipeline", "artifact", labels, found.artifacts)
    yield _values("Versions", "version", labels, found.versions)
    yield _values("Machines", "fact", labels, found.machines)
    yield ComparisonSection(
        "Fits", ["model", *labels], [[row.model, *(did or NONE for did in row.work)] for row in found.work]
    )
    yield _durations(labels, found.durations)
    yield from _scores(labels, found.scores)
    if found.notes:
        yield ComparisonSection("Notes", [], [], found.notes)


def markdown(found: Comparison) -> str:
    """The comparison as a Markdown page."""
    lines = ["# Comparison", "", *(f"- **{v.a} and {v.b}**: {escaped(v.text)}" for v in found.verdicts), ""]
    for section in sections(found):
        lines += [f"## {section.title}", ""]
        if section.rows:
            lines += [_row(section.headings), _row(["---"] * len(section.headings)), *map(_row, section.rows), ""]
        if section.lines:
            lines += [*(f"- {escaped(line)}" for line in section.lines), ""]
    return "\n".join(lines)


def _values(title: str, what: str, labels: Sequence[str], values: Sequence[ComparedValue]) -> ComparisonSection:
    differing = [value for value in values if value.differs]
    rows = [[value.name, *(_digest(one) for one in value.values)] for value in differing]
    equal = len(values) - len(differing)
    return ComparisonSection(title, [what, *labels], rows, [f"{equal} of {len(values)} equal"] if equal else [])


def _durations(labels: Sequence[str], durations: Sequence[ComparedDuration]) -> ComparisonSection:
    """The median of repeated runs with their number; below, every difference that is more than they vary."""
    rows = []
    for row in durations:
        medians = [NONE if side is None else f"{side.median:.1f} ({side.runs})" for side in row.repeated]
        rows.append([row.work, *medians, *map(_slower, row.statements[1:])])
    statements = [(row.work, said) for row in durations for said in row.statements if said]
    lines = [f"{work}: {said.text}" for work, said in statements if said.exceeds]
    if any(said.exceeds is None for _, said in statements):
        lines.append("unknown: one run says nothing of how much runs vary; `flts run --recompute` repeats one")
    headings = ["work", *labels, *(f"{label} to {labels[0]}, spread" for label in labels[1:])]
    return ComparisonSection("Durations: median in seconds (runs)", headings, rows, lines)


def _slower(said: DurationStatement | None) -> str:
    if said is None or said.ratio is None:
        return NONE
    return f"{said.ratio - 1:+.0%} {SPREAD[said.exceeds]}"


def _scores(labels: Sequence[str], scores: Sequence[ComparedScore]) -> Iterator[ComparisonSection]:
    """The composite score, with its change against the first run."""
    rows = []
    for row in scores:
        first, *others = row.metrics["score"]
        shown = [NONE if value is None else f"{value:.6f}" for value in (first, *others)]
        rows.append([f"{row.model}{' (baseline)' * row.baseline}", *shown, *(_change(first, o) for o in others)])
    if rows:
        errors = ", ".join(metric.heading for metric in METRICS.values())
        headings = ["model", *labels, *(f"{label} to {labels[0]}" for label in labels[1:])]
        yield ComparisonSection("Scores", headings, rows, [f"{errors}: in the output of --json"])


def _change(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return NONE
    if before == after:
        return "equal"
    return f"{after / before - 1:+.1%}" if before else NONE


def _plain(value: JsonValue) -> str:
    return NONE if value is None else json.dumps(value, ensure_ascii=False)


def _digest(value: str | None) -> str:
    """A digest by its start."""
    if value is None:
        return NONE
    return value[:12] if is_digest(value) else value


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(escaped, cells))} |"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is; it may come from a store that somebody else wrote."""
    return MARKUP.sub(r"\\\g<0>", " ".join(text.split()))

"""What a person should know about the rows, worst first: a sentence each, and the key of the Spec that helps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from flts.explore.finding import Finding, Severity, counted
from flts.explore.findings_of_time import of_time
from flts.explore.findings_of_writing import of_writing
from flts.explore.report import ColumnReport, Inspection
from flts.explore.statistics import KPSS_CRITICAL
from flts.preprocess.infer import infer_seasons
from flts.spec.fields import Missing

SAME, LIKE = 0.98, 0.9
"""|r| without trend and seasons from which two columns are copies, and from which one may leak the other."""
SHIFTED, UNUSUAL = 0.2, 0.1
"""Distance between train and test that is reported, and by how much it must exceed the usual distance."""
STRONG = 0.6
"""Strength from which a season is reported."""
OUTSIDE, FAR_OUTSIDE = 0.01, 0.1
"""Share of the test cells beyond the range of train from which there is a note, and for the target a warning."""
HEAVY = 0.01
"""Share of outliers above which they are typical of a column rather than mistakes."""
COLUMNS_SHOWN = 4
MISSING = Missing()


def findings(inspection: Inspection, refusals: Sequence[str]) -> list[Finding]:
    """All findings, worst first. refusals: the messages with which `flts run` would refuse the rows."""
    stops = [Finding("stops", "refused", (), message, "") for message in refusals]
    others = [
        *of_time(inspection),
        *of_writing(inspection),
        *_of_columns(inspection),
        *_of_relations(inspection),
        *_of_shift(inspection),
        *_of_target(inspection),
    ]
    return [*stops, *(f for f in others if f.severity == "warning"), *(f for f in others if f.severity == "note")]


def _of_columns(inspection: Inspection) -> Iterator[Finding]:
    columns = inspection.columns
    for column in columns:
        if column.sentinel is not None:
            yield Finding(
                "warning",
                "sentinel",
                (column.name,),
                f"'{column.name}' is {column.sentinel.value:g} in {column.sentinel.cells:,} rows, far from all other"
                " values: it may stand for a missing value",
                "leave these cells empty",
            )
    dropped = [c for c in columns if c.missing > MISSING.drop_columns_above * c.cells]
    if dropped:
        yield _grouped(
            "warning",
            "mostly empty",
            dropped,
            lambda c: f"{c.missing / c.cells:.0%}",
            f"empty in more than {MISSING.drop_columns_above:.0%} of the train rows, so left out",
            "preprocess.missing.drop_columns_above, to keep them",
        )
    long = [c for c in columns if c not in dropped and c.longest_missing > MISSING.max_gap]
    if long:
        yield _grouped(
            "note",
            "long gaps",
            long,
            lambda c: f"{c.longest_missing} rows",
            f"empty for more than {MISSING.max_gap} consecutive rows, which the train median fills",
            "preprocess.missing.max_gap, to carry the last value further",
        )
    constant = [c for c in columns if c.constant]
    if constant:
        yield _grouped(
            "note", "constant", constant, None, "constant over train, so there is nothing to learn from it", ""
        )
    lone = [c for c in columns if c.far and c.outliers <= HEAVY * c.cells and _besides_sentinel(c)]
    if lone:
        yield _grouped(
            "warning",
            "lone outliers",
            lone,
            lambda c: f"{c.far:,}",
            "single cells more than 10 interquartile ranges beyond the quartiles, unlike their neighbours",
            "preprocess.outliers: enabled = true, factor = 10 clips them in train and in histories, never the truth",
        )


def _of_relations(inspection: Inspection) -> Iterator[Finding]:
    for column in inspection.columns:
        relation = column.relation
        if relation is None or relation.at_lag is None or abs(relation.at_lag) < LIKE:
            continue
        r = f"r = {relation.at_lag:+.3f} without trend and seasons"
        if relation.lag > 0 and 1.0 - relation.at_lag**2 < 0.5 * (1.0 - (relation.own or 0.0) ** 2):
            yield Finding(
                "warning",
                "leakage",
                (column.name,),
                f"'{column.name}' knows the target {counted(relation.lag, 'row')} ahead ({r}; the target itself reaches"
                f" {relation.own or 0.0:+.2f}): it looks like the shifted target",
                "drop it, unless you have it that early when you forecast",
            )
        elif abs(relation.at_lag) >= SAME:
            where = "in the same row" if relation.lag == 0 else f"{counted(-relation.lag, 'row')} later"
            yield Finding(
                "warning" if relation.lag == 0 else "note",
                "copy",
                (column.name,),
                f"'{column.name}' repeats the target {where} ({r}): it may be scaled, noisy or derived from it",
                "harmless to FLTS, which uses no row after the origin, if it is measured as early as the target;"
                " otherwise drop it",
            )


def _of_shift(inspection: Inspection) -> Iterator[Finding]:
    moved = [
        c
        for c in inspection.columns
        if c.shift is not None and c.shift.distance >= max(SHIFTED, (c.shift.usual or 0.0) + UNUSUAL)
    ]
    for column in moved:
        if column.shift is None:
            continue
        usual = (
            ""
            if column.shift.usual is None
            else f"; blocks of train differ from the rest by {column.shift.usual:.2f} at most"
        )
        mean = "" if column.shift.mean is None else f", mean {column.shift.mean:+.1f} standard deviations"
        target = column.name == inspection.target
        yield Finding(
            "warning" if target else "note",
            "shift",
            (column.name,),
            f"{'the target ' if target else ''}'{column.name}' is distributed differently in test than in train"
            f" (distance {column.shift.distance:.2f}{mean}{usual})",
            "more recent or more train rows; intervals will be too narrow" if target else "",
        )
    beyond = [c for c in inspection.columns if c.shift is not None and c.shift.outside > OUTSIDE]
    far = [c for c in beyond if c.name == inspection.target and c.shift is not None and c.shift.outside > FAR_OUTSIDE]
    kinds: list[tuple[Severity, list[ColumnReport]]] = [("warning", far), ("note", [c for c in beyond if c not in far])]
    for severity, columns in kinds:
        if columns:
            yield _grouped(
                severity,
                "beyond train",
                columns,
                lambda c: f"{c.shift.outside:.1%} of its cells" if c.shift else "",
                "test leaves the range of train",
                "",
            )


def _of_target(inspection: Inspection) -> Iterator[Finding]:
    if inspection.target is None or inspection.memory is None:
        return
    column, memory = inspection.column(inspection.target), inspection.memory
    if inspection.why_target != "named":
        yield Finding(
            "note",
            "target",
            (inspection.target,),
            f"no target was named; '{inspection.target}' was taken, {inspection.why_target}",
            "--target names another, dataset.targets in the Spec",
        )
    if column.kpss is not None and column.kpss > KPSS_CRITICAL["0.05"]:
        trend = "" if column.trend is None else f", trend strength {column.trend:.2f}"
        yield Finding(
            "note",
            "level",
            (inspection.target,),
            f"the level of the target is not constant (KPSS {column.kpss:.2f} over {column.kpss_rows:,} values, 5 %"
            f" critical value {KPSS_CRITICAL['0.05']}{trend})",
            'sample.strategy = "tail" with sample.train_rows, if the old rows no longer apply',
        )
    inferred = infer_seasons(inspection.placed.grid, len(inspection.train_rows))
    for season, strength in column.seasons.items():
        if strength is not None and strength >= STRONG:
            yield Finding(
                "note",
                "season",
                (inspection.target,),
                f"the target has a strong cycle of one {season} ({inspection.seasons[season]:,} rows, strength"
                f" {strength:.2f})",
                "task.seasons takes it by itself" if inspection.seasons[season] in inferred else "",
            )
    seasons = [*inspection.seasons.values(), *inferred]
    if memory.cycle is not None and not any(_multiple(memory.cycle, season) for season in seasons):
        yield Finding(
            "note",
            "cycle",
            (inspection.target,),
            f"the target repeats every {memory.cycle} rows, which is neither a day nor a week nor a year",
            f"task.seasons = [{memory.cycle}]",
        )
    first = memory.autocorrelation.get(1)
    strongest = max((abs(r) for r in memory.autocorrelation.values()), default=None)
    if first is not None and strongest is not None and strongest < 0.1 and column.sentinel is None:
        yield Finding(
            "warning",
            "noise",
            (inspection.target,),
            f"the target is hardly autocorrelated (r = {first:+.2f} after one row, {strongest:.2f} at most)",
            "expect forecasts close to its mean, unless the covariates help",
        )
    if memory.zeros >= 0.3:
        yield Finding("note", "zeros", (inspection.target,), f"the target is 0 in {memory.zeros:.0%} of the rows", "")


def _besides_sentinel(column: ColumnReport) -> bool:
    return column.sentinel is None or column.far > column.sentinel.cells


def _multiple(cycle: int, season: int) -> bool:
    """Whether a noisy peak lies near a whole multiple of this season."""
    whole = max(1, round(cycle / season))
    return abs(cycle - whole * season) <= max(1, season // 20)


def _grouped(
    severity: Severity,
    kind: str,
    columns: Sequence[ColumnReport],
    shown: Callable[[ColumnReport], str] | None,
    message: str,
    action: str,
) -> Finding:
    names = tuple(column.name for column in columns)
    shown_columns = [f"'{c.name}'" + (f" ({shown(c)})" if shown else "") for c in columns]
    return Finding(severity, kind, names, f"{message}: {_listed(shown_columns)}", action)


def _listed(words: Iterable[str]) -> str:
    words = list(words)
    more = len(words) - COLUMNS_SHOWN
    return ", ".join(words[:COLUMNS_SHOWN]) + (f" and {more} more" if more > 0 else "")

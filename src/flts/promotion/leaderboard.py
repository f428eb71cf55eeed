"""A scoreboard as a table for programs, and as HTML for a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

from flts.contracts.records.decision import METRICS, AbsentBaseline, CandidateRow, DecisionRecord, UnrankedRow
from flts.promotion.words import LEVEL

if TYPE_CHECKING:
    import polars as pl

NUMBERS = {"score": ".4f", "skill": "+.1%", "coverage_80": ".1%", "seconds": ".1f"}
"""How a notebook shows them; errors have four significant digits."""


def leaderboard(decision: DecisionRecord, durations_ms: Mapping[str, int | None] | None = None) -> pl.DataFrame:
    """One row per candidate and baseline, best first, then those without a forecast and why.

    rank is null for baselines and where there is no forecast. score, score_low and score_high (95 %), rmse, mae and mse
    are scaled by the range of the target over train; rmse_TARGET is in original units. seconds: of the fit.
    """
    import polars as pl

    units, durations = [f"rmse_{target}" for target in decision.yardstick.targets], durations_ms or {}
    rows: list[list[object]] = []
    for row in [*decision.ranked, *decision.ranked_baselines]:
        candidate = row if isinstance(row, CandidateRow) else None
        interval = row.score_interval
        covered = (candidate.coverage or {}).get(LEVEL) if candidate else None
        duration = durations.get(row.model)
        rows.append(
            [
                candidate.rank if candidate else None,
                row.model,
                candidate is None,
                row.score,
                *((interval.low, interval.high) if interval else (None, None)),
                *(getattr(row, name) for name in METRICS),
                *(row.units[target].rmse for target in decision.yardstick.targets),
                candidate.skill if candidate else None,
                covered.coverage if covered else None,
                None if duration is None else duration / 1000,
                None,
            ]
        )
    for other in [*decision.candidates, *decision.baselines]:
        if isinstance(other, UnrankedRow | AbsentBaseline):
            known = [None, other.model, isinstance(other, AbsentBaseline)]
            rows.append([*known, *[None] * (len(METRICS) + len(units) + 6), other.reason])
    numbers = ["score", "score_low", "score_high", *METRICS, *units, "skill", "coverage_80", "seconds"]
    schema = {"rank": pl.Int64, "model": pl.String, "baseline": pl.Boolean, **dict.fromkeys(numbers, pl.Float64)}
    return pl.DataFrame(rows, {**schema, "reason": pl.String}, orient="row")


def as_html(board: pl.DataFrame, winner: str | None) -> str:
    """The board as an HTML table: figures as on the terminal, the winner in bold, no column that is empty."""
    shown = [name for name in board.columns if name != "baseline" and board[name].null_count() < board.height]
    head = "".join(f"<th>{escape(name)}</th>" for name in shown)
    lines = []
    for row in board.iter_rows(named=True):
        style = "font-weight:bold" if row["model"] == winner else "opacity:0.7" if row["rank"] is None else ""
        cells = "".join(
            f'<td style="text-align:{"right" if isinstance(row[name], int | float) else "left"}">'
            f"{escape(_cell(name, row))}</td>"
            for name in shown
        )
        lines.append(f'<tr style="{style}">{cells}</tr>')
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _cell(name: str, row: Mapping[str, object]) -> str:
    value = row[name]
    if value is None:
        return ""
    if name == "model" and row["baseline"]:
        return f"{value} (baseline)"
    return format(value, NUMBERS.get(name, ".4g")) if isinstance(value, float) else str(value)

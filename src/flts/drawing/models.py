"""All models of a decision side by side with the baselines: how good each is, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence

from flts.contracts.records.decision import BaselineRow, CandidateRow, DecisionRecord, Interval
from flts.drawing.figure import ACCENT, INK, SOFT, Picture, canvas, finished, named, plain, scale


def models(decision: DecisionRecord) -> Picture:
    """A row for each model and baseline, best first: its score, the 95 % interval of it, and the skill."""
    rows: Sequence[CandidateRow | BaselineRow] = sorted(
        [*decision.ranked, *decision.ranked_baselines], key=lambda row: row.score
    )
    failed = [row.model for row in decision.candidates if not isinstance(row, CandidateRow)]
    windows = f"{decision.windows.count:,} test windows; score: lower is better; line: 95 % interval"
    caption = windows + (f"; no forecast by {', '.join(failed)}" if failed else "")
    ((axes,),) = canvas(
        f"{named(decision.yardstick.targets)}: which model forecasts best",
        caption,
        size=(9.0, 0.5 + 0.34 * len(rows)),
        inset=2.1,
    )
    best = min((row.score for row in decision.ranked_baselines), default=None)
    if best is not None:
        axes.axvline(best, color=SOFT, linewidth=1.0, linestyle="--", label="best baseline")
    for place, row in enumerate(rows):
        is_winner = row.model == decision.winner
        colour = ACCENT if is_winner else INK if isinstance(row, CandidateRow) else SOFT
        if row.score_interval:
            axes.plot([row.score_interval.low, row.score_interval.high], [place] * 2, color=colour, linewidth=2.0)
        label = "best model" if is_winner else None
        axes.plot([row.score], [place], color=colour, marker="o", linestyle="none", label=label)
        axes.annotate(
            _figures(row),
            (_end(row.score, row.score_interval), place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize="small",
            color=colour,
        )
    axes.set_yticks(range(len(rows)), [plain(_name(row)) for row in rows])
    axes.invert_yaxis()
    axes.margins(y=0.12)
    # room for the figures beside the worst one
    left, right = axes.get_xlim()
    axes.set_xlim(left, right + 0.2 * (right - left))
    scale(axes, "score, scaled", across=True)
    return finished(axes)


def _name(row: CandidateRow | BaselineRow) -> str:
    return row.model if isinstance(row, CandidateRow) else f"{row.model} (baseline)"


def _figures(row: CandidateRow | BaselineRow) -> str:
    skill = row.skill if isinstance(row, CandidateRow) else None
    return f"{row.score:.4f}" if skill is None else f"{row.score:.4f}, skill {skill:+.1%}"


def _end(score: float, interval: Interval | None) -> float:
    return max(score, interval.high) if interval else score

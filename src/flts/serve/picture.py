"""A picture of what a bundle answers: the end of the history, the forecast, and a band for each level."""

from __future__ import annotations

from collections.abc import Sequence

from flts.contracts.errors import UsageError, nearest
from flts.drawing.ahead import Ahead, ahead
from flts.drawing.figure import Picture, short
from flts.forecasting.bundle import Bundle
from flts.serve.answer import Answer

SHOWN_LEVELS = (0.5, 0.8, 0.95)
SHOWN_ROWS = 60
"""Rows of history that a picture shows at least, where there are so many; else four horizons, or what a model sees."""


def drawn(bundle: Bundle, made: Answer, target: str | None = None, title: str | None = None) -> Picture:
    """The history that a bundle was asked about, and its answer. target: by default the first.

    Raises UsageError for a target that it does not forecast, MissingExtra without matplotlib.
    """
    name, rows = named_target(made.targets, target), made.history
    assert rows is not None
    at = made.targets.index(name)
    task = bundle.model.task
    shown = rows[-max(SHOWN_ROWS, 4 * len(made.times), task.input_length) :]
    grid, steps = task.fitted.grid, len(made.times)
    count = "the next step" if steps == 1 else f"the next {steps} steps"
    first, last = (grid.shown(time)[:16].replace("T", " ") for time in (made.times[0], made.times[-1]))
    kind = f"{made.interval} intervals" if made.interval != "none" else "no intervals"
    return ahead(
        Ahead(
            shown.times,
            shown.select((name,))[:, 0],
            made.times,
            made.mean[:, at],
            {level: (lower[:, at], upper[:, at]) for level, (lower, upper) in made.intervals.items()},
        ),
        target=name,
        title=title or f"{short(name)}: {count}, by {bundle.manifest.model}",
        caption=f"{first if steps == 1 else f'{first} to {last}'}; steps of {grid.step}; {kind}",
        timezone=made.timezone,
    )


def named_target(targets: Sequence[str], target: str | None) -> str:
    """The target that is named, else the first. Raises UsageError for one that is not forecast."""
    if target is None:
        return targets[0]
    if target not in targets:
        raise UsageError(
            f"'{target}' is not forecast; {nearest(target, targets)}",
            code="target-unknown",
            found=target,
            valid=list(targets),
        )
    return target

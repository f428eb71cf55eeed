"""Questions to one model, answered together: most histories are read, checked and forecast as one array.

A call of numpy takes about as long for sixteen short histories as for one, and a request needs fifty of them. So a
history that is written plainly waits as its cells, and whatever waits with it is read in the same pass. What does not
pass every check is told nothing here: it is read on its own, which finds the words for what does not fit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple, TypeGuard

from flts.contracts.errors import FltsError
from flts.contracts.notices import Notice
from flts.forecasting.answers import Answers
from flts.forecasting.bundle import Bundle
from flts.preprocess.rows import Rows
from flts.preprocess.source import Raw
from flts.preprocess.time_column import time_of
from flts.serve.answer import Answer, answer_of, answers_of
from flts.server.columns import Cells, quick_together


class Question(NamedTuple):
    """What a model is asked. history: cells that `plain` accepts, or rows that were read, with warnings about them."""

    history: Rows | Cells
    level: float
    horizon: int | None
    warnings: tuple[Notice, ...] = ()


def windows_of(history: Cells, bundle: Bundle) -> int:
    """At most so many windows are forecast for a history that `plain` accepts."""
    return bundle.most_windows(len(history.columns[history.text or ""])) if bundle.members else 1


class Told(NamedTuple):
    """The answer to a question, and the rows of its history that were used."""

    answer: Answer
    rows: Rows


def plain(history: Raw | Cells, bundle: Bundle, horizon: int | None) -> TypeGuard[Cells]:
    """Whether a history may wait as its cells: the columns of the model and no other, no more rows than it uses.

    Its time column is all the text there is. Then a model forecasts one window for it, whatever its times are. An
    ensemble asks each member, and one that uses fewer rows than the others may have earlier origins in it. What a model
    knows of the rows to forecast depends on the times.
    """
    if not isinstance(history, Cells):
        return False
    model, fitted, columns = bundle.model, bundle.model.task.fitted, history.columns
    return (
        not bundle.given
        and not bundle.known.holidays
        and history.text is not None
        and history.text == time_of(columns, bundle.manifest.time_column)
        and model.history.minimum <= len(columns[history.text]) <= model.history_rows
        and len(columns) == len(fitted.names) + 1
        and all(map(columns.__contains__, fitted.names))
        and (horizon is None or horizon <= model.task.horizon)
        and fitted.placed
        and fitted.resample == "off"
    )


def answer_together(bundle: Bundle, questions: Sequence[Question]) -> list[Told | Exception | None]:
    """The answer to each question, or what it raises; None for cells that have to be read on their own."""
    told: list[Told | Exception | None] = [None] * len(questions)
    alike: defaultdict[tuple[int, int], list[tuple[int, Cells]]] = defaultdict(list)
    read: list[tuple[int, Rows]] = []
    for place, (history, *_) in enumerate(questions):
        if isinstance(history, Rows):
            read.append((place, history))
        else:
            times = history.columns[history.text or ""]
            alike[len(times), len(times[0])].append((place, history))
    for group in alike.values():
        _answer_cells(bundle, questions, group, told)
    if read:
        answers = bundle.forecast_each([rows for _, rows in read])
        for (place, rows), alone in zip(read, answers.each(), strict=True):
            told[place] = _answer_rows(bundle, rows, alone, questions[place])
    return told


def _answer_cells(
    bundle: Bundle,
    questions: Sequence[Question],
    group: Sequence[tuple[int, Cells]],
    told: list[Told | Exception | None],
) -> None:
    """Answer histories of equal length, as far as they pass every check."""
    fitted = bundle.model.task.fitted
    found = quick_together([cells for _, cells in group], fitted)
    if found is None:
        return
    times, values, ordinary = found
    places = [place for place, _ in group]
    if not ordinary.all():
        times, values = times[ordinary], values[ordinary]
        places = [place for place, passed in zip(places, ordinary, strict=True) if passed]
    if not places:
        return
    answers = bundle.forecast_alike(times, values)
    asked = [(questions[place].level, questions[place].horizon, ()) for place in places]
    made = answers_of(bundle, times[:, -1], answers, asked)
    for place, answer, of_one, cells in zip(places, made, times, values, strict=True):
        told[place] = Told(answer, Rows(of_one, cells, fitted.names))


def _answer_rows(bundle: Bundle, rows: Rows, answers: Answers, question: Question) -> Told | Exception:
    try:
        answer = answer_of(
            bundle, rows, answers, level=question.level, horizon=question.horizon, warnings=question.warnings
        )
    except FltsError as error:
        return error
    return Told(answer, rows)

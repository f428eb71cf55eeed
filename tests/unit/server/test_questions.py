"""What waits together is answered together: each request gets what it gets alone, and nothing odd passes unseen."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from tests.support.experiments import small_experiment
from tests.support.series import hourly
from tests.support.stored import fit

from flts.contracts.notices import Notice
from flts.forecasting.bundle import Bundle, load_bundle
from flts.server.columns import Cells, usable
from flts.server.questions import Question, Told, answer_together, plain

ROWS = hourly(300)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    experiment, store = small_experiment()
    return load_bundle(store, fit(store, experiment).bundle_sha256)


def cells(bundle: Bundle, back: int = 0, **changed: Any) -> Cells:
    """As many rows as the model uses, so many before the newest. changed: first cells of columns."""
    rows = ROWS[len(ROWS) - back - bundle.model.history_rows : len(ROWS) - back]
    times = [datetime.fromtimestamp(at // 10**9, UTC).isoformat().replace("+00:00", "Z") for at in rows.times.tolist()]
    columns: dict[str, list[Any]] = {
        "time": times,
        **{name: rows.select([name])[:, 0].tolist() for name in rows.columns},
    }
    for name, cell in changed.items():
        columns[name][0] = cell
    return Cells(columns, "time")


def alone(bundle: Bundle, history: Cells, level: float = 0.8) -> Told:
    """The answer to rows that were read on their own."""
    rows, warnings = asyncio.run(usable(bundle, history))
    (told,) = answer_together(bundle, [Question(rows, level, None, warnings)])
    assert isinstance(told, Told)
    return told


def test_each_history_gets_what_it_gets_alone_whoever_waits_beside_it(bundle: Bundle) -> None:
    asked = [(cells(bundle, back), level) for back in range(6) for level in (0.5, 0.95)]
    together = answer_together(bundle, [Question(history, level, None) for history, level in asked])
    for (history, level), told in zip(asked, together, strict=True):
        assert plain(history, bundle, None)
        assert isinstance(told, Told)
        own = alone(bundle, history, level)
        np.testing.assert_array_equal(told.rows.times, own.rows.times)
        np.testing.assert_array_equal(told.rows.values, own.rows.values)
        np.testing.assert_array_equal(told.answer.times, own.answer.times)
        for name in ("mean", "lower", "upper"):
            np.testing.assert_allclose(getattr(told.answer, name), getattr(own.answer, name), rtol=1e-9)
        assert (told.answer.interval, told.answer.warnings) == (own.answer.interval, own.answer.warnings)


@pytest.mark.parametrize(
    "odd",
    [
        {"load": None},
        {"load": 1e9},
        {"load": 1e31},
        {"load": float("inf")},
        {"load": [1.0]},
        {"load": {}},
        {"wind": 1e9},
        {"time": "2018-02-05T00:00:01Z"},
        {"time": "2018-02-30T00:00:00Z"},
        {"time": "2017-01-01T00:00:00Z"},
        {"time": "2018-02"},
        {"time": ""},
    ],
)
def test_what_somebody_has_to_be_told_of_is_left_to_be_read_alone(bundle: Bundle, odd: dict[str, Any]) -> None:
    sound, other = cells(bundle, 3), cells(bundle, **odd)
    assert answer_together(bundle, [Question(other, 0.8, None)]) == [None]
    first, none = answer_together(bundle, [Question(sound, 0.8, None), Question(other, 0.8, None)])
    assert none is None
    (own,) = answer_together(bundle, [Question(sound, 0.8, None)])
    if first is not None:  # a cell that is no number spoils the whole array: the others are read alone, too
        assert isinstance(first, Told)
        assert isinstance(own, Told)
        np.testing.assert_allclose(first.answer.mean, own.answer.mean, rtol=1e-9)


def test_an_empty_cell_of_a_covariate_needs_no_word(bundle: Bundle) -> None:
    (told,) = answer_together(bundle, [Question(cells(bundle, wind=None), 0.8, None)])
    assert isinstance(told, Told)
    np.testing.assert_array_equal(told.answer.mean, alone(bundle, cells(bundle, wind=None)).answer.mean)


def test_times_of_another_form_and_rows_that_were_read_wait_together(bundle: Bundle) -> None:
    columns = cells(bundle).columns
    shifted = Cells({**columns, "time": [time.replace("Z", "+00:00") for time in columns["time"]]}, "time")
    rows, _ = asyncio.run(usable(bundle, cells(bundle)))
    notice = Notice("unsorted", "history: rows are not in order of time")
    answers = answer_together(
        bundle,
        [
            Question(cells(bundle), 0.8, None),
            Question(shifted, 0.8, None),
            Question(rows, 0.8, None, (notice,)),
        ],
    )
    assert [type(told) for told in answers] == [Told, Told, Told]
    assert isinstance(answers[2], Told)
    assert answers[2].answer.warnings == (notice,)


def test_what_cannot_wait_as_cells(bundle: Bundle) -> None:
    columns = cells(bundle).columns
    assert plain(Cells(columns, "time"), bundle, 1)
    assert not plain(Cells(columns), bundle, None), "nobody looked for text"
    assert not plain(Cells(columns, "load"), bundle, None)
    assert not plain(Cells({**columns, "more": columns["load"]}, "time"), bundle, None)
    assert not plain(Cells({name: columns[name] for name in ("time", "load")}, "time"), bundle, None)
    assert not plain(Cells(columns, "time"), bundle, bundle.model.task.horizon + 1)
    longer = {name: [*column, column[-1]] for name, column in columns.items()}
    assert not plain(Cells(longer, "time"), bundle, None)
    assert not plain(Cells({name: [] for name in columns}, "time"), bundle, None)

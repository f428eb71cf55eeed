"""What the quick way from a body to rows accepts, the exact way reads alike: same rows bit by bit, same warnings."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from flts.contracts.errors import DataError
from flts.contracts.records.data import FittedColumn
from flts.preprocess.grid import Grid
from flts.preprocess.read import Reading
from flts.preprocess.rows import Rows
from flts.preprocess.transform import FittedPreprocess
from flts.server import body, columns
from flts.server.questions import plain
from flts.server.wanted import Wanted
from flts.spec.steps import DAY, HOUR, SECOND, Step
from flts.web.problem import Problem

BERLIN = "Europe/Berlin"
NAMES = ("load", "wind")


def fitted(step: str, *, zone: str = "UTC", local: bool = False, phase: int = 0, **rules: Any) -> FittedPreprocess:
    every = Step.parse(step)
    grid = Grid(every, zone, local, phase, 0, every.part(0.05))
    stats: dict[str, Any] = {
        "median": 0.0,
        "low": None,
        "high": None,
        "center": 0.0,
        "scale": 1.0,
        "minimum": -1.0,
        "maximum": 1.0,
    }
    return FittedPreprocess(
        columns=tuple(FittedColumn(name=name, **stats) for name in NAMES),
        targets=("load",),
        grid=grid,
        **{"placed": True, "resample": "off", "max_gap": 5, "calendar": (), "lags": (), "constant": 0.0, **rules},
    )


GRIDS: Mapping[str, FittedPreprocess] = {
    "hours": fitted("1h"),
    "hours in Berlin": fitted("1h", zone=BERLIN),
    "hours at a quarter past": fitted("1h", phase=HOUR // 4),
    "quarter hours, mean": fitted("15min", resample="mean"),
    "hours, sum": fitted("1h", resample="sum"),
    "days": fitted("1d"),
    "days of Berlin": fitted("1d", zone=BERLIN, local=True),
    "business days": fitted("1bd"),
    "months": fitted("1mo"),
    "milliseconds": fitted("1ms"),
    "hours of a bundle of version 1": fitted("1h", placed=False),
}


def asked_of(rules: FittedPreprocess) -> Any:
    """Stands in for a bundle that uses any number of rows."""
    task = SimpleNamespace(fitted=rules, horizon=1)
    model = SimpleNamespace(task=task, history=SimpleNamespace(minimum=1), history_rows=10**6)
    known = SimpleNamespace(holidays={})
    return SimpleNamespace(model=model, manifest=SimpleNamespace(time_column="time"), given=(), known=known)


Write = Callable[[datetime, int], str]
"""A moment and its nanoseconds beyond the second, as text."""
OFFSETS = [timezone(timedelta(minutes=minutes)) for minutes in (60, -300, 345, -5, 0)]


def zoned(moment: datetime, zone: Any) -> str:
    return moment.astimezone(zone).isoformat()


def fraction(moment: datetime, beyond: int, digits: int) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{beyond:09d}"[: 20 + digits]


FORMS: Sequence[Write] = [
    lambda t, _: f"{t:%Y-%m-%dT%H:%M:%SZ}",
    lambda t, _: f"{t:%Y-%m-%d %H:%M:%SZ}",
    lambda t, _: f"{t:%Y-%m-%dT%H:%MZ}",
    lambda t, _: f"{t:%Y-%m-%dT%H:%M:%S}",
    lambda t, _: f"{t:%Y-%m-%d}",
    lambda t, _: zoned(t, OFFSETS[0]),
    lambda t, _: zoned(t, OFFSETS[1]),
    lambda t, _: zoned(t, OFFSETS[2]),
    lambda t, _: zoned(t, OFFSETS[3]),
    lambda t, _: zoned(t, OFFSETS[4]),
    lambda t, _: zoned(t, ZoneInfo(BERLIN)),
    lambda t, _: zoned(t, ZoneInfo(BERLIN)).replace("T", " "),
    lambda t, ns: fraction(t, ns, 3) + "Z",
    lambda t, ns: fraction(t, ns, 9) + "+00:00",
    lambda t, ns: fraction(t, ns, 6),
]
ODD_TIMES = [
    "2018-02", "NaT", "", "2024-02-30T00:00:00Z", "2024-01-01T24:00:00Z", "2024-01-01T23:59:60Z", "2024-W01",
    "20240101", " 2024-01-01", "2024-01-01T00:00:00z", "2024-01-01T00:00:00,00:00", "2024-01-01T00:00:00+24:00",
    "1677-12-31T00:00:00Z",
    "2024-01-01T00:00:00+01:60", "9999-01-01T00:00:00Z", "2262-01-01T00:00:00Z", "1678-01-01T00:00:00+23:00",
    "٢٠٢٤-01-01T00:00:00Z", "2024-01-01T00:00:00.Z", "2024-01-01Z", "2024-01-01T00:00:00-0100", "0000-01-01T00:00:00Z",
    "2024-03-31T02:30:00", "2024-10-27T02:30:00", None, 1517875200, 1.5, True,
]  # fmt: skip
ODD_CELLS = [
    "1.5",
    "",
    "NaN",
    True,
    False,
    -0.0,
    0,
    -1,
    2**53 + 1,
    2**63,
    2**64 + 1,
    10**25,
    1e29,
    1e31,
    5e-324,
    10**400,
]


@st.composite
def times(draw: st.DrawFn, grid: Grid) -> list[Any]:
    first = draw(st.integers(0, 40 * 365)) * DAY + draw(st.sampled_from([0, 1, 7, 13])) * HOUR
    position = int(grid.positions(np.array([first]))[0])
    count = draw(st.integers(1, 12))
    steps = draw(st.one_of(st.just(list(range(count))), st.lists(st.integers(0, 14), min_size=1, max_size=12)))
    moments = grid.times(np.array([position + step for step in steps], dtype=np.int64))
    jitter = draw(st.sampled_from([0, 0, 0, 10**6, SECOND, 60 * SECOND, HOUR // 2]))
    shifts = draw(st.lists(st.integers(-3, 3), min_size=len(steps), max_size=len(steps)))
    write = draw(st.sampled_from(FORMS))
    texts: list[Any] = []
    for moment, shift in zip(moments.tolist(), shifts, strict=True):
        seconds, beyond = divmod(moment + shift * jitter, SECOND)
        other = draw(st.sampled_from(FORMS)) if draw(st.integers(0, 60)) == 0 else write
        texts.append(other(datetime.fromtimestamp(seconds, UTC), beyond))
    if draw(st.integers(0, 9)) == 0:
        texts[draw(st.integers(0, len(texts) - 1))] = draw(st.sampled_from(ODD_TIMES))
    return texts


CELLS = st.one_of(
    st.floats(-20, 20), st.integers(-20, 20), st.none(), st.floats(allow_nan=False, allow_infinity=False, width=32)
)


@st.composite
def tables(draw: st.DrawFn, grid: Grid) -> dict[str, list[Any]]:
    at = draw(times(grid))
    few = draw(st.booleans())  # so that rows with the same time often have the same values
    cells = st.sampled_from([1.0, None]) if few else CELLS
    table: dict[str, list[Any]] = {name: draw(st.lists(cells, min_size=len(at), max_size=len(at))) for name in NAMES}
    if draw(st.integers(0, 9)) == 0:
        table[draw(st.sampled_from(NAMES))][draw(st.integers(0, len(at) - 1))] = draw(st.sampled_from(ODD_CELLS))
    whole = {"time": at, **table}
    for extra in draw(st.lists(st.sampled_from(["note", "sun", "", "é\n", "when"]), max_size=2, unique=True)):
        whole[extra] = [draw(st.sampled_from(["x", "2024-01-01", "", 1, None, True]))] * len(at)
    if draw(st.integers(0, 19)) == 0:
        del whole[draw(st.sampled_from(sorted(whole)))]
    order = draw(st.permutations(list(whole)))
    return {name: whole[name] for name in order}


def outcome(read: Callable[[], Reading | None]) -> Any:
    """Everything that a caller sees of a reading, or of the refusal."""
    try:
        reading = read()
    except DataError as error:
        return error.code, str(error), dict(error.data)
    if reading is None:
        return None
    rows = reading.rows
    bits = rows.times.tobytes(), rows.values.tobytes(), rows.values.flags.c_contiguous, reading.given.tolist()
    return bits, rows.times.dtype, rows.values.dtype, rows.columns, list(reading.warnings)


def parsed(read: Callable[[bytes], Wanted | None], data: bytes) -> Any:
    try:
        return read(data)
    except Problem as problem:
        return problem.status, problem.code, problem.detail


def check(data: bytes, rules: FittedPreprocess) -> None:
    """Whatever the quick ways accept, the exact ways read alike."""
    fast, whole = parsed(body.quick, data), parsed(body.exact, data)
    if fast is None or not isinstance(fast, Wanted):
        event("the exact parser decides" if fast is None else "refused")
        assert fast is None or fast == whole
        return
    assert isinstance(whole, Wanted)
    assert (fast.scope, fast.horizon, fast.level) == (whole.scope, whole.horizon, whole.level)
    assert isinstance(fast.history, columns.Cells)
    assert isinstance(whole.history, columns.Cells)
    cells, same = fast.history, whole.history
    quick = outcome(lambda: columns.quick(cells, rules, "time"))
    event("read quickly" if quick is not None else "the reader decides")
    if quick is not None:
        assert quick == outcome(lambda: columns.exact(same, rules, "time"))
    if plain(cells, asked_of(rules), None):
        found = columns.quick_together([cells], rules)
        event("read with others" if found is not None and found[2][0] else "not read with others")
        if found is not None and found[2][0]:
            rows = Rows(found[0][0], found[1][0], NAMES)
            assert quick == outcome(lambda: Reading(rows, [], np.arange(len(rows))))


@pytest.mark.parametrize("name", GRIDS)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_both_ways_read_alike(name: str, data: st.DataObject) -> None:
    table = data.draw(tables(GRIDS[name].grid))
    more = data.draw(st.fixed_dictionaries({}, optional={"horizon": st.integers(1, 3), "level": st.just(0.8)}))
    check(json.dumps({"history": table, **more}, ensure_ascii=data.draw(st.booleans())).encode(), GRIDS[name])


SOUND = json.dumps(
    {
        "history": {"time": ["2024-01-01T00:00:00Z", "2024-01-01T01:00:00Z"], "load": [1.5, 2], "wind": [None, -3e2]},
        "horizon": 1,
        "identifier": "",
        "level": 0.8,
    },
    separators=(",", ":"),
)
PIECES = [
    '"', "\\", "\\u0041", "\\ud800", ",", "[", "]", "{", "}", ":", "1", "0", "-", ".", "e", "E5", "null", "true",
    "NaN", "Infinity",
    '"load":[1,2],', '"horizon":2,', '"a":1,', '"time"', " ", "\n", "é", "\x00", "99999999999999999999", "[1,2]", '""',
]  # fmt: skip


@settings(deadline=None, max_examples=500)
@given(st.lists(st.tuples(st.integers(0, len(SOUND)), st.integers(0, 3), st.sampled_from(PIECES)), max_size=4))
def test_a_body_with_errors_of_typing_is_read_alike_or_refused(edits: list[tuple[int, int, str]]) -> None:
    text = SOUND
    for at, gone, piece in edits:
        text = text[:at] + piece + text[at + gone :]
    check(text.encode(), GRIDS["hours"])


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(SOUND) - 1), st.binary(max_size=3))
def test_no_bytes_make_the_parsers_fail_or_differ(at: int, piece: bytes) -> None:
    data = SOUND.encode()
    check(data[:at] + piece + data[at + 1 :], GRIDS["hours"])


@pytest.mark.parametrize("name", GRIDS)
def test_plain_rows_take_the_quick_way(name: str) -> None:
    grid = GRIDS[name].grid
    at = grid.times(grid.positions(np.array([54 * 365 * DAY]))[0] + np.arange(5))
    texts = [
        f"{datetime.fromtimestamp(t / SECOND, UTC):%Y-%m-%dT%H:%M:%S}.{t % SECOND // 10**6:03d}Z" for t in at.tolist()
    ]
    data = json.dumps({"history": {"time": texts, "load": [1, 2, None, 4.5, 5], "wind": [0.1] * 5}}).encode()
    wanted = body.quick(data)
    assert wanted is not None
    assert isinstance(wanted.history, columns.Cells)
    assert columns.quick(wanted.history, GRIDS[name], "time") is not None

"""Bodies are taken as they are written: what does not fit is refused, with a word on what does."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import numpy as np
import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from flts.forecasting.intervals import LEVELS
from flts.server import body
from flts.server.body import MAX_ROWS, exact, quick, read_body, receive_body
from flts.server.columns import Cells
from flts.server.wanted import Wanted
from flts.web.problem import Problem

TIMES = ["2024-01-01T00:00:00Z", "2024-01-01T01:00:00Z"]
HISTORY: dict[str, list[Any]] = {"time": TIMES, "load": [1.5, None]}
REFUSED = HTTPStatus.UNPROCESSABLE_ENTITY


def written(**keys: Any) -> bytes:
    return json.dumps({"history": HISTORY, **keys}).encode()


def refusal(data: bytes) -> Problem:
    with pytest.raises(Problem) as raised:
        read_body(data)
    return raised.value


def test_a_plain_body_is_read_by_the_quick_parser_and_alike_by_the_exact_one() -> None:
    data = written(horizon=2, identifier="north", level=0.9)
    assert quick(data) == exact(data) == read_body(data) == Wanted(Cells(HISTORY), "north", 2, 0.9)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"horizon": None, "identifier": None, "level": None, "future": None},
        {"identifier": "", "future": {}},
    ],
)
def test_a_key_that_is_absent_null_or_empty_has_its_default(keys: dict[str, Any]) -> None:
    assert read_body(written(**keys)) == exact(written(**keys)) == Wanted(Cells(HISTORY), None, None, 0.8)


@pytest.mark.parametrize("level", LEVELS)
def test_each_level_of_the_intervals_is_taken(level: float) -> None:
    assert read_body(written(level=level)).level == level


def test_text_with_escapes_is_read_by_the_exact_parser() -> None:
    data = b'{"history": {"time": ["2024-01-01T00:00:00\\u005a"], "l\\u006fad": [1]}}'
    assert quick(data) is None
    assert read_body(data).history == Cells({"time": TIMES[:1], "load": [1]})


@pytest.mark.parametrize(
    ("data", "status", "code", "word"),
    [
        (b"", HTTPStatus.BAD_REQUEST, "not-json", "line 1 column 1"),
        (b'{"history"', HTTPStatus.BAD_REQUEST, "not-json", "column 11"),
        (b"time,load\n2024-01-01,1\n", HTTPStatus.BAD_REQUEST, "not-json", "JSON"),
        (b"\xef\xbb\xbf{}", HTTPStatus.BAD_REQUEST, "not-json", "BOM"),
        (json.dumps({"history": {}}).encode("utf-16"), HTTPStatus.BAD_REQUEST, "not-utf-8", "UTF-8"),
        (b'{"history": {"time": ["\xff"]}}', HTTPStatus.BAD_REQUEST, "not-utf-8", "UTF-8"),
        (b'{"history": {"time": ["\\ud800"]}}', HTTPStatus.BAD_REQUEST, "not-utf-8", "UTF-8"),
        (b"[" * 100_000, HTTPStatus.BAD_REQUEST, "too-deep", "deep"),
        (b'{"a":' * 100_000, HTTPStatus.BAD_REQUEST, "too-deep", "deep"),
        (b"[1]", REFUSED, "body-invalid", "a list"),
        (b'"history"', REFUSED, "body-invalid", "'history'"),
        (b"{}", REFUSED, "key-missing", "'history'"),
        (b'{"histroy": {}}', REFUSED, "key-missing", "'histroy'"),
        (b'{"history": {}, "history": {}}', REFUSED, "key-twice", "'history'"),
        (b'{"history": {"time": [], "load": [1], "time": []}}', REFUSED, "key-twice", "'time'"),
        (b'{"history": {"lo\\u0061d": [], "load": []}}', REFUSED, "key-twice", "'load'"),
        (b'{"history": {"time": [{"a": 1, "a": 2}]}}', REFUSED, "key-twice", "'a'"),
        (b'{"history": {}, "level": 0.5, "level": 0.8}', REFUSED, "key-twice", "'level'"),
        (b'{"history": []}', REFUSED, "value-type", "a list"),
        (b'{"history": null}', REFUSED, "value-type", "null"),
        (b'{"history": {"time": "2024-01-01"}}', REFUSED, "value-type", "'time'"),
        (b'{"history": {"time": [], "load": {"0": 1}}}', REFUSED, "value-type", "an object"),
        (b'{"history": {"time": ["a", "b"], "load": [1]}}', REFUSED, "columns-unequal", "'load' has 1"),
        (written(horison=1), REFUSED, "key-unknown", "did you mean 'horizon'"),
        (written(Level=0.8), REFUSED, "key-unknown", "did you mean 'level'"),
        (written(horizon=0), REFUSED, "value-type", "the number 0"),
        (written(horizon=-1), REFUSED, "value-type", "horizon"),
        (written(horizon=1.0), REFUSED, "value-type", "the number 1.0"),
        (written(horizon="1"), REFUSED, "value-type", "the text '1'"),
        (written(horizon=True), REFUSED, "value-type", "true"),
        (written(horizon=float("nan")), REFUSED, "value-type", "the literal NaN"),
        (written(horizon=10**30), REFUSED, "value-type", "horizon"),
        (written(level=0.85), REFUSED, "unknown-level", "0.5, 0.8, 0.9, 0.95"),
        (written(level="0.8"), REFUSED, "unknown-level", "the text '0.8'"),
        (written(level=True), REFUSED, "unknown-level", "true"),
        (written(level=float("nan")), REFUSED, "unknown-level", "the literal NaN"),
        (written(level=[0.8]), REFUSED, "unknown-level", "a list"),
        (written(identifier=7), REFUSED, "value-type", "the number 7"),
        (written(identifier=["a"]), REFUSED, "value-type", "identifier"),
        (written(future={"wind": 1.0}), REFUSED, "value-type", "future: column 'wind'"),
        (written(future={"wind": [1.0], "time": []}), REFUSED, "columns-unequal", "future: column 'time'"),
        (written(future=[1]), REFUSED, "value-type", "future"),
        (written(future=0), REFUSED, "value-type", "future: the number 0"),
        (written(future=""), REFUSED, "value-type", "future: the text"),
    ],
)
def test_a_body_that_does_not_fit_is_refused_with_what_does(
    data: bytes, status: HTTPStatus, code: str, word: str
) -> None:
    problem = refusal(data)
    assert (problem.status, problem.code) == (status, code), problem.detail
    assert word in problem.detail


def test_a_long_key_is_quoted_shortened() -> None:
    assert len(refusal(written(**{"x" * 1_000_000: 1})).detail) < 300
    many = ",".join(f'"{i}":0' for i in range(100_000))
    assert refusal(f'{{{many},"99999":1}}'.encode()).code == "key-twice"


def test_too_many_rows_are_refused_and_as_many_as_allowed_are_read() -> None:
    most = {"history": {"time": [0] * MAX_ROWS}}
    assert read_body(json.dumps(most).encode()).history == Cells(most["history"])
    problem = refusal(json.dumps({"history": {"time": [0] * (MAX_ROWS + 1), "load": []}}).encode())
    assert (problem.status, problem.code) == (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-many-rows")


def test_a_number_of_any_length_is_read_at_once() -> None:
    data = f'{{"history": {{"load": [{"9" * 1_000_000}, {10**17}, {2**63}, {2**64 + 1}]}}}}'.encode()
    history = read_body(data).history
    assert isinstance(history, Cells)
    values = np.array(history.columns["load"], dtype=np.float64)
    assert values.tolist() == [float("inf"), 1e17, 2.0**63, 2.0**64]


def receive(
    parts: Sequence[bytes], limit: int, declared: str | None = None, *, leaves: bool = False
) -> bytes | Problem:
    """What becomes of a body that arrives in these parts."""
    messages: list[Message] = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages[-1]["more_body"] = False
    if leaves:
        messages[-1] = {"type": "http.disconnect"}
    left = iter(messages)

    async def following() -> Message:
        return next(left)

    try:
        return asyncio.run(
            receive_body(following, limit, time.monotonic() + 60.0, None if declared is None else declared.encode())
        )
    except Problem as problem:
        return problem


def test_a_body_up_to_the_limit_is_received_whole() -> None:
    assert receive([b"abc", b"", b"de"], 5) == b"abcde"
    assert receive([b"abcde"], 5, "5") == b"abcde"


@pytest.mark.parametrize("declared", [None, "5", "0", "-1", "x", "6", "٦"])
def test_a_longer_one_is_refused_whatever_its_declared_length_says(declared: str | None) -> None:
    problem = receive([b"abc", b"def", b"g"], 5, declared)
    assert isinstance(problem, Problem)
    assert (problem.status, problem.code) == (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large")


def test_a_message_may_leave_out_an_empty_body() -> None:
    async def empty() -> Message:
        return {"type": "http.request", "more_body": False}

    assert asyncio.run(receive_body(empty, 5, time.monotonic() + 60.0)) == b""


def test_a_body_that_stops_in_the_middle_is_refused_at_its_deadline() -> None:
    parts: list[Message] = [{"type": "http.request", "body": b"{", "more_body": True}]

    async def stalling() -> Message:
        return parts.pop() if parts else await asyncio.Event().wait()  # type: ignore[return-value]

    with pytest.raises(Problem) as raised:
        asyncio.run(receive_body(stalling, 5, time.monotonic() + 0.01))
    assert (raised.value.status, raised.value.code) == (HTTPStatus.REQUEST_TIMEOUT, "body-late")
    assert raised.value.headers["Connection"] == "close"


def test_no_more_than_the_discarded_bytes_are_received_of_a_body_that_is_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(body, "DISCARDED", 10)
    received = 0

    async def endless() -> Message:
        nonlocal received
        received += 1
        return {"type": "http.request", "body": b"x", "more_body": True}

    with pytest.raises(Problem):
        asyncio.run(receive_body(endless, 5, time.monotonic() + 60.0))
    assert received == 16
    with pytest.raises(Problem):
        asyncio.run(receive_body(endless, 5, time.monotonic() + 60.0, b"16"))
    assert received == 16


def test_a_client_that_leaves_ends_its_request() -> None:
    with pytest.raises(ClientDisconnect):
        receive([b"abc", b""], 5, leaves=True)

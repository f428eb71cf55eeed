"""Events that a thread writes: all of them in order, as they happened, and none where the log takes none."""

from __future__ import annotations

import io
import json
from contextlib import closing
from datetime import datetime

import pytest

from flts.contracts import events
from flts.web.background import Background


def stopped(number: int) -> events.Event:
    return events.ServiceStopped(service=str(number))


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Where lines of JSON go during a test."""
    written = io.StringIO()
    monkeypatch.setattr(events, "_lines", written)
    monkeypatch.setattr(events, "_format", "json")
    return written


def test_every_event_is_written_in_order_with_its_time_before_the_end(stream: io.StringIO) -> None:
    with closing(Background("serve")) as log:
        log.start()
        for number in range(100):
            log(lambda number=number: stopped(number))  # type: ignore[misc]
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["service"] for line in lines] == list(map(str, range(100)))
    assert {line["event"] for line in lines} == {"service_stopped"}
    times = [datetime.fromisoformat(line["ts"]) for line in lines]
    assert times == sorted(times)


@pytest.mark.usefixtures("stream")
def test_a_line_has_no_credentials_and_no_empty_field() -> None:
    failed = events.BackendLost(service="x", reason="cannot reach https://me:secret@host/path")
    line = json.loads(events.line_of(failed, datetime.fromisoformat("2026-01-02T03:04:05+00:00")) or "")
    assert "secret" not in line["reason"]
    assert line["ts"] == "2026-01-02T03:04:05Z"


@pytest.mark.usefixtures("stream")
def test_an_event_that_happens_often_has_the_line_of_any_event() -> None:
    now = datetime.fromisoformat("2026-01-02T03:04:05.678+00:00")
    often = events.Often(
        events.RequestServed, service="serve", route="/é", object_key=None, reason="https://me:key@host"
    )
    own: dict[str, str | float | None] = {
        "status": 200,
        "duration_ms": 1,
        "received": 2,
        "sent": 3,
        "token": None,
    }
    happened = often.happened(method="POST", request_id='a"b\\c https://me:key@host', **own)
    line, same = happened.line(now), events.line_of(happened(), now)
    assert line is not None
    assert same is not None
    assert json.loads(line) == json.loads(same)
    assert "key@" not in line
    assert line.endswith("\n")


def test_where_events_are_no_lines_it_is_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_lines", None)
    happened = events.Often(events.ServiceStopped).happened(service="serve")
    assert happened.line(datetime.fromisoformat("2026-01-02T03:04:05+00:00")) is None
    assert happened() == events.ServiceStopped(service="serve")


def test_what_is_too_much_is_lost_and_counted(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flts.web.background.MOST", 2)
    log = Background("serve")
    for number in range(5):
        log(lambda number=number: stopped(number))  # type: ignore[misc]
    assert log.lost == 3
    log.start()
    log.close()
    assert len(stream.getvalue().splitlines()) == 2


def test_a_log_that_cannot_be_written_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(events, "_lines", closed)
    with closing(Background("serve")) as log:
        log.start()
        log(lambda: stopped(1))
    assert log.lost == 1


def test_it_can_be_closed_before_it_has_begun() -> None:
    Background("serve").close()

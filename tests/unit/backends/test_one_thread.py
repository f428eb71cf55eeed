"""A tracker that several threads use works in one thread of its own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.support.raising import raises
from tests.support.tracking import RecordingTracker

from flts.backends.one_thread import InOneThread
from flts.contracts.errors import BackendUnavailable

pytestmark = pytest.mark.slow


def test_calls_from_many_threads_run_in_one_other_thread() -> None:
    tracker = RecordingTracker()
    inside = InOneThread(tracker)
    assert inside.uri == tracker.uri
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: inside.annotate(str(n), {}, {}), range(8)))
        list(pool.map(lambda n: inside.promote("global", str(n), "RIDGE", "b"), range(4)))
        inside.prepare("global")
    inside.close()
    assert len(tracker.threads) == 1
    assert threading.get_ident() not in tracker.threads
    assert (len(tracker.annotations), len(tracker.promotions), tracker.prepared) == (8, 4, ["global"])
    assert tracker.closed == 1


def test_an_error_of_the_tracker_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = RecordingTracker()
    inside = InOneThread(tracker)

    def fails(*_: Any) -> None:
        raise BackendUnavailable("no answer", code="no-answer")

    monkeypatch.setattr(tracker, "annotate", fails)
    with raises(BackendUnavailable, code="no-answer"):
        inside.annotate("r", {}, {})
    inside.close()

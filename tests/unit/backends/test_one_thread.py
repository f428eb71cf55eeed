"""A tracker that several threads use works in one thread of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from tests.support.raising import raises
from tests.support.services import LONG
from tests.support.tracking import RecordingTracker

from flts.backends.one_thread import InOneThread
from flts.contracts.errors import BackendUnavailable
from flts.contracts.ports import TrackedRun

pytestmark = pytest.mark.slow


def test_calls_from_many_threads_run_in_one_other_thread() -> None:
    tracker = RecordingTracker()
    inside = InOneThread(tracker, LONG)
    assert inside.uri == tracker.uri
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: inside.annotate(str(n), {}, {}), range(8)))
        list(pool.map(lambda n: inside.promote("global", str(n), "RIDGE", "b", "e"), range(4)))
        inside.prepare("global")
    inside.close()
    assert len(tracker.threads) == 1
    assert threading.get_ident() not in tracker.threads
    assert (len(tracker.annotations), len(tracker.promotions), tracker.prepared) == (8, 4, ["global"])
    assert tracker.closed == 1


def test_an_error_of_the_tracker_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = RecordingTracker()
    inside = InOneThread(tracker, LONG)

    def fails(*_: Any) -> None:
        raise BackendUnavailable("no answer", code="no-answer")

    monkeypatch.setattr(tracker, "annotate", fails)
    with raises(BackendUnavailable, code="no-answer"):
        inside.annotate("r", {}, {})
    inside.close()


CALLS: dict[str, Callable[[InOneThread], object]] = {
    "log": lambda tracker: tracker.log(cast("TrackedRun", None)),  # it hangs before it looks at the run
    "first_run": lambda tracker: tracker.first_run({}, {}),
    "annotate": lambda tracker: tracker.annotate("r", {}, {}),
    "promote": lambda tracker: tracker.promote("global", "r", "RIDGE", "b", "e"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_hangs_is_given_up_and_so_are_those_behind_it_until_it_ends(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker, free, entered = RecordingTracker(), threading.Event(), threading.Event()

    def hangs(*_: Any) -> None:
        entered.set()
        free.wait(LONG)

    monkeypatch.setattr(tracker, name, hangs)
    inside = InOneThread(tracker, 0.3)
    with raises(BackendUnavailable, code="tracker-unavailable"):
        CALLS[name](inside)
    assert entered.is_set()
    behind = next(other for other in CALLS if other not in (name, "log"))
    with raises(BackendUnavailable, code="tracker-unavailable"):
        CALLS[behind](inside)
    began = time.monotonic()
    inside.close()
    assert time.monotonic() - began < LONG / 10, "a close waits for no call that hangs"
    free.set()
    assert (tracker.annotations, tracker.promotions) == ([], []), "a call that was given up is not made later"


def test_a_call_that_waits_its_turn_is_not_late() -> None:
    class Slow(RecordingTracker):
        def annotate(self, *given: Any) -> None:
            time.sleep(0.3)
            super().annotate(*given)

    tracker = Slow()
    inside = InOneThread(tracker, 2.0)
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda n: inside.annotate(str(n), {}, {}), range(10)))
    inside.close()
    assert len(tracker.annotations) == 10


def test_a_call_that_hangs_keeps_no_process_from_ending() -> None:
    code = (
        "import threading\n"
        "from tests.support.tracking import RecordingTracker\n"
        "from flts.backends.one_thread import InOneThread\n"
        "tracker = RecordingTracker()\n"
        "tracker.prepare = lambda scope: threading.Event().wait()\n"
        "InOneThread(tracker, 0.2).prepare('global')\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=LONG, check=False).returncode == 0

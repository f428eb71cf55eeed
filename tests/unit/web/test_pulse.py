"""Another thread sees whether the event loop turns."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tests.support.raising import raises

from flts.contracts.errors import StageFailed
from flts.web import pulse
from flts.web.pulse import Pulse


def test_a_loop_that_turns_is_alive_and_one_that_is_blocked_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Pulse()
    assert asked.lag() is None
    asked.check()
    blocked, released = threading.Event(), threading.Event()

    async def serve() -> float | None:
        asked.loop = asyncio.get_running_loop()
        found = await asyncio.to_thread(asked.lag)
        await asyncio.to_thread(asked.check)
        blocked.set()
        released.wait()
        return found

    answers: list[float | None] = []
    thread = threading.Thread(target=lambda: answers.append(asyncio.run(serve())))
    thread.start()
    assert blocked.wait(60.0)
    monkeypatch.setattr(pulse, "LIMIT", 0.01)
    try:
        with raises(StageFailed, code="loop-stuck"):
            asked.check()
    finally:
        released.set()
        thread.join()
    assert answers[0] is not None
    assert answers[0] >= 0.0
    assert asked.lag() is None  # the loop has ended

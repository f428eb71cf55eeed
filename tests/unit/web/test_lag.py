"""The lag of an event loop."""

from __future__ import annotations

import asyncio
import time

import pytest

from flts.web.lag import Lag


def test_a_loop_that_was_blocked_says_for_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flts.web.lag.BEAT", 0.001)

    async def test() -> None:
        lag = Lag()
        assert lag() is None
        lag.start()
        lag.start()
        while lag() is None:
            await asyncio.sleep(0)
        blocked = time.monotonic()
        while time.monotonic() < blocked + 0.05:
            pass
        looked = lag()
        while lag() == looked:
            await asyncio.sleep(0)
        worst = lag()
        assert worst is not None
        assert worst >= 0.045
        lag.close()

    asyncio.run(test())

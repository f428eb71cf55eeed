"""Ten minutes of steady load: no request fails, and the forecast service takes no more memory at their end.

SOAK_SECONDS says for how long (600).
"""

from __future__ import annotations

import os

import pytest
from tests.bench.load import post, scheduled
from tests.bench.served import champions, flts_serve

pytestmark = pytest.mark.long

SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
RATE = 50.0
"""Requests per second: what a few percent of a core answer, so that a busy machine changes nothing."""
CONNECTIONS = 16
PAUSE = 1.0
"""Seconds between two samples of memory."""
GROWTH = 4e6
"""Bytes by which memory may grow from the second third to the last one: 400 for each request of a third."""


def test_no_request_fails_and_memory_stays_flat() -> None:
    samples: list[tuple[float, int]] = []
    with champions("ridge") as made, flts_serve(made) as server:

        def sample(elapsed: float) -> None:
            if not samples or elapsed - samples[-1][0] >= PAUSE:
                samples.append((elapsed, server.process.memory_info().rss))

        load = scheduled(server.url, post("/predict", made.body(10)), RATE, SECONDS, CONNECTIONS, watch=sample)
    assert load.counts() == {200: len(load.status)}
    assert load.unanswered == 0
    assert len(load.status) == pytest.approx(RATE * SECONDS, rel=0.1)
    # caches fill in the first third; garbage is collected at any time, so the least of a third counts
    second, last = (min(size for at, size in samples if third <= 3 * at / SECONDS < third + 1) for third in (1, 2))
    assert last - second < GROWTH, samples

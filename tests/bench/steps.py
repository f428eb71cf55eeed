"""What each promise of the forecast service costs a request, in process and without sockets.

`python -m tests.bench.steps` prints microseconds of each step for one of sixteen requests that are answered together:
the least of many repeats, so that other work on the machine counts little. A step alone in a loop finds everything in
the caches of the processor; the sum is the least that these steps can take.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from flts.contracts import events
from flts.contracts.request_ids import new_request_id, uuid7
from flts.models.base import Window
from flts.serve.answer import answers_of
from flts.server import body, document, prediction_log
from flts.server.caller import Caller, caller_of
from flts.server.columns import Cells, quick_together
from flts.server.models import ServedModels
from flts.server.questions import Question, Told, answer_together, plain
from flts.server.service import _served_event
from flts.server.wanted import Answered
from flts.web.observed import HttpMetrics
from flts.web.security import Auth
from flts.web.unambiguous import ambiguity
from tests.bench.served import Champions, champions

TOGETHER = 16
REPEATS = 3_000
SHORT = 1e-4
"""Seconds of a repeat: so short that many are not interrupted by other programs."""


def steps(of: Champions) -> Iterator[tuple[str, float]]:
    """Each step, and its microseconds for a request."""
    models = ServedModels(of.store)
    models.catch_up()
    served = models.served["global"]
    bundle, sent = served.champion.bundle, of.body(10)
    fitted = bundle.model.task.fitted

    wanted = body.quick(sent)
    assert wanted is not None
    cells = wanted.history
    assert isinstance(cells, Cells)
    parsing = _least(lambda: orjson.loads(sent))
    yield "JSON, by orjson", parsing
    yield (
        "no key twice, no unknown key, columns of one length, what is text",
        _least(lambda: body.quick(sent)) - parsing,
    )

    scope: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json"), (b"content-length", b"1900")],
        "state": {"started": 0.0, "request_id": uuid7()},
    }
    auth, nobody = Auth("127.0.0.1", None), bool
    yield (
        "who asks, how long it may take, a head that can be read in one way",
        (
            _least(lambda: auth.check(scope, "predict"))
            + _least(lambda: caller_of(scope, nobody, 1.0))
            + _least(lambda: ambiguity(scope))
        ),
    )
    yield "an id that sorts by time", _least(lambda: new_request_id("global", uuid7()))

    histories = [cells] * TOGETHER
    yield "waiting as cells", _least(lambda: plain(cells, bundle, None))
    yield "times, numbers and grid read and checked", _least(lambda: quick_together(histories, fitted), TOGETHER)
    found = quick_together(histories, fitted)
    assert found is not None
    times, values, _ = found
    window: Window = bundle.model._window(times, values)
    assert window.features is not None  # made once
    network = _least(lambda: bundle.model.predictor.predict(window), TOGETHER)
    yield "the network", network
    one: Window = bundle.model._window(times[:1], values[:1])
    assert one.features is not None
    yield "(the network for one request alone)", _least(lambda: bundle.model.predictor.predict(one))
    forecast = _least(lambda: bundle.forecast_alike(times, values), TOGETHER)
    yield "scale, units, bounds, spread, half widths of four levels", forecast - network
    answers = bundle.forecast_alike(times, values)
    asked = [(0.8, None, ())] * TOGETHER
    yield (
        "interval of the level, times of the answer",
        _least(lambda: answers_of(bundle, times[:, -1], answers, asked), TOGETHER),
    )

    (told,) = answer_together(bundle, [Question(cells, 0.8, None)])
    assert isinstance(told, Told)
    answered = Answered(told.answer, served, new_request_id("global"), Caller())
    yield "the answer in JSON", _least(lambda: document.to_bytes(answered))
    yield "the line of the prediction log", _least(lambda: prediction_log.line(answered, 0.8))
    with Path(os.devnull).open("w") as nowhere:
        events.configure("json", nowhere)
        now = datetime.now(UTC)
        yield "the event", _least(lambda: _served_event(answered, "/predict", 1.23, 1900, 480).line(now))
        events.configure("off")
    metrics = HttpMetrics("serve")
    yield "metrics", _least(lambda: metrics.count("POST", "/predict", 200, 0.001, 1900, 480, None))


def _least(step: Callable[[], object], share: int = 1) -> float:
    """Microseconds of a step for one of `share` requests."""
    calls = max(1, round(SHORT / _seconds(step, 1)))
    return min(_seconds(step, calls) for _ in range(REPEATS)) / calls / share * 1e6


def _seconds(step: Callable[[], object], calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        step()
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    with champions() as of:
        total = 0.0
        for name, microseconds in steps(of):
            total += 0.0 if name.startswith("(") else microseconds
            print(f"{microseconds:6.1f} µs  {name}", flush=True)
        print(f"{total:6.1f} µs  all of these")


if __name__ == "__main__":
    main()

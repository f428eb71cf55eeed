"""The forecast service beside the least that a server of the same network can be, under overload and promotions.

`python -m tests.bench.serve [NAME …] [--rounds N] [--seconds S]` measures some lines alone, with short settings.
Server and load generator share the machine, so only ratios within one run count. They are judged where the machine was
quiet before, and reported anyway.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from flts.forecasting.bundle import load_bundle
from flts.forecasting.histories import Histories
from flts.preprocess.source import RawTable
from flts.serve.answer import usable_history
from tests.bench.load import Load, closed, percentile, post, scheduled
from tests.bench.measure import Figure
from tests.bench.served import (
    Champions,
    Server,
    bare,
    champions,
    flts_serve,
    litserve,
    litserve_python,
    mlflow_serve,
)

CONNECTIONS, MANY = 16, 512
QUIET = 1.0
"""Load average of the last minute below which a run judges."""
HEAVY = ("pandas", "polars", "torch")
"""Libraries whose code must not be in the memory of a server of a network or a ridge."""
SEARCH = 3.0
"""Seconds of each step of the search for it."""
SUSTAINED = 0.020
"""Seconds: the 99th percentile up to which a rate is sustained."""
SERVED = re.compile(rb'"mean":([-0-9.e]+).*"promotion":([0-9]+)')


@dataclass(frozen=True)
class Extent:
    """How much is measured: rounds of each server, and the seconds of a round."""

    rounds: int = 7
    seconds: float = 5.0


WHOLE = Extent()


@dataclass(frozen=True)
class Bar:
    """A figure as it is printed, and what it has to reach: at least `least`, at most `most`."""

    text: str
    value: float
    most: float = math.inf
    least: float = -math.inf

    def __str__(self) -> str:
        goal = f"at most {self.most:g}" if self.most < math.inf else f"at least {self.least:g}"
        if load_before() >= QUIET:
            return f"{self.text} ({goal}: not judged)"
        return f"{self.text} ({goal}: {'met' if self.least <= self.value <= self.most else 'NOT MET'})"


def reached(*bars: Bar) -> str:
    """The figures, each with what it has to reach and whether it does."""
    judged = "" if load_before() < QUIET else f"; the load was {load_before():.1f} before"
    return ", ".join(map(str, bars)) + judged


@cache
def load_before() -> float:
    """Load of the last minute before the first measurement: what came later is the load of the benchmark itself."""
    return os.getloadavg()[0]


def ratio(extent: Extent = WHOLE) -> Iterator[Figure]:
    """CPU, rate and tail of FLTS beside the bare session, in turns; GRU 128 × 2, one window of 10 rows × 12 columns."""
    load_before()
    with champions() as of, flts_serve(of) as ours, bare(of) as plain:
        for rows, count in ((10, extent.rounds), (200, 2)):
            request = post("/predict", of.body(rows))
            _warm(ours, request)
            rounds = [(_round(ours, request, extent), _round(plain, request, extent)) for _ in range(count)]
            (cpu, rate, tail), (cpu_0, rate_0, tail_0) = (_best(column) for column in zip(*rounds, strict=True))
            yield Figure(
                f"forecast service, GRU 128 × 2, {rows} rows × 12 columns, {CONNECTIONS} connections",
                reached(
                    Bar(f"CPU {cpu / cpu_0:.2f} ×", cpu / cpu_0, most=1.3),
                    Bar(f"rate {rate / rate_0:.2f} ×", rate / rate_0, least=0.75),
                    Bar(f"p99 {tail / tail_0:.2f} ×", tail / tail_0, most=1.5),
                    Bar(f"{rate:,.0f} requests/s", rate, least=3000),
                    Bar(f"p99 {tail:.1f} ms", tail, most=10),
                )
                if rows == 10
                else f"CPU {cpu / cpu_0:.2f} ×, rate {rate / rate_0:.2f} ×, p99 {tail / tail_0:.2f} ×",
                "CPU 1.3 ×, rate 0.75 ×, p99 1.5 ×, 3,000 requests/s, p99 10 ms" if rows == 10 else "shown",
                f"{cpu:.0f} µs, {rate:,.0f} requests/s, p99 {tail:.1f} ms; a bare ASGI function with the session alone"
                f" (one window): {cpu_0:.0f} µs, {rate_0:,.0f} requests/s, p99 {tail_0:.1f} ms",
                "serve_ratio",
            )
        request = post("/predict", of.body(10))
        alone = [percentile(closed(server.url, request, 1, extent.seconds).of(), 0.5) for server in (ours, plain)]
        yield Figure(
            "the same, one connection",
            reached(Bar(f"p50 {alone[0]:.2f} ms", alone[0], most=0.8)),
            "0.8 ms",
            f"the bare function: p50 {alone[1]:.2f} ms",
            "serve_ratio",
        )


def peers(extent: Extent = WHOLE) -> Iterator[Figure]:
    """The same network behind other servers, in turns with FLTS; one that is not installed is left out with a word."""
    with champions() as of, flts_serve(of) as ours:
        body = of.body(10)
        columns = json.loads(body)["history"]
        split = {"columns": list(columns), "data": list(zip(*columns.values(), strict=True))}
        scoring = json.dumps({"dataframe_split": split}).encode()
        _warm(ours, post("/predict", body))
        for name, start_peer, request in (
            ("LitServe, the bare session in batches", _litserve(of), post("/predict", body)),
            ("mlflow models serve, the bundle of FLTS", partial(mlflow_serve, of), post("/invocations", scoring)),
        ):
            if start_peer is None:
                print(f"{name}: skipped; `make bench-serve-peers` installs it", flush=True)
                continue
            with start_peer() as peer:
                _warm(peer, request)
                mine, theirs = zip(
                    *(
                        (_round(ours, post("/predict", body), extent), _round(peer, request, extent))
                        for _ in range(min(extent.rounds, 3))
                    ),
                    strict=True,
                )
            (cpu, rate, tail), (cpu_0, rate_0, tail_0) = _best(mine), _best(theirs)
            yield Figure(
                f"forecast service beside {name}",
                f"CPU {cpu / cpu_0:.2g} ×, rate {rate / rate_0:.2g} ×, p99 {tail / tail_0:.2g} ×",
                "shown",
                f"{cpu:.0f} µs, {rate:,.0f} requests/s, p99 {tail:.1f} ms; it: {cpu_0:,.0f} µs, {rate_0:,.0f}"
                f" requests/s, p99 {tail_0:.1f} ms",
                "serve_peers",
            )


def _litserve(of: Champions) -> Callable[[], AbstractContextManager[Server]] | None:
    python = litserve_python()
    return None if python is None else partial(litserve, of, python)


def start(_: Extent = WHOLE) -> Iterator[Figure]:
    """What it takes until the first answer."""
    for model in ("gru", "ridge"):
        with champions(model) as of, flts_serve(of) as server:
            _warm(server, post("/predict", of.body(10)))
            maps = Path(f"/proc/{server.process.pid}/maps").read_text()
            loaded = [name for name in HEAVY if f"/site-packages/{name}/" in maps]
            yield Figure(
                f"forecast service of a {model}, from its start to its first answer",
                reached(
                    Bar(f"{server.cpu():.1f} s of CPU", server.cpu(), most=2.0),
                    Bar(f"{server.memory():.0f} MB", server.memory(), most=150),
                    Bar(f"{len(loaded)} of {', '.join(HEAVY)} loaded", len(loaded), most=0),
                ),
                "2.0 s of CPU, 150 MB",
                ", ".join(loaded) or "no code of a heavy library is in memory",
                "serve_start",
            )


@dataclass(frozen=True)
class _Over:
    """One overload: its load, the rates sustained before and after, p99 at half of it then, the server's memory."""

    load: Load
    sustained: tuple[float, float]
    half: tuple[float, float]
    memory: tuple[float, float]

    @property
    def answered(self) -> float:
        """Share of the sustained rate that was answered."""
        return self.load.rate() / (sum(self.sustained) / 2)

    @property
    def refused(self) -> float:
        """99th percentile of the time to a 429, in ms."""
        return percentile(self.load.of(429), 0.99) if self.load.counts()[429] else 0.0


def _overloaded(server: Server, request: bytes, extent: Extent) -> _Over:
    long = 12 * extent.seconds
    rate = _sustained(server, request)
    half = _usual(_at(server, request, rate / 2, 2 * extent.seconds))
    memory: list[tuple[float, float]] = []
    load = scheduled(server.url, request, 2 * rate, long, MANY, watch=lambda now: memory.append((now, server.memory())))
    then = _usual(_at(server, request, rate / 2, 2 * extent.seconds), since=min(2.0, extent.seconds))
    early = max((size for now, size in memory if now <= long / 6), default=float("nan"))
    later = max(size for _, size in memory)
    return _Over(load, (rate, _sustained(server, request)), (half, then), (early, later))


def overload(extent: Extent = WHOLE) -> Iterator[Figure]:
    """Twice the rate that the service sustains, from a schedule that does not wait; then half of it.

    What a machine sustains changes from minute to minute, so the rate is searched before and after, and each figure is
    the median of several overloads.
    """
    load_before()
    with champions() as of, flts_serve(of, max_connections="2048") as server:
        request = post("/predict", of.body(10))
        _warm(server, request)
        found = [_overloaded(server, request, extent) for _ in range(max(1, extent.rounds // 2))]
    answered = float(np.median([over.answered for over in found]))
    tail = float(np.median([percentile(over.load.of(), 0.99) for over in found]))
    refused = float(np.median([over.refused for over in found]))
    grown = max(later / early for early, later in (over.memory for over in found)) - 1
    again = [then / half for half, then in (over.half for over in found)]
    yield Figure(
        f"twice the sustained rate for {12 * extent.seconds:.0f} s, the median of {len(found)}",
        reached(
            Bar(f"{answered:.0%} of it answered", answered, least=0.9),
            Bar(f"p99 {tail:.0f} ms", tail, most=300),
            Bar(f"429 within {refused:.0f} ms (p99)", refused, most=20),
        ),
        "90 %, 300 ms; 20 ms",
        "; ".join(
            f"sustained {before:,.0f}/s before and {after:,.0f}/s after (p99 under {SUSTAINED * 1000:.0f} ms),"
            f" {over.answered:.0%} answered, 429 within {over.refused:.0f} ms, {_counts(over.load)},"
            f" generator's ceiling {over.load.ceiling:,.0f}/s, {over.load.crowded:.1%} waited in it for a connection"
            for over, (before, after) in ((over, over.sustained) for over in found)
        ),
        "serve_overload",
    )
    usual = float(np.median(again))
    yield Figure(
        "memory from a sixth to the end of it; p99 at half the rate, from 2 s after it on",
        reached(Bar(f"{grown:+.0%}", grown, most=0.1), Bar(f"{usual:.2f} ×", usual, most=1.2)),
        "10 %; 1.2 ×",
        f"{found[0].memory[0]:.0f} MB; p99 at half the rate before and after: "
        + ", ".join(f"{half:.1f} and {then:.1f} ms" for half, then in (over.half for over in found)),
        "serve_overload",
    )


def promotions(extent: Extent = WHOLE) -> Iterator[Figure]:
    """A promotion every 0.6 s under load, between two bundles: which model an answer names, and which made it."""
    seconds = 12 * extent.seconds
    with champions() as of, flts_serve(of, poll_seconds="0.1", max_connections="2048") as server:
        request = post("/predict", of.body(10))
        _warm(server, request)
        rate = _sustained(server, request) / 2
        before = percentile(_at(server, request, rate, extent.seconds).of(), 0.99)
        every, done = seconds / 101, [1]

        def promote(now: float) -> None:
            if now >= done[0] * every and done[0] <= 100:
                of.promote(of.bundles[done[0] % 2])
                done[0] += 1

        during = scheduled(server.url, request, rate, seconds, keep=True, watch=promote)
        mixed, seen = _mixed(of, during)
        failed = len(during.status) - during.counts()[200] + during.unanswered
        slower = percentile(during.of(), 0.99) / before
        yield Figure(
            f"{done[0] - 1} promotions in {seconds:.0f} s at half the sustained rate",
            reached(
                Bar(f"{failed} failed", failed, most=0),
                Bar(f"{mixed} mixed", mixed, most=0),
                Bar(f"p99 {slower:.2f} ×", slower, most=2.0),
            ),
            "0, 0, 2 ×",
            f"{len(during.status):,} answers by {seen} promotions; p99 without {before:.1f} ms",
            "serve_promotions",
        )


BENCHMARKS: dict[str, Callable[[Extent], Iterator[Figure]]] = {
    "ratio": ratio,
    "start": start,
    "peers": peers,
    "overload": overload,
    "promotions": promotions,
}


def _warm(server: Server, request: bytes) -> None:
    """Wait until a model answers."""
    end = time.monotonic() + 60
    while not closed(server.url, request, 1, 0.05).counts()[200]:
        if time.monotonic() > end:
            raise SystemExit("no model answers")


def _round(server: Server, request: bytes, extent: Extent) -> tuple[float, float, float]:
    """CPU per answer in µs, answers in a second, 99th percentile in ms."""
    before = server.cpu()
    load = closed(server.url, request, CONNECTIONS, extent.seconds)
    if set(load.counts()) != {200}:
        raise SystemExit(f"{server.url} answered {_counts(load)}")
    return (server.cpu() - before) / len(load.status) * 1e6, load.rate(), percentile(load.of(), 0.99)


def _best(rounds: tuple[tuple[float, float, float], ...]) -> tuple[float, float, float]:
    cpu, rate, tail = zip(*rounds, strict=True)
    return min(cpu), max(rate), min(tail)


def _at(server: Server, request: bytes, rate: float, seconds: float) -> Load:
    return scheduled(server.url, request, rate, seconds, MANY)


def _sustained(server: Server, request: bytes) -> float:
    """The highest rate, in steps of a tenth of what 16 connections take, at which nothing fails or waits long."""
    most = closed(server.url, request, CONNECTIONS, SEARCH).rate()
    for tenths in range(10, 1, -1):
        load = _at(server, request, most * tenths / 10, SEARCH)
        if set(load.counts()) == {200} and percentile(load.of(), 0.99) <= SUSTAINED * 1000:
            return most * tenths / 10
    raise SystemExit(f"no rate was sustained, not even a fifth of {most:,.0f}/s: measure on a quieter machine")


def _usual(load: Load, since: float = 0.0) -> float:
    """The median over the seconds of a load of the 99th percentile of each, in ms: one hiccup moves it little."""
    second = np.floor(load.ended).astype(int)
    late = np.array(load.latency)
    found = [percentile(late[second == number], 0.99) for number in range(math.ceil(since), int(load.seconds))]
    return float(np.median(found))


def _mixed(of: Champions, load: Load) -> tuple[int, int]:
    """Answers whose mean is not that of the bundle behind the promotion that they name; and how many promotions."""
    means = []
    for name in of.bundles:
        bundle = load_bundle(of.store, name)
        rows, _ = usable_history(bundle, RawTable.of("rows", {n: column[-10:] for n, column in of.table.items()}))
        means.append(float(bundle.forecast(Histories(rows, np.array([len(rows)]))).mean[0, 0, 0]))
    assert abs(means[0] - means[1]) > 1e-3, "two bundles that forecast alike show nothing"
    mixed, seen = 0, set()
    for body in load.bodies:
        match = SERVED.search(body)
        if match is not None:
            number = int(match[2])
            seen.add(number)
            # the first entry promotes the first bundle, the next one the second
            mixed += abs(float(match[1]) - means[(number - 1) % 2]) > 1e-5
    return mixed, len(seen)


def _counts(load: Load) -> str:
    return ", ".join(f"{count:,} × {status or 'no answer'}" for status, count in sorted(load.counts().items()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.serve")
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], help="lines to measure; by default all")
    parser.add_argument("--rounds", type=int, default=WHOLE.rounds)
    parser.add_argument(
        "--seconds", type=float, default=WHOLE.seconds, help="of a round; longer lines take 12 times it"
    )
    arguments = parser.parse_args()
    for name in arguments.names or BENCHMARKS:
        for figure in BENCHMARKS[name](Extent(arguments.rounds, arguments.seconds)):
            print(f"{figure.name}: {figure.measured} (goal {figure.goal}); {figure.reference}", flush=True)


if __name__ == "__main__":
    main()

"""What grows with identifiers, promotions and runs, on a folder of this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import psutil
import pytest

from flts.backends.bus_memory import MemoryBus
from flts.backends.store import memory_store, open_store
from flts.contracts import layout
from flts.contracts.canonical import sha256
from flts.contracts.ports import DatedStore, Store
from flts.contracts.records.log import LogEntry
from flts.preprocess.source import RawInput, RawTable
from flts.promotion import snapshot
from flts.promotion.log import Chain, append, head, listed, next_entry, read_chain, scopes
from flts.report.evidence import named_run, newest_first, resolve
from flts.runner.claim import start
from flts.runner.reporter import Quiet
from flts.server.models import ServedModels
from flts.wiring import RunContext
from tests.bench.measure import Figure, fresh_folder
from tests.support.counted import requests
from tests.support.experiments import small_spec
from tests.support.kept import indexed_runs
from tests.support.promotions import two_bundles
from tests.support.series import hourly, split
from tests.support.services import context_on
from tests.support.stored import MOMENT, Watched, copy, promoted

IDENTIFIERS = (100, 1_000, 10_000)
SAMPLE = 20
"""Identifiers, newest last, over which the time of one is averaged."""
SHOWN = 50
"""Runs that `flts runs list` shows by default."""
NO_GOAL = "-"
MIB = 2**20
STORED = {
    "model-promotion": "its log of one promotion; its decision and pointers come on top",
    "processed-data": "300 rows, 2 columns",
    "runs": "a claimed run; each model and the judgement add a part",
    "bundles": "of ridge, window 12 or 18; networks are larger",
}
"""What lies in each part, beside its size."""


def identifiers() -> Iterator[Figure]:
    """Claims, promotions, objects, and a replica that follows all, while the store holds more and more identifiers."""
    memory, bundle, _ = two_bundles()
    with fresh_folder() as folder:
        store = open_store((folder / "objects").as_uri())
        copy(memory, store)
        context = context_on(store, MemoryBus())
        made = 0
        for count in IDENTIFIERS:
            for number in range(made, count - SAMPLE):
                _promote(store, f"s{number:05}", bundle)
            newest = [f"s{number:05}" for number in range(count - SAMPLE, count)]
            promoting = _seconds(partial(_promote_all, store, newest, bundle))
            made = count
            claiming = _seconds(partial(_claim_all, context, range(made, made + SAMPLE)))
            finding = _seconds(lambda: scopes(store))
            first, again, memory_mib = _followed(store)
            yield _figure(
                f"{count:,} identifiers: one more preprocessed and claimed, one promoted",
                f"{_ms(claiming / SAMPLE)}, {_ms(promoting / SAMPLE)}",
                "300 rows of its own; the gate is not part of it",
            )
            yield _figure(
                f"{count:,} identifiers: a replica's first and next poll",
                f"{first:.1f} s, {again:.1f} s",
                f"16 models in memory, {memory_mib:.0f} MiB more than before",
            )
            yield _figure(
                f"{count:,} identifiers: finding all scopes", _ms(finding), "one listing of `model-promotion/`"
            )
        for part, one in (
            ("model-promotion", made),
            ("processed-data", _claims()),
            ("runs", _claims()),
            ("bundles", 2),
        ):
            size, objects = _size(folder / "objects" / part)
            yield _figure(
                f"`{part}/` of one identifier",
                f"{size / one / 1024:.1f} KiB, {objects / one:.1f} objects",
                STORED[part],
            )


def promotions() -> Iterator[Figure]:
    """A log of ten thousand promotions: what a judge and a replica ask for, with and without the snapshot."""
    store = memory_store()
    entries: list[LogEntry] = []
    for count in IDENTIFIERS:
        newest = _grown(store, entries, count)
        one = _seconds(lambda: append(store, "global", _next, newest))  # noqa: B023 - called at once
        entries.append(read_chain(store, "global", newest).entries[-1])
        for named, by_snapshot in (("by its snapshot", True), ("entry by entry", False)):
            watched = Watched(store)
            took = _seconds(partial(listed, watched, "global", by_snapshot=by_snapshot))
            yield _figure(
                f"log of {count:,} promotions, read {named}",
                f"{len(watched.read):,} requests, {_ms(took)}",
                "CPU alone, a store in memory",
            )
        asked = Watched(store)
        head(asked, "global", head(store, "global"))
        yield _figure(
            f"log of {count:,} promotions: one more, and a poll",
            f"{_ms(one)}, {len(asked.read) + 1} requests",
            "a poll looks at the last entry and for the next",
        )
    data = store.get(layout.log_snapshot("global"))
    assert data is not None
    yield _figure(
        "the snapshot of that log", f"{len(data) / MIB:.1f} MiB", f"written at every {snapshot.EVERY}th promotion"
    )


def runs() -> Iterator[Figure]:
    """The newest runs, found among more and more of them: by the index, and by one listing of all."""
    for count in IDENTIFIERS:
        with fresh_folder() as folder:
            store = open_store(folder.as_uri())
            _, hashes = indexed_runs(count, store=store)  # type: ignore[arg-type]  # a store of a folder is one
            for named, work in (
                (f"the newest {SHOWN} listed", partial(newest_first, store, SHOWN)),
                (f"{SHOWN} in the middle", partial(_after, store, hashes[count // 2])),
                ("the newest found", partial(newest_first, store, 1)),
                ("a configuration named", partial(resolve, store, hashes[-1][:12])),
            ):
                with requests(pytest.MonkeyPatch()) as counted:
                    took = _seconds(work)
                yield _figure(f"{count:,} runs: {named}", f"{counted.total()} requests, {_ms(took)}", "by the index")
            store.erase(layout.run_index())
            without = _seconds(partial(newest_first, store, SHOWN))
            yield _figure(f"{count:,} runs: the newest {SHOWN} listed", _ms(without), "without the index")


def _after(store: DatedStore, config_hash: str) -> object:
    return newest_first(store, SHOWN, before=named_run(store, f"{config_hash}:1"))


def _grown(store: Store, entries: list[LogEntry], count: int) -> Chain:
    """The log with so many entries, as judges leave it, without what each of them reads."""
    digest = sha256(entries[-1].to_bytes()) if entries else None
    while len(entries) < count:
        entry = _next(Chain(entries, digest))
        data = entry.to_bytes()
        store.create(layout.log_entry("global", entry.number), data)
        entries.append(entry)
        digest = sha256(data)
    kept = count // snapshot.EVERY * snapshot.EVERY
    if kept:
        snapshot.keep(store, "global", (), kept)
    return Chain(entries, digest)


def _next(log: Chain) -> LogEntry:
    return next_entry(log, "global", "promote", promoted("ridge"), "d" * 64, "bench", MOMENT)


def _promote_all(store: Store, names: Sequence[str], bundle: str) -> None:
    for name in names:
        _promote(store, name, bundle)


def _claims() -> int:
    """How many identifiers were claimed."""
    return SAMPLE * len(IDENTIFIERS)


def _claim_all(context: RunContext, seeds: Sequence[int]) -> None:
    for seed in seeds:
        train, test = split(hourly(300, seed=seed), 60)
        raw = RawInput(RawTable("train", train), RawTable("test", test))
        spec = small_spec(dataset={"identifier": f"claimed-{seed}"})
        start(context, spec, raw, Quiet(), recompute=False)


def _promote(store: Store, scope: str, bundle: str) -> None:
    append(
        store,
        scope,
        lambda log: next_entry(
            log, scope, "promote", promoted("ridge", bundle_sha256=bundle), "d" * 64, "bench", MOMENT
        ),
    )


def _followed(store: Store) -> tuple[float, float, float]:
    """Seconds of the first poll of every log and of the next one, and the memory that both took, in MiB."""
    process = psutil.Process()
    before, models = process.memory_info().rss, ServedModels(store)
    first = _seconds(models.catch_up)
    return first, _seconds(models.poll), (process.memory_info().rss - before) / MIB


def _size(folder: Path) -> tuple[int, int]:
    """Bytes and number of the files below a folder."""
    sizes = [file.stat().st_size for file in folder.rglob("*") if file.is_file()]
    return sum(sizes), len(sizes)


def _seconds(work: Callable[[], object]) -> float:
    """Seconds of CPU of this process, all threads together: a busy machine does not lengthen them."""
    before = time.process_time()
    work()
    return time.process_time() - before


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"


def _figure(name: str, measured: str, reference: str) -> Figure:
    return Figure(name, measured, NO_GOAL, reference, "python -m tests.bench scale_identifiers scale_log scale_runs")

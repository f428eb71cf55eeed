"""Makes a tracker usable from many threads, because MLflow's client is not; trainers do not wait for it to import."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from flts.contracts.ports import TrackedRun, Tracker


class InOneThread:
    """A Tracker for many threads: every call runs in one thread of its own, and `prepare` returns at once."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker, self.uri = tracker, tracker.uri
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tracker")

    def prepare(self, scope: str) -> None:
        self._thread.submit(self._tracker.prepare, scope)

    def log(self, run: TrackedRun) -> str:
        return self._thread.submit(self._tracker.log, run).result()

    def first_run(self, tags: Mapping[str, str], other_than: Mapping[str, str]) -> str | None:
        return self._thread.submit(self._tracker.first_run, tags, other_than).result()

    def annotate(self, run_id: str, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        self._thread.submit(self._tracker.annotate, run_id, metrics, tags).result()

    def promote(self, scope: str, run_id: str, model_type: str, bundle_sha256: str) -> None:
        self._thread.submit(self._tracker.promote, scope, run_id, model_type, bundle_sha256).result()

    def check(self) -> None:
        self._tracker.check()  # it does not use the client that the thread owns

    def close(self) -> None:
        self._thread.submit(self._tracker.close)
        self._thread.shutdown()

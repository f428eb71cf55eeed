"""Loads a bundle and tests it where that may take for ever: in a thread that is left behind at its time limit.

Python ends no thread from outside. One that hangs stays until its library returns, so the same bundle is not tried
again before that: each attempt would leave one more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from flts.contracts import layout
from flts.contracts.errors import DamagedObject, FltsError, StageFailed
from flts.contracts.machine import machine_fault
from flts.contracts.ports import Store
from flts.forecasting.bundle import MANIFEST, Bundle, assemble, read_bundle

Result = Literal["passed", "failed", "hung"]


@dataclass(frozen=True)
class Tested:
    """A bundle that passed its self-test, and the seconds that the test took."""

    bundle: Bundle
    seconds: float


class Trials:
    """Loads bundles from a store; any thread may ask. seconds: that loading the files and the self-test may take."""

    def __init__(self, store: Store, seconds: float) -> None:
        self._store, self._seconds = store, seconds
        self._left: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self.results: dict[str, int] = {"passed": 0, "failed": 0, "hung": 0}
        """How many self-tests ended how."""

    def load(self, bundle_sha256: str) -> Tested:
        """Read a bundle, check its digests, load it and test it. Raises FltsError for whatever goes wrong."""
        self._refuse_hung(bundle_sha256)
        manifest, files = read_bundle(self._store, bundle_sha256)

        def work() -> Tested:
            bundle = assemble(bundle_sha256, manifest, files)
            started = time.perf_counter()
            bundle.self_test()
            return Tested(bundle, time.perf_counter() - started)

        result: Result = "failed"
        try:
            tested = self._limited(bundle_sha256, work)
            result = "passed"
        except _Hangs as hangs:
            result = "hung"
            raise StageFailed(str(hangs), code="self-test-hangs", bundle=bundle_sha256) from None
        except FltsError:
            raise
        except BaseException as error:
            # whatever a library raises, a panic in a compiled one too: the model is refused, and the service goes on
            fault = machine_fault(error)
            if fault is not None:
                raise fault from error
            raise DamagedObject(
                f"bundle {bundle_sha256[:12]}… cannot be tested: {type(error).__name__}:"
                f" {(str(error).splitlines() or [''])[0][:300]}; its model may need other versions of the libraries",
                code="self-test-raised",
                key=layout.bundle(bundle_sha256, MANIFEST),
            ) from error
        finally:
            self._count(result)
        return tested

    def _limited(self, bundle_sha256: str, work: Callable[[], Tested]) -> Tested:
        done: list[Tested] = []
        failed: list[BaseException] = []

        def attempt() -> None:
            try:
                done.append(work())
            except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
                failed.append(error)

        thread = threading.Thread(target=attempt, name=f"self-test-{bundle_sha256[:12]}", daemon=True)
        thread.start()
        thread.join(self._seconds)
        if thread.is_alive():
            with self._lock:
                self._left[bundle_sha256] = thread
            raise _Hangs(self._hangs(bundle_sha256))
        for error in failed:
            raise error
        return done[0]

    def _refuse_hung(self, bundle_sha256: str) -> None:
        with self._lock:
            self._left = {name: thread for name, thread in self._left.items() if thread.is_alive()}
            if bundle_sha256 in self._left:
                raise StageFailed(
                    f"{self._hangs(bundle_sha256)}, and goes on", code="self-test-hangs", bundle=bundle_sha256
                )

    def _hangs(self, bundle_sha256: str) -> str:
        return (
            f"bundle {bundle_sha256[:12]}…: loading and its self-test did not end in {self._seconds:g} s, the limit of"
            " self_test_seconds"
        )

    def _count(self, result: Result) -> None:
        with self._lock:
            self.results[result] += 1


class _Hangs(Exception):
    """The work did not end in time."""

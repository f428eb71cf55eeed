"""What services find when they start: buckets, topics and servers that answer.

A service ends when a backend is away at its start, and one that is started again looks like one that crashes. So its
pod waits first, and one job makes what is absent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

from flts.contracts import layout
from flts.contracts.errors import FltsError, Transient
from flts.runner.services.host import all_topics, backend_checks
from flts.wiring import make_buckets, open_bus, open_raw, shared_context

if TYPE_CHECKING:
    from flts.settings import Settings
    from flts.spec.sources import LoadedSpec

T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 5.0
"""Seconds between two attempts."""


def prepare(settings: Settings, buckets: Sequence[str], timeout: float) -> list[str]:
    """Make the absent buckets and topics; returns the names of the buckets made. buckets: further ones.

    Waits up to `timeout` seconds for backends that do not answer. Raises BackendUnavailable after that, and UsageError
    where rights are missing.
    """
    made: list[str] = []
    patiently(lambda: made.extend(make_buckets(settings, buckets)), timeout)

    def topics() -> None:
        with closing(open_bus(settings)) as bus:
            bus.ensure(all_topics())

    patiently(topics, timeout)
    return made


def wait(settings: Settings, timeout: float, rows: LoadedSpec | None = None) -> None:
    """Return when all buckets and the files of `rows` are there, and every backend that the settings name answers.

    Raises what is wrong after `timeout` seconds, and at once what waiting does not mend.
    """

    def check() -> None:
        with shared_context(settings) as context:
            for bucket in layout.BUCKETS:
                context.store.get(f"{bucket}/absent")  # only a read tells a missing bucket from a missing object
            for look in backend_checks(context).values():
                look()

    patiently(check, timeout)
    if rows is not None:
        # somebody uploads them through the gateway of the same release, after its buckets are made
        patiently(lambda: open_raw(rows.spec.dataset, rows.folder, settings), timeout)


def patiently(work: Callable[[], T], timeout: float) -> T:
    """The result of `work`, tried again for `timeout` seconds while it may still come; then its error."""
    import stamina

    pauses = {"wait_initial": FIRST_PAUSE, "wait_max": LONGEST_PAUSE}
    return stamina.retry(on=_may_come, attempts=None, timeout=timeout, **pauses)(work)()


def _may_come(error: Exception) -> bool:
    """Whether a later attempt may succeed: also where somebody else makes the bucket, or brings the rows."""
    return isinstance(error, Transient) or (
        isinstance(error, FltsError) and error.code in {"no-bucket", "file-missing"}
    )

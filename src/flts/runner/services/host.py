"""Runs services until asked to stop: each in its own thread, with probes beside them."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from flts.contracts import events, layout
from flts.contracts.errors import StageFailed
from flts.contracts.messages import TOPICS
from flts.runner.services.letters import topic_of_letters
from flts.runner.services.loop import Loop
from flts.runner.services.marks import Marks
from flts.runner.services.metrics import ServiceMetrics
from flts.runner.services.registry import Staff
from flts.version import __version__
from flts.web.probe import Check, HealthChecks, Probes
from flts.wiring import RunContext

STUCK_AFTER = 60.0
"""Seconds without a turn after which a loop counts as stuck; a poll takes a quarter of a second."""
SIGNAL_INTERVAL = 0.5
"""Seconds between two checks for a signal."""


@dataclass(frozen=True)
class Conditions:
    """How services run; nothing here can change a number.

    patience: seconds of retries after a Transient error; grace: seconds to finish work in hand after a stop; probes:
    host and port, None for no probes; most_ended: processes that a message may end before it becomes a dead letter;
    idle: seconds without a message after which the services end, 0 for never.
    """

    patience: float = 120.0
    grace: float = 20.0
    probes: tuple[str, int] | None = None
    most_ended: int = 2
    idle: float = 0.0


def serve(
    name: str,
    context: RunContext,
    staff: Staff,
    conditions: Conditions,
    stop: threading.Event,
) -> None:
    """Run a service until `stop` is set. An error that ends a loop is raised.

    Every backend is checked once before any work is taken: a service without access to one would only make dead
    letters. Raises UsageError for a probe port that is taken or wrong credentials, BackendUnavailable for a backend
    that does not answer.
    """
    metrics = ServiceMetrics(staff.measures)
    _log_retries(name)
    for backend, check in backend_checks(context).items():
        if backend != "bus":  # the call below checks it
            check()
    context.bus.ensure(all_topics())
    if staff.first is not None:
        staff.first()
    loops = [
        Loop(
            context.bus,
            member,
            conditions.patience,
            conditions.grace,
            metrics,
            stop,
            Marks(context.store, member.group, conditions.most_ended),
        )
        for member in staff.members
    ]
    metrics.watch(context.bus, [(s.topic, s.group) for s in staff.members], lambda: context.children.running)
    probes = None
    if conditions.probes is not None:
        probes = Probes(*conditions.probes, _health(context, loops), metrics.registry)
    events.emit(
        events.ServiceStarted(
            service=name,
            version=__version__,
            groups=[service.group for service in staff.members],
            probes=probes.address if probes else None,
        )
    )
    with ThreadPoolExecutor(len(loops) + len(staff.beside), thread_name_prefix=name) as pool:
        running = [pool.submit(loop.run) for loop in loops] + [pool.submit(watch, stop) for watch in staff.beside]
        try:
            # only this thread runs signal handlers; a signal delivered to another thread does not wake it, so it polls
            while not (done := wait(running, SIGNAL_INTERVAL, return_when=FIRST_COMPLETED).done):
                if conditions.idle and time.monotonic() - max(loop.worked for loop in loops) > conditions.idle:
                    break
        finally:
            stop.set()
            wait(running)
            if probes:
                probes.close()
            metrics.close()
    for ended in (*done, *running):
        ended.result()
    events.emit(events.ServiceStopped(service=name))


def all_topics() -> list[str]:
    """The topic of every message class, and the dead-letter topic of each."""
    return [*TOPICS, *map(topic_of_letters, TOPICS)]


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set; a second signal ends the process at once."""
    stop = threading.Event()

    def on_signal(number: int, _frame: Any) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    return stop


def backend_checks(context: RunContext) -> dict[str, Check]:
    """One check per backend; it raises what is wrong."""
    checks: dict[str, Check] = {
        # a read, not a listing: only a read lets S3 tell a missing bucket from a missing object
        "store": lambda: context.store.get(layout.root_pointer()),
        "bus": context.bus.describe,
    }
    if context.tracker is not None:
        checks["tracker"] = context.tracker.check
    return checks


def _health(context: RunContext, loops: Sequence[Loop]) -> HealthChecks:
    def turning(loop: Loop) -> Check:
        def check() -> None:
            idle = time.monotonic() - loop.turned
            if idle > STUCK_AFTER:
                raise StageFailed(
                    f"the loop of {loop.service.group} has not turned for {idle:.0f} s",
                    code="loop-stuck",
                    group=loop.service.group,
                )

        return check

    live: Mapping[str, Check] = {loop.service.group: turning(loop) for loop in loops}
    return HealthChecks(live, {**live, **backend_checks(context)})


def _log_retries(service: str) -> None:
    """Log each retry as one event of ours; unlike the library's own line, it does not hold the message."""
    import stamina.instrumentation

    def on_retry(details: stamina.instrumentation.RetryDetails) -> None:
        events.emit(
            events.RetryScheduled(
                service=service, attempt=details.retry_num, wait_s=details.wait_for, reason=str(details.caused_by)
            )
        )

    stamina.instrumentation.set_on_retry_hooks([on_retry])

"""Run services until asked to stop: each in a thread, with probes beside them."""

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
from flts.runner.services.metrics import ServiceMetrics
from flts.runner.services.probe import Check, HealthChecks, Probes
from flts.runner.services.registry import Staff
from flts.version import __version__
from flts.wiring import RunContext

QUIET = 60.0
"""Seconds after which a loop that did not turn is stuck: a poll takes a quarter of one."""
SIGNALS = 0.5
"""Seconds between two looks for a signal."""


@dataclass(frozen=True)
class Conditions:
    """How services run here; none of it can change a number.

    patience: seconds of trying a Transient error again; grace: seconds that work in hand gets after a stop; probes:
    host and port, None for none.
    """

    patience: float = 120.0
    grace: float = 20.0
    probes: tuple[str, int] | None = None


def serve(
    name: str,
    context: RunContext,
    staff: Staff,
    conditions: Conditions,
    stop: threading.Event,
) -> None:
    """Until `stop` is set, or a defect ends a loop, which is raised.

    Every backend is asked once before any work is taken: a service that cannot reach them, or may not, would only make
    dead letters. Raises UsageError for a probe port that is taken or credentials that do not fit, BackendUnavailable
    for a backend that does not answer.
    """
    meters = ServiceMetrics()
    _tell_of_retries(name)
    for backend, check in backend_checks(context).items():
        if backend != "bus":  # it answers when it is asked for its topics
            check()
    context.bus.ensure(all_topics())
    if staff.first is not None:
        staff.first()
    loops = [Loop(context.bus, s, conditions.patience, conditions.grace, meters, stop) for s in staff.members]
    meters.watch(context.bus, [(s.topic, s.group) for s in staff.members], lambda: context.children.running)
    probes = None
    if conditions.probes is not None:
        probes = Probes(*conditions.probes, _health(context, loops), meters.registry)
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
            # only this thread handles signals, and the system may give one to another thread, which does not wake it
            while not (done := wait(running, SIGNALS, return_when=FIRST_COMPLETED).done):
                continue
        finally:
            stop.set()
            wait(running)
            if probes:
                probes.close()
    for ended in done:
        ended.result()
    events.emit(events.ServiceStopped(service=name))


def all_topics() -> list[str]:
    """Every topic that a message class names, and the topics of their dead letters."""
    return [*TOPICS, *map(topic_of_letters, TOPICS)]


def stop_on_signals() -> threading.Event:
    """Set by SIGTERM and SIGINT; a second signal ends the process at once."""
    stop = threading.Event()

    def asked(number: int, _frame: Any) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, asked)
    return stop


def backend_checks(context: RunContext) -> dict[str, Check]:
    """One question to each backend; it raises what is wrong."""
    checks: dict[str, Check] = {
        # read, not looked for: only then does S3 tell a bucket that is not there from an object
        "store": lambda: context.store.get(layout.root_pointer()),
        "bus": context.bus.describe,
    }
    if context.tracker is not None:
        checks["tracker"] = context.tracker.check
    return checks


def _health(context: RunContext, loops: Sequence[Loop]) -> HealthChecks:
    def turning(loop: Loop) -> Check:
        def check() -> None:
            still = time.monotonic() - loop.turned
            if still > QUIET:
                raise StageFailed(f"the loop of {loop.service.group} has not turned for {still:.0f} s")

        return check

    live: Mapping[str, Check] = {loop.service.group: turning(loop) for loop in loops}
    return HealthChecks(live, {**live, **backend_checks(context)})


def _tell_of_retries(service: str) -> None:
    """A repeated attempt is one line of ours, and no line holds what was worked on."""
    import stamina.instrumentation

    def said(details: stamina.instrumentation.RetryDetails) -> None:
        events.emit(
            events.RetryScheduled(
                service=service, attempt=details.retry_num, wait_s=details.wait_for, reason=str(details.caused_by)
            )
        )

    stamina.instrumentation.set_on_retry_hooks([said])

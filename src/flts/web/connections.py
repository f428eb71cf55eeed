"""What a client may cost before it has shown a token: limits on connections, and on the time that each may take.

A head that has begun has some seconds to end, and a reader some for what was sent to it. A connection that is quiet
after an answer stays open for longer than proxies keep theirs, so that it is they who end it. When all connections are
taken, a new one replaces that which has waited longest without a request, so that a probe is answered however many
half-sent heads there are.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from flts.contracts import events

HEAD_SECONDS = 10.0
"""How long a connection may wait for a whole head."""
IDLE_SECONDS = 60.0
"""How long a client may take for 256 KiB, or for what is left: to read them, or to send them."""
QUIET_SECONDS = 75.0
"""How long a connection stays open after an answer. Proxies and load balancers usually close theirs after 60 seconds; a
server that is quicker than they closes some at the moment at which they send the next request, which is then lost."""
LOG_SECONDS = 60.0
"""Least time between two lines about the same kind of trouble."""
OWN_DESCRIPTORS = 32
"""Open files of the process itself; each connection needs one more, and its request one for the store."""


@dataclass(frozen=True)
class ConnectionLimits:
    """What all connections together, and each of them, may take."""

    connections: int
    head_seconds: float = HEAD_SECONDS
    idle_seconds: float = IDLE_SECONDS
    quiet_seconds: float = QUIET_SECONDS


def affordable(connections: int) -> int:
    """As many connections as the limit on open files allows, at most `connections`; that limit is raised if it may be.

    One connection is allowed in any case.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = OWN_DESCRIPTORS + 2 * connections
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, (soft - OWN_DESCRIPTORS) // 2))


class TroubleLog:
    """Logs each kind of trouble at once, and then its count once a minute."""

    def __init__(self, service: str, limit: int, seconds: float = LOG_SECONDS) -> None:
        self._service, self._limit, self._seconds = service, limit, seconds
        self._counts: Counter[str] = Counter()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def note(self, reason: str) -> None:
        """Count one more connection that was closed for this reason."""
        self._counts[reason] += 1
        if reason not in self._timers:
            self._log(reason)

    def log_rest(self) -> None:
        """Log what was counted since the last lines."""
        for reason in list(self._counts):
            self._emit(reason)

    def _log(self, reason: str) -> None:
        self._timers.pop(reason, None)
        if self._counts[reason]:
            self._emit(reason)
            self._timers[reason] = asyncio.get_running_loop().call_later(self._seconds, self._log, reason)

    def _emit(self, reason: str) -> None:
        events.emit(
            events.ConnectionTrouble(
                service=self._service, reason=reason, count=self._counts.pop(reason), limit=self._limit
            )
        )


class Peer(Protocol):
    """One connection."""

    transport: asyncio.Transport


class Connections:
    """All connections of one server."""

    def __init__(self, service: str, limits: ConnectionLimits) -> None:
        self.limits, self.trouble = limits, TroubleLog(service, limits.connections)
        self._open: set[Peer] = set()
        self._waiting: dict[Peer, None] = {}
        self.draining = False
        """Whether the server was asked to stop: every answer is the last one of its connection."""

    def admit(self, new: Peer) -> bool:
        """Whether there is room for one more, if need be in place of the one that has waited longest."""
        if len(self._open) >= self.limits.connections:
            self.trouble.note("full")
            oldest = next(iter(self._waiting), None)
            if oldest is None:
                return False
            self.forget(oldest)
            oldest.transport.abort()
        self._open.add(new)
        return True

    def waits(self, connection: Peer) -> None:
        """A connection has no request in work from now on."""
        self._waiting[connection] = None

    def works(self, connection: Peer) -> None:
        """A connection has a request in work."""
        self._waiting.pop(connection, None)

    def forget(self, connection: Peer) -> None:
        """A connection has ended."""
        self._open.discard(connection)
        self.works(connection)

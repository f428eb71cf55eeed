"""Services that a chaos monkey kills, stops and freezes while they work, and restarts each time."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.support.processes import Processes, Service

from flts.contracts.ports import Bus

ROSTER = (
    ("train", "ridge,automfles"),
    ("train", "ridge,gru"),
    ("train", "gru,automfles"),
    ("evaluate", ""),
    ("evaluate", ""),
    ("forecast", ""),
)
SETTLED = 4.0
"""Seconds after its start from which a member is in its groups."""
FORMED = 20.0
"""Seconds after which a group has formed, however its members came and went."""
LOOK = 0.5
"""Seconds between two checks of a group."""
DEEDS = {"kill": 0.6, "term": 0.2, "freeze": 0.2}


@dataclass
class Crew:
    """Who is at work. Of those who share a group one at a time is disturbed."""

    running: Processes
    chance: random.Random
    bus: Bus
    deeds: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    """What a service did that none may do."""
    _members: list[Service] = field(default_factory=list)
    _disturbed: dict[int, Future[None]] = field(default_factory=dict)

    def start(self) -> None:
        """Everyone, one at a time."""
        self._members = [self.running.worker(name, models) for name, models in ROSTER]
        time.sleep(SETTLED)

    def disturb(self, stop: threading.Event) -> None:
        """Until `stop` is set; then everyone is at work again."""
        with ThreadPoolExecutor(len(ROSTER), thread_name_prefix="monkey") as pool:
            while not stop.wait(self.chance.uniform(0.2, 1.0)):
                self._disturbed = {i: deed for i, deed in self._disturbed.items() if not deed.done()}
                groups = {ROSTER[i][0] for i in self._disturbed}
                free = [i for i, (name, _) in enumerate(ROSTER) if name not in groups]
                if free:
                    victim = self.chance.choice(free)
                    (deed,) = self.chance.choices(list(DEEDS), list(DEEDS.values()))
                    seconds = self.chance.uniform(2.0, 8.0) if deed == "freeze" else self.chance.uniform(0.0, 1.5)
                    self.deeds[deed] += 1
                    self._disturbed[victim] = pool.submit(getattr(self, f"_{deed}"), victim, seconds)
        for deed_done in self._disturbed.values():
            deed_done.result()

    def stuck(self) -> list[str]:
        """Groups that the broker is still forming, to be asked when it has had long enough.

        When the leader of a group leaves Tansu (LeaveGroup) while the group forms, it stays the leader: JoinGroup is
        answered with its id, and SyncGroup of everyone who is there with REBALANCE_IN_PROGRESS, for ever, unless the
        broker is started again or a member leaves at the right moment. Kafka's coordinator chooses another leader.
        """
        groups = {group for member in range(len(ROSTER)) for group in _groups(member)}
        return [group for group in sorted(groups) if not self._formed([group])]

    def dismiss(self) -> None:
        """Everyone ends well."""
        for member in self._members:
            self._stop(member)

    def _kill(self, victim: int, seconds: float) -> None:
        self._again(victim, Service.kill, seconds)
        time.sleep(SETTLED)

    def _term(self, victim: int, seconds: float) -> None:
        end = time.monotonic() + FORMED  # so `stuck` is rare; it can still be, for work in hand is ended before a leave
        while time.monotonic() < end and not self._formed(_groups(victim)):
            time.sleep(LOOK)
        self._again(victim, self._stop, seconds)
        time.sleep(SETTLED)

    def _freeze(self, victim: int, seconds: float) -> None:
        pid = self._members[victim].process.pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(pid, signal.SIGCONT)

    def _again(self, victim: int, end: Callable[[Service], None], seconds: float = 0.0) -> None:
        code = self._members[victim].process.poll()
        if code is not None:
            self.wrong.append(f"{self._members[victim].log.name} ended by itself with code {code}")
        end(self._members[victim])
        time.sleep(seconds)
        self._members[victim] = self.running.worker(*ROSTER[victim])

    def _stop(self, member: Service) -> None:
        code = member.stop()
        if code != 0:
            self.wrong.append(f"{member.log.name} was asked to end and ended with code {code}")

    def _formed(self, groups: Sequence[str]) -> bool:
        """Whether everyone in these groups knows what is theirs. This broker names somebody only then."""
        return all(self.bus.describe(groups).members.values())


def _groups(member: int) -> list[str]:
    """The groups that one of the roster is in."""
    name, models = ROSTER[member]
    return [f"{name}-{model}" for model in models.split(",")] if models else [name]

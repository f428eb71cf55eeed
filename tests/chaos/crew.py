"""Services that a monkey kills, asks to end and freezes while they work, and that are started again each time."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.support.processes import Processes, Service

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
FORGOTTEN = 8.0
"""Seconds after which the broker has noticed that a member is gone, and the others have shared what it had."""
DEEDS = {"kill": 0.6, "term": 0.2, "freeze": 0.2}


@dataclass
class Crew:
    """Who is at work. Of those who share a group one at a time is disturbed."""

    running: Processes
    chance: random.Random
    deeds: Counter[str] = field(default_factory=Counter)
    reliefs: int = 0
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

    def relieve(self) -> None:
        """Everyone ends and is started once more, one at a time.

        The broker of these tests may leave a partition to nobody when members come and go at the same moment, until
        the next one comes or goes; so each change is given its time.
        """
        self.reliefs += 1
        for i in range(len(ROSTER)):
            self._again(i, self._stop, FORGOTTEN)
            time.sleep(SETTLED)

    def dismiss(self) -> None:
        """Everyone ends well."""
        for member in self._members:
            self._stop(member)

    def _kill(self, victim: int, seconds: float) -> None:
        self._again(victim, Service.kill, seconds)
        time.sleep(SETTLED)

    def _term(self, victim: int, seconds: float) -> None:
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

"""Scenes for crash tests: a prepared folder, a command that is ended somewhere in it, and what must come of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.children import carrying, eventually
from tests.support.experiments import write_experiment
from tests.support.stored import contents

from flts.backends.store import open_store
from flts.contracts import layout
from flts.contracts.failpoints import ENV
from flts.contracts.ports import Store
from flts.contracts.records.log import LogEntry
from flts.home import locked
from flts.promotion.log import read_log

Command = tuple[str, ...]

RUN: Command = ("run",)
WEAKER: Command = ("run", "--set", "task.input_length=6", "--set", "models.ridge.alphas=[1e6]")
"""An experiment on other windows, whose champion the one of flts.toml beats."""
TIMED: Command = ("run", "--set", "evaluate.max_latency_ms=1000")
ROLLBACK: Command = ("promotions", "rollback")
BY_HAND: Command = ("promotions", "promote", "{first}", "ridge")
"""`{first}` stands for the configuration of the first promotion."""
MARK = "CRASH_TEST"

MOMENTS = {"run", "started", "ended", "claimed_by", "duration_ms"}
"""Of the record of a run: its number, when it was, how long it took, and who took the number."""
PAST = {"fitted", "reused"}
"""Of the record of a run: what it found done by the run before, which depends on where that one was ended."""


@dataclass(frozen=True)
class Scene:
    """`before`: commands that prepare the folder, each with its failpoints; `command`: the one that is ended.

    again: what is run after one that had promoted already before it was ended.
    """

    command: Command
    before: Sequence[tuple[Command, str]] = ()
    again: Command | None = None

    def next(self, *, promoted: bool) -> Command:
        """The command that ends what the first one began."""
        return self.again if promoted and self.again else self.command


SCENES: Mapping[str, Scene] = {
    "first run": Scene(RUN),
    "judgement": Scene(RUN, [(WEAKER, ""), (RUN, "run.train.after=kill")]),
    "rollback": Scene(ROLLBACK, [(WEAKER, ""), (RUN, "")], again=RUN),
    "by hand": Scene(BY_HAND, [(WEAKER, ""), (RUN, "")]),
    "latency": Scene(TIMED, [(TIMED, "run.train.after=kill")]),
}


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Place:
    """One folder that `flts` is run in."""

    folder: Path

    @property
    def store(self) -> Store:
        """What lies in its .flts."""
        return open_store((self.folder / ".flts" / "objects").as_uri())

    @property
    def log(self) -> list[LogEntry]:
        """Its promotions, their chain checked."""
        return read_log(self.store, "global")

    def flts(self, command: Command, armed: str = "") -> Ended:
        """Run the command line in a process of its own."""
        words = [self.log[0].champion.config_hash if word == "{first}" else word for word in command]
        (self.folder / "tmp").mkdir(exist_ok=True)
        ended = subprocess.run(
            [sys.executable, "-m", "flts", *words],
            cwd=self.folder,
            env={name: value for name, value in os.environ.items() if not name.startswith("FLTS_")}
            | {"FLTS_TRACKING": "off", "FLTS_LOG_FORMAT": "off", ENV: armed}
            | {"TMPDIR": str(self.folder / "tmp"), MARK: str(self.folder)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def objects(self) -> dict[str, Any]:
        """Everything stored but the records of runs, without what says when it was.

        Of a log entry, its time and the digest of the entry before, which holds a time; of a pointer, the time.
        """
        found: dict[str, Any] = {}
        for key, data in contents(self.store).items():
            if key.startswith("runs/"):
                continue
            if key.startswith(layout.log("global")):
                found[key] = _without(json.loads(data), {"time", "previous_sha256"})
            elif key.endswith("/current.json"):
                found[key] = _without(json.loads(data), {"ts"})
            else:
                found[key] = data
        return found

    def newest_run(self) -> dict[str, Any]:
        """The record of the newest run of the experiment of flts.toml, part by part; empty where there is none."""
        runs = {key.rpartition("/")[0]: key for key in self.store.list("runs/") if key.endswith("/claim.json")}
        if not runs:
            return {}
        newest = max(runs, key=lambda run: json.loads(self.store.get(runs[run]) or b"")["started"])
        parts = contents(self.store, f"{newest}/")
        return {
            key.removeprefix(f"{newest}/"): _without(json.loads(data), MOMENTS | PAST) for key, data in parts.items()
        }

    def failures(self) -> list[str]:
        """Why models failed, in any run."""
        return [
            json.loads(data)["reason"] for key, data in contents(self.store, "runs/").items() if "/failures/" in key
        ]

    def assert_nothing_lives_or_lies_about(self) -> None:
        """No process, no lock, no temporary file."""
        assert eventually(lambda: carrying(f"{MARK}={self.folder}") == []), carrying(f"{MARK}={self.folder}")
        assert eventually(lambda: not any((self.folder / "tmp").iterdir()))
        home = self.folder / ".flts"
        if home.exists():
            assert {path.name for path in home.iterdir()} <= {"VERSION", "lock", "objects"}
            with locked(home):
                on_disk = [p for p in (home / "objects").rglob("*") if p.is_file()]
                assert sorted(p.relative_to(home / "objects").as_posix() for p in on_disk) == self.store.list("")


class Stage:
    """Makes each prepared folder, and what undisturbed commands make of it, once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, Place] = {}

    def set_up(self, name: str, folder: Path) -> Place:
        """A copy of the prepared folder of a scene."""
        shutil.copytree(self._prepared(name).folder, folder / "scene")
        return Place(folder / "scene")

    def undisturbed(self, name: str, *, twice: bool) -> Place:
        """What the command of a scene makes of its folder; `twice`: and what is run after it."""
        key = f"{name} {'twice' if twice else 'once'}"
        if key not in self._made:
            scene = SCENES[name]
            place = self.set_up(name, self._folder / key)
            for command in (scene.command, scene.next(promoted=True))[: 1 + twice]:
                ended = place.flts(command)
                assert ended.code == 0, ended.err
            self._made[key] = place
        return self._made[key]

    def _prepared(self, name: str) -> Place:
        if name not in self._made:
            place = Place(self._folder / name)
            place.folder.mkdir()
            write_experiment(place.folder)
            for command, armed in SCENES[name].before:
                ended = place.flts(command, armed)
                assert (ended.code == 0) == (armed == ""), ended.err
            self._made[name] = place
        return self._made[name]


def _without(record: Mapping[str, Any], fields: set[str]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in fields}

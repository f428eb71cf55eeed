"""Scenes for crash tests: a prepared folder, a command that is ended at some point, and the expected result."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.children import carrying, eventually
from tests.support.experiments import write_experiment
from tests.support.stored import contents
from tests.support.warm import Warm

from flts.backends.store import open_store
from flts.contracts import layout
from flts.contracts.canonical import sha256
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
PAIR: Command = ("run", "--models", "prophet,ridge")
WITH_ENSEMBLE: Command = ("run", "--models", "prophet,ridge,ensemble")
"""The models of the pair and their ensemble, which is made in the process of the run."""
ROLLBACK: Command = ("promotions", "rollback")
BY_HAND: Command = ("promotions", "promote", "{first}", "ridge")
"""`{first}` stands for the configuration of the first promotion."""
MARK = "CRASH_TEST"

MOMENTS = {"run", "started", "ended", "claimed_by", "duration_ms", "entry_sha256", "rests_on"}
"""Fields of the record of a run: its number, its times, its duration, the owner of the number, and digests of records
that have a time."""
PAST = {"fitted", "reused"}
"""Fields of the record of a run that depend on how far the run before it got."""


@dataclass(frozen=True)
class Scene:
    """`before`: commands that prepare the folder, each with its failpoints; `command`: the one that is ended.

    again: the command to run next when the ended one had already promoted.
    """

    command: Command
    before: Sequence[tuple[Command, str]] = ()
    again: Command | None = None

    def next(self, *, promoted: bool) -> Command:
        """The command that finishes what the first one began."""
        return self.again if promoted and self.again else self.command


SCENES: Mapping[str, Scene] = {
    "first run": Scene(RUN),
    "judgement": Scene(RUN, [(WEAKER, ""), (RUN, "run.train.after=kill")]),
    "rollback": Scene(ROLLBACK, [(WEAKER, ""), (RUN, "")], again=RUN),
    "by hand": Scene(BY_HAND, [(WEAKER, ""), (RUN, "")]),
    "ensemble": Scene(WITH_ENSEMBLE, [(PAIR, "")]),
    "latency": Scene(TIMED, [(TIMED, "run.train.after=kill")]),
}


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Workspace:
    """One folder that `flts` is run in. warm: from which its processes are forked."""

    folder: Path
    warm: Warm

    @property
    def store(self) -> Store:
        """The store in its .flts."""
        return open_store((self.folder / ".flts" / "objects").as_uri())

    @property
    def log(self) -> list[LogEntry]:
        """Its promotion log, with the chain checked."""
        return read_log(self.store, "global")

    def flts(self, command: Command, armed: str = "") -> Ended:
        """Run the command line in its own process."""
        words = [self.log[0].champion.config_hash if word == "{first}" else word for word in command]
        (self.folder / "tmp").mkdir(exist_ok=True)
        ended = self.warm.run(
            words,
            self.folder,
            {name: value for name, value in os.environ.items() if not name.startswith("FLTS_")}
            | {"FLTS_TRACKING": "off", "FLTS_LOG_FORMAT": "off", ENV: armed}
            | {"TMPDIR": str(self.folder / "tmp"), MARK: str(self.folder)},
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def objects(self) -> dict[str, Any]:
        """Everything stored except the records of runs, without times.

        A log entry is without its time and the digest of the entry before, which depends on a time; a pointer is
        without its time, the digest of its entry and the id that follows from it.
        """
        objects: dict[str, Any] = {}
        for key, data in contents(self.store).items():
            if key.startswith("runs/"):
                continue
            if key.startswith(layout.log("global")):
                objects[key] = _without(json.loads(data), {"time", "previous_sha256"})
            elif key.endswith("/current.json"):
                objects[key] = _without(json.loads(data), {"ts", "entry_sha256", "event_id"})
            else:
                objects[key] = data
        return objects

    def newest_run(self) -> dict[str, Any]:
        """The parts of the newest run of flts.toml; empty where there is no run."""
        runs = {key.rpartition("/")[0]: key for key in self.store.list("runs/") if key.endswith("/claim.json")}
        if not runs:
            return {}
        newest = max(runs, key=lambda run: json.loads(self.store.get(runs[run]) or b"")["started"])
        parts = {key.removeprefix(f"{newest}/"): data for key, data in contents(self.store, f"{newest}/").items()}
        assert [key for key in parts if key.startswith("seals/")] == [f"seals/{sha256(parts['judge.json'])}.json"]
        return {
            key: _without(json.loads(data), MOMENTS | PAST)
            for key, data in parts.items()
            if not key.startswith("seals/")
        }

    def failures(self) -> list[str]:
        """The reasons of all failures in all runs."""
        return [
            json.loads(data)["reason"] for key, data in contents(self.store, "runs/").items() if "/failures/" in key
        ]

    def assert_nothing_is_left(self) -> None:
        """No process, no lock and no temporary file is left."""
        assert eventually(lambda: carrying(f"{MARK}={self.folder}") == []), carrying(f"{MARK}={self.folder}")
        assert eventually(lambda: not any((self.folder / "tmp").iterdir()))
        home = self.folder / ".flts"
        if home.exists():
            assert {path.name for path in home.iterdir()} <= {"VERSION", "lock", "objects"}
            with locked(home):
                on_disk = [p for p in (home / "objects").rglob("*") if p.is_file()]
                assert sorted(p.relative_to(home / "objects").as_posix() for p in on_disk) == self.store.list("")


class Stage:
    """Makes each prepared folder, and the result of undisturbed commands in it, once."""

    def __init__(self, folder: Path, warm: Warm) -> None:
        self._folder, self._warm = folder, warm
        self._made: dict[str, Workspace] = {}

    def set_up(self, name: str, folder: Path) -> Workspace:
        """A copy of the prepared folder of a scene."""
        shutil.copytree(self._prepared(name).folder, folder / "scene")
        return Workspace(folder / "scene", self._warm)

    def undisturbed(self, name: str, *, twice: bool) -> Workspace:
        """The result of the command of a scene in its folder; twice: followed by the next command."""
        key = f"{name} {'twice' if twice else 'once'}"
        if key not in self._made:
            scene = SCENES[name]
            workspace = self.set_up(name, self._folder / key)
            for command in (scene.command, scene.next(promoted=True))[: 1 + twice]:
                ended = workspace.flts(command)
                assert ended.code == 0, ended.err
            self._made[key] = workspace
        return self._made[key]

    def _prepared(self, name: str) -> Workspace:
        if name not in self._made:
            workspace = Workspace(self._folder / name, self._warm)
            workspace.folder.mkdir()
            write_experiment(workspace.folder)
            for command, armed in SCENES[name].before:
                ended = workspace.flts(command, armed)
                assert (ended.code == 0) == (armed == ""), ended.err
            self._made[name] = workspace
        return self._made[name]


def _without(record: Mapping[str, Any], fields: set[str]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in fields}

"""Real children of `train_isolated`, and how to make one misbehave."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from flts.backends.store import open_store
from flts.contracts import layout
from flts.contracts.canonical import canonical_json
from flts.contracts.ports import Store, write_once
from flts.train.experiment import Experiment
from flts.train.isolate import Claim
from tests.support.experiments import small_experiment, small_spec
from tests.support.services import LONG


def on_disk(folder: Path, model: str = "ridge") -> tuple[Experiment, Store, Claim]:
    """A small experiment in a store that another process can open, and the claim for one of its models."""
    experiment, memory = small_experiment(small_spec((model,)))
    store = open_store(f"file://{folder / 'objects'}")
    for key in memory.list(""):
        store.create(key, memory.get(key) or b"")
    identity = experiment.identity
    write_once(store, layout.spec(identity.config_hash), canonical_json(experiment.spec.identity()), at="test.spec")
    return experiment, store, Claim(store.url, identity.config_hash, identity.data_hash, model, recompute=False)


def startup_hook(folder: Path, code: str) -> str:
    """A PYTHONPATH under which every new interpreter runs this code before anything else."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(code)
    return os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))


def living(group: int) -> list[str]:
    """The running processes of a group, as lines of `ps`; a zombie has ended."""
    ps = shutil.which("ps")
    assert ps is not None, "these tests need the command ps"
    listed = subprocess.run([ps, "-A", "-o", "pgid=,pid=,stat=,args="], capture_output=True, text=True, check=True)
    processes = (line.split(None, 3) for line in listed.stdout.splitlines())
    return [" ".join(fields) for fields in processes if int(fields[0]) == group and not fields[2].startswith("Z")]


def carrying(variable: str) -> list[str]:
    """The commands of all processes whose environment has NAME=value; none on a system without /proc."""
    commands = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended, or belongs to another user
        if variable.encode() in environment:
            commands.append(command.replace(b"\0", b" ").decode())
    return commands


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether the condition comes true."""
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False

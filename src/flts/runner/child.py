"""One `train` in a process of its own: `python -m flts.runner.child`, keys on stdin, JSON lines on stdout."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from flts.contracts import events
from flts.contracts.errors import FltsError
from flts.contracts.machine import machine_fault
from flts.train.isolate import SCRATCH, Claim

if TYPE_CHECKING:
    from flts.train.stage import Trained

OWN_MEMORY = "no-memory"
"""Code of a fault that is the fit's own in this process: it asked for more memory than it may have."""


class _Reporter:
    """A Progress that reports to the parent process."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def send(self, kind: str, **fields: object) -> None:
        self._out.write(json.dumps({"kind": kind, **fields}) + "\n")
        self._out.flush()

    def epoch(self, done: int, of: int, train_loss: float, val_loss: float) -> None:
        self.send("epoch", done=done, of=of, train_loss=train_loss, val_loss=val_loss)

    def phase(self, name: str) -> None:
        self.send("phase", name=name)


def main() -> None:
    """Train one model. Output of libraries goes to stderr; stdout is the channel to the parent."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    order = sys.stdin.readline()
    if not order:
        return  # the parent ended before it sent its order
    claim = Claim(**json.loads(order))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    reporter = _Reporter(out)
    reporter.send("begun")
    events.divert(lambda fields: reporter.send("event", fields=fields))
    report_outcome = _train_to_report(claim, reporter)
    _remove_scratch()  # before the report: the parent may end this process as soon as it reads it
    report_outcome()


def _train_to_report(claim: Claim, reporter: _Reporter) -> Callable[[], None]:
    """Train, and return the call that reports the result or the failure."""
    try:
        _make_scratch()
        trained = asdict(_train(claim, reporter))
    except FltsError as error:
        return partial(reporter.send, "failed", **_failed(error))
    except Exception as error:  # noqa: BLE001 - anything a model library raises makes a failed candidate
        fault = machine_fault(error)
        if fault is not None and fault.code != OWN_MEMORY:
            return partial(reporter.send, "failed", **_failed(fault))
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}"
        return partial(reporter.send, "failed", **{"class": "TrainingFailed", "reason": reason})
    return partial(reporter.send, "trained", trained=trained)


def _failed(error: FltsError) -> dict[str, object]:
    return {"class": type(error).__name__, "reason": str(error), "code": error.code, "data": dict(error.data)}


def _train(claim: Claim, reporter: _Reporter) -> Trained:
    from flts.runner.stored import load_experiment
    from flts.train.stage import model_spec, train
    from flts.wiring import open_store

    store = open_store(claim.store, make=False)
    experiment = load_experiment(store, claim.config_hash, claim.data_hash)
    model = model_spec(experiment.spec, experiment.identity, claim.model)
    return train(experiment.dataset, model, experiment.windows, store, reporter, recompute=claim.recompute)


def _make_scratch() -> None:
    """Make the folder for temporary files that the parent named; the parent removes it if this process is killed."""
    scratch = Path(os.environ.get("TMPDIR", ""))
    if scratch.name.startswith(SCRATCH):
        scratch.mkdir(mode=0o700)


def _remove_scratch() -> None:
    scratch = Path(os.environ.get("TMPDIR", ""))
    if scratch.name.startswith(SCRATCH):
        shutil.rmtree(scratch, ignore_errors=True)


def _end_with_parent() -> None:
    """Kill this process group when the parent is gone: stdin closes then, however the parent ended."""
    while os.read(0, 1):  # not sys.stdin: holding its lock in a thread breaks the interpreter's exit
        continue
    _remove_scratch()
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    main()

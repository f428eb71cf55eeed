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
from flts.train.isolate import SCRATCH, Claim

if TYPE_CHECKING:
    from flts.train.stage import Trained


class _Reporter:
    """A Progress that tells the parent."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def say(self, said: str, **fields: object) -> None:
        self._out.write(json.dumps({"said": said, **fields}) + "\n")
        self._out.flush()

    def epoch(self, done: int, of: int, train_loss: float, val_loss: float) -> None:
        self.say("epoch", done=done, of=of, train_loss=train_loss, val_loss=val_loss)

    def phase(self, name: str) -> None:
        self.say("phase", name=name)


def main() -> None:
    """Train one model; whatever a library prints goes to stderr, stdout belongs to the parent."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    said = sys.stdin.readline()
    if not said:
        return  # whoever started this ended before it said what to do
    claim = Claim(**json.loads(said))
    _make_scratch()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    reporter = _Reporter(out)
    events.divert(lambda fields: reporter.say("event", fields=fields))
    last_word = _last_word(claim, reporter)
    _remove_scratch()  # before the parent hears it, and may end before it comes to that
    last_word()


def _last_word(claim: Claim, reporter: _Reporter) -> Callable[[], None]:
    """What became of it, to be said."""
    try:
        trained = asdict(_train(claim, reporter))
    except FltsError as error:
        failed = {
            "class": type(error).__name__,
            "reason": str(error),
            "code": error.code,
            "data": dict(error.data),
        }
    except Exception as error:  # noqa: BLE001 - whatever a model library raises is a failed candidate with its reason
        traceback.print_exc()
        failed = {"class": "TrainingFailed", "reason": f"{type(error).__name__}: {error}"}
    else:
        return partial(reporter.say, "trained", trained=trained)
    return partial(reporter.say, "failed", **failed)


def _train(claim: Claim, reporter: _Reporter) -> Trained:
    from flts.runner.stored import load_experiment
    from flts.train.stage import model_spec, train
    from flts.wiring import open_store

    store = open_store(claim.store)
    experiment = load_experiment(store, claim.config_hash, claim.data_hash)
    model = model_spec(experiment.spec, experiment.identity, claim.model)
    return train(experiment.dataset, model, experiment.windows, store, reporter, recompute=claim.recompute)


def _make_scratch() -> None:
    """The folder for temporary files that the parent named; it removes what a child that was killed leaves."""
    scratch = Path(os.environ.get("TMPDIR", ""))
    if scratch.name.startswith(SCRATCH):
        scratch.mkdir(mode=0o700)


def _remove_scratch() -> None:
    scratch = Path(os.environ.get("TMPDIR", ""))
    if scratch.name.startswith(SCRATCH):
        shutil.rmtree(scratch, ignore_errors=True)


def _end_with_parent() -> None:
    """stdin closes when the parent is gone, however it went; then this group has no one to work for."""
    while os.read(0, 1):  # not sys.stdin: a thread that holds its lock would break the interpreter's exit
        continue
    _remove_scratch()
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    main()

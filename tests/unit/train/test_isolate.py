"""A fit in its own process: however the child ends, the parent reports why and goes on, and nothing is left behind."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support import ROOT
from tests.support.candidates import finish
from tests.support.children import eventually, living, on_disk, startup_hook
from tests.support.experiments import small_experiment
from tests.support.families import has_libraries
from tests.support.raising import raises
from tests.support.tracking import context_of

from flts.contracts import events, layout
from flts.contracts.errors import (
    BackendUnavailable,
    DamagedObject,
    DataError,
    DeadlineExceeded,
    FltsError,
    Interrupted,
    MachineFailed,
    NotApplicable,
    StageFailed,
    TrainingFailed,
    UsageError,
)
from flts.contracts.ports import Silent
from flts.train import isolate
from flts.train.isolate import SCRATCH, Children, Claim, train_isolated
from flts.train.stage import Trained, stored_result

pytestmark = pytest.mark.slow

LONG = 600.0
"""A time limit that no child of these tests reaches."""


class Told(Silent):
    def __init__(self) -> None:
        self.phases: list[str] = []
        self.epochs: list[tuple[int, int]] = []

    def phase(self, name: str) -> None:
        self.phases.append(name)

    def epoch(self, done: int, of: int, train_loss: float, val_loss: float) -> None:
        assert isinstance(train_loss, float)
        assert isinstance(val_loss, float)
        self.epochs.append((done, of))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[str]]]:
    """The children that a test starts; when it ends, none of their processes is alive."""
    children: list[subprocess.Popen[str]] = []
    popen = subprocess.Popen

    def remembered(command: list[str], **options: Any) -> subprocess.Popen[str]:
        child: subprocess.Popen[str] = popen(command, **options)
        if command[1:] == ["-m", "flts.runner.child"]:
            children.append(child)
        return child

    monkeypatch.setattr(subprocess, "Popen", remembered)
    yield children
    monkeypatch.undo()
    assert all(child.returncode is not None for child in children), "every child was waited for"
    assert eventually(lambda: not any(living(child.pid) for child in children))


@pytest.fixture
def isolated(tmp_path: Path, started: list[subprocess.Popen[str]]) -> Callable[..., Trained]:
    """Train ridge on a small experiment in a child."""

    def run(limit: float = LONG, progress: Told | None = None, children: Children | None = None) -> Trained:
        _, _, claim = on_disk(tmp_path)
        trained = train_isolated(claim, 1, limit, progress or Told(), children or Children(1))
        assert len(started) == 1
        return trained

    return run


@pytest.fixture
def hooked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make every child run this code when it starts."""

    def hook(code: str) -> None:
        monkeypatch.setenv("PYTHONPATH", startup_hook(tmp_path / "hook", code))

    return hook


def in_fit(*body: str) -> str:
    """Code of a hook that runs `body` before each fit of ridge; `fit(*arguments)` is the real fit."""
    return "\n".join(
        [
            "import os, pathlib, signal, subprocess, sys, tempfile, time",
            "from flts.models.ridge import Ridge",
            "fit = Ridge.fit",
            "def instead(*arguments):",
            *(f"    {line}" for line in body),
            "    return fit(*arguments)",
            "Ridge.fit = instead",
        ]
    )


def test_the_result_of_a_child_is_the_one_in_the_store(tmp_path: Path, started: list[subprocess.Popen[str]]) -> None:
    experiment, store, claim = on_disk(tmp_path)
    told = Told()
    trained = train_isolated(claim, 1, LONG, told, Children(1))
    assert trained.fitted
    stored = stored_result(store, "ridge", trained.model_hash, experiment.windows.windows_hash)
    assert stored == dataclasses.replace(trained, fitted=False)
    assert told.phases == ["fit", "validate", "refit", "save", "forecast"]
    again = train_isolated(claim, 1, LONG, told, Children(1))
    assert again == stored
    recomputed = train_isolated(dataclasses.replace(claim, recompute=True), 1, LONG, told, Children(1))
    assert recomputed.recomputed == "equal"
    assert len(started) == 3


@pytest.mark.skipif(not has_libraries("gru"), reason="needs the extra 'torch'")
def test_every_epoch_of_a_child_reaches_the_parent(tmp_path: Path, started: list[subprocess.Popen[str]]) -> None:
    _, _, claim = on_disk(tmp_path, "gru")
    told = Told()
    trained = train_isolated(claim, 1, LONG, told, Children(1))
    assert told.epochs == [(1, 2), (2, 2)]
    assert [list(losses) for losses in trained.curve] == trained.curve
    assert len(trained.curve) == len(started) * 2


def test_a_killed_child_fails_the_training_and_names_the_signal(
    isolated: Callable[..., Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLTS_FAILPOINTS", "train.bundle.before=kill")
    with raises(TrainingFailed, code="process-died", signal="SIGKILL", output=""):
        isolated()


def test_the_reason_of_a_crash_holds_the_last_output(
    isolated: Callable[..., Trained], hooked: Callable[[str], None]
) -> None:
    hooked(in_fit("print('out of luck', file=sys.stderr)", "os.kill(os.getpid(), signal.SIGSEGV)"))
    with raises(TrainingFailed, code="process-died", signal="SIGSEGV", output="out of luck") as caught:
        isolated()
    assert str(caught.value) == "the training process was killed by SIGSEGV: out of luck"


def test_the_reason_holds_only_the_last_lines_of_the_output(
    isolated: Callable[..., Trained], hooked: Callable[[str], None]
) -> None:
    hooked(in_fit("print(*range(1000), sep=chr(10), file=sys.stderr)", "sys.stderr.flush()", "os._exit(9)"))
    with raises(TrainingFailed, code="process-died", exit_code=9, output="997 | 998 | 999") as caught:
        isolated()
    assert str(caught.value) == "the training process ended with exit code 9: 997 | 998 | 999"


def test_a_library_that_exits_the_process_fails_the_training(
    isolated: Callable[..., Trained], hooked: Callable[[str], None]
) -> None:
    hooked(in_fit("sys.exit(3)"))
    with raises(TrainingFailed, code="process-died", signal=None, exit_code=3, output=""):
        isolated()


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ("resource.RLIMIT_FSIZE, (10, 10)", "disk-full"),
        ("resource.RLIMIT_NOFILE, (1 + max(map(int, os.listdir('/dev/fd'))),) * 2", "no-descriptors"),
    ],
)
def test_what_the_machine_refuses_a_child_is_no_failed_model(
    limit: str, code: str, isolated: Callable[..., Trained], hooked: Callable[[str], None]
) -> None:
    """A limit of the process stands in for the full disk and the full table of files of a machine."""
    hooked(
        in_fit(
            "import resource",
            "os.dup(2)" if code == "disk-full" else "[os.open(os.devnull, 0) for _ in range(8)]",
            f"resource.setrlimit({limit})",
        )
    )
    with raises(MachineFailed, code=code):
        isolated()


def test_a_child_that_may_have_no_more_memory_fails_the_training(
    isolated: Callable[..., Trained], hooked: Callable[[str], None]
) -> None:
    limit = "resource.setrlimit(resource.RLIMIT_AS, (2**32,) * 2)"
    hooked(in_fit("import resource", limit, "bytearray(2**33)"))
    with raises(TrainingFailed, code="training-failed"):
        isolated()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM, errno.EAGAIN])
def test_a_machine_that_can_start_no_child_fails_no_model(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, store = small_experiment()

    def refused(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(subprocess, "Popen", refused)
    with pytest.raises(MachineFailed):
        finish(context_of(store), experiment)
    assert list(store.list("runs/")) == []


def test_output_that_is_not_text_does_not_hide_the_crash(
    isolated: Callable[..., Trained], hooked: Callable[[str], None]
) -> None:
    hooked(in_fit(r"os.write(2, b'\xff\xfe broken \x80 bytes')", "os.kill(os.getpid(), signal.SIGABRT)"))
    with raises(TrainingFailed, code="process-died", signal="SIGABRT") as caught:
        isolated()
    assert re.search(r" broken . bytes$", str(caught.value))


@pytest.mark.parametrize("waits", ["time.sleep(600)", "os.kill(os.getpid(), signal.SIGSTOP)"])
def test_a_child_is_stopped_at_the_time_limit(
    waits: str, isolated: Callable[..., Trained], hooked: Callable[[str], None]
) -> None:
    """Also one that somebody stopped, and that can therefore act on nothing."""
    hooked(f"import os, signal, time; {waits}")
    with raises(DeadlineExceeded, code="deadline-exceeded", limit=0.2):
        isolated(limit=0.2)


def test_processes_that_a_library_starts_end_with_the_child(
    isolated: Callable[..., Trained],
    hooked: Callable[[str], None],
    started: list[subprocess.Popen[str]],
    tmp_path: Path,
) -> None:
    note = tmp_path / "grandchild"
    sleeper = "[sys.executable, '-S', '-c', 'import time; time.sleep(600)']"
    hooked(
        in_fit(
            f"helper = subprocess.Popen({sleeper}, env={{}})",
            f"pathlib.Path({str(note)!r}).write_text(str(os.getpgid(helper.pid)))",
            "os.kill(os.getpid(), signal.SIGKILL)",
        )
    )
    with raises(TrainingFailed, code="process-died", signal="SIGKILL"):
        isolated()
    assert int(note.read_text()) == started[0].pid, "the helper was in the child's own group"


@pytest.mark.parametrize(
    ("raised", "error", "reason"),
    [
        ("RuntimeError('no such luck')", TrainingFailed, "RuntimeError: no such luck"),
        ("MemoryError()", TrainingFailed, "MemoryError: "),
        ("errors.NotApplicable('needs 9 rows, has 8')", NotApplicable, "needs 9 rows, has 8"),
        ("errors.TrainingFailed('the loss is not finite')", TrainingFailed, "the loss is not finite"),
        ("errors.DataError('row 7')", DataError, "row 7"),
        ("errors.DamagedObject('a digest')", DamagedObject, "a digest"),
        ("errors.StageFailed('no space left')", StageFailed, "no space left"),
        ("errors.MachineFailed('the disk')", MachineFailed, "the disk"),
        ("OSError(28, 'No space left on device')", MachineFailed, "cannot go on: [Errno 28]"),
        ("OSError(12, 'Cannot allocate memory')", TrainingFailed, "OSError: [Errno 12]"),
        ("errors.BackendUnavailable('no answer')", BackendUnavailable, "no answer"),
        ("errors.UsageError('look at AWS_SECRET_ACCESS_KEY')", UsageError, "look at AWS_SECRET_ACCESS_KEY"),
        ("errors.MissingExtra('the model', 'torch')", TrainingFailed, "the model needs the extra 'torch'"),
    ],
)
def test_the_parent_raises_the_error_of_its_child(
    raised: str, error: type[FltsError], reason: str, isolated: Callable[..., Trained], hooked: Callable[[str], None]
) -> None:
    hooked(in_fit("from flts.contracts import errors", f"raise {raised}"))
    with pytest.raises(FltsError) as caught:
        isolated()
    assert type(caught.value) is error
    assert str(caught.value).startswith(reason)


def test_the_error_of_a_child_keeps_its_code_and_data(
    isolated: Callable[..., Trained], hooked: Callable[[str], None]
) -> None:
    hooked(
        in_fit(
            "from flts.contracts import errors", "raise errors.DataError('row 7', code='odd-row', row=7, column='y')"
        )
    )
    with raises(DataError, code="odd-row", row=7, column="y"):
        isolated()


def test_output_of_a_library_during_the_fit_does_not_disturb_the_result(
    isolated: Callable[..., Trained], hooked: Callable[[str], None]
) -> None:
    hooked(
        in_fit(
            "print('Iteration 1 of 2000')",
            r"os.write(1, b'\xff\xfe{\"kind\": 7}\n')",
            "subprocess.run([sys.executable, '-S', '-c', 'print(42)'], check=True, env={})",
        )
    )
    told = Told()
    assert isolated(progress=told).fitted
    assert told.phases == ["fit", "validate", "refit", "save", "forecast"]


@pytest.mark.parametrize(
    "printed", [r"hello, I am a start-up hook\n", r"\xff\xfe\x00\n", r"42\n", "{}\\n", r"{\"kind\": \"epoch\"}\n"]
)
def test_output_before_the_child_redirects_its_stdout_is_quoted_in_the_reason(
    printed: str, isolated: Callable[..., Trained], hooked: Callable[[str], None]
) -> None:
    hooked(f"import os; os.write(1, b'{printed}')")
    with raises(TrainingFailed, code="unexpected-output") as caught:
        isolated()
    assert repr(caught.value.data["found"]) in str(caught.value)


def test_a_child_that_ends_before_it_reads_its_claim_is_no_failed_model(
    tmp_path: Path, hooked: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, claim = on_disk(tmp_path)
    hooked("import os; os._exit(5)")
    popen = subprocess.Popen

    def slow(command: list[str], **options: Any) -> subprocess.Popen[str]:
        child: subprocess.Popen[str] = popen(command, **options)
        child.wait()
        return child

    monkeypatch.setattr(subprocess, "Popen", slow)
    with raises(MachineFailed, code="process-not-begun", exit_code=5):
        train_isolated(claim, 1, LONG, Told(), Children(1))


def test_the_temporary_files_of_a_killed_child_are_removed(
    isolated: Callable[..., Trained], hooked: Callable[[str], None], tmp_path: Path
) -> None:
    note = tmp_path / "left"
    hooked(
        in_fit(
            "folder = tempfile.mkdtemp()",
            "pathlib.Path(folder, 'chain.csv').write_text('1')",
            f"pathlib.Path({str(note)!r}).write_text(folder)",
            "os.kill(os.getpid(), signal.SIGKILL)",
        )
    )
    with raises(TrainingFailed, code="process-died", signal="SIGKILL"):
        isolated()
    assert not Path(note.read_text()).exists()


@pytest.mark.parametrize("end", ["pass", "raise ValueError"])
def test_a_child_removes_its_folder_before_its_last_message(
    end: str,
    isolated: Callable[..., Trained],
    hooked: Callable[[str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A parent may be killed as soon as it has the message."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    note = tmp_path / "folder"
    hooked(in_fit(f"pathlib.Path({str(note)!r}).write_text(tempfile.mkdtemp())", end))
    converse = isolate._converse
    left: list[Path] = []

    def and_look(*arguments: Any) -> Any:
        answer = converse(*arguments)
        left.extend(tmp_path.glob(f"{SCRATCH}*"))
        return answer

    monkeypatch.setattr(isolate, "_converse", and_look)
    with contextlib.suppress(TrainingFailed):
        isolated()
    assert Path(note.read_text()).parent.name.startswith(SCRATCH)
    assert left == []


def test_cancelling_kills_the_children_removes_their_folders_and_interrupts_the_threads_that_wait(
    tmp_path: Path, hooked: Callable[[str], None], started: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    _, _, claim = on_disk(tmp_path)
    note = tmp_path / "fitting"
    hooked(in_fit(f"pathlib.Path({str(note)!r} + str(os.getpid())).touch()", "time.sleep(600)"))
    children = Children(2)
    ended: list[BaseException] = []

    def work() -> None:
        try:
            train_isolated(claim, 1, LONG, Told(), children)
        except FltsError as error:
            ended.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert eventually(lambda: len(list(tmp_path.glob("fitting*"))) == 2)
    assert len(list(tmp_path.glob(f"{SCRATCH}*"))) == 2
    children.cancel()
    assert list(tmp_path.glob(f"{SCRATCH}*")) == []
    for thread in threads:
        thread.join()
    assert [type(error) for error in ended] == [Interrupted, Interrupted]
    assert all(child.returncode == -signal.SIGKILL for child in started)


def test_no_child_is_started_after_a_cancellation(tmp_path: Path, started: list[subprocess.Popen[str]]) -> None:
    _, _, claim = on_disk(tmp_path)
    children = Children(1)
    children.cancel()
    with pytest.raises(Interrupted):
        train_isolated(claim, 1, LONG, Told(), children)
    assert started == []


def test_a_child_that_starts_during_a_cancellation_is_killed_at_once(
    isolated: Callable[..., Trained], hooked: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    hooked("import time; time.sleep(600)")
    children = Children(1)
    add = Children.add

    def cancelled_first(self: Children, child: subprocess.Popen[str], scratch: Path) -> None:
        self.cancel()
        add(self, child, scratch)

    monkeypatch.setattr(Children, "add", cancelled_first)
    with pytest.raises(Interrupted):
        isolated(children=children)


def test_an_error_while_showing_progress_ends_the_child_too(isolated: Callable[..., Trained]) -> None:
    class Broken(Told):
        def phase(self, name: str) -> None:
            raise KeyError(name)

    with pytest.raises(KeyError, match="fit"):
        isolated(progress=Broken())


def test_a_child_whose_parent_is_killed_ends_itself(tmp_path: Path, hooked: Callable[[str], None]) -> None:
    _, _, claim = on_disk(tmp_path)
    note = tmp_path / "fitting"
    sleeper = "[sys.executable, '-S', '-c', 'import time; time.sleep(600)']"
    hooked(
        in_fit(
            f"subprocess.Popen({sleeper}, env={{}})",
            f"pathlib.Path({str(note)!r}).write_text(str(os.getpgid(0)))",
            "time.sleep(600)",
        )
    )
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import json, sys\n"
            "from flts.contracts.ports import Silent\n"
            "from flts.train.isolate import Children, Claim, train_isolated\n"
            "train_isolated(Claim(**json.loads(sys.argv[1])), 1, 600.0, Silent(), Children(1))\n",
            json.dumps(dataclasses.asdict(claim)),
        ],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},  # a killed parent leaves the child's folder there
    )
    try:
        assert eventually(lambda: note.exists() and note.read_text() != "")
        group = int(note.read_text())
        assert group != os.getpgid(parent.pid)
        assert len(living(group)) == 2
    finally:
        parent.kill()
        parent.wait()
    assert eventually(lambda: not living(group))


def test_the_threads_of_a_child_are_set_in_its_environment(
    tmp_path: Path, hooked: Callable[[str], None], started: list[subprocess.Popen[str]]
) -> None:
    _, _, claim = on_disk(tmp_path)
    note = tmp_path / "threads"
    hooked(in_fit("import polars", f"pathlib.Path({str(note)!r}).write_text(str(polars.thread_pool_size()))"))
    train_isolated(claim, 3, LONG, Told(), Children(1))
    assert note.read_text() == "3"
    assert len(started) == 1


@pytest.mark.parametrize(
    ("change", "error", "named"),
    [
        ({"data_hash": "f" * 64}, StageFailed, "hash"),
        ({"config_hash": "f" * 64}, DamagedObject, r"specs/f+\.json"),
        ({"model": "hal9000"}, TrainingFailed, "hal9000"),
    ],
)
def test_a_claim_that_does_not_fit_the_store_is_refused(
    change: dict[str, str],
    error: type[FltsError],
    named: str,
    tmp_path: Path,
    started: list[subprocess.Popen[str]],
) -> None:
    _, store, claim = on_disk(tmp_path)
    with pytest.raises(error, match=named):
        train_isolated(Claim(**{**dataclasses.asdict(claim), **change}), 1, LONG, Told(), Children(1))
    assert [key for key in store.list("") if key.startswith(layout.model_result(""))] == []
    assert len(started) == 1


def test_an_event_of_a_child_is_logged_by_its_parent(
    tmp_path: Path, started: list[subprocess.Popen[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    _, store, claim = on_disk(tmp_path)
    train_isolated(claim, 1, LONG, Silent(), Children(1))
    key = next(key for key in store.list("models/") if key.count("/") == 2 and key.endswith("/result.json"))
    result = json.loads(store.get(key) or b"")
    store.replace(key, json.dumps({**result, "chosen": {"alpha": 7.0}}).encode())
    events.configure("json")
    try:
        trained = train_isolated(dataclasses.replace(claim, recompute=True), 1, LONG, Silent(), Children(1))
    finally:
        events.configure("off")
    logged = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert trained.recomputed == "nondeterminism_detected"
    assert [(line["event"], line["fields"]) for line in logged] == [("nondeterminism_detected", ["chosen"])]

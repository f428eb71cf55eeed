"""Folders without rights, full disks, damaged objects, other versions: the error names them, and its advice works."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.children import eventually, startup_hook
from tests.support.experiments import write_experiment
from tests.unit.cli.conftest import Flts

from flts.contracts import layout
from flts.promotion.log import MEND

pytestmark = pytest.mark.slow

FLTS = [sys.executable, "-m", "flts"]


def environment() -> dict[str, str]:
    """Without bytecode: an interpreter of another user must not want to write any."""
    return os.environ | {"FLTS_TRACKING": "off", "FLTS_LOG_FORMAT": "off", "PYTHONDONTWRITEBYTECODE": "1"}


# rights


@pytest.fixture
def someone() -> list[str]:
    """The prefix that runs a command as a user without the rights of root."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root may write everywhere, and there is no setpriv to be someone else")
    command = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups"]
    if subprocess.run([*command, *FLTS, "--version"], capture_output=True, check=False).returncode:
        pytest.skip("root may write everywhere, and nobody else may read this installation")
    return command


@pytest.fixture
def foreign() -> Iterator[Path]:
    """A folder with an experiment that others may look into; pytest's own is closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="flts-rights-"))
    write_experiment(folder)
    folder.chmod(0o755)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755)
    shutil.rmtree(folder)


def as_someone(someone: list[str], folder: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [*someone, *FLTS, *arguments], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def close(*paths: Path) -> None:
    """Nobody but root may write there."""
    for path in paths:
        path.chmod(0o555)


def test_a_folder_without_rights_is_named_with_an_alternative(someone: list[str], foreign: Path) -> None:
    close(foreign)
    code, said = as_someone(someone, foreign, "run")
    assert code == 2
    assert said == "error: .flts: cannot be used: Permission denied; name another folder with FLTS_HOME\n"
    assert not (foreign / ".flts").exists()


@pytest.mark.parametrize(("closed", "code"), [("", 2), ("objects", 1)])
def test_a_home_of_another_user_is_named(someone: list[str], foreign: Path, closed: str, code: int) -> None:
    made = subprocess.run([*FLTS, "run"], cwd=foreign, env=environment(), capture_output=True, check=False)
    assert made.returncode == 0
    for path in (foreign / ".flts").rglob("*"):
        path.chmod(0o777)
    (foreign / ".flts").chmod(0o777)
    if closed:
        close(*(path for path in (foreign / ".flts" / closed).rglob("*") if path.is_dir()), foreign / ".flts" / closed)
    else:
        (foreign / ".flts/lock").chmod(0o444)
    found, said = as_someone(someone, foreign, "run", "--set", "task.horizon=2")
    assert found == code
    assert said.count("error: ") == 1
    assert "ermission denied" in said
    assert ".flts" in said


def test_a_data_file_without_rights_is_bad_input(someone: list[str], foreign: Path) -> None:
    foreign.chmod(0o777)
    (foreign / "load.csv").chmod(0o000)
    code, said = as_someone(someone, foreign, "run")
    assert code == 4
    assert said == "error: load.csv: cannot be read: Permission denied\n"


# a full disk

ON_A_SMALL_DISK = """
mount -t tmpfs -o size=600k tmpfs "$1" || exit 77
dd if=/dev/zero of="$1/filler" bs=1k count=$((600 - $2)) 2>"$1.dd" || exit 77
shift 2
"$@"; code=$?
find "$DISK" -type f -not -name filler | sort > "$DISK.files"
rm "$DISK/filler"
"$@" > "$DISK.again" 2>&1 || { cat "$DISK.again" >&2; exit 99; }
exit $code
"""


@pytest.mark.parametrize("free", [0, 40, *(pytest.param(free, marks=pytest.mark.long) for free in (8, 90))])
def test_a_full_disk_is_one_message_and_the_run_continues_once_there_is_space(folder: Path, free: int) -> None:
    unshare, disk = shutil.which("unshare"), folder / "disk"
    if unshare is None:
        pytest.skip("there is no unshare to mount a small disk for this test alone")
    disk.mkdir()
    run = ["run", "--home", str(disk / ".flts")]
    done = subprocess.run(
        [unshare, "--map-root-user", "--mount", "sh", "-c", ON_A_SMALL_DISK, "sh", str(disk), str(free), *FLTS, *run],
        cwd=folder,
        env=environment() | {"DISK": str(disk)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error: ") == 1
    assert "no space left" in done.stderr
    assert str(disk / ".flts") in done.stderr
    assert "free some space and run again" in done.stderr
    left = (folder / "disk.files").read_text().split()
    assert [name for name in left if "#" in name] == []  # the store writes beside an object, then renames
    assert "promoted" in (folder / "disk.again").read_text()


# damaged objects

DAMAGED = {
    "train rows": "processed-data/*/train.parquet",
    "test rows": "processed-data/*/test.parquet",
    "what was fitted on train": "processed-data/*/meta.json",
    "an entry of the log": "model-promotion/*/log/00000001.json",
}


MADE_AGAIN = {
    "a file of a bundle": "bundles/*/coefficients.safetensors",
    "a manifest": "bundles/*/manifest.json",
    "a result": "models/*/result.json",
    "validation forecasts": "models/*/validation.parquet",
    "test forecasts": "models/*/windows/*/forecasts.parquet",
    "the result of the windows": "models/*/windows/*/result.json",
}
"""What a recompute puts aside and makes again."""


def contents(objects: Path) -> dict[str, bytes]:
    """Everything that is the same in every run of one experiment: all but the numbered runs and the log."""
    kept = ("bundles", "models", "processed-data", "specs")
    files = (path for name in kept for path in (objects / name).rglob("*") if path.is_file())
    return {str(path.relative_to(objects)): path.read_bytes() for path in files if path.name != "result.json"}


@pytest.mark.usefixtures("ran")
@pytest.mark.parametrize("kind", DAMAGED)
def test_an_object_damaged_by_one_byte_is_named_and_the_advice_restores_it(flts: Flts, folder: Path, kind: str) -> None:
    objects = folder / ".flts/objects"
    (damaged,) = objects.glob(DAMAGED[kind])
    before = contents(objects)
    whole = damaged.read_bytes()
    damaged.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    key = str(damaged.relative_to(objects))
    advice = MEND if kind == "an entry of the log" else layout.mend(key)
    for command in (["run"], ["run", "--recompute"]):
        done = flts(*command)
        assert done.code == 1, done
        assert "Traceback" not in done.err
        (error,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
        assert key in error
        assert "damaged" in error
        assert error.endswith(advice)
    if advice.startswith("delete it"):
        damaged.unlink()
    else:
        damaged.write_bytes(whole)
    assert flts("run", "--recompute").code == 0
    assert contents(objects) == before
    assert flts("forecast", "--input", "load_test.csv").code == 0


@pytest.mark.usefixtures("ran")
def test_a_number_that_was_changed_in_valid_statistics_is_noticed_by_the_next_run(flts: Flts, folder: Path) -> None:
    (meta,) = (folder / ".flts/objects").glob("processed-data/*/meta.json")
    whole = json.loads(meta.read_text())
    whole["fitted"]["columns"][0]["median"] += 1.0
    meta.write_text(json.dumps(whole))
    done = flts("run")
    assert done.code == 1
    assert done.error is not None
    assert done.error.code == "digest-differs"
    assert "run 1 of this experiment used" in done.err
    meta.unlink()
    assert flts("run", "--recompute").code == 0
    assert flts("run").code == 0


@pytest.mark.usefixtures("ran")
@pytest.mark.parametrize("kind", MADE_AGAIN)
def test_a_recompute_puts_a_damaged_result_aside_and_makes_it_again(flts: Flts, folder: Path, kind: str) -> None:
    objects = folder / ".flts/objects"
    (damaged,) = objects.glob(MADE_AGAIN[kind])
    key, before = damaged.relative_to(objects), contents(objects)
    changed = bytes([damaged.read_bytes()[0] ^ 1]) + damaged.read_bytes()[1:]
    damaged.write_bytes(changed)
    if kind != "validation forecasts":  # which no run reads
        done = flts("run")
        assert (done.code, "Traceback" in done.err) == (1, False)
        assert str(key) in done.err + done.out
    assert damaged.read_bytes() == changed
    assert flts("run", "--recompute").code == 0
    (time,) = (objects / "quarantine").iterdir()
    assert (time / key).read_bytes() == changed
    assert contents(objects) == before
    assert flts("forecast", "--input", "load_test.csv").code == 0
    assert flts("run", "--recompute").code == 0
    assert list((objects / "quarantine").iterdir()) == [time]


@pytest.mark.usefixtures("ran")
@pytest.mark.parametrize("kind", ["train rows", "a file of a bundle", "a manifest", "test forecasts"])
def test_a_missing_object_is_named_and_the_advice_restores_it(flts: Flts, folder: Path, kind: str) -> None:
    objects = folder / ".flts/objects"
    (absent,) = objects.glob((DAMAGED | MADE_AGAIN)[kind])
    before = contents(objects)
    absent.unlink()
    if kind == "train rows":  # found absent before anything is read, and made again without a word
        assert flts("run").code == 0
    else:
        done = flts("run")
        assert done.code == 1
        key = str(absent.relative_to(objects))
        assert f"{key} is absent" in done.err
        assert layout.restore(key) in done.err
        assert flts("run", "--recompute").code == 0
    assert contents(objects) == before


@pytest.mark.usefixtures("ran")
@pytest.mark.parametrize("kind", ["a file of a bundle", "a manifest", "an entry of the log"])
def test_a_champion_with_a_damaged_byte_does_not_forecast(flts: Flts, folder: Path, kind: str) -> None:
    objects = folder / ".flts/objects"
    (damaged,) = objects.glob((DAMAGED | MADE_AGAIN)[kind])
    data = bytearray(damaged.read_bytes())
    data[len(data) // 3] ^= 4
    data[0] ^= 1
    damaged.write_bytes(data)
    done = flts("forecast", "--input", "load_test.csv")
    assert done.code == 1
    assert str(damaged.relative_to(objects)) in done.err
    assert "Traceback" not in done.err


@pytest.mark.usefixtures("ran")
@pytest.mark.parametrize("pointer", ["current.json", "global/current.json", "global/*/current.json"])
def test_a_damaged_pointer_is_written_again(flts: Flts, folder: Path, pointer: str) -> None:
    (damaged,) = (folder / ".flts/objects/model-promotion").glob(pointer)
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1])
    assert flts("run").code == 0
    assert damaged.read_bytes() == whole


@pytest.mark.usefixtures("ran")
@pytest.mark.parametrize("kind", ["decisions/*.json", "decisions/*.preview.json"])
def test_a_damaged_decision_blocks_no_forecast_and_is_named_where_it_is_shown(
    flts: Flts, folder: Path, kind: str
) -> None:
    scope = folder / ".flts/objects/model-promotion/global"
    damaged = min(scope.glob(kind), key=lambda path: len(path.name))
    damaged.write_bytes(b"z" + damaged.read_bytes()[1:])
    assert flts("forecast", "--input", "load_test.csv").code == 0
    shown = flts("promotions", "show", "1")
    assert "Traceback" not in shown.err
    if "preview" not in damaged.name:
        assert shown.code == 1
        assert damaged.name in shown.err


# other versions and two at once


@pytest.mark.usefixtures("ran")
@pytest.mark.parametrize(
    ("version", "said", "command"),
    [
        ("2", "newer format '2'", ["run"]),
        ("0", "older or unknown format '0'", ["run"]),
        ("2", "newer format '2'", ["forecast", "--input", "load_test.csv"]),
        ("0", "older or unknown format '0'", ["promotions", "list"]),
        ("x", "older or unknown format 'x'", ["runs", "list"]),
    ],
)
def test_a_folder_of_another_version_is_named_and_left_alone(
    flts: Flts, folder: Path, version: str, said: str, command: list[str]
) -> None:
    (folder / ".flts/VERSION").write_text(f"{version}\n")
    before = {path: path.read_bytes() for path in (folder / ".flts").rglob("*") if path.is_file()}
    done = flts(*command)
    assert done.code == 2, done
    assert said in done.err
    assert "use the flts that made it" in done.err
    assert {path: path.read_bytes() for path in (folder / ".flts").rglob("*") if path.is_file()} == before
    (folder / ".flts/VERSION").write_text("1\n")
    assert flts("run").code == 0


def test_a_current_folder_that_is_gone_is_said_in_one_line(
    flts: Flts, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = folder / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    done = flts("run")
    assert (done.code, done.err) == (2, "error: the current folder no longer exists; change to one that does\n")


def test_a_link_to_no_file_is_called_one(flts: Flts, folder: Path) -> None:
    (folder / "link.csv").symlink_to("nowhere.csv")
    done = flts("data", "inspect", "link.csv")
    assert (done.code, done.err) == (4, "error: link.csv: is a link to a file that does not exist\n")


WAITING_TRAINER = """
import pathlib, sys, time
while "flts.runner.child" in sys.orig_argv and not pathlib.Path("go").exists():
    time.sleep(0.02)
"""


def test_of_two_concurrent_runs_the_second_names_the_first_and_both_can_be_repeated(flts: Flts, folder: Path) -> None:
    hook = startup_hook(folder / "hook", WAITING_TRAINER)
    with subprocess.Popen(
        [*FLTS, "run"], cwd=folder, env=environment() | {"PYTHONPATH": hook}, stdout=subprocess.PIPE, text=True
    ) as first:
        assert eventually((folder / ".flts/objects/runs").exists)
        second = flts("run")
        (folder / "go").touch()
        out, _ = first.communicate()
    assert second.code == 2
    assert f"is in use by process {first.pid}" in second.err
    assert "--wait" in second.err
    assert first.returncode == 0
    assert "promoted" in out
    assert flts("run").code == 0

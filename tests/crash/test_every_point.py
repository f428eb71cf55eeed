"""A run that is ended anywhere loses nothing: the next one ends exactly as a run that was never disturbed.

Everything stored is compared byte for byte, except times (scenes.Workspace.objects) and the fields of a run that tell
what was done before it (scenes.PAST). A run that was ended after it had promoted is followed by one that finds this
champion, so it is compared with an undisturbed run that was repeated.
"""

from __future__ import annotations

import json
import signal
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from tests.crash.scenes import SCENES, TIMED, Ended, Stage, Workspace
from tests.support.families import has_libraries
from tests.support.points import SIDES, points

from flts.contracts.ports import Store

PROMOTION = ["promote.log", "promote.pointer.config", "promote.pointer.root", "promote.pointer.scope"]
JUDGEMENT = ["promote.preview", "promote.decision", *PROMOTION, "run.track", "run.decided", "run.seal", "run.judge"]
JUDGEMENT += ["run.index.settled"]
REACHED = {
    "first run": [
        "home.folder",
        "home.version",
        "preprocess.train",
        "preprocess.test",
        "preprocess.meta",
        "preprocess.input",
        "run.spec",
        "run.index.begin",
        "run.index.time",
        "run.index.scope",
        "run.index.open",
        "run.claim",
        "run.preprocess",
        "train.child",
        "run.train",
        *JUDGEMENT,
    ],
    "judgement": [
        "train.forecasts",
        "train.windows_result",
        *JUDGEMENT,
    ],  # of the champion, on the challenger's windows
    "rollback": PROMOTION,
    "by hand": PROMOTION,
}
"""The writes that the process started by a person reaches in each scene."""
IN_A_CHILD = [
    "train.bundle",
    "train.manifest",
    "train.validation",
    "train.result",
    "train.forecasts",
    "train.windows_result",
]
"""Writes in the process of a trainer."""
OF_AN_ENSEMBLE = [point for point in IN_A_CHILD if point != "train.bundle"]
"""The same writes, in the process that judges: the bundle of an ensemble has no file but its manifest."""
COMMITTED = "train.windows_result.after"
"""After this point the result of a trainer counts, whatever happens to its process."""
OF_A_LATENCY = "promote.latency"
OF_A_FAILURE = "run.failure"
OF_SERVICES = ("bus.", "forecast.", "gateway.", "run.buried.", "run.sent.", "work.")
"""Prefixes of the points that only services pass; test_every_service.py ends services."""
OF_MENDING = ("quarantine.", "promote.pointer.gone.", "run.index.complete.")
"""Prefixes of the points that only a damaged store leads to, or one without an index; unit/runner/test_quarantine.py,
unit/promotion/test_relay.py and unit/contracts/test_run_index.py stop there."""
OF_LONG_LOGS = ("log.snapshot.",)
"""Prefixes of the points that only a long log leads to; unit/promotion/test_snapshot.py stops there."""
OF_ANSWERS = ("spool.", "live.")
"""Prefixes of the points that only the forecast service passes, and what reads its log; unit/server/test_spool.py and
integration/test_prediction_log.py end a process there."""

STARTED = [(scene, f"{name}.{side}") for scene, names in REACHED.items() for name, side in product(names, SIDES)]
CHILD = [f"{name}.{side}" for name, side in product(IN_A_CHILD, SIDES)]
LATENCY = [f"{OF_A_LATENCY}.{side}" for side in SIDES]
FAILURE = [f"{OF_A_FAILURE}.{side}" for side in SIDES]
SIGNALS = ["kill", *(pytest.param(name, marks=pytest.mark.long) for name in ("term", "int"))]
SCOPE = "scope: 'global', of flts.toml\n"
"""What a command says that was told no scope."""
STOPPED = "error: interrupted; what is finished is kept, `flts run` continues from there\n"

every_signal = pytest.mark.parametrize("how", SIGNALS)


def ending(*case: str) -> Any:
    """A case whose last value is a point. One before a write is long: the write before it left the same objects.

    So is one of the judgement of a first run: the scene "judgement" ends there, too, without a fit.
    """
    point, side = case[-1].rsplit(".", 1)
    judged = case[0] == "first run" and point in JUDGEMENT
    return pytest.param(*case, marks=pytest.mark.long if side == "before" or judged else ())


def test_these_tests_end_a_process_at_every_point_in_the_source_code() -> None:
    every = {
        point for point in points() if not point.startswith((*OF_SERVICES, *OF_MENDING, *OF_LONG_LOGS, *OF_ANSWERS))
    }
    assert {point for _, point in STARTED} | {*CHILD, *LATENCY, *FAILURE} == every


@every_signal
@pytest.mark.parametrize(("scene", "point"), [ending(*case) for case in STARTED])
def test_the_next_command_finishes_one_that_was_ended_anywhere(
    stage: Stage, tmp_path: Path, scene: str, point: str, how: str
) -> None:
    workspace = stage.set_up(scene, tmp_path)
    promotions = len(workspace.log)
    assert_ended(workspace.flts(SCENES[scene].command, f"{point}={how}"), how)
    workspace.assert_nothing_is_left()
    promoted = len(workspace.log) > promotions
    assert_same_in_the_end(stage, workspace, scene, promoted=promoted)


@every_signal
@pytest.mark.parametrize("point", [ending(point) for point in CHILD])
def test_the_next_run_finishes_one_that_was_ended_during_training(
    stage: Stage, tmp_path: Path, point: str, how: str
) -> None:
    workspace = stage.set_up("first run", tmp_path)
    assert_ended(workspace.flts(("run",), f"{point}=parent-{how}"), how)
    workspace.assert_nothing_is_left()
    assert workspace.failures() == []
    assert_same_in_the_end(stage, workspace, "first run", promoted=False)


@every_signal
@pytest.mark.parametrize("point", [ending(point) for point in CHILD if point != COMMITTED])
def test_a_trainer_that_is_ended_is_a_failed_candidate_and_the_next_run_fits_it_again(
    stage: Stage, tmp_path: Path, point: str, how: str
) -> None:
    workspace = stage.set_up("first run", tmp_path)
    ended = workspace.flts(("run",), f"{point}={how}")
    assert (ended.code, ended.err) == (1, "")
    assert [f"SIG{how.upper()}" in reason for reason in workspace.failures()] == [True]
    workspace.assert_nothing_is_left()
    nothing = undecided(workspace)
    assert (len(workspace.log), len(nothing)) == (0, 1)
    assert_same_in_the_end(stage, workspace, "first run", promoted=False, also=nothing)


@every_signal
def test_the_result_of_a_trainer_that_ended_after_its_commit_counts(stage: Stage, tmp_path: Path, how: str) -> None:
    workspace = stage.set_up("first run", tmp_path)
    assert workspace.flts(("run",), f"{COMMITTED}={how}").code == 0
    assert workspace.failures() == []
    assert workspace.objects() == stage.undisturbed("first run", twice=False).objects()
    assert workspace.newest_run() == stage.undisturbed("first run", twice=False).newest_run()
    assert_same_in_the_end(stage, workspace, "first run", promoted=True)


@pytest.mark.long
@every_signal
@pytest.mark.skipif(not has_libraries("prophet"), reason="needs the extra 'prophet'")
@pytest.mark.parametrize("point", [f"{name}.{side}" for name, side in product(OF_AN_ENSEMBLE, SIDES)])
def test_the_next_run_finishes_one_that_was_ended_while_it_made_an_ensemble(
    stage: Stage, tmp_path: Path, point: str, how: str
) -> None:
    workspace = stage.set_up("ensemble", tmp_path)
    promotions = len(workspace.log)
    assert_ended(workspace.flts(SCENES["ensemble"].command, f"{point}={how}"), how)
    workspace.assert_nothing_is_left()
    assert len(workspace.log) == promotions
    assert_same_in_the_end(stage, workspace, "ensemble", promoted=False)


@every_signal
@pytest.mark.parametrize("point", FAILURE)
def test_the_next_run_finishes_one_that_was_ended_while_it_recorded_a_failure(
    stage: Stage, tmp_path: Path, point: str, how: str
) -> None:
    workspace = stage.set_up("first run", tmp_path)
    assert_ended(workspace.flts(("run",), f"train.bundle.before=kill,{point}={how}"), how)
    workspace.assert_nothing_is_left()
    assert_same_in_the_end(stage, workspace, "first run", promoted=False)


@every_signal
@pytest.mark.parametrize("point", LATENCY)
def test_after_a_judge_was_ended_while_measuring_latency_the_next_one_decides_the_same(
    stage: Stage, tmp_path: Path, point: str, how: str
) -> None:
    workspace = stage.set_up("latency", tmp_path / "disturbed")
    assert_ended(workspace.flts(TIMED, f"{point}={how}"), how)
    workspace.assert_nothing_is_left()
    measured = latency(workspace.store)
    assert bool(measured) == point.endswith(".after")
    assert workspace.flts(TIMED).code == 0
    key, kept = next(iter(latency(workspace.store).items()))
    assert kept == measured.get(key, kept)
    undisturbed = stage.set_up("latency", tmp_path / "undisturbed")
    undisturbed.store.create(key, kept)
    assert undisturbed.flts(TIMED).code == 0
    assert workspace.objects() == undisturbed.objects()


def assert_ended(ended: Ended, how: str) -> None:
    """The process ended at its point: killed without output, or stopped with one line that says so."""
    if how == "kill":
        assert ended.code == -signal.SIGKILL, ended
    else:
        assert (ended.code, ended.err.removeprefix(SCOPE)) == (130, STOPPED)


def assert_same_in_the_end(
    stage: Stage, workspace: Workspace, scene: str, *, promoted: bool, also: dict[str, Any] | None = None
) -> None:
    """After one more command everything is as in an undisturbed run; also: objects that only a disturbed run has."""
    last = workspace.flts(SCENES[scene].next(promoted=promoted))
    assert (last.code, last.err.removeprefix(SCOPE)) == (0, "")
    undisturbed = stage.undisturbed(scene, twice=promoted)
    assert workspace.objects() == undisturbed.objects() | (also or {})
    assert len(workspace.log) == len(undisturbed.log)
    if scene not in {"rollback", "by hand"}:
        assert workspace.newest_run() == undisturbed.newest_run()
    workspace.assert_nothing_is_left()


def undecided(workspace: Workspace) -> dict[str, Any]:
    """Decisions in which no model had a forecast."""
    return {
        key: data
        for key, data in workspace.objects().items()
        if "/decisions/" in key and json.loads(data).get("outcome") == "none"
    }


def latency(store: Store) -> dict[str, bytes]:
    """The measurement of the only model that has one."""
    return {key: store.get(key) or b"" for key in store.list("models/") if key.endswith("/latency.json")}

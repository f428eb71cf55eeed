"""A run that is ended anywhere loses nothing: the next one ends exactly as a run that was never disturbed.

Compared is everything stored, byte for byte. What may differ is said where it is left out: times (scenes.Place.objects)
and, of the record of a run, what it found done already (scenes.PAST). A run that was ended after it had promoted is
followed by one that finds that champion, so it is compared with an undisturbed run and a second one after it.
"""

from __future__ import annotations

import json
import signal
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from tests.crash.scenes import SCENES, TIMED, Ended, Place, Stage
from tests.support.points import SIDES, points

from flts.contracts.ports import Store

PROMOTION = ["promote.log", "promote.pointer.config", "promote.pointer.root", "promote.pointer.scope"]
JUDGEMENT = ["promote.preview", "promote.decision", *PROMOTION, "run.judge"]
REACHED = {
    "first run": [
        "home.folder",
        "home.version",
        "preprocess.train",
        "preprocess.test",
        "preprocess.meta",
        "run.spec",
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
"""Which scene brings the process that a person started to which writes."""
IN_A_CHILD = [
    "train.bundle",
    "train.manifest",
    "train.validation",
    "train.result",
    "train.forecasts",
    "train.windows_result",
]
"""Writes of a trainer's process."""
COMMITTED = "train.windows_result.after"
"""From here on a trainer has done its work, whatever happens to it."""
OF_A_LATENCY = "promote.latency"
OF_A_FAILURE = "run.failure"
OF_SERVICES = ("bus.", "forecast.", "gateway.", "run.buried.")
"""How the points begin that only a service passes; services are ended in tests of their own."""

STARTED = [(scene, f"{name}.{side}") for scene, names in REACHED.items() for name, side in product(names, SIDES)]
CHILD = [f"{name}.{side}" for name, side in product(IN_A_CHILD, SIDES)]
LATENCY = [f"{OF_A_LATENCY}.{side}" for side in SIDES]
FAILURE = [f"{OF_A_FAILURE}.{side}" for side in SIDES]
SIGNALS = ["kill", *(pytest.param(name, marks=pytest.mark.long) for name in ("term", "int"))]
STOPPED = "error: interrupted; what is finished is kept, `flts run` goes on from there\n"

every_signal = pytest.mark.parametrize("how", SIGNALS)


def test_every_point_of_the_source_code_is_one_that_a_process_is_ended_at_here() -> None:
    found = {point for point in points() if not point.startswith(OF_SERVICES)}
    assert {point for _, point in STARTED} | {*CHILD, *LATENCY, *FAILURE} == found


@every_signal
@pytest.mark.parametrize(("scene", "point"), STARTED)
def test_a_command_that_is_ended_anywhere_is_made_good_by_the_next_one(
    stage: Stage, tmp_path: Path, scene: str, point: str, how: str
) -> None:
    context = stage.set_up(scene, tmp_path)
    promotions = len(context.log)
    assert_ended(context.flts(SCENES[scene].command, f"{point}={how}"), how)
    context.assert_nothing_lives_or_lies_about()
    promoted = len(context.log) > promotions
    assert_same_in_the_end(stage, context, scene, promoted=promoted)


@every_signal
@pytest.mark.parametrize("point", CHILD)
def test_a_run_that_is_ended_while_a_trainer_works_is_made_good_by_the_next_one(
    stage: Stage, tmp_path: Path, point: str, how: str
) -> None:
    context = stage.set_up("first run", tmp_path)
    assert_ended(context.flts(("run",), f"{point}=parent-{how}"), how)
    context.assert_nothing_lives_or_lies_about()
    assert context.failures() == []
    assert_same_in_the_end(stage, context, "first run", promoted=False)


@every_signal
@pytest.mark.parametrize("point", [point for point in CHILD if point != COMMITTED])
def test_a_trainer_that_is_ended_is_a_failed_candidate_and_the_next_run_makes_it_good(
    stage: Stage, tmp_path: Path, point: str, how: str
) -> None:
    context = stage.set_up("first run", tmp_path)
    ended = context.flts(("run",), f"{point}={how}")
    assert (ended.code, ended.err) == (1, "")
    assert [f"SIG{how.upper()}" in reason for reason in context.failures()] == [True]
    context.assert_nothing_lives_or_lies_about()
    nothing = undecided(context)
    assert (len(context.log), len(nothing)) == (0, 1)
    assert_same_in_the_end(stage, context, "first run", promoted=False, also=nothing)


@every_signal
def test_what_a_trainer_committed_counts_though_it_ended_before_it_said_so(
    stage: Stage, tmp_path: Path, how: str
) -> None:
    context = stage.set_up("first run", tmp_path)
    assert context.flts(("run",), f"{COMMITTED}={how}").code == 0
    assert context.failures() == []
    assert context.objects() == stage.undisturbed("first run", twice=False).objects()
    assert context.newest_run() == stage.undisturbed("first run", twice=False).newest_run()
    assert_same_in_the_end(stage, context, "first run", promoted=True)


@every_signal
@pytest.mark.parametrize("point", FAILURE)
def test_a_run_that_is_ended_while_it_records_a_failure_is_made_good_by_the_next_one(
    stage: Stage, tmp_path: Path, point: str, how: str
) -> None:
    context = stage.set_up("first run", tmp_path)
    assert_ended(context.flts(("run",), f"train.bundle.before=kill,{point}={how}"), how)
    context.assert_nothing_lives_or_lies_about()
    assert_same_in_the_end(stage, context, "first run", promoted=False)


@every_signal
@pytest.mark.parametrize("point", LATENCY)
def test_a_judge_that_is_ended_while_it_measures_is_followed_by_one_that_ends_as_if_it_had_measured_the_same(
    stage: Stage, tmp_path: Path, point: str, how: str
) -> None:
    context = stage.set_up("latency", tmp_path / "disturbed")
    assert_ended(context.flts(TIMED, f"{point}={how}"), how)
    context.assert_nothing_lives_or_lies_about()
    measured = latency(context.store)
    assert bool(measured) == point.endswith(".after")
    assert context.flts(TIMED).code == 0
    key, stands = next(iter(latency(context.store).items()))
    assert stands == measured.get(key, stands)
    undisturbed = stage.set_up("latency", tmp_path / "undisturbed")
    undisturbed.store.create(key, stands)
    assert undisturbed.flts(TIMED).code == 0
    assert context.objects() == undisturbed.objects()


def assert_ended(ended: Ended, how: str) -> None:
    """The process ended at its point: killed without a word, or stopped with one line that says so."""
    if how == "kill":
        assert ended.code == -signal.SIGKILL, ended
    else:
        assert (ended.code, ended.err) == (130, STOPPED)


def assert_same_in_the_end(
    stage: Stage, context: Place, scene: str, *, promoted: bool, also: dict[str, Any] | None = None
) -> None:
    """One more command, and everything is as without a disturbance; `also`: what only a disturbed run leaves."""
    last = context.flts(SCENES[scene].next(promoted=promoted))
    assert (last.code, last.err) == (0, "")
    undisturbed = stage.undisturbed(scene, twice=promoted)
    assert context.objects() == undisturbed.objects() | (also or {})
    assert len(context.log) == len(undisturbed.log)
    if scene not in {"rollback", "by hand"}:
        assert context.newest_run() == undisturbed.newest_run()
    context.assert_nothing_lives_or_lies_about()


def undecided(context: Place) -> dict[str, Any]:
    """Decisions in which no model had a forecast."""
    return {
        key: data
        for key, data in context.objects().items()
        if "/decisions/" in key and json.loads(data).get("outcome") == "none"
    }


def latency(store: Store) -> dict[str, bytes]:
    """The measurement of the only model that has one."""
    return {key: store.get(key) or b"" for key in store.list("models/") if key.endswith("/latency.json")}

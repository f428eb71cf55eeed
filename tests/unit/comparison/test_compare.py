"""Verdicts, differences and durations of runs that are side by side."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from tests.support.judging import known
from tests.support.raising import raises
from tests.support.stored import golden_store

from flts.comparison.compare import compare
from flts.comparison.result import ComparedDuration, PairVerdict
from flts.comparison.sides import Side
from flts.contracts.canonical import digest
from flts.contracts.errors import UsageError
from flts.contracts.records.run import FailurePart, Machine, TrainPart
from flts.report.evidence import RunManifest, RunParts, newest_first, run_manifest

SEVERAL = "21c7a2fa79ba"
"""A run of automfles, gru, prophet and ridge."""
MODELS = ["automfles", "gru", "prophet", "ridge"]


@cache
def stored(config: str = SEVERAL) -> RunManifest:
    """A run of the golden store."""
    store = golden_store("store-2.zip")
    config_hash = next(row.config_hash for row in newest_first(store) if row.config_hash.startswith(config))
    return run_manifest(store, config_hash, 1)


def later(record: RunManifest, run: int = 2, seconds: float = 60.0, **changes: Any) -> RunManifest:
    """The same experiment run again, with other times, every model fitted; changes: fields of each trained part."""
    fields = {"run": run, "started": f"2027-01-{run:02}T00:00:00+00:00", "ended": f"2027-01-{run:02}T00:01:00+00:00"}
    timed = {**fields, "duration_ms": round(seconds * 1000), **changes}
    ended = f"2027-01-{run:02}T00:09:00+00:00"
    return record.model_copy(
        update={
            "run": run,
            "claim": record.claim.model_copy(update={"run": run, "started": fields["started"]}),
            "models": {name: part.model_copy(update=timed) for name, part in record.models.items()},
            "judge": known(record.judge).model_copy(update={"run": run, "ended": ended}),
        }
    )


def elsewhere(record: RunManifest, environment: str = "cluster") -> RunManifest:
    """The same run under the name of another environment."""
    models = {name: part.model_copy(update={"environment": environment}) for name, part in record.models.items()}
    claim = record.claim.model_copy(update={"environment": environment})
    return record.model_copy(update={"claim": claim, "models": models})


def with_part(record: RunManifest, model: str, **changes: Any) -> RunManifest:
    part: TrainPart = record.models[model].model_copy(update=changes)
    return record.model_copy(update={"models": {**record.models, model: part}})


def with_result(record: RunManifest, model: str, **changes: Any) -> RunManifest:
    result = record.results[model].model_copy(update=changes)
    return record.model_copy(update={"results": {**record.results, model: result}})


def with_row(record: RunManifest, model: str, **changes: Any) -> RunManifest:
    decision = known(record.decision)
    rows = [row.model_copy(update=changes) if row.model == model else row for row in decision.candidates]
    return record.model_copy(update={"decision": decision.model_copy(update={"candidates": rows})})


def side(record: RunManifest, *others: RunParts, damaged: tuple[str, ...] = ()) -> Side:
    """The run beside the others of its configuration."""
    return Side("here", record.model_copy(update={"others": list(others)}), damaged)


def verdict(a: Side | RunManifest, b: Side | RunManifest) -> PairVerdict:
    """The verdict on two runs."""
    found = compare([one if isinstance(one, Side) else side(one) for one in (a, b)])
    assert found.same == (found.verdicts[0].kind == "same-result")
    return found.verdicts[0]


def test_two_fits_with_equal_bytes_are_the_same_result() -> None:
    found = verdict(stored(), elsewhere(later(stored())))
    assert (found.kind, found.first) == ("same-result", None)
    assert (found.computed_twice, found.not_computed_twice) == (MODELS, [])


def test_a_result_that_was_reused_proves_nothing() -> None:
    reused = later(stored(), fitted=False)
    for a, b in ((stored(), reused), (reused, stored()), (reused, later(reused, 3, fitted=False))):
        found = verdict(a, b)
        assert (found.kind, found.computed_twice, found.not_computed_twice) == ("not-computed-twice", [], MODELS)


def test_a_run_beside_itself_proves_nothing() -> None:
    assert verdict(stored(), stored()).kind == "not-computed-twice"


def test_only_what_was_computed_twice_counts() -> None:
    again = later(stored(), fitted=False)
    again = with_part(again, "ridge", fitted=True, recomputed="equal")
    found = verdict(stored(), again)
    assert (found.kind, found.computed_twice) == ("same-result", ["ridge"])
    assert found.not_computed_twice == ["automfles", "gru", "prophet"]
    assert "nothing is said of automfles, gru, prophet" in found.text


def test_an_earlier_fit_of_its_own_environment_stands_behind_a_run_that_reused_it() -> None:
    first = elsewhere(later(stored()))
    reused = elsewhere(later(stored(), 3, fitted=False))
    assert verdict(stored(), side(reused, first)).kind == "same-result"
    assert verdict(side(reused, first), stored()).kind == "same-result"


@pytest.mark.parametrize("environment", ["golden", "cluster"])
def test_fits_in_a_copy_of_a_store_do_not_count(environment: str) -> None:
    """A store with two fits is copied, and the copy is run: it computes nothing."""
    fits = [stored(), later(stored(), 2, recomputed="equal")]
    copied = elsewhere(later(stored(), 3, fitted=False), environment)
    assert verdict(side(fits[0], fits[1]), side(copied, *fits)).kind == "not-computed-twice"
    assert verdict(side(copied, *fits), side(fits[0], fits[1])).kind == "not-computed-twice"


OTHER = digest("other")
CHANGES: dict[str, Callable[[RunManifest], RunManifest]] = {
    "train.parquet": lambda r: r.model_copy(
        update={
            "data": known(r.data).model_copy(update={"train": known(r.data).train.model_copy(update={"sha256": OTHER})})
        }
    ),
    "meta.json": lambda r: r.model_copy(
        update={"preprocess": known(r.preprocess).model_copy(update={"meta_sha256": OTHER})}
    ),
    "result of gru": lambda r: with_part(r, "gru", recomputed="nondeterminism_detected"),
    "model_hash of gru": lambda r: with_part(r, "gru", model_hash=OTHER),
    "bundle of gru": lambda r: with_result(r, "gru", bundle_sha256=OTHER),
    "validation forecasts of gru": lambda r: with_result(r, "gru", validation_sha256=OTHER),
    "test forecasts of gru": lambda r: with_row(r, "gru", forecasts_sha256=OTHER),
    "config_hash": lambda r: r.model_copy(update={"config_hash": OTHER}),
    "scoreboard": lambda r: with_row(r, "ridge", rmse=0.5),
    "winner": lambda r: r.model_copy(update={"decision": known(r.decision).model_copy(update={"winner": None})}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_first_difference_in_the_order_of_the_pipeline_is_named(name: str) -> None:
    after = list(CHANGES)[list(CHANGES).index(name) :]
    again = later(stored())
    for later_name in reversed(after):  # the differences after it change nothing in what is named
        again = CHANGES[later_name](again)
    found = verdict(stored(), again)
    assert (found.kind, found.first) == ("different-result", name)
    assert name in found.text


def test_the_versions_that_may_explain_a_difference_are_named() -> None:
    made_on = stored().results["gru"].made_on
    other = made_on.model_copy(update={"libraries": {**made_on.libraries, "torch": "9.9"}})
    again = with_result(later(stored()), "gru", bundle_sha256=OTHER)
    assert "same versions, processor and kernels" in verdict(stored(), again).text
    found = verdict(stored(), with_result(again, "gru", made_on=other))
    assert f"torch {made_on.libraries['torch']} and 9.9" in found.text
    assert "numpy" not in found.text


def test_a_model_that_failed_in_one_run_is_the_difference() -> None:
    again = later(stored())
    gone = again.models["gru"]
    failure = FailurePart(
        run=2,
        scope="global",
        environment="cluster",
        model="gru",
        started=gone.started,
        ended=gone.ended,
        error="DeadlineExceeded",
        reason="slow",
        run_id=None,
        model_hash=gone.model_hash,
        processor="tests",
    )
    models = {name: part for name, part in again.models.items() if name != "gru"}
    found = verdict(stored(), again.model_copy(update={"models": models, "failures": {"gru": failure}}))
    assert (found.kind, found.first) == ("different-result", "result of gru")
    assert "DeadlineExceeded" in found.text


def test_other_values_of_the_experiment_are_named_with_the_hashes_they_move() -> None:
    found = compare([side(stored()), side(stored("54c2954f163c"))])
    rows = {row.key: (row.values, row.moves) for row in known(found.spec)}
    assert rows["task.input_length"][0] == [12, 24]
    assert set(rows["task.input_length"][1]) == {
        *(f"model_hash({name})" for name in MODELS),
        "windows_hash",
        "config_hash",
    }
    assert rows["models.gru"][0][1] is None  # a table that the other experiment does not have
    assert set(rows["models.gru"][1]) == {"model_hash(gru)", "config_hash"}
    assert rows["evaluate.gate"] == (["beats-champion", "always"], ["config_hash"])
    only = found.verdicts[0]
    assert (only.kind, only.first, found.same) == ("different-spec", None, False)
    assert only.text.count("→") == 3
    assert "judged on different windows" in " ".join(found.notes)


def test_an_experiment_that_cannot_be_read_is_not_compared() -> None:
    for gone in (None, {"v": 2, "task": {"horizon": 0}}):
        lost = later(stored()).model_copy(update={"spec": gone})
        assert verdict(stored(), lost).kind == "same-result"  # equal hashes say that the experiments are equal
        other = stored("54c2954f163c").model_copy(update={"spec": gone})
        found = compare([side(stored()), side(other)])
        assert (found.verdicts[0].kind, found.spec) == ("incomplete", None)
        assert any(note.startswith("B: the experiment cannot be read") for note in found.notes)


def test_what_a_run_lacks_is_said() -> None:
    unjudged = later(stored()).model_copy(update={"judge": None, "decision": None})
    found = compare([side(stored()), side(unjudged, damaged=("claim.json is damaged",))])
    assert (found.verdicts[0].kind, found.verdicts[0].first) == ("incomplete", None)
    assert "test forecasts of automfles" in found.verdicts[0].text
    assert (found.runs[1].outcome, found.runs[1].winner, found.runs[1].damaged) == (
        None,
        None,
        ["claim.json is damaged"],
    )
    assert found.notes[-1] == "B: not judged"


def test_a_winner_that_is_no_better_than_a_baseline_is_said() -> None:
    decision = known(stored().decision)
    best = decision.ranked_baselines[0]
    beaten = with_row(stored(), str(decision.winner), score=best.score)
    said = f"no model is better than the baseline {best.model}"
    before, after = (compare([side(stored()), side(other)]).notes for other in (stored(), beaten))
    assert [note for note in after if note not in before] == [f"B: {said}"]
    assert before == [f"A, B: {warning}" for warning in known(decision.certainty).warnings]


def test_how_sure_a_choice_is_is_said_where_the_winners_differ() -> None:
    sure = known(stored().decision).sure
    other = CHANGES["winner"](later(stored()))
    assert f"A, B: {sure}" in compare([side(stored()), side(other)]).notes
    assert not any(str(sure) in note for note in compare([side(stored()), side(later(stored()))]).notes)


def test_every_run_is_compared_with_the_first() -> None:
    again, other = later(stored()), CHANGES["scoreboard"](later(stored(), 3))
    found = compare([side(stored()), side(again), side(other)])
    assert [(v.a, v.b, v.kind) for v in found.verdicts] == [
        ("A", "B", "same-result"),
        ("A", "C", "different-result"),
    ]
    assert not found.same
    assert all(len(artifact.values) == 3 for artifact in found.artifacts)


def test_a_name_is_shown_without_credentials() -> None:
    named = Side("s3://user:secret@host/bucket#ab", side(stored()).record)
    assert "secret" not in compare([named, named]).model_dump_json()


@pytest.mark.parametrize("count", [0, 1, 27])
def test_a_comparison_takes_two_runs_or_more(count: int) -> None:
    with raises(UsageError, code="runs-to-compare", found=count):
        compare([side(stored())] * count)


def test_versions_and_machines_are_those_that_the_fits_were_made_on() -> None:
    made_on = stored().results["ridge"].made_on
    changed = made_on.model_copy(update={"processor": "riscv64", "libraries": {**made_on.libraries, "numpy": "9"}})
    found = compare([side(stored()), side(with_result(elsewhere(later(stored())), "ridge", made_on=changed))])
    differing = {value.name: value.values[1] for value in (*found.versions, *found.machines) if value.differs}
    numpy = made_on.libraries["numpy"]
    assert differing == {
        "environment": "cluster",
        "processor": f"riscv64, {made_on.processor}",
        "numpy": ", ".join(sorted(["9", numpy])),
    }
    assert {"flts", "torch", "prophet"} <= {value.name for value in found.versions}


def recorded(record: RunManifest, cpu_limit: float | None, seconds: float) -> RunManifest:
    """The run as this flts records it: what its processes had to work with, and how long each stage took."""
    machine = Machine(flts="0", python="3.11.9", libraries={}, processor="tests", cpus=4, cpu_limit=cpu_limit)
    measured = {"machine": machine, "duration_ms": round(seconds * 1000)}
    again = later(record, machine=machine)
    return again.model_copy(
        update={
            "preprocess": known(record.preprocess).model_copy(update={**measured, "reused": False}),
            "judge": known(again.judge).model_copy(update=measured),
        }
    )


def test_what_the_processes_had_to_work_with_is_compared() -> None:
    found = compare([side(recorded(stored(), None, 1.0)), side(recorded(stored(), 1.5, 2.0)), side(stored())])
    facts = {value.name: value.values for value in (*found.versions, *found.machines)}
    assert facts["python"] == ["3.11.9", "3.11.9", None]
    assert facts["processors"] == ["4", "4", None]
    assert facts["limit of processors"] == ["none", "1.5", None]
    for work in ("preprocess", "judgement"):
        assert next(row.seconds for row in found.durations if row.work == work) == [1.0, 2.0, None]


def durations(a: list[float], b: list[float]) -> ComparedDuration:
    """The fits of ridge in so many runs of each environment."""

    def repeated(record: RunManifest, seconds: list[float], first: int) -> Side:
        newest, *others = (later(record, first + n, value) for n, value in enumerate(seconds))
        return side(newest, *others, elsewhere(later(record, 9, 1e6), "another"))

    found = compare([repeated(stored(), a, 1), repeated(elsewhere(stored()), b, 1)])
    return next(row for row in found.durations if row.work == "fit of ridge")


@pytest.mark.parametrize(
    ("a", "b", "ratio", "exceeds", "chance"),
    [
        ([1.0, 2.0, 3.0], [4.0, 8.0, 5.0], 2.5, True, 2 / 20),
        ([4.0, 8.0], [1.0, 2.0], 0.25, True, 2 / 6),
        ([1.0, 2.0, 4.0], [3.0, 8.0, 5.0], 2.5, False, 2 / 20),
        ([1.0], [40.0, 50.0], 45.0, None, None),
        ([2.0], [3.0], 1.5, None, None),
    ],
)
def test_a_difference_of_durations_is_held_against_the_spread_of_repeated_runs(
    a: list[float], b: list[float], ratio: float, exceeds: bool | None, chance: float | None
) -> None:
    row = durations(a, b)
    said = known(row.statements[1])
    assert (row.seconds, row.statements[0]) == ([a[0], b[0]], None)
    assert [known(side).runs for side in row.repeated] == [len(a), len(b)]
    assert said.ratio == pytest.approx(ratio)
    assert said.exceeds == exceeds
    assert said.chance == (chance if chance is None else pytest.approx(chance))
    assert ("ran once" in said.text) == (exceeds is None)


def test_work_that_a_run_did_not_do_has_no_duration() -> None:
    found = compare([side(stored()), side(later(stored(), fitted=False))])
    assert {row.work for row in found.durations} == {*(f"fit of {name}" for name in MODELS), "the whole run"}
    for row in found.durations:
        assert (row.seconds[0] is not None, row.seconds[1], row.repeated[1], row.statements[1]) == (
            True,
            None,
            None,
            None,
        )
    assert [work.work for work in found.work] == [["fitted", "reused"]] * len(MODELS)


def test_scores_are_those_of_the_decisions() -> None:
    found = compare([side(stored()), side(with_row(stored(), "ridge", rmse=0.25))])
    decision = known(stored().decision)
    assert [row.model for row in found.scores] == [row.model for row in (*decision.ranked, *decision.ranked_baselines)]
    ridge = next(row for row in found.scores if row.model == "ridge")
    assert ridge.metrics["rmse"] == [known(decision.row("ridge")).rmse, 0.25]
    assert [row.baseline for row in found.scores] == [False] * len(MODELS) + [True] * len(decision.ranked_baselines)

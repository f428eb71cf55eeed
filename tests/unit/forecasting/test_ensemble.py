"""The arithmetic of an ensemble, and what the bundle of one may be made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.support.distributions import site  # noqa: F401 - a fixture
from tests.support.ensembles import made, repeating, with_members  # noqa: F401
from tests.support.raising import raises

from flts.contracts import layout
from flts.contracts.canonical import canonical_json, sha256
from flts.contracts.errors import DamagedObject
from flts.contracts.ports import Store
from flts.contracts.records.model import IntervalOffsets, Manifest
from flts.forecasting.bundle import MANIFEST, load_bundle, read_bundle
from flts.forecasting.ensemble import STRETCH_LEVELS, Share, combined, weighted_mean
from flts.forecasting.histories import Histories
from flts.models.ensemble import Ensemble
from flts.preprocess.rows import Values

LEVELS = ("0.5", "0.8", "0.9", "0.95")
SHAPE = (3, 2, 1)


def described(**fields: Any) -> Manifest:
    """As much of a manifest as the arithmetic looks at."""
    offsets = {level: [[1.0], [2.0]] for level in LEVELS}
    intervals = IntervalOffsets(offsets=offsets, reason=None, scale="constant", scores=None)
    kept = {"intervals": intervals, "bounds": [[None, None]], "code_version": Ensemble.version}
    return Manifest.model_construct(**{**kept, **fields})


def share(weight: int, mean: float, stretched: float | None = 1.0, *, adaptive: bool = False) -> Share:
    """A member whose intervals are so many times as wide as the errors of training alone make them."""
    static = dict.fromkeys(STRETCH_LEVELS, np.full(SHAPE, 3.0)) if stretched is not None else {}
    served = {level: values * (stretched or 0.0) for level, values in static.items()}
    return Share(weight, np.full(SHAPE, mean), served, static, np.full(SHAPE[0], adaptive))


def test_a_mean_counts_each_member_as_often_as_it_was_drawn() -> None:
    parts = [(3, np.array([1.0, 2.0])), (1, np.array([5.0, 6.0]))]
    assert weighted_mean(parts).tolist() == [2.0, 3.0]


@given(arrays(float, 4, elements=st.floats(-1e6, 1e6)), st.integers(1, 50))
def test_the_mean_of_one_member_is_that_member(values: Values, weight: int) -> None:
    np.testing.assert_allclose(weighted_mean([(weight, values)]), values, rtol=1e-15)


def test_a_mean_never_leaves_the_bounds_by_its_last_digit() -> None:
    third = 0.1  # 0.1 + 0.1 + 0.1 is above 0.3
    answers = combined(described(bounds=[[0.0, third]]), [share(1, third) for _ in range(3)], np.ones((3, 1)))
    assert answers.mean.max() == third


def test_intervals_are_the_own_offsets_where_the_members_keep_those_of_training() -> None:
    answers = combined(described(), [share(1, 0.0), share(2, 3.0)], np.full((3, 1), 2.0))
    for level in LEVELS:
        assert answers.half_width[level][:, :, 0].tolist() == [[2.0, 4.0]] * 3
    assert answers.kinds() == ["static"] * 3


def test_intervals_are_stretched_by_the_weighted_mean_of_the_members() -> None:
    members = [share(1, 0.0, 4.0, adaptive=True), share(3, 0.0, 1.0), share(5, 0.0, None)]
    answers = combined(described(), members, np.ones((3, 1)))
    assert answers.half_width["0.8"][:, :, 0].tolist() == [[1.75, 3.5]] * 3
    assert answers.kinds() == ["adaptive"] * 3


@pytest.mark.parametrize(("version", "stretch"), [(1, 3.0), (Ensemble.version, 4.0)])
def test_a_bundle_of_version_1_is_stretched_by_two_levels_as_it_was_judged(version: int, stretch: float) -> None:
    static = dict.fromkeys(STRETCH_LEVELS, np.ones(SHAPE))
    member = Share(1, np.zeros(SHAPE), {0.5: 2.0 * static[0.5], 0.9: 4.0 * static[0.9]}, static, np.ones(3, dtype=bool))
    answers = combined(described(code_version=version), [member], np.ones((3, 1)))
    assert answers.half_width["0.8"][0, :, 0].tolist() == [stretch, 2.0 * stretch]


def test_a_member_without_an_error_in_training_stretches_nothing() -> None:
    nothing = dict.fromkeys(STRETCH_LEVELS, np.zeros(SHAPE))
    exact = Share(1, np.zeros(SHAPE), nothing, nothing, np.zeros(3, dtype=bool))
    answers = combined(described(), [exact], np.ones((3, 1)))
    assert answers.half_width["0.5"][0, :, 0].tolist() == [1.0, 2.0]


def test_without_offsets_there_is_no_interval() -> None:
    none = IntervalOffsets(offsets=None, reason="fewer windows", scale="constant", scores=None)
    answers = combined(described(intervals=none), [share(1, 1.0)], np.ones((3, 1)))
    assert answers.kinds() == ["none"] * 3


@pytest.mark.usefixtures("repeating")
class TestBundle:
    """The bundle of an ensemble."""

    def test_its_files_are_those_of_its_members_under_their_names(self) -> None:
        experiment, store = with_members()
        manifest, files = read_bundle(store, made(store, experiment).bundle_sha256)
        assert manifest.members is not None
        for name, member in manifest.members.items():
            inner, inner_files = read_bundle(store, member.bundle_sha256)
            assert sha256(files[f"{name}/{MANIFEST}"]) == member.bundle_sha256
            assert {f"{name}/{file}" for file in inner_files} <= {*files}
            assert inner.members is None

    def test_a_history_of_any_length_gives_each_member_its_own_rows(self) -> None:
        experiment, store = with_members()
        bundle = load_bundle(store, made(store, experiment).bundle_sha256)
        rows = experiment.dataset.train.then(experiment.dataset.test)[:270]
        whole = bundle.forecast(Histories(rows, np.array([270])))
        for count in (bundle.rows_used, bundle.manifest.history_rows):
            part = rows[-count:]
            np.testing.assert_array_equal(bundle.forecast(Histories(part, np.array([count]))).mean, whole.mean)
            np.testing.assert_array_equal(bundle.forecast_each([part]).mean, whole.mean)
            np.testing.assert_array_equal(
                bundle.forecast_alike(part.times[None], part.values[None]).mean, whole.mean, strict=True
            )
        used = rows[-bundle.rows_used :]
        for level in LEVELS:
            np.testing.assert_array_equal(bundle.forecast_each([used]).half_width[level], whole.half_width[level])
        assert whole.kinds() == ["adaptive"]

    def test_requests_together_are_answered_as_alone(self) -> None:
        experiment, store = with_members()
        bundle = load_bundle(store, made(store, experiment).bundle_sha256)
        rows = experiment.dataset.train.then(experiment.dataset.test)
        requests = [rows[:260], rows[100:270], rows[200:280]]
        together = bundle.forecast_each(requests)
        for place, alone in enumerate(bundle.forecast_each([request]) for request in requests):
            np.testing.assert_allclose(together.mean[place], alone.mean[0], rtol=1e-12)
            np.testing.assert_allclose(together.half_width["0.8"][place], alone.half_width["0.8"][0], rtol=1e-9)

    @pytest.mark.parametrize("field", ["trained_until", "input_length", "targets"])
    def test_a_member_of_other_rows_or_another_task_is_refused(self, field: str) -> None:
        experiment, store = with_members()
        manifest, _ = read_bundle(store, made(store, experiment).bundle_sha256)
        other = {"trained_until": 1, "input_length": 3, "targets": ["wind"]}[field]
        with raises(DamagedObject, code="member-misfit", member="last"):
            read_bundle(store, _written(store, manifest.model_copy(update={field: other})))

    def test_a_bundle_of_another_family_is_no_member_under_that_name(self) -> None:
        experiment, store = with_members()
        manifest, _ = read_bundle(store, made(store, experiment).bundle_sha256)
        assert manifest.members is not None
        swapped = {**manifest.members, "last": manifest.members["ridge"]}
        with raises(DamagedObject, code="member-misfit", member="last"):
            read_bundle(store, _written(store, manifest.model_copy(update={"members": swapped})))

    def test_an_ensemble_is_no_member(self) -> None:
        experiment, store = with_members()
        trained = made(store, experiment)
        manifest, _ = read_bundle(store, trained.bundle_sha256)
        assert manifest.members is not None
        inner = manifest.members["last"].model_copy(update={"bundle_sha256": trained.bundle_sha256})
        nested = manifest.model_copy(update={"members": {"ensemble": inner}})
        with raises(DamagedObject, code="member-misfit", member="ensemble"):
            read_bundle(store, _written(store, nested))

    @pytest.mark.parametrize("change", [{"model": "ridge"}, {"members": None}])
    def test_members_and_the_name_of_the_ensemble_go_together(self, change: dict[str, Any]) -> None:
        experiment, store = with_members()
        manifest, _ = read_bundle(store, made(store, experiment).bundle_sha256)
        with raises(DamagedObject, code="members-unusual"):
            read_bundle(store, _written(store, manifest.model_copy(update=change)))

    @pytest.mark.parametrize("members", [{}, {"../x": {"bundle_sha256": "0" * 64, "weight": 1}}, {"ridge": {}}])
    def test_odd_members_are_a_damaged_manifest(self, members: dict[str, Any]) -> None:
        experiment, store = with_members()
        manifest, _ = read_bundle(store, made(store, experiment).bundle_sha256)
        data = canonical_json({**manifest.model_dump(mode="json"), "members": members})
        store.create(layout.bundle(sha256(data), MANIFEST), data)
        with raises(DamagedObject, code="record-damaged"):
            read_bundle(store, sha256(data))


def _written(store: Store, manifest: Manifest) -> str:
    """A manifest that somebody wrote, and its name."""
    data = manifest.to_bytes()
    store.create(layout.bundle(sha256(data), MANIFEST), data)
    return sha256(data)

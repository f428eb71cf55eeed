"""One experiment has one hash, however it is written; and two hashes wherever a number can differ."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.experiments import small_experiment, small_spec
from tests.support.series import hourly, table
from tests.support.stored import contents, fit

from flts.backends.store import memory_store
from flts.contracts import layout
from flts.contracts.canonical import canonical_json, digest
from flts.contracts.records.base import require_record
from flts.contracts.records.data import ProcessedMeta
from flts.preprocess.source import RawInput, RawTable
from flts.runner.claim import prepare
from flts.spec import resolved as resolving
from flts.spec.fields import Spec
from flts.spec.lineage import Identity, RawDigests, Versions, data_fields, identify
from flts.spec.resolved import possible_origins, resolve, rows_in_test
from flts.train.windows import plan_windows

Tables = dict[str, dict[str, Any]]

SAME: dict[str, list[Tables]] = {
    "step": [{"dataset": {"step": step}} for step in ("infer", "1h", "60min", "3600s")],
    "step of rows to resample": [
        {"preprocess": {"resample": "mean"}, "dataset": {"step": step}} for step in ("infer", "1h")
    ],
    "zone": [{"dataset": {"timezone": zone}} for zone in ("UTC", "Etc/UTC", "Zulu", "GMT")],
    "a margin without its gate": [{"evaluate": {"margin": margin}} for margin in (0.02, 0.1)],
    "all windows": [{"evaluate": {"windows": count}} for count in (0, 58, 500)],
    "all windows at a distance": [{"evaluate": {"windows": count, "step": 5}} for count in (0, 12, 500)],
    "all train rows": [{"sample": {"train_rows": count}} for count in (0, 240, 1000)],
    "all test rows": [{"sample": {"test_rows": count}} for count in (0, 60, 1000)],
    "place of all rows": [{"sample": {"strategy": place, "seed": 1}} for place in ("head", "tail", "random")],
    "seed of all rows": [{"sample": {"strategy": "random", "train_rows": 240, "seed": seed}} for seed in (1, 2)],
    "seed of the first rows": [{"sample": {"train_rows": 100, "seed": seed}} for seed in (1, 2)],
    "outliers left alone": [
        {"preprocess": {"outliers": rules}} for rules in ({}, {"method": "quantile", "factor": 3.0}, {"factor": 2.0})
    ],
    "patience without epochs": [{"train": {"patience": epochs}} for epochs in (3, 9)],
    "seasons": [{"task": {"seasons": "infer"}}, {"task": {"seasons": [24]}}],
    "no season": [
        {"sample": {"train_rows": 40}, "task": {"seasons": "infer"}},
        {"sample": {"train_rows": 40}, "task": {"seasons": []}},
    ],
    "no cycle in train": [
        {"sample": {"train_rows": 40}, "preprocess": {"time_features": wanted}} for wanted in (True, False)
    ],
    "targets by pattern": [{"dataset": {"targets": names}} for names in (["load", "wind"], ["*"], ["l*", "*"])],
    "order of lags": [{"preprocess": {"lags": lags}} for lags in ([1, 3], [3, 1])],
    "share of one file, of two": [{"dataset": {"test_fraction": share}} for share in (0.2, 0.4)],
}
"""Tables of Specs that describe one experiment on 240 train and 60 test rows, hour by hour."""

DIFFERENT: dict[str, tuple[Tables, Tables]] = {
    "a calendar day": ({"dataset": {"step": "1d"}}, {"dataset": {"step": "24h"}}),
    "order of targets": ({"dataset": {"targets": ["load", "wind"]}}, {"dataset": {"targets": ["wind", "*"]}}),
    "a zone": ({"dataset": {"timezone": "UTC"}}, {"dataset": {"timezone": "Europe/London"}}),
    "fewer windows": ({"evaluate": {"windows": 57}}, {"evaluate": {"windows": 0}}),
    "fewer windows at a distance": ({"evaluate": {"windows": 11, "step": 5}}, {"evaluate": {"windows": 0, "step": 5}}),
    "fewer train rows": ({"sample": {"train_rows": 239}}, {}),
    "fewer test rows": ({"sample": {"test_rows": 59}}, {}),
    "the last rows": (
        {"sample": {"train_rows": 100}},
        {"sample": {"train_rows": 100, "strategy": "tail"}},
    ),
    "another draw": (
        {"sample": {"test_rows": 30, "strategy": "random", "seed": 1}},
        {"sample": {"test_rows": 30, "strategy": "random", "seed": 2}},
    ),
    "clipping": (
        {"preprocess": {"outliers": {"enabled": True}}},
        {"preprocess": {"outliers": {"enabled": True, "factor": 2.0}}},
    ),
    "another season": ({"task": {"seasons": [12]}}, {}),
    "no calendar": ({"preprocess": {"time_features": False}}, {}),
    "how a history is read": ({"preprocess": {"resample": "mean"}}, {}),
    "which windows count": ({"task": {"min_measured": 0.5}}, {}),
}


def spec_of(tables: Tables, models: tuple[str, ...] = ("ridge",)) -> Spec:
    return small_spec(models, **tables)


def identity_of(tables: Tables, models: tuple[str, ...] = ("ridge",)) -> Identity:
    return small_experiment(spec_of(tables, models))[0].identity


def results(tables: Tables) -> tuple[Identity, bytes, dict[str, bytes]]:
    """The hashes, the Spec that is stored, and all objects of rows, model and forecasts."""
    experiment, store = small_experiment(spec_of(tables))
    fit(store, experiment)
    objects = {key: data for key, data in contents(store).items() if "/by-input/" not in key}
    return experiment.identity, canonical_json(experiment.spec.identity()), objects


@pytest.mark.slow
@pytest.mark.parametrize("case", SAME)
def test_one_experiment_has_one_hash_one_stored_spec_and_the_same_numbers(case: str) -> None:
    for first, second in pairwise(results(tables) for tables in SAME[case]):
        assert second == first


@pytest.mark.parametrize("case", sorted(set(DIFFERENT) - {"a calendar day"}))
def test_where_a_number_can_differ_the_hashes_differ(case: str) -> None:
    first, second = (identity_of(tables) for tables in DIFFERENT[case])
    assert first.config_hash != second.config_hash
    assert first.model_hashes != second.model_hashes or first.windows_hash != second.windows_hash


def one_file(share: float, rows: int = 300) -> tuple[str, Spec]:
    """The data_hash and the resolved Spec of rows in one file."""
    spec = small_spec(dataset={"targets": ["load"], "test_fraction": share})
    prepared, experiment = prepare(memory_store(), spec, RawInput(RawTable("rows", table(hourly(rows))), None))
    assert prepared.meta.test.rows == round(rows * share)
    return prepared.data_hash, experiment.spec


@pytest.mark.parametrize(
    ("shares", "resolved"),
    [((0.2, 0.2001, 0.1999), 0.2), ((0.25, 0.2501, 75 / 300), 0.25), ((0.126, 0.1255), 0.125), ((1 / 3,), 0.332)],
)
def test_shares_that_split_one_file_at_the_same_row_are_one_experiment(
    shares: tuple[float, ...], resolved: float
) -> None:
    found = [one_file(share) for share in shares]
    assert {data_hash for data_hash, _ in found} == {one_file(resolved)[0]}
    assert {spec.dataset.test_fraction for _, spec in found} == {resolved}


def test_a_share_that_splits_one_file_one_row_later_is_another_experiment() -> None:
    assert one_file(0.2)[0] != one_file(59 / 300)[0]


@given(rows=st.integers(2, 10**7), share=st.floats(1e-6, 1.0, exclude_max=True))
def test_the_resolved_share_gives_the_same_rows_to_the_test(rows: int, share: float) -> None:
    test = rows_in_test(rows, share)
    if 0 < test < rows:
        assert rows_in_test(rows, resolving._shortest(rows, test)) == test


def test_rows_that_were_stored_before_shares_were_resolved_keep_their_hash() -> None:
    spec, store = small_spec(dataset={"targets": ["load"], "test_fraction": 0.2001}), memory_store()
    raw = RawInput(RawTable("rows", table(hourly(300))), None)
    prepared, _ = prepare(store, spec, raw)
    made_of = prepared.meta.made_of.model_copy(update={"test_fraction": 0.2001})
    before = resolve(spec, prepared.meta.model_copy(update={"made_of": made_of}))
    assert before.dataset.test_fraction == 0.2001


def daily(rows: int) -> RawInput:
    times = np.arange(rows, dtype=np.int64) * 86_400 * 10**9
    series = hourly(rows)
    return RawInput(RawTable("rows", table(type(series)(times, series.values, series.columns))), None)


def test_a_day_of_the_calendar_is_not_24_hours() -> None:
    hashes = []
    for tables in DIFFERENT["a calendar day"]:
        spec = small_spec(dataset={**tables["dataset"], "targets": ["load"]})
        hashes.append(prepare(memory_store(), spec, daily(200))[0].data_hash)
    assert hashes[0] != hashes[1]


def test_rows_are_resampled_at_the_most_common_difference_where_no_step_is_named() -> None:
    rows = table(hourly(300))
    twice = type(rows)({name: rows[name].append(rows[name][:5]) for name in rows.columns})
    tables: Tables = {"preprocess": {"resample": "mean"}, "dataset": {"targets": ["load"]}}
    raw = RawInput(RawTable("rows", twice), None)
    prepared, experiment = prepare(memory_store(), spec_of(tables), raw)
    assert experiment.spec.dataset.step == "1h"
    assert (prepared.meta.train.rows, prepared.meta.test.rows) == (240, 60)


def test_patience_counts_for_a_model_with_epochs_and_for_no_other() -> None:
    short, long = (identity_of({"train": {"patience": epochs}}, ("gru", "ridge")) for epochs in (3, 9))
    assert short.model_hashes["ridge"] == long.model_hashes["ridge"]
    assert short.model_hashes["gru"] != long.model_hashes["gru"]
    assert short.config_hash != long.config_hash


@pytest.mark.parametrize("skip", [0, 1])
@pytest.mark.parametrize("tables", [{}, {"evaluate": {"step": 7}}, {"task": {"input_length": 250, "horizon": 9}}])
def test_possible_origins_are_those_that_windows_are_planned_on(tables: Tables, skip: int) -> None:
    """skip: rows that are missing between train and test, so that test windows cannot borrow from train."""
    rows = table(hourly(600))
    raw = RawInput(RawTable("train", rows[:300]), RawTable("test", rows[300 + skip :]))
    store, spec = memory_store(), spec_of(tables)
    prepared, experiment = prepare(store, spec, raw)
    count, step = possible_origins(spec, prepared.meta), spec.evaluate.step
    planned = plan_windows(experiment.dataset, "0" * 64, experiment.task, 0, step)
    assert len(planned.indices) == count
    fewer = plan_windows(experiment.dataset, "0" * 64, experiment.task, count - 1, step)
    assert len(fewer.indices) == count - 1


FACTS = RawDigests("a" * 64, "b" * 64)
VERSIONS = Versions(1, {"ridge": 1, "gru": 1})
WRITTEN = st.fixed_dictionaries(
    {},
    optional={
        "dataset": st.fixed_dictionaries(
            {},
            optional={
                "step": st.sampled_from(["infer", "1h", "60min"]),
                "timezone": st.sampled_from(["UTC", "Etc/UTC", "Europe/Madrid"]),
                "test_fraction": st.sampled_from([0.2, 0.4]),
            },
        ),
        "sample": st.fixed_dictionaries(
            {},
            optional={
                "train_rows": st.sampled_from([0, 100, 240, 999]),
                "test_rows": st.sampled_from([0, 30, 60, 999]),
                "strategy": st.sampled_from(["head", "tail", "random"]),
                "seed": st.sampled_from([1, 2, 42]),
            },
        ),
        "preprocess": st.fixed_dictionaries(
            {},
            optional={
                "time_features": st.booleans(),
                "outliers": st.fixed_dictionaries(
                    {}, optional={"enabled": st.booleans(), "factor": st.sampled_from([1.5, 2.0])}
                ),
            },
        ),
        "task": st.fixed_dictionaries({}, optional={"seasons": st.sampled_from(["infer", [24], [12, 24]])}),
        "train": st.fixed_dictionaries({}, optional={"patience": st.sampled_from([3, 9])}),
        "evaluate": st.fixed_dictionaries(
            {}, optional={"windows": st.sampled_from([0, 20, 58, 500]), "step": st.sampled_from([0, 5])}
        ),
    },
)
MODELS = st.sampled_from([("ridge",), ("gru", "ridge")])


@pytest.fixture(scope="module")
def meta() -> ProcessedMeta:
    """What the 240 train rows and 60 test rows say."""
    experiment, store = small_experiment()
    return require_record(store, layout.meta(experiment.identity.data_hash), ProcessedMeta)


@settings(deadline=None)
@given(first=st.builds(spec_of, WRITTEN, MODELS), second=st.builds(spec_of, WRITTEN, MODELS))
def test_two_resolved_specs_have_one_hash_only_if_they_are_equal(
    meta: ProcessedMeta, first: Spec, second: Spec
) -> None:
    a, b = (resolve(spec, meta) for spec in (first, second))
    hashes = [identify(s, digest(data_fields(s, FACTS, 1)), VERSIONS).config_hash for s in (a, b)]
    assert (hashes[0] == hashes[1]) == (a.identity() == b.identity())
    assert resolve(a, meta) == a
